"""A whole deployment in one process: what the functions do is called by hand, a worker serves in a thread."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dropsweep.messages import AdvanceMessage
from dropsweep.names import JOBS, RUNS, JobKey
from dropsweep.records import JobRecord, TrialRecord
from dropsweep.settings import Settings
from dropsweep.steps.accept import accept
from dropsweep.steps.advance import LastLooks, advance
from dropsweep.storage import Store
from dropsweep_trainer.worker import Worker


class Deployment:
    """Drops files, passes over jobs and reads records, on a cluster (and so a queue) of its own."""

    def __init__(self, store: Store, settings: Settings, workspace: str, work: Path) -> None:
        self.store = store
        self.cluster = workspace
        self.settings = Settings(
            settings.storage,
            clusters=(workspace,),
            heartbeat_s=settings.heartbeat_s,
            claim_timeout_s=settings.claim_timeout_s,
            grace_s=settings.grace_s,
            dispatch_window=settings.dispatch_window,
        )
        self.workspace = workspace
        self.work = work
        self.looks = LastLooks()
        store.prepare((workspace,))

    def drop(self, document: dict[str, Any], path: str = "e/job.json") -> JobKey:
        """Drops a job file and accepts it."""
        name = f"{self.workspace}/{path}"
        self.store.blobs.put(JOBS, name, json.dumps(document).encode())
        key = accept(self.store, self.settings, name)
        assert key is not None
        return key

    def look(self, key: JobKey, *, is_repeat: bool = False) -> JobRecord:
        """Passes over the job as the function `advance` does, and returns its record."""
        advance(self.store, AdvanceMessage(key), self.looks, is_repeat=is_repeat)
        return self.job(key)

    def job(self, key: JobKey) -> JobRecord:
        blob = self.store.blobs.read(RUNS, key.record)
        assert blob is not None
        return JobRecord.from_json(blob.body)

    def trial(self, key: JobKey, trial: int) -> TrialRecord:
        blob = self.store.blobs.read(RUNS, key.trial(trial))
        assert blob is not None
        return TrialRecord.from_json(blob.body)

    def text(self, path: str) -> str:
        blob = self.store.blobs.read(RUNS, path)
        assert blob is not None
        return blob.body.decode()

    def worker(
        self, *, num_slots: int = 1, name: str = "worker", idle_s: float | None = 0.6, store: Store | None = None
    ) -> Worker:
        return Worker(
            store or self.store,
            self.settings,
            name=name,
            cluster=self.cluster,
            slot_environments=[{}] * num_slots,
            work=self.work / name,
            exit_when_idle_s=idle_s,
        )

    def run(self, key: JobKey, *, num_slots: int = 4) -> JobRecord:
        """Advances the job and serves its trials until it is final."""
        while not (job := self.look(key)).state.is_final:
            self.worker(num_slots=num_slots).run()
        return job


def sweep(command: str, num_trials: int = 4, **more: Any) -> dict[str, Any]:
    """A sweep over x in 0, 1, … with the primary metric `score`."""
    return {
        "type": "sweep",
        "trial": {"command": command},
        "search_space": {"x": {"type": "choice", "values": list(range(num_trials))}},
        "sampling_algorithm": "grid",
        "objective": {"goal": "maximize", "primary_metric": "score"},
        **more,
    }


def command(text: str, **more: Any) -> dict[str, Any]:
    return {"type": "command", "command": text, **more}


REPORT_X = """printf '{"step": 1, "score": %s}\\n' ${{search_space.x}} >> "$DROPSWEEP_METRICS" """


def until(holds: Callable[[], bool], timeout_s: float = 20.0) -> None:
    """Waits until something holds; fails when it does not come about."""
    end = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.05)
