"""Repair: the timer's pass, which finds whatever no message points at any more.

Reads: the markers of live jobs; what advance reads of each; how many messages the clusters' queues have; the list of
    dropped files.
Writes (in order): whatever advance writes for each live job, or the marker of one that has ended (deleted) → messages
    of trials that lack one → whatever pick_up writes for a dropped file without a job → `.repair.json`.
Idempotent by: pick_up and advance are; a message that was not lost after all is only doubled, which is harmless.
If it dies: the next pass does the same.
Next: advance and attempt, by the messages.
"""

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from dropsweep.errors import NoSuchJob, NotFoundError, StorageCorrupt, StorageUnavailable
from dropsweep.messages import AdvanceMessage
from dropsweep.names import JOBS, LIVE, REPAIR_RECORD, RUNS, JobKey, trials_queue
from dropsweep.records.codec import VERSION, dump, load, time_of, time_out
from dropsweep.settings import Settings
from dropsweep.steps.advance import LastLooks, Outlook, advance, send_messages
from dropsweep.steps.pick_up import pick_up
from dropsweep.storage import Listed, Store

_log = logging.getLogger(__name__)
_LOOKERS: Final = 8
_MAX_DROPS: Final = 500
"""New files that one pass looks at; the next pass goes on after them."""
_OVERLAP: Final = timedelta(minutes=5)
"""A file may appear in the list later than its own time says; those of so long before the latest are remembered."""
_FILES_A_MINUTE: Final = 5000
"""One page of a list, and so one request."""
_NEVER: Final = datetime.min.replace(tzinfo=UTC) + _OVERLAP
_OUTAGE_S: Final = 120.0
MARKER_AGE_S: Final = 600.0
"""A marker that was written later may belong to a retry whose record comes next."""
_QUIET_S: Final = 600.0
"""Age of a job's record from which on trials that nobody runs, beside an empty queue, have lost their messages."""


@dataclass(frozen=True, slots=True)
class Repaired:
    """What one pass came upon.

    Attributes:
        num_live: jobs that have not ended.
        num_drops: dropped files that were looked at, as they are new since the last pass.
        num_sent: messages that were missing.
        num_failed: jobs and files that could not be looked at; the log tells why.
    """

    num_live: int = 0
    num_drops: int = 0
    num_sent: int = 0
    num_failed: int = 0


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
    outlooks, num_sent, num_failed = _look_at_jobs(store, settings, looks, marker_age_s)
    num_drops, num_unaccepted = _accept_drops(store, settings)
    done = Repaired(len(outlooks), num_drops, num_sent, num_failed + num_unaccepted)
    _log.info("repair: %s", done)
    return done


def _look_at_jobs(
    store: Store, settings: Settings, looks: LastLooks, marker_age_s: float
) -> tuple[list[Outlook], int, int]:
    """Passes over every live job; returns what was seen, how many messages were sent anew, and how many jobs failed."""
    markers = list(store.blobs.files(RUNS, LIVE))
    queues = [trials_queue(cluster) for cluster in settings.clusters]
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
                if _is_out_of_reach(store, error):
                    pool.shutdown(cancel_futures=True)
                    raise
                _log.exception("repair: a job cannot be looked at; the others are")
                num_failed += 1
            else:
                outlooks += [outlook] if outlook else []
    return outlooks, _send_missing(store, outlooks, counted), num_failed


def _is_out_of_reach(store: Store, error: Exception) -> bool:
    """True when the storage itself is away, so that nothing else can be looked at either."""
    return isinstance(error, StorageUnavailable) and store.outage_age_s < _OUTAGE_S


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


