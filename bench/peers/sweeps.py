"""Sweeps of the races' trials on a running stack."""

import inspect
import json
import math
import shutil
import time
from pathlib import Path
from typing import Any, Final

from bench.peers import races, training, trial
from bench.peers.races import HIGHEST_LR, LOWEST_LR, METRIC, RACES, SEED, Race, Task
from bench.peers.taking_part import Outcome
from bench.peers.trial import IS_WARM
from dropsweep.client import Client
from dropsweep.clusters import SETTING, Cluster, dump_clusters
from dropsweep.errors import DropsweepError, NotFoundError
from dropsweep.names import JobKey
from dropsweep.records import JobRecord
from dropsweep.states import TrialState
from local.stack import CLUSTER, Stack

_WORKSPACE: Final = "race"
_LOOK_S: Final = 0.05
_LONGEST_LOOK_S: Final = 1.0
_WARM_S: Final = 120.0


def described(race: Race, num_trainers: int, num_slots: int = 1) -> dict[str, str]:
    """Returns the settings of a stack whose cluster preloads what a race's trials import, as an engineer would."""
    cluster = Cluster(
        CLUSTER,
        slots_per_node=num_slots,
        min_instances=num_trainers,
        max_instances=num_trainers,
        preload=() if race.task is Task.NO_OP else ("torch", "sklearn.datasets"),
    )
    return {SETTING: dump_clusters([cluster])}


class Sweeps:
    """A person who drops the job files of races and waits for their ends."""

    def __init__(self, stack: Stack, folder: Path, *, device: str = "cpu") -> None:
        """Makes the folder that a user would have beside the job file: the script and what it imports.

        Args:
            stack: runs, with as many slots as trials shall run at a time.
            folder: an empty folder of its own.
            device: of PyTorch.
        """
        self._stack = stack
        self._client = Client.from_connection_string(stack.connection_string)
        self._folder = folder
        self._device = device
        package = folder / "code/bench/peers"
        package.mkdir(parents=True)
        for module in (races, training):
            shutil.copy(inspect.getfile(module), package)
        shutil.copy(inspect.getfile(trial), folder / "code")

    def warm_up(self, num_trainers: int, num_slots: int = 1) -> None:
        """Runs small sweeps until each trainer has run a trial and trials begin warm.

        Where trials are never begun warm it ends after two minutes all the same.

        Raises:
            DropsweepError: not each trainer ran a trial within two minutes.
        """
        until = time.monotonic() + _WARM_S
        logs = [self._stack.logs / f"trainer-{number}.log" for number in range(1, num_trainers + 1)]
        while True:
            key = self._drop(RACES["no-op"], 4 * num_trainers * num_slots)
            self._finish(key)
            did_all = all("starts in slot" in log.read_text(encoding="utf-8", errors="replace") for log in logs)
            if did_all and all(one.metrics.get(IS_WARM) for one in self._client.trials(key)):
                return
            if time.monotonic() > until:
                break
        if not did_all:
            raise DropsweepError(f"not every trainer ran a trial within {_WARM_S:g} s. Read {self._stack.logs}")

    def run(self, race: Race) -> Outcome:
        """Drops a race's job file and waits for the job's end.

        Raises:
            DropsweepError: a part of the stack died, or not every trial completed.
        """
        return self._finish(self._drop(race, race.num_trials))

    def _drop(self, race: Race, num_trials: int) -> JobKey:
        file = self._folder / f"{race.name}-{num_trials}.json"
        file.write_text(json.dumps(self._document(race, num_trials)), encoding="utf-8")
        return self._client.submit(file, workspace=_WORKSPACE).key

    def _document(self, race: Race, num_trials: int) -> dict[str, Any]:
        arguments = f"--race {race.name} --to dropsweep --device {self._device}"
        return {
            "type": "sweep",
            "trial": {
                "code": str(self._folder / "code"),
                "command": f"python trial.py {arguments} --lr ${{{{search_space.lr}}}}",
            },
            "search_space": {
                "lr": {"type": "loguniform", "min_value": math.log(LOWEST_LR), "max_value": math.log(HIGHEST_LR)}
            },
            "sampling_algorithm": {"type": "random", "seed": SEED},
            "objective": {"goal": "maximize", "primary_metric": METRIC},
            "limits": {"max_total_trials": num_trials},
        }

    def _finish(self, key: JobKey) -> Outcome:
        """Waits until the job is final; each look takes time from the trials.

        So they are frequent only until the first trial has ended, and when the last ones should have.
        """
        progress = _Progress(time.monotonic())
        while (record := self._record(key)) is None or not record.state.is_final:
            if dead := self._stack.dead():
                raise DropsweepError("\n".join(child.obituary for child in dead))
            num_ended = sum(num for state, num in record.counts.items() if state.is_final) if record else 0
            left_s = progress.left_s(num_ended, record.num_trials if record else 0, time.monotonic())
            time.sleep(min(max(_LOOK_S, left_s / 4), _LONGEST_LOOK_S))
        num_completed = record.counts.get(TrialState.COMPLETED, 0)
        if num_completed < record.num_trials or record.best is None:
            raise DropsweepError(f"{key.path} is {record.state} with {num_completed} of {record.num_trials} trials")
        return Outcome(num_completed, record.best.metric)

    def _record(self, key: JobKey) -> JobRecord | None:
        try:
            return self._client.record(key)
        except NotFoundError:
            return None  # it is not accepted yet


class _Progress:
    """Tells from the trials that have ended when the others will have.

    A job's counts come late: it is the time of their change that says how fast trials end.
    """

    def __init__(self, began: float) -> None:
        """Begins with no trial ended."""
        self._began = self._changed = began
        self._num_ended = 0

    def left_s(self, num_ended: int, num_trials: int, now: float) -> float:
        """Returns for how many seconds trials will go on; 0 while no rate is known, and once the time has passed.

        Args:
            num_ended: of the trials, as of now.
            num_trials: all of them.
            now: of the clock that `began` is of, in seconds.
        """
        if num_ended != self._num_ended:
            self._num_ended, self._changed = num_ended, now
        if not self._num_ended:
            return 0.0
        ends = self._began + (self._changed - self._began) * num_trials / self._num_ended
        return max(0.0, ends - now)
