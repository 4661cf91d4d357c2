"""An account with schedules and a clock that is set by hand."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from dropsweep.names import CODE, RUNS, SCHEDULES, JobKey, ScheduleKey
from dropsweep.records import JobRecord
from dropsweep.records.schedule import ScheduleRecord, TickOutcome, TickRecord
from dropsweep.schedules import Cron, Trigger, due_times
from dropsweep.settings import Settings, StorageSettings
from dropsweep.states import JobReason
from dropsweep.steps.cancel import cancel
from dropsweep.steps.tick import Ticked, tick
from dropsweep.storage import Store

KEY = ScheduleKey("vision", "hourly")
JOB = {"type": "command", "command": "echo hi"}
MINUTE = (datetime.now(UTC).minute + 30) % 60
"""Far from now, so that no test comes upon a due time by itself."""
HOURLY = {"trigger": {"type": "cron", "expression": f"{MINUTE} * * * *"}, "create_job": JOB}


class World:
    """An account without anything in it, and a clock that is set by hand."""

    def __init__(self, connection_string: str) -> None:
        self.settings = Settings(StorageSettings(connection_string))
        self.store = Store.connect(self.settings.storage)
        self.store.prepare(())
        self.empty()
        now = datetime.now(UTC)
        first = now.replace(minute=MINUTE, second=0, microsecond=0)
        self.first = first if first > now else first + timedelta(hours=1)
        """When a schedule that is dropped now is due for the first time."""

    def empty(self) -> None:
        for container in (SCHEDULES, CODE, RUNS):
            for blob in list(self.store.blobs.list(container, "")):
                self.store.blobs.delete(container, blob.name)

    def drop(self, document: dict[str, Any] | bytes, path: str = "vision/hourly.json", **changes: Any) -> None:
        body = document if isinstance(document, bytes) else json.dumps({**document, **changes}).encode()
        self.store.blobs.put(SCHEDULES, path, body)

    def at(self, hours: float, *, store: Store | None = None) -> Ticked:
        """Makes the pass some hours after the first due time, and half a minute."""
        now = self.first + timedelta(hours=hours, seconds=30)
        return tick(store or self.store, self.settings, now=now)

    def due(self, hours: int) -> datetime:
        return self.first + timedelta(hours=hours)

    def ticks(self, key: ScheduleKey = KEY) -> list[TickRecord]:
        """What became of the due times, in their order."""
        found = []
        for listed in self.store.blobs.list(RUNS, key.ticks):
            blob = self.store.blobs.read(RUNS, listed.name)
            assert blob is not None
            found.append(TickRecord.from_json(blob.body))
        return found

    def outcomes(self, key: ScheduleKey = KEY) -> list[TickOutcome]:
        return [found.outcome for found in self.ticks(key)]

    def jobs(self) -> list[JobRecord]:
        """All jobs, in the order of their paths."""
        found = []
        for listed in self.store.blobs.list(RUNS, ""):
            if listed.name.endswith("/job.json"):
                blob = self.store.blobs.read(RUNS, listed.name)
                assert blob is not None
                found.append(JobRecord.from_json(blob.body))
        return found

    def record(self, key: ScheduleKey = KEY) -> ScheduleRecord:
        blob = self.store.blobs.read(RUNS, key.state)
        assert blob is not None
        return ScheduleRecord.from_json(blob.body)

    def rewind(self, hours: int, key: ScheduleKey = KEY) -> ScheduleRecord:
        """Makes the record of HOURLY one of so many hours ago, as if the timer had not fired since."""
        blob = self.store.blobs.read(RUNS, key.state)
        assert blob is not None
        then = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=hours)
        trigger = Trigger(Cron(f"{MINUTE} * * * *"))
        upcoming = next(due_times(trigger, anchor=then, after=then))
        record = replace(self.record(key), anchor=then - timedelta(days=1), until=then, next_due=upcoming)
        assert self.store.blobs.replace(RUNS, key.state, record.to_json(), blob.etag, record.to_metadata())
        return record

    def told(self, path: str = KEY.error) -> str:
        """What is told beside a schedule's file; empty when nothing is."""
        blob = self.store.blobs.read(SCHEDULES, path)
        return "" if blob is None else blob.body.decode()

    def end(self, job: str) -> None:
        """Ends a job."""
        cancel(self.store, JobKey.parse(job))
        blob = self.store.blobs.read(RUNS, JobKey.parse(job).record)
        assert blob is not None
        ended = JobRecord.from_json(blob.body)
        if not ended.state.is_final:
            ended = ended.moved(JobReason.CANCELLED_BY_REQUEST)
            assert self.store.blobs.replace(RUNS, ended.key.record, ended.to_json(), blob.etag, ended.to_metadata())
