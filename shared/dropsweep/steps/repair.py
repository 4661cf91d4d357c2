"""Repair: the timer's pass, which finds whatever no message points at any more.

Reads: the policy files and the ledgers of workspaces; the markers of live jobs; what advance reads of each; how many
    messages the clusters' queues have, and the nodes of a cluster beside whose queue jobs stand still; the list of
    dropped files; what delete reads.
Writes (in order): what is wrong with a policy file, beside it → whatever advance writes for each live job, or the
    marker of one that has ended (deleted) → messages of trials that lack one → ledgers (conditional: limits as the
    policy files say, no entries of jobs that have ended) → whatever pick_up writes for a dropped file without a job →
    `.repair.json` → whatever delete writes → `.functions.json`.
Idempotent by: pick_up, advance and delete are; a message that was not lost after all is only doubled, which is
    harmless.
If it dies: the next pass does the same.
Next: advance and attempt, by the messages.
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Final, TypeVar

from dropsweep.clusters import SETUP_RETRY_S
from dropsweep.errors import NoSuchJob, NotFoundError
from dropsweep.messages import AdvanceMessage
from dropsweep.names import FUNCTIONS_RECORD, LIVE, RUNS, JobKey, trials_queue, trials_queues
from dropsweep.nodes import list_nodes
from dropsweep.records.codec import VERSION, dump, time_out
from dropsweep.settings import Settings
from dropsweep.states import NodeState
from dropsweep.steps._drops import is_out_of_reach, pick_up_missed
from dropsweep.steps._ledgers import check_ledgers
from dropsweep.steps.advance import LastLooks, Outlook, advance, send_messages
from dropsweep.steps.delete import finish_deletions
from dropsweep.storage import Listed, Store
from dropsweep.version import __version__

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
_LOOKERS: Final = 8
MARKER_AGE_S: Final = 600.0
"""A marker that was written later may belong to a retry whose record comes next."""
_SLACK_S: Final = 60.0
"""For a node that takes the message which has just become visible again, and tells that it is being prepared."""
_QUIET_S: Final = 600.0
"""Age of a job's record from which on trials that nobody runs, beside an empty queue, have lost their messages."""


@dataclass(frozen=True, slots=True)
class Repaired:
    """What one pass came upon.

    Attributes:
        num_live: jobs that have not ended.
        num_drops: dropped files that were looked at, as they are new since the last pass.
        num_sent: messages that were missing.
        num_failed: jobs, files and parts of the pass that could not be dealt with; the log tells why.
        num_deleted: blobs that were deleted, of jobs that are to go.
    """

    num_live: int = 0
    num_drops: int = 0
    num_sent: int = 0
    num_failed: int = 0
    num_deleted: int = 0


def repair(store: Store, settings: Settings, looks: LastLooks, *, marker_age_s: float = MARKER_AGE_S) -> Repaired:
    """Makes one pass over everything that has not ended.

    Args:
        store: the storage account.
        settings: the deployment's limits and clusters.
        looks: this process's memory of its passes over jobs.
        marker_age_s: age from which on the marker of a job that has ended is removed.

    Raises:
        StorageUnavailable: the pass ends here; the next one does what is left.
    """
    parts = _Parts(store)
    # First, so that each look at a job goes by the policy files as they are now.
    parts.run("the policy files", lambda: looks.policies.check(store))
    outlooks, num_sent, num_failed = _look_at_jobs(store, settings, looks, marker_age_s)
    live = {outlook.job.key: outlook.job for outlook in outlooks}
    parts.run("the ledgers of quotas", lambda: check_ledgers(store, looks.policies, live))
    num_drops, num_unaccepted = parts.run("dropped files", lambda: pick_up_missed(store, settings)) or (0, 0)
    num_deleted = parts.run("deletions", lambda: finish_deletions(store)) or 0
    done = Repaired(
        num_live=len(outlooks),
        num_drops=num_drops,
        num_sent=num_sent,
        num_failed=num_failed + num_unaccepted + parts.num_failed,
        num_deleted=num_deleted,
    )
    _log.info("repair: %s", done)
    _sign(store, settings, done)
    return done


class _Parts:
    """Parts of a pass that do not need each other: what is wrong with one is logged and costs the others nothing."""

    def __init__(self, store: Store) -> None:
        self.num_failed = 0
        self._store = store

    def run(self, what: str, act: Callable[[], _T]) -> _T | None:
        """Runs one part; None when it failed.

        Raises:
            StorageUnavailable: the storage itself is away.
        """
        try:
            return act()
        except Exception as error:
            if is_out_of_reach(self._store, error):
                raise
            _log.exception("repair: %s cannot be dealt with; the rest is", what)
            self.num_failed += 1
            return None


