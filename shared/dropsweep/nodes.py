"""The nodes of clusters and the hours that they used, as the storage tells; reads only.

A month's hours are what its ledger has summed up and what the records say that are not in it yet. The ledger takes
records before they are deleted (`steps/fold.py`), and names them until they are gone, so that nothing counts twice.
"""

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from dropsweep.clusters import Cluster
from dropsweep.errors import StorageCorrupt, StorageUnavailable
from dropsweep.names import NODES, RUNS, month_of, node_hours, node_record, nodes_of
from dropsweep.records.node import HoursLedger, LedgerSummary, NodeRecord, NodeSummary
from dropsweep.storage import PageEntry, Store

_log = logging.getLogger(__name__)
BUDGET: Final = "waits: cluster "
"""How the message of a job begins whose cluster has used its node-hours of the month."""
_PAGE: Final = 5000
_MAX_LOOKS: Final = 10
_TURN: Final = timedelta(minutes=15)
"""After the turn of a month: how long nodes may have only the old month's record."""
_MAX_AGE_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Month:
    """What one look found of a cluster's month.

    Attributes:
        ledger: None: there is none (or none that can be read, when `is_readable` is False).
        nodes: by their records, in the order of their names.
    """

    ledger: LedgerSummary | None = None
    nodes: tuple[NodeSummary, ...] = ()
    is_readable: bool = True


@dataclass(frozen=True, slots=True)
class Look:
    """What one look found below a path.

    Attributes:
        months: by month.
        served: when the look began, by the storage service's clock.
        num_pages: lists that it took; a look of more than one is not of a single moment.
    """

    months: Mapping[str, Month]
    served: datetime
    num_pages: int


@dataclass(frozen=True, slots=True)
class NodeList:
    """A cluster's nodes in one month.

    Attributes:
        cluster, month: which.
        nodes: those that have a record, the living ones first, of each kind the oldest first.
        now: the storage service's time; states and hours are as of then.
        seconds: what all nodes of the cluster used in the month, those included whose records are gone.
        num_folded: nodes whose records are gone.
    """

    cluster: str
    month: str
    nodes: tuple[NodeSummary, ...]
    now: datetime
    seconds: int
    num_folded: int = 0

    @property
    def hours(self) -> float:
        """Node-hours of the month."""
        return self.seconds / 3600

    @property
    def living(self) -> tuple[NodeSummary, ...]:
        """The nodes that are neither gone nor lost, the oldest first."""
        return tuple(node for node in self.nodes if node.is_living(self.now))


@dataclass(frozen=True, slots=True)
class Spent:
    """Says that a cluster has used its hours of a month.

    Attributes:
        hours: what was used; cap_hours: what may be.
        goes_on: when the next month begins.
    """

    cluster: str
    month: str
    hours: float
    cap_hours: float
    goes_on: datetime

    def why(self) -> str:
        """Returns in words why jobs wait; the same from look to look."""
        if not self.cap_hours:
            cap = "its cap is 0 node-hours: nothing is begun until monthly_node_hours is raised"
            return f"{BUDGET}{self.cluster}: {cap}"
        return (
            f"{BUDGET}{self.cluster} has used its {self.cap_hours:g} node-hours of {self.month}; it goes on in "
            f"{month_of(self.goes_on)}, or when monthly_node_hours is raised"
        )


def list_nodes(store: Store, cluster: str) -> NodeList:
    """Lists the nodes that a cluster has this month, by the storage service's clock, and their hours.

    One storage operation; one or two more while records are being folded, just after the turn of a month, or when this
    machine's clock is wrong.

    Raises:
        StorageError: as the storage does.
    """
    look, month = _this_month(store, cluster)
    nodes = {node.node: node for node in look.months.get(month, Month()).nodes}
    if (before := month_of(look.served - _TURN)) != month:
        earlier = _look_at(store, cluster, before).months.get(before, Month())
        # Whatever has not spoken since the turn; its hours of the old month are the old month's.
        nodes = {node.node: node for node in earlier.nodes if node.is_living(look.served)} | nodes
    seconds, num_folded = _seconds(store, cluster, month, look)
    order = sorted(nodes.values(), key=lambda node: (not node.is_living(look.served), node.started or node.seen))
    return NodeList(cluster, month, tuple(order), look.served, seconds, num_folded)


