"""A whole deployment in one process: what the functions do is called by hand, a worker serves in a thread."""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from dropsweep.clusters import Cluster
from dropsweep.messages import AdvanceMessage
from dropsweep.names import ADVANCE_QUEUE, JOBS, MANIFEST_SUFFIX, RUNS, JobKey
from dropsweep.records import JobRecord, TrialRecord
from dropsweep.settings import Settings
from dropsweep.states import TrialState
from dropsweep.steps.advance import LastLooks, advance
from dropsweep.steps.pick_up import pick_up
from dropsweep.storage import Store
from dropsweep_trainer.sharing.slots import Slot
from dropsweep_trainer.worker.worker import Worker


class Deployment:
    """Drops files, passes over jobs and reads records, on a cluster (and so a queue) of its own."""

    def __init__(self, store: Store, settings: Settings, workspace: str, work: Path) -> None:
        self.store = store
        self.cluster = workspace
        self.settings = replace(settings, clusters=(Cluster(workspace, preload=()),))
        self.workspace = workspace
        self.work = work
        self.looks = LastLooks()
        store.prepare((workspace,))

    def drop(self, document: dict[str, Any], path: str = "e/job.json") -> JobKey:
        """Drops a job file and accepts it."""
        name = f"{self.workspace}/{path}"
        self.store.blobs.put(JOBS, name, json.dumps(document).encode())
        key = pick_up(self.store, self.settings, name)
        assert key is not None
        return key

    def look(self, key: JobKey, *, is_repeat: bool = False) -> JobRecord:
        """Passes over the job as the function `advance` does, and returns its record."""
        advance(self.store, self.settings, AdvanceMessage(key), self.looks, is_repeat=is_repeat)
        return self.job(key)

    def job(self, key: JobKey) -> JobRecord:
        blob = self.store.blobs.read(RUNS, key.record)
        assert blob is not None
        return JobRecord.from_json(blob.body)

    def trial(self, key: JobKey, trial: int) -> TrialRecord:
        blob = self.store.blobs.read(RUNS, key.trial(trial))
        assert blob is not None
        return TrialRecord.from_json(blob.body)

    def state(self, key: JobKey, trial: int) -> TrialState:
        """The state of a trial, with or without a record."""
        blob = self.store.blobs.read(RUNS, key.trial(trial))
        return TrialState.QUEUED if blob is None else TrialRecord.from_json(blob.body).state

    def has_manifest(self, key: JobKey, trial: int) -> bool:
        """True once the trial has a whole checkpoint."""
        return any(blob.name.endswith(MANIFEST_SUFFIX) for blob in self.store.blobs.list(RUNS, key.checkpoints(trial)))

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
            cluster=self.settings.clusters[0],
            slots=[Slot()] * num_slots,
            work=self.work / name,
            exit_when_idle_s=idle_s,
        )

    def run(self, key: JobKey, *, num_slots: int = 4) -> JobRecord:
        """Advances the job and serves its trials until it is final."""
        while not (job := self.look(key)).state.is_final:
            self.worker(num_slots=num_slots).run()
        return job

    def finish(self, key: JobKey) -> JobRecord:
        """Advances the job, whose trials somebody else serves, until it is final."""
        until(lambda: self.look(key).state.is_final)
        return self.job(key)

    def deliver_hints(self) -> None:
        """Advances the jobs of this workspace whose hints are on the queue, as the function does."""
        while found := self.store.queues.receive(ADVANCE_QUEUE, visibility_s=1, max_messages=32):
            for message in found:
                hint = AdvanceMessage.from_text(message.text)
                if hint.job.workspace == self.workspace:
                    advance(self.store, self.settings, hint, self.looks)
                    self.store.queues.delete(message)


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


COUNT_UP = """
step=0
if [ -n "$DROPSWEEP_RESUME_FROM" ]; then step=$(cat "$DROPSWEEP_RESUME_FROM/step"); echo resumed from $step; fi
while [ $step -lt {steps} ]; do
  step=$((step + 1))
  printf '{{"step": %s, "score": %s}}\\n' $step $step >> "$DROPSWEEP_METRICS"
  mkdir "$DROPSWEEP_CHECKPOINTS/.new"; echo $step > "$DROPSWEEP_CHECKPOINTS/.new/step"
  mv "$DROPSWEEP_CHECKPOINTS/.new" "$DROPSWEEP_CHECKPOINTS/step-$step"
  echo step $step; sleep {pause}
done
"""
"""A training script in shell: counts up, makes a checkpoint at each step, resumes from one."""

ENDS_WHEN_RESUMED = f"""
last=60
if [ -n "$DROPSWEEP_RESUME_FROM" ]; then last=$(($(cat "$DROPSWEEP_RESUME_FROM/step") + 3)); fi
{COUNT_UP.format(steps="$last", pause=0.3)}"""
"""The same, which goes on for long, and makes three more steps once it has been resumed."""

REPORT_X = """printf '{"step": 1, "score": %s}\\n' ${{search_space.x}} >> "$DROPSWEEP_METRICS" """


def until(holds: Callable[[], bool], timeout_s: float = 60.0) -> None:
    """Waits until something holds, which takes a moment on a machine with nothing else to do; fails without it."""
    end = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.05)
