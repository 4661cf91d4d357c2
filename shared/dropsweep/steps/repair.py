"""Repair: the timer's pass, which finds whatever no message points at any more.

Reads: the list of dropped files; the markers of live jobs; what advance reads of each; how many messages the clusters'
    queues have.
Writes (in order): whatever accept writes for a dropped file without a job → `.repair.json` → whatever advance writes
    for each live job, or the marker of one that has ended (deleted) → messages of trials that lack one.
Idempotent by: accept and advance are; a message that was not lost after all is only doubled, which is harmless.
If it dies: the next pass does the same.
Next: advance and attempt, by the messages.
"""

import logging
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from dropsweep.errors import NotFoundError, StorageUnavailable
from dropsweep.messages import AdvanceMessage
from dropsweep.names import JOBS, LIVE, REPAIR_RECORD, RUNS, JobKey, trials_queue
from dropsweep.records.codec import VERSION, dump, load, time_of, time_out
from dropsweep.settings import Settings
from dropsweep.steps.accept import accept
from dropsweep.steps.advance import LastLooks, Outlook, advance, send_messages
from dropsweep.storage import Listed, Store

_log = logging.getLogger(__name__)
_LOOKERS: Final = 8
_MAX_DROPS: Final = 500
"""New files that one pass looks at; the next pass goes on after them."""
_OVERLAP: Final = timedelta(minutes=5)
"""A file may appear in the list later than its own time says; those of so long before the latest are remembered."""
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
    num_drops, num_failed = _accept_drops(store, settings)
    markers = list(store.blobs.list(RUNS, LIVE))
    queues = [trials_queue(cluster) for cluster in settings.clusters]
    # Both before and after the look, and the larger counts: trials end and begin meanwhile.
    counted = {queue: store.queues.count(queue) for queue in queues} if markers else {}
    outlooks: list[Outlook] = []
    with ThreadPoolExecutor(_LOOKERS, thread_name_prefix="repair") as pool:
        looked = [pool.submit(_look, store, settings, looks, marker, marker_age_s) for marker in markers]
        for future in looked:
            try:
                outlook = future.result()
            except StorageUnavailable:
                pool.shutdown(cancel_futures=True)
                raise
            except Exception:  # noqa: BLE001 - one job that cannot be looked at must not cost the others their pass
                _log.exception("repair: a job cannot be looked at; the others are")
                num_failed += 1
            else:
                outlooks += [outlook] if outlook else []
    num_sent = _send_missing(store, outlooks, counted)
    _log.info(
        "repair: %d live jobs, %d new files, %d messages sent anew, %d failures",
        *(len(outlooks), num_drops, num_sent, num_failed),
    )
    return Repaired(len(outlooks), num_drops, num_sent, num_failed)


def _look(store: Store, settings: Settings, looks: LastLooks, marker: Listed, marker_age_s: float) -> Outlook | None:
    """Passes over one job; None, and the marker is removed in time, when it has ended or is not there."""
    key = JobKey.parse(marker.name.removeprefix(LIVE))
    try:
        outlook = advance(store, settings, AdvanceMessage(key), looks)
    except NotFoundError:
        if store.blobs.head(RUNS, key.record) is not None:
            raise  # a queue is missing
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
        num_there = max(counted.get(queue, 0), store.queues.count(queue))
        if num_there >= sum(job.num_messages for job in jobs):
            still = [job for job in lacking if not job.is_running and job.age_s > _QUIET_S]
            lacking = [] if not still or store.queues.has_visible(queue) else still
        for job in lacking:
            _log.warning("repair: %s lacks messages; %d are sent anew", job.job.key.path, len(job.lacking))
            send_messages(store, job.job, job.lacking)
            num_sent += len(job.lacking)
    return num_sent


@dataclass(frozen=True, slots=True)
class _Looked:
    """Which dropped files have been looked at: all older than `until`, less the overlap, and of the later ones these.

    Attributes:
        until: the time of the latest of them.
        recent: path to ETag and time.
    """

    until: datetime
    recent: dict[str, tuple[str, datetime]]

    @classmethod
    def from_json(cls, body: bytes) -> "_Looked":
        document = load(body)
        recent = {path: (etag, time_of(modified)) for path, (etag, modified) in document["recent"].items()}
        return cls(time_of(document["until"]), recent)

    def to_json(self) -> bytes:
        recent = {path: [etag, time_out(modified)] for path, (etag, modified) in self.recent.items()}
        return dump({"version": VERSION, "until": time_out(self.until), "recent": recent})

    def is_new(self, file: Listed) -> bool:
        seen = self.recent.get(file.name)
        return file.modified >= self.until - _OVERLAP and (seen is None or seen[0] != file.etag)

    def with_files(self, files: Sequence[Listed]) -> "_Looked":
        until = max(self.until, *(file.modified for file in files))
        recent = self.recent | {file.name: (file.etag, file.modified) for file in files}
        return _Looked(until, {path: seen for path, seen in recent.items() if seen[1] >= until - _OVERLAP})


def _accept_drops(store: Store, settings: Settings) -> tuple[int, int]:
    """Accepts dropped files that no event announced; returns how many were looked at, and how many failed."""
    blob = store.blobs.read(RUNS, REPAIR_RECORD)
    looked = _Looked.from_json(blob.body) if blob else _Looked(datetime.min.replace(tzinfo=UTC) + _OVERLAP, {})
    new = sorted((file for file in store.blobs.list(JOBS, "") if looked.is_new(file)), key=lambda file: file.modified)
    new = new[:_MAX_DROPS]
    num_failed = 0
    for file in new:
        try:
            accept(store, settings, file.name)
        except StorageUnavailable:
            raise
        except Exception:  # noqa: BLE001 - as above; the event that announces a file is tried five times, then buried
            _log.exception("repair: the dropped file %s cannot be accepted; the others are", file.name)
            num_failed += 1
    if new:
        body = looked.with_files(new).to_json()
        # Losing the race to another pass is as good: whatever it did not see is looked at again.
        if blob is None:
            store.blobs.create(RUNS, REPAIR_RECORD, body)
        else:
            store.blobs.replace(RUNS, REPAIR_RECORD, body, blob.etag)
    return len(new), num_failed