def num_living(store: Store, cluster: str) -> int:
    """Returns how many nodes of a cluster are neither gone nor lost; costs what `list_nodes` does."""
    return len(list_nodes(store, cluster).living)


def hours_of(store: Store, cluster: str, month: str) -> float:
    """Returns the node-hours that a cluster used in a month (`2031-05`).

    Raises:
        StorageError: as the storage does.
    """
    return _seconds(store, cluster, month, _look_at(store, cluster, month))[0] / 3600


def read_node(store: Store, cluster: str, month: str, node: str) -> NodeRecord | None:
    """Returns a node's record with its whole message; None when there is none.

    State and seconds are those of its first write until it is final: `list_nodes` has the latest.

    Raises:
        StorageError: as the storage does.
    """
    blob = store.blobs.read(RUNS, node_record(cluster, month, node))
    return None if blob is None else NodeRecord.from_json(blob.body)


def clusters_with_nodes(store: Store) -> list[str]:
    """Returns the names of the clusters that have, or had, nodes; one storage operation.

    Raises:
        StorageError: as the storage does.
    """
    return [folder.removeprefix(NODES).rstrip("/") for folder in store.blobs.folders(RUNS, NODES)]


def budget_of(cluster: Cluster, nodes: NodeList) -> Spent | None:
    """Returns whether a cluster has used its hours of the month; None: it has not, or has no cap."""
    return _spent(cluster, nodes.month, nodes.seconds)


class Budgets:
    """Which clusters have used their hours, as of half a minute ago. Safe to use from many threads; one a process."""

    def __init__(self, max_age_s: float = _MAX_AGE_S, clock: Callable[[], float] = time.monotonic) -> None:
        """Begins without knowing any; a cluster with a cap costs one list every `max_age_s`, others nothing."""
        self._max_age_s = max_age_s
        self._clock = clock
        self._locks: dict[str, threading.Lock] = defaultdict(threading.Lock)
        self._known: dict[str, _Known] = {}

    def spent(self, store: Store, cluster: Cluster) -> Spent | None:
        """Returns whether a cluster has used its hours of this month; None: it has not, or has no cap.

        Raises:
            StorageError: as the storage does.
        """
        if cluster.monthly_node_hours is None:
            return None
        with self._locks[cluster.name]:
            now_s = self._clock()
            known = self._known.get(cluster.name)
            if known is None or now_s - known.looked_at_s >= self._max_age_s or known.is_over(now_s):
                look, month = _this_month(store, cluster.name)
                known = _Known(month, _seconds(store, cluster.name, month, look)[0], look.served, now_s)
                self._known[cluster.name] = known
        return _spent(cluster, known.month, known.seconds)


@dataclass(frozen=True, slots=True)
class _Known:
    month: str
    seconds: int
    served: datetime
    looked_at_s: float

    def is_over(self, now_s: float) -> bool:
        """True when the next month has begun."""
        return month_of(self.served + timedelta(seconds=now_s - self.looked_at_s)) != self.month


def look_at_all(store: Store, cluster: str) -> Look:
    """Lists all months of a cluster.

    Raises:
        StorageError: as the storage does.
    """
    return _listed(store, cluster, f"{NODES}{cluster}/")


