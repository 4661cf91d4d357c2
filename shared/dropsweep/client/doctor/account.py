"""What `doctor` sees of the account and of the functions: reached, prepared, in time, alive, and of which version."""

import contextlib
import platform
import re
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from dropsweep.client.doctor.findings import CONNECTION, Finding, Status
from dropsweep.client.doctor.here import differing
from dropsweep.client.progress import SILENT_S
from dropsweep.clusters import Cluster
from dropsweep.errors import DropsweepError, NotFoundError, StorageCorrupt
from dropsweep.names import (
    ADVANCE_QUEUE,
    CONTAINERS,
    FUNCTIONS_RECORD,
    RUNS,
    SUBMISSIONS_QUEUE,
    Priority,
    poison_queue,
    trials_queue,
    trials_queues,
)
from dropsweep.nodes import NodeList, list_nodes
from dropsweep.page.words import duration, moment, plural
from dropsweep.records.codec import load, time_of
from dropsweep.storage import Store, probe

PREPARE: Final = "Run the deployment again, or `make up` on one machine: both make what is missing"
START_FUNCTIONS: Final = "See that the function app is started, and read its log; on one machine `make up` runs it"
POISON_QUEUES: Final = poison_queue("")


@dataclass(frozen=True, slots=True)
class Bounds:
    """From when on something counts as a fault; seconds.

    Attributes:
        skew_s: how far this machine's clock may be from the storage service's.
        timer_s: age of the functions' last timer pass, of which there is one each minute.
        message_s: age of a message that the functions should have taken off a queue.
        queued_s: age of a job over which no pass has been made.
        trainer_s: age of a trial's message while no trainer works for its queue; one that starts from zero needs some
            minutes.
        heartbeat_s: age of the last heartbeat of a running trial. The default is five of the usual claim timeouts.
        cancelling_s: how long a job is being cancelled.
        node_s: how long ago a node was seen last that was unusable or went silent; an older one is not told any more.
        full_s: age of a trial's message while as many nodes as may be are at work.
    """

    skew_s: float = 5.0
    timer_s: float = 300.0
    message_s: float = 120.0
    queued_s: float = 180.0
    trainer_s: float = 600.0
    heartbeat_s: float = SILENT_S
    cancelling_s: float = 600.0
    node_s: float = 3600.0
    full_s: float = 3600.0


@dataclass(frozen=True, slots=True)
class Examined:
    """What every check may use.

    Attributes:
        store: the account.
        bounds: from when on something counts as a fault.
        clusters: whose queues there must be.
        served_clusters: the clusters that jobs may name, with what their files say as far as that is known; None: the
            functions have not told.
        queues: the names of the account's queues.
        has_all_queues: false when there are too many to list.
        served: the storage service's time at the first answer, and `at_s` this process's `time.monotonic()` then.
        functions: what the functions' last timer pass wrote; None without one.
        told: when that pass was, if `served_clusters` is what it told; None: nobody told, or whoever asks knows better.
        nodes: those of each cluster that has been looked at.
    """

    store: Store
    bounds: Bounds
    clusters: tuple[str, ...]
    served_clusters: Mapping[str, Cluster | None] | None
    queues: tuple[str, ...]
    has_all_queues: bool
    served: datetime
    at_s: float = field(default_factory=time.monotonic)
    functions: dict[str, Any] | None = None
    told: datetime | None = None
    nodes: dict[str, NodeList] = field(default_factory=dict)

    def nodes_of(self, cluster: str) -> NodeList:
        """Returns the nodes of a cluster; looks once.

        Raises:
            StorageError: as the storage does.
        """
        if cluster not in self.nodes:
            self.nodes[cluster] = list_nodes(self.store, cluster)
        return self.nodes[cluster]

    def age_s(self, when: datetime) -> float:
        """Returns seconds since `when`, by the storage service's clock; never below 0."""
        now = self.served + timedelta(seconds=time.monotonic() - self.at_s)
        return max(0.0, (now - when).total_seconds())


@dataclass(frozen=True, slots=True)
class Reached:
    """How the connection stands: what was found, and, if the account answers, its time and its queues."""

    findings: tuple[Finding, ...]
    served: datetime | None = None
    queues: tuple[str, ...] = ()
    has_all_queues: bool = True


