"""Fold: sums up the nodes that have left, so that the hours of a month cost one list, however many nodes there were.

Reads: all records and ledgers of nodes; the records of nodes that are lost for long.
Writes (in order): `.nodes/{cluster}/{month}/{node}.json` as left, for a node that is lost for long (conditional) →
    `.nodes/{cluster}/{month}.json` (conditional: takes the seconds of final records, and names them) → these records
    are deleted → `.nodes/{cluster}/{month}.json` (conditional: names none); all of a month long ago is deleted.
Idempotent by: a record is taken once: the ledger changes only from the version that the list of the records showed, a
    final record is never changed, and no name ever comes again; who sums up leaves out those that the ledger names.
If it dies: the records that the ledger names do not count, and the next pass deletes them first.
Next: nothing.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from dropsweep.errors import DropsweepError, StorageCorrupt, StorageUnavailable
from dropsweep.names import RUNS, node_hours, node_record, nodes_of
from dropsweep.nodes import Look, Month, clusters_with_nodes, look_at_all
from dropsweep.records.node import HoursLedger, NodeSummary
from dropsweep.storage import Store

_log = logging.getLogger(__name__)
FOLD_AT: Final = 200
"""Nodes of a month that have left before they are summed up, but for the last half: so many are listed in no time."""
MONTHS_KEPT: Final = 13
"""Calendar months whose hours are kept beside the current one."""
LOST_FOR_S: Final = 3600.0
"""Silence after which a lost node is closed."""
_MAX_FOLDED: Final = 2000


@dataclass(frozen=True, slots=True)
class Folded:
    """What one pass did.

    Attributes:
        num_nodes: records that were summed up; num_closed: lost nodes that were closed.
        num_deleted: records of months long ago that were deleted.
    """

    num_nodes: int = 0
    num_closed: int = 0
    num_deleted: int = 0

    def plus(self, other: "Folded") -> "Folded":
        """Returns what both did together."""
        return Folded(
            self.num_nodes + other.num_nodes,
            self.num_closed + other.num_closed,
            self.num_deleted + other.num_deleted,
        )


def fold(store: Store, *, fold_at: int = FOLD_AT, lost_for_s: float = LOST_FOR_S) -> Folded:
    """Makes one pass over all clusters that have, or had, nodes; costs one list for them, and one for each.

    Args:
        store: the storage account.
        fold_at: nodes of a month that must have left, or be lost for long, before they are summed up.
        lost_for_s: silence after which a lost node is closed then.

    Returns:
        What was done. What is wrong with one cluster is logged and holds up no other.

    Raises:
        StorageUnavailable: the storage does not answer; the next pass goes on.
    """
    done = Folded()
    for cluster in clusters_with_nodes(store):
        try:
            look = look_at_all(store, cluster)
            for month in sorted(look.months):
                if month < _oldest(look.served):
                    done = done.plus(_delete(store, cluster, month))
                else:
                    done = done.plus(_fold(store, cluster, month, look, fold_at, lost_for_s))
        except StorageUnavailable:
            raise
        except DropsweepError:
            _log.exception("fold: the nodes of cluster %s cannot be summed up; those of the others are", cluster)
    if done != Folded():
        _log.info("fold: %s", done)
    return done


def _oldest(now: datetime) -> str:
    """Returns the oldest month that is kept."""
    year, number = now.year, now.month - MONTHS_KEPT
    while number < 1:
        year, number = year - 1, number + 12
    return f"{year:04}-{number:02}"


def _delete(store: Store, cluster: str, month: str) -> Folded:
    # By their names, for a record that cannot be read goes too.
    names = [found.name for found in store.blobs.list(RUNS, nodes_of(cluster, month))]
    store.blobs.delete_all(RUNS, [*names, node_hours(cluster, month)])
    return Folded(num_deleted=len(names))


def _fold(store: Store, cluster: str, month: str, look: Look, fold_at: int, lost_for_s: float) -> Folded:
    found = look.months[month]
    if not found.is_readable:
        raise StorageCorrupt(f"{node_hours(cluster, month)} cannot be read: mend it by hand, or delete it")
    if found.ledger is not None and found.ledger.num_folding:
        return _finish(store, cluster, month)
    final = [node for node in found.nodes if node.state.is_final]
    lost = [node for node in found.nodes if node.is_lost(look.served) and node.age_s(look.served) >= lost_for_s]
    if len(final) + len(lost) < fold_at:
        return Folded()
    num_closed = sum(_close(store, node, lost_for_s) for node in lost)
    # Those that went last stay, for people to see; those that were closed just now are not final in this list.
    due = sorted(final, key=lambda node: node.seen)[: max(0, len(final) - fold_at // 2)][:_MAX_FOLDED]
    return Folded(_take(store, cluster, month, found, due) if due else 0, num_closed)


def _close(store: Store, node: NodeSummary, lost_for_s: float) -> bool:
    """Closes the record of a lost node, so that it is final before it is summed up; False when the node speaks again.

    Should it speak later, its write fails, and it goes on with another record.
    """
    path = node_record(node.cluster, node.month, node.node)
    head = store.blobs.head(RUNS, path)
    if head is None:
        return False
    found = NodeSummary.from_metadata(node.cluster, node.month, node.node, head.metadata, head.modified)
    if found.state.is_final or found.age_s(head.served) < lost_for_s:
        return False
    gone = found.gone(head.served)
    return store.blobs.replace(RUNS, path, gone.to_json(), head.etag, gone.to_metadata()) is not None


def _take(store: Store, cluster: str, month: str, found: Month, final: Sequence[NodeSummary]) -> int:
    """Takes final records into the ledger and deletes them; 0 when another pass changed the ledger since the list."""
    path = node_hours(cluster, month)
    if found.ledger is None:
        taken = HoursLedger(cluster, month).taking(final)
        written = store.blobs.create(RUNS, path, taken.to_json(), taken.to_metadata())
    else:
        blob = store.blobs.read(RUNS, path)
        before = HoursLedger.from_json(blob.body) if blob else None
        if blob is None or before is None or before.number != found.ledger.number:
            return 0
        taken = before.taking(final)
        written = store.blobs.replace(RUNS, path, taken.to_json(), blob.etag, taken.to_metadata())
    if written is None:
        return 0
    _let_go(store, taken, written.etag)
    return len(final)


def _finish(store: Store, cluster: str, month: str) -> Folded:
    """Does what a pass left that died: deletes what the ledger has taken."""
    blob = store.blobs.read(RUNS, node_hours(cluster, month))
    ledger = HoursLedger.from_json(blob.body) if blob else None
    if blob is not None and ledger is not None and ledger.folding:
        _let_go(store, ledger, blob.etag)
    return Folded()


def _let_go(store: Store, ledger: HoursLedger, etag: str) -> None:
    store.blobs.delete_all(RUNS, [node_record(ledger.cluster, ledger.month, node) for node in ledger.folding])
    done = ledger.done()
    # Losing this write is as good: another pass has done the same.
    store.blobs.replace(RUNS, node_hours(ledger.cluster, ledger.month), done.to_json(), etag, done.to_metadata())