def month_after(month: str) -> datetime:
    """Returns when the month after `month` begins."""
    year, number = map(int, month.split("-"))
    return datetime(year + number // 12, number % 12 + 1, 1, tzinfo=UTC)


def _this_month(store: Store, cluster: str) -> tuple[Look, str]:
    """Looks at the month that it is by the storage service's clock; this machine's only says which to try first."""
    month = month_of(datetime.now(UTC))
    look = _look_at(store, cluster, month)
    if month_of(look.served) != month:
        month = month_of(look.served)
        look = _look_at(store, cluster, month)
    return look, month


def _look_at(store: Store, cluster: str, month: str) -> Look:
    # Without the slash, for the ledger stands beside the folder.
    return _listed(store, cluster, nodes_of(cluster, month).rstrip("/"))


def _spent(cluster: Cluster, month: str, seconds: int) -> Spent | None:
    cap = cluster.monthly_node_hours
    if cap is None or seconds < cap * 3600:
        return None
    return Spent(cluster.name, month, seconds / 3600, cap, month_after(month))


def _seconds(store: Store, cluster: str, month: str, look: Look) -> tuple[int, int]:
    """Returns the seconds of a month and how many nodes have no record any more, as of one moment.

    The list tells the ledger's number, and each change of the ledger has another one: as long as it is the same after
    the list, no record that was or was not in the list has been taken meanwhile.

    Raises:
        StorageUnavailable: the ledger changed each time.
    """
    for _ in range(_MAX_LOOKS):
        found = look.months.get(month, Month())
        ledger = found.ledger
        folding: frozenset[str] = frozenset()
        if not found.is_readable:
            _log.error("nodes: %s cannot be read; what it has summed up is not counted", node_hours(cluster, month))
        elif (ledger is not None and ledger.num_folding) or look.num_pages > 1:
            try:
                whole = read_ledger(store, cluster, month)
            except StorageCorrupt as error:
                # Too much is told rather than nothing: a cap that cannot be checked would hold up every job.
                _log.error("nodes: %s: %s", node_hours(cluster, month), error)
                whole = HoursLedger(cluster, month, number=ledger.number if ledger else 0)
            if (whole.number if whole else None) != (ledger.number if ledger else None):
                look = _look_at(store, cluster, month)
                continue
            folding = frozenset(whole.folding if whole else ())
        living = sum(node.counted_s(look.served) for node in found.nodes if node.node not in folding)
        return (ledger.seconds if ledger else 0) + living, ledger.num_nodes if ledger else 0
    raise StorageUnavailable(f"{node_hours(cluster, month)} changed {_MAX_LOOKS} times while it was read. Try again")


def read_ledger(store: Store, cluster: str, month: str) -> HoursLedger | None:
    """Returns the ledger of a month; None when there is none.

    Raises:
        StorageCorrupt: it cannot be read. StorageError: as the storage does.
    """
    blob = store.blobs.read(RUNS, node_hours(cluster, month))
    return None if blob is None else HoursLedger.from_json(blob.body)


@dataclass(slots=True)
class _Found:
    ledger: LedgerSummary | None = None
    nodes: list[NodeSummary] = field(default_factory=list)
    is_readable: bool = True


def _listed(store: Store, cluster: str, prefix: str) -> Look:
    found: dict[str, _Found] = defaultdict(_Found)
    num_pages, cursor, began = 0, "", datetime.now(UTC)
    while not num_pages or cursor:
        page = store.blobs.page(RUNS, prefix, limit=_PAGE, cursor=cursor, metadata=True)
        if page is None:
            raise StorageUnavailable(f"listing {RUNS}/{prefix}: the service forgot where it was. Try again")
        began = began if num_pages else page.served
        for entry in page.items:
            _take(found, cluster, entry)
        num_pages, cursor = num_pages + 1, page.next
    months = {month: Month(one.ledger, tuple(one.nodes), one.is_readable) for month, one in found.items()}
    return Look(months, began, num_pages)


def _take(found: Mapping[str, _Found], cluster: str, entry: PageEntry) -> None:
    month, _, node = entry.name.removeprefix(f"{NODES}{cluster}/").removesuffix(".json").partition("/")
    try:
        if node:
            found[month].nodes.append(NodeSummary.from_metadata(cluster, month, node, entry.metadata, entry.modified))
        else:
            found[month].ledger = LedgerSummary.from_metadata(entry.name, entry.metadata)
    except StorageCorrupt as error:
        _log.warning("nodes: %s", error)
        found[month].is_readable = found[month].is_readable and bool(node)