def connection(store: Store, bounds: Bounds, now: Callable[[], datetime]) -> Reached:
    """Asks both services for something small, both at once, and compares the clocks."""
    findings: list[Finding] = []
    served: datetime | None = None
    queues: list[str] = []
    has_all = True
    blobs, queue_service = probe.blob_access(store), probe.queue_access(store)
    with ThreadPoolExecutor(1, thread_name_prefix="doctor") as pool:
        listing = pool.submit(probe.queue_names, store)
        try:
            first, answer = [probe.reach(store, RUNS, FUNCTIONS_RECORD) for _ in range(2)]
            here, served = now(), answer.served
        except DropsweepError as error:
            findings.append(_unreached("blobs", blobs, error))
        else:
            told = f"{blobs.url} answers in {1000 * answer.took_s:.0f} ms ({1000 * first.took_s:.0f} ms the first time)"
            findings.append(Finding(CONNECTION, Status.OK, f"{told}; proof of who asks: {blobs.identity}"))
    try:
        queues, has_all = listing.result()
    except DropsweepError as error:
        findings.append(_unreached("queues", queue_service, error))
    else:
        findings.append(Finding(CONNECTION, Status.OK, f"{queue_service.url} answers; {plural(len(queues), 'queue')}"))
    if served is not None:
        findings.append(_clock(here, served, bounds.skew_s))
    return Reached(tuple(findings), served, tuple(queues), has_all)


def containers(of: Examined) -> Iterator[Finding]:
    """Looks for every container."""
    missing = [name for name in CONTAINERS if not probe.has_container(of.store, name)]
    if missing:
        told = f"there is no container {', '.join(missing)}: there must be {', '.join(CONTAINERS)}"
        yield Finding("containers", Status.ERROR, told, PREPARE)
    else:
        yield Finding("containers", Status.OK, f"all {len(CONTAINERS)} are there: {', '.join(CONTAINERS)}")


def queues(of: Examined) -> Iterator[Finding]:
    """Looks for every queue that a message may be sent to."""
    needed = [ADVANCE_QUEUE, SUBMISSIONS_QUEUE]
    needed += [queue for cluster in of.clusters for queue in trials_queues(cluster)]
    missing = [name for name in needed if name not in of.queues]
    if missing and of.has_all_queues:
        told = f"there is no queue {', '.join(missing)}: there must be {', '.join(needed)}"
        yield Finding("queues", Status.ERROR, told, PREPARE)
    elif missing:
        told = f"not among the first {probe.MAX_QUEUES:,} queues of the account, and so not known: {', '.join(missing)}"
        yield Finding("queues", Status.WARNING, told, "Use an account of its own for Dropsweep")
    elif not of.clusters:
        rule = f"a job needs a queue {trials_queue('…')} to go to"
        yield Finding("queues", Status.ERROR, f"the account has no cluster's queue: {rule}", PREPARE)
    else:
        yield Finding("queues", Status.OK, f"all {len(needed)} are there: {', '.join(needed)}")


@dataclass(frozen=True, slots=True)
class Work:
    """What stands in all queues of a cluster.

    Attributes:
        num_visible: messages that a trainer could take now, or the least that there are of them.
        is_all: no queue has more of them than the service shows at once.
        oldest: when the oldest of these was sent, by the service's clock; None without one.
        by_priority: those that are of another priority than the normal one.
    """

    num_visible: int
    is_all: bool
    oldest: datetime | None
    by_priority: Mapping[Priority, int]

    def in_words(self) -> str:
        """Returns how many messages there are, and of which priority."""
        special = ", ".join(f"{number} {priority}" for priority, number in self.by_priority.items() if number)
        told = f"{'' if self.is_all else 'at least '}{plural(self.num_visible, 'message')}"
        return f"{told} ({special})" if special else told


def work_of(store: Store, cluster: str) -> Work:
    """Returns what stands in the queues of a cluster; one operation for each, two for one that is not empty.

    Raises:
        NotFoundError: it has no queue for work of normal priority. StorageError: as the storage does.
    """
    found = {Priority.NORMAL: probe.waiting(store, trials_queue(cluster))}
    for priority in (Priority.HIGH, Priority.LOW):
        # Accounts that were prepared for an earlier version have none; `queues` tells.
        with contextlib.suppress(NotFoundError):
            found[priority] = probe.waiting(store, trials_queue(cluster, priority))
    sent = [each.oldest for each in found.values() if each.oldest is not None]
    return Work(
        sum(each.num_visible for each in found.values()),
        all(each.num_visible < probe.MAX_PEEKED for each in found.values()),
        min(sent, default=None),
        {priority: each.num_visible for priority, each in found.items() if priority is not Priority.NORMAL},
    )


