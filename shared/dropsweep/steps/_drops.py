"""The timer's look at dropped files: those that no event announced, or whose event was lost, are picked up."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from dropsweep.errors import StorageCorrupt, StorageUnavailable
from dropsweep.names import JOBS, REPAIR_RECORD, RUNS
from dropsweep.records.codec import VERSION, dump, load, time_of, time_out
from dropsweep.settings import Settings
from dropsweep.steps.pick_up import pick_up
from dropsweep.storage import Listed, Store

_log = logging.getLogger(__name__)
_MAX_DROPS: Final = 500
"""New files that one pass looks at; the next pass goes on after them."""
_OVERLAP: Final = timedelta(minutes=5)
"""A file may appear in the list later than its own time says; those of so long before the latest are remembered."""
_FILES_A_MINUTE: Final = 5000
"""One page of a list, and so one request."""
_NEVER: Final = datetime.min.replace(tzinfo=UTC) + _OVERLAP
_OUTAGE_S: Final = 120.0


def is_out_of_reach(store: Store, error: Exception) -> bool:
    """True when the storage itself is away, so that nothing else can be looked at either."""
    return isinstance(error, StorageUnavailable) and store.outage_age_s < _OUTAGE_S


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


def pick_up_missed(store: Store, settings: Settings) -> tuple[int, int]:
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
            if is_out_of_reach(store, error):
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