def _send_missing(store: Store, outlooks: Sequence[Outlook], counted: dict[str, int]) -> int:
    """Sends the messages that were lost; returns how many.

    A queue's count has every message in it, hidden ones too, and is never too low, so fewer messages than trials that
    must have one prove a loss, though not whose. Enough messages may hide one, where others are doubled: hence the
    second look at jobs that stand still beside a queue in which nothing waits.

    Source:
        https://learn.microsoft.com/rest/api/storageservices/get-queue-metadata (x-ms-approximate-messages-count)
    """
    by_queue: dict[str, list[Outlook]] = defaultdict(list)
    for outlook in outlooks:
        by_queue[trials_queue(outlook.job.cluster)].append(outlook)
    num_sent = 0
    for queue, jobs in by_queue.items():
        lacking = [job for job in jobs if job.lacking]
        if not lacking:
            continue
        num_there = max(counted.get(queue, 0), _count(store, queue))
        due = lacking if num_there < sum(job.num_messages for job in jobs) else _standing_still(store, queue, lacking)
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
    return [] if not still or store.queues.has_visible(queue) else still


@dataclass(frozen=True, slots=True)
class _Looked:
    """Which dropped files have been looked at: all older than `until`, less the overlap, and of the later ones these.

    Attributes:
        until: the time of the latest of them.
        recent: path to ETag and time.
        num_files: how many files there were in all.
    """

    until: datetime = _NEVER
    recent: Mapping[str, tuple[str, datetime]] = field(default_factory=dict)
    num_files: int = 0

    @classmethod
    def from_json(cls, body: bytes) -> "_Looked":
        """Reads what `to_json` wrote; what cannot be read counts as absent, and all files are looked at again."""
        try:
            document = load(body)
            recent = {path: (str(etag), time_of(when)) for path, (etag, when) in document["recent"].items()}
            return cls(time_of(document["until"]), recent, int(document["num_files"]))
        except (StorageCorrupt, KeyError, TypeError, ValueError, AttributeError) as error:
            _log.warning("repair: %s cannot be read and is written anew: %r", REPAIR_RECORD, error)
            return cls()

    def to_json(self) -> bytes:
        recent = {path: [etag, time_out(when)] for path, (etag, when) in self.recent.items()}
        document = {"until": time_out(self.until), "recent": recent, "num_files": self.num_files}
        return dump({"version": VERSION, **document})

    def is_due(self, now: datetime) -> bool:
        """True in each minute while there are few files; with many, in one of as many minutes as a list takes pages."""
        num_pages = 1 + self.num_files // _FILES_A_MINUTE
        return int(now.timestamp() // 60) % num_pages == 0

    def is_new(self, file: Listed) -> bool:
        seen = self.recent.get(file.name)
        return file.modified >= self.until - _OVERLAP and (seen is None or seen[0] != file.etag)

    def with_files(self, files: Sequence[Listed], num_files: int) -> "_Looked":
        until = max(self.until, *(file.modified for file in files))
        recent = {**self.recent, **{file.name: (file.etag, file.modified) for file in files}}
        late = {path: seen for path, seen in recent.items() if seen[1] >= until - _OVERLAP}
        return _Looked(until, late, num_files)


def _accept_drops(store: Store, settings: Settings) -> tuple[int, int]:
    """Accepts dropped files that no event announced; returns how many were looked at, and how many failed."""
    blob = store.blobs.read(RUNS, REPAIR_RECORD)
    looked = _Looked.from_json(blob.body) if blob else _Looked()
    if blob is not None and not looked.is_due(blob.served):
        return 0, 0
    files = list(store.blobs.list(JOBS, ""))
    new = sorted(filter(looked.is_new, files), key=lambda file: file.modified)[:_MAX_DROPS]
    num_failed = 0
    for file in new:
        try:
            pick_up(store, settings, file.name)
        except Exception as error:
            if _is_out_of_reach(store, error):
                raise
            # The event that announces a file is tried five times, and then buried.
            _log.exception("repair: the dropped file %s cannot be accepted; the others are", file.name)
            num_failed += 1
    if new:
        body = looked.with_files(new, len(files)).to_json()
        # Losing the race to another pass is as good: whatever it did not see is looked at again.
        if blob is None:
            store.blobs.create(RUNS, REPAIR_RECORD, body)
        else:
            store.blobs.replace(RUNS, REPAIR_RECORD, body, blob.etag)
    return len(new), num_failed