def _sign(store: Store, settings: Settings, done: Repaired) -> None:
    """Leaves word that the functions live, which version they are of, and what the pass came upon."""
    head = store.blobs.head(RUNS, FUNCTIONS_RECORD)
    # The first pass asks the service for its time by a write.
    now = head.served if head else store.blobs.put(RUNS, FUNCTIONS_RECORD, b"").modified
    document = {
        "version": VERSION,
        "dropsweep": __version__,
        "at": time_out(now),
        "clusters": [cluster.to_dict() for cluster in settings.clusters],
    }
    store.blobs.put(RUNS, FUNCTIONS_RECORD, dump(document | asdict(done)))


def _look_at_jobs(
    store: Store, settings: Settings, looks: LastLooks, marker_age_s: float
) -> tuple[list[Outlook], int, int]:
    """Passes over every live job; returns what was seen, how many messages were sent anew, and how many jobs failed."""
    markers = list(store.blobs.files(RUNS, LIVE))
    queues = [queue for cluster in settings.cluster_names for queue in trials_queues(cluster)]
    # Both before and after the look, and the larger counts: trials end and begin meanwhile.
    counted = {queue: _count(store, queue) for queue in queues} if markers else {}
    outlooks: list[Outlook] = []
    num_failed = 0
    with ThreadPoolExecutor(_LOOKERS, thread_name_prefix="repair") as pool:
        looked = [pool.submit(_look, store, settings, looks, marker, marker_age_s) for marker in markers]
        for future in looked:
            try:
                outlook = future.result()
            except Exception as error:
                if is_out_of_reach(store, error):
                    pool.shutdown(cancel_futures=True)
                    raise
                _log.exception("repair: a job cannot be looked at; the others are")
                num_failed += 1
            else:
                outlooks += [outlook] if outlook else []
    return outlooks, _send_missing(store, settings, looks, outlooks, counted), num_failed


def _count(store: Store, queue: str) -> int:
    """How many messages a queue has; 0 for one that does not exist, which `_send_missing` finds out and tells."""
    try:
        return store.queues.count(queue)
    except NotFoundError:
        return 0


def _look(store: Store, settings: Settings, looks: LastLooks, marker: Listed, marker_age_s: float) -> Outlook | None:
    """Passes over one job; None, and the marker is removed in time, when it has ended or is not there."""
    key = JobKey.parse(marker.name.removeprefix(LIVE))
    try:
        outlook = advance(store, settings, AdvanceMessage(key), looks)
    except NoSuchJob:
        outlook = None
    if outlook is None:
        head = store.blobs.head(RUNS, marker.name)
        # Its version too: a retry that writes the marker anew after this look keeps it.
        if head is not None and head.age_s >= marker_age_s:
            store.blobs.delete(RUNS, marker.name, etag=head.etag)
    return outlook


def _send_missing(
    store: Store, settings: Settings, looks: LastLooks, outlooks: Sequence[Outlook], counted: dict[str, int]
) -> int:
    """Sends the messages that were lost; returns how many.

    A queue's count has every message in it, hidden ones too, and is never too low, so fewer messages than trials that
    must have one prove a loss, though not whose. Enough messages may hide one, where others are doubled: hence the
    second look at jobs that stand still beside a queue in which nothing waits.

    Source:
        https://learn.microsoft.com/rest/api/storageservices/get-queue-metadata (x-ms-approximate-messages-count)
    """
    by_queue: dict[str, list[Outlook]] = defaultdict(list)
    for outlook in outlooks:
        by_queue[trials_queue(outlook.job.cluster, outlook.job.priority)].append(outlook)
    num_sent = 0
    for queue, jobs in by_queue.items():
        lacking = [job for job in jobs if job.lacking]
        if not lacking:
            continue
        if looks.spent(store, settings, lacking[0].job):
            continue  # the trainers delete the messages: the first pass that finds hours left sends them anew
        num_there = max(counted.get(queue, 0), _count(store, queue))
        is_short = num_there < sum(job.num_messages for job in jobs)
        due = lacking if is_short else _standing_still(store, queue, lacking)
        for job in due:
            _log.warning("repair: %s lacks messages; %d are sent anew", job.job.key.path, len(job.lacking))
            try:
                send_messages(store, job.job, job.lacking)
            except NotFoundError as error:
                _log.error("repair: %s waits for its cluster: %s", job.job.key.path, error)
                continue
            num_sent += len(job.lacking)
    return num_sent


def _standing_still(store: Store, queue: str, jobs: Sequence[Outlook]) -> list[Outlook]:
    """Returns the jobs whose messages are lost although the count is high enough, for others are doubled."""
    still = [job for job in jobs if not job.is_running and job.age_s > _QUIET_S]
    if not still or store.queues.has_visible(queue) or _hides_messages(store, still[0].job.cluster):
        return []
    return still


def _hides_messages(store: Store, cluster: str) -> bool:
    """True while messages may be hidden of which nothing is lost: by nodes whose setup runs, or failed just now."""
    nodes = list_nodes(store, cluster)
    return any(node.state is NodeState.PREPARING for node in nodes.living) or any(
        node.state is NodeState.UNUSABLE and node.age_s(nodes.now) < SETUP_RETRY_S + _SLACK_S for node in nodes.nodes
    )
