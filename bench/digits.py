"""Real training: the digits sweep against the same trainings called in a bare loop."""

import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import yaml

from bench.requests import split
from bench.results import Breakdown, Measured, Row
from bench.system import NUM_TRAINERS, System, folder
from dropsweep.clusters import Cluster
from dropsweep.errors import SpecError
from dropsweep.spec import JobSpec, launch, read_job
from local.paths import ROOT
from local.stack import CLUSTER

_EXAMPLE: Final = ROOT / "examples" / "digits"
_NUM_TRIALS: Final = 16
_NUM_TRIALS_QUICK: Final = 6
_TIMEOUT_S: Final = 900.0


def measure(*, is_quick: bool) -> Measured:
    """Runs the example sweep on two trainers, and the same commands two at a time without any of the system.

    The sweep's time is from the drop to the job's final record, so acceptance, claims, uploads and the report are in
    it; the stack's own start is not. The loop runs once before and once after it, without a stack, and its time is the
    mean of both: what else the machine does changes from minute to minute, and how far the two differ tells how far
    the comparison can be trusted. One untimed training comes first, so that nothing reads PyTorch from disk.

    Raises:
        DropsweepError: a trial failed. subprocess.CalledProcessError: a training of the loop did.
    """
    document = _sweep(_NUM_TRIALS_QUICK if is_quick else _NUM_TRIALS)
    spec = _spec(document)
    _train("python train.py --epochs 1", folder("digits-warm"))
    loops_s = [_bare_loop(spec)]
    with System() as system:
        run = system.run(document, timeout_s=_TIMEOUT_S)
    loops_s.append(_bare_loop(spec))
    sweep_s, bare_s = run.ended - run.dropped, statistics.mean(loops_s)
    work, _ = split(run.requests, CLUSTER)
    return Measured(
        (
            Row(f"digits trials a second, {NUM_TRAINERS} trainers", spec.num_trials / sweep_s, "1/s"),
            Row(f"digits trials a second, bare loop of {NUM_TRAINERS} processes", spec.num_trials / bare_s, "1/s"),
            Row("digits: time of the sweep over time of the loop", sweep_s / bare_s, "x"),
            Row("digits: slower loop over faster loop, the noise", max(loops_s) / min(loops_s), "x"),
            Row("digits: storage operations a trial, without polling", work.total() / spec.num_trials, ""),
        ),
        (
            Breakdown(
                f"Storage operations of {spec.num_trials} digits trials, without polling",
                "a trial",
                {kind: count / spec.num_trials for kind, count in work.items()},
            ),
        ),
    )


def _sweep(num_trials: int) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((_EXAMPLE / "sweep.yaml").read_text(encoding="utf-8"))
    document["trial"]["code"] = str(_EXAMPLE)
    document["limits"]["max_total_trials"] = num_trials
    return document


def _spec(document: Mapping[str, Any]) -> JobSpec:
    """Returns the spec that the sweep gets, but for its code, which is only in storage once it was handed in."""
    trial = {key: value for key, value in document["trial"].items() if key != "code"}
    body = yaml.safe_dump({**document, "trial": trial}).encode()
    reading = read_job(body, file_name="sweep.yaml", clusters=(Cluster(CLUSTER),), seed=0, experiment="digits")
    if reading.spec is None:
        raise SpecError(reading.problems)
    return reading.spec


def _bare_loop(spec: JobSpec) -> float:
    """Returns the seconds that all trainings take, two at a time."""
    root = folder("digits-bare")
    commands = [launch(spec, spec.parameters(trial), inputs={}, outputs={}).command for trial in range(spec.num_trials)]
    began = time.monotonic()
    with ThreadPoolExecutor(NUM_TRAINERS) as pool:
        for _ in pool.map(lambda trial: _train(commands[trial], root / str(trial)), range(len(commands))):
            pass
    return time.monotonic() - began


def _train(command: str, work: Path) -> None:
    shutil.copytree(_EXAMPLE, work, dirs_exist_ok=True)
    # `python` must be the one that the trainers find.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    with (work / "stdout.txt").open("wb") as out:
        subprocess.run(["bash", "-c", command], cwd=work, env={**os.environ, "PATH": path}, stdout=out, check=True)
