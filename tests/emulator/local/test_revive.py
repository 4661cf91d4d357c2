"""The real parts of the soak: what died is back at once, and the trial's script does what its plan says."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dropsweep.names import JOBS
from dropsweep.settings import StorageSettings
from dropsweep.storage import Store
from local.leash import descendants
from local.soak.ledger import Ledger, Work
from local.soak.plan import SCRIPT, Ending, TrialPlan
from local.stack import Stack

from .conftest import APP, wait_until

_SLEEPER = [sys.executable, "-c", "import time; time.sleep(600)"]


def test_whatever_died_is_back_at_once_and_the_storage_at_its_address_with_all_it_had_acknowledged(
    tmp_path: Path,
) -> None:
    settings = {"QUEUE": "revive-test", "CONTAINER": "revive-test", "RECORD": str(tmp_path / "record")}
    with Stack(tmp_path, app=APP, num_trainers=2, trainer_command=_SLEEPER, settings=settings) as stack:
        address = stack.connection_string
        assert stack.revive() == []
        before = {child.name: child for child in stack.children}
        store = Store.connect(StorageSettings(connection_string=address))
        store.blobs.put(JOBS, "w/e/kept.yaml", b"acknowledged")
        for name, number in (("azurite", signal.SIGTERM), ("host", signal.SIGKILL), ("trainer-2", signal.SIGKILL)):
            os.kill(descendants(before[name].pid)[0], number)
        wait_until(lambda: len(stack.dead()) == 3, "all three are dead")
        assert stack.revive() == ["azurite", "host", "trainer-2"]
        assert stack.dead() == []
        assert stack.connection_string == address
        assert [child.name for child in stack.children] == list(before)
        same = {child.name for child in stack.children if child is before[child.name]}
        assert same == {"trainer-1"}
        blob = store.blobs.read(JOBS, "w/e/kept.yaml")
        assert blob is not None
        assert blob.body == b"acknowledged"


def attempt(folder: Path, plan: TrialPlan, number: int, resume: Path | None = None) -> int:
    """Runs the trial's script as the trainer would; returns its exit status."""
    checkpoints = folder / f"checkpoints-{number}"
    checkpoints.mkdir()
    env = {
        **os.environ,
        "DROPSWEEP_JOB": "w/e/job",
        "DROPSWEEP_TRIAL": str(plan.index),
        "DROPSWEEP_ATTEMPT": str(number),
        "DROPSWEEP_METRICS": str(folder / "metrics.jsonl"),
        "DROPSWEEP_CHECKPOINTS": str(checkpoints),
        **({"DROPSWEEP_RESUME_FROM": str(resume)} if resume else {}),
    }
    command = ["sh", str(SCRIPT / "work.sh"), plan.text, str(folder / "ledger")]
    return subprocess.run(command, env=env, cwd=folder, check=False, timeout=60).returncode


@pytest.mark.parametrize(
    ("ending", "statuses"), [(Ending.OK, [0, 0]), (Ending.REFUSED, [1, 1]), (Ending.RETRIED, [75, 0])]
)
def test_the_script_ends_as_its_plan_says(tmp_path: Path, ending: Ending, statuses: list[int]) -> None:
    plan = TrialPlan(7, 1, 1, ending)
    assert [attempt(tmp_path, plan, number) for number in (1, 2)] == statuses
    ledger = Ledger.read(tmp_path / "ledger")
    assert ledger.begun == ledger.ended == {Work("w/e/job", 7): 2}


def test_the_script_reports_the_planned_metric_also_when_it_resumes(tmp_path: Path) -> None:
    plan = TrialPlan(7, 4, 1)
    metrics = tmp_path / "metrics.jsonl"
    assert attempt(tmp_path, plan, 1) == 0
    assert f'"total": {plan.metric:.0f}}}' in metrics.read_text().splitlines()[-1]
    metrics.unlink()
    assert attempt(tmp_path, plan, 2, resume=tmp_path / "checkpoints-1" / "step-2") == 0
    lines = metrics.read_text().splitlines()
    assert len(lines) == 2
    assert f'"total": {plan.metric:.0f}}}' in lines[-1]
