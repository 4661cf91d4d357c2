"""What a worker remembers of the jobs whose trials it runs."""

import threading
import time
from collections import OrderedDict
from typing import Final

from dropsweep.names import RUNS, JobKey
from dropsweep.records import JobRecord
from dropsweep.spec import JobSpec
from dropsweep.steps.report import read_spec
from dropsweep.storage import Store

_MAX_JOBS: Final = 64


class Jobs:
    """Specs and records of the jobs at hand. Specs never change; a record is at most `max_age_s` old."""

    def __init__(self, store: Store, max_age_s: float) -> None:
        self._store = store
        self._max_age_s = max_age_s
        self._guard = threading.Lock()
        self._specs: OrderedDict[JobKey, JobSpec] = OrderedDict()
        self._records: OrderedDict[JobKey, tuple[float, JobRecord | None]] = OrderedDict()

    def spec(self, key: JobKey) -> JobSpec:
        """Returns a job's spec.

        Raises:
            StorageError: as the storage does.
        """
        with self._guard:
            spec = self._specs.get(key)
        if spec is None:
            spec = read_spec(self._store, key)
            with self._guard:
                self._specs[key] = spec
                while len(self._specs) > _MAX_JOBS:
                    self._specs.popitem(last=False)
        return spec

    def record(self, key: JobKey, *, is_fresh: bool = False) -> JobRecord | None:
        """Returns a job's record, read anew when `is_fresh`; None when it has none.

        Raises:
            StorageError: as the storage does.
        """
        with self._guard:
            read_at, record = self._records.get(key, (float("-inf"), None))
        if not is_fresh and time.monotonic() - read_at < self._max_age_s:
            return record
        asked_at = time.monotonic()
        blob = self._store.blobs.read(RUNS, key.record)
        record = None if blob is None else JobRecord.from_json(blob.body)
        with self._guard:
            self._records[key] = (asked_at, record)
            while len(self._records) > _MAX_JOBS:
                self._records.popitem(last=False)
        return record