def functions_record(store: Store) -> dict[str, Any] | None:
    """Reads what the functions' last timer pass wrote; None before the first one.

    Raises:
        StorageCorrupt: it cannot be read. StorageError, NotFoundError: as the storage does.
    """
    blob = store.blobs.read(RUNS, FUNCTIONS_RECORD)
    if blob is None or not blob.body:  # the first pass writes it empty, to learn the service's time
        return None
    try:
        document = load(blob.body)
        time_of(document["at"]), str(document["dropsweep"])
    except (StorageCorrupt, KeyError, TypeError, ValueError, AttributeError) as error:
        raise StorageCorrupt(
            f"{RUNS}/{FUNCTIONS_RECORD} cannot be read: {error!r}. Delete it: the next timer pass writes it anew"
        ) from error
    return document


def functions(of: Examined) -> Iterator[Finding]:
    """Tells whether the functions live, and whether they are of the same version as this side."""
    yield from _timer(of)
    for queue in (ADVANCE_QUEUE, SUBMISSIONS_QUEUE):
        if queue not in of.queues:
            continue
        found = probe.waiting(of.store, queue)
        age_s = of.age_s(found.oldest) if found.oldest else 0.0
        if age_s > of.bounds.message_s:
            told = f"{_at_least(found)} on queue {queue}, the oldest for {duration(age_s)}"
            rule = f"the functions take each within seconds, and {duration(of.bounds.message_s)} is the bound"
            yield Finding("functions", Status.ERROR, f"{told}: {rule}", START_FUNCTIONS)


def _timer(of: Examined) -> Iterator[Finding]:
    if of.functions is None:
        told = (
            f"the functions' timer has not made its first pass: it makes one a minute, and leaves word of it in "
            f"{RUNS}/{FUNCTIONS_RECORD}"
        )
        made = probe.container_made(of.store, RUNS)
        if made is not None and of.age_s(made) <= of.bounds.message_s:
            told = f"{told}; the account was prepared {duration(of.age_s(made))} ago"
            yield Finding("functions", Status.OK, told, "Wait a minute")
        else:
            yield Finding("functions", Status.ERROR, told, START_FUNCTIONS)
        return
    at, version = time_of(of.functions["at"]), str(of.functions["dropsweep"])
    age_s = of.age_s(at)
    told = f"the last timer pass was {duration(age_s)} ago ({moment(at)})"
    if age_s > of.bounds.timer_s:
        rule = f"there is one a minute, and {duration(of.bounds.timer_s)} is the bound"
        yield Finding("functions", Status.ERROR, f"{told}: {rule}", START_FUNCTIONS)
    else:
        yield Finding("functions", Status.OK, f"{told}, by dropsweep {version}")
    num_failed = of.functions.get("num_failed", 0)
    if isinstance(num_failed, int) and num_failed > 0:
        what = "job or file" if num_failed == 1 else "jobs or files"
        told = f"{num_failed:,} {what} could not be dealt with in the last timer pass"
        yield Finding("functions", Status.WARNING, told, "Read the function app's log, which tells why of each")
    if another := differing("the functions", version):
        yield another


def _clock(here: datetime, served: datetime, bound_s: float) -> Finding:
    # The Date has whole seconds: half of one is the middle of what it may stand for.
    skew_s = (here - served).total_seconds() - 0.5
    whose = f"the clock of {platform.node() or 'this machine'} is"
    told = f"{whose} {abs(skew_s):.0f} s {'ahead of' if skew_s > 0 else 'behind'} the storage service's"
    if abs(skew_s) > bound_s:
        rule = f"more than {bound_s:g} s make links end early, and logs hard to compare"
        return Finding("clock", Status.WARNING, f"{told}: {rule}", "Have it set by the network (NTP)")
    return Finding("clock", Status.OK, f"{whose} within {bound_s:g} s of the storage service's")


def _unreached(what: str, access: probe.Access, error: DropsweepError) -> Finding:
    told, remedy = str(error), ""
    for mark in (". Check the key", ". Is the account's name"):
        told, found, rest = told.partition(mark)
        remedy = f"{mark[2:]}{rest}" if found else remedy
    reason = re.search(r"\[Errno -?\d+\] ([^\"')\]]+)", told)
    why = reason[1] if reason else "no answer in time" if "timed out" in told else told
    message = f"the {what} at {access.url} cannot be had ({access.identity}): {why.rstrip('.')}"
    return Finding(CONNECTION, Status.ERROR, message, remedy.rstrip(".") or "Check DROPSWEEP_STORAGE")


def _at_least(found: probe.Waiting) -> str:
    more = " or more" if found.num_visible == probe.MAX_PEEKED else ""
    waits = "message waits" if found.num_visible == 1 else "messages wait"
    return f"{found.num_visible}{more} {waits}"
