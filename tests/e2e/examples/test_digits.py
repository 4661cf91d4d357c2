"""The digits example: a resumed run is the unbroken run, bit for bit, and it learns."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import dropsweep

TRAIN = Path(__file__).parents[3] / "examples" / "digits" / "train.py"
ARGUMENTS = ("--epochs", "3", "--width", "8", "--batch-size", "32", "--optimizer", "adam", "--lr", "0.01")

pytestmark = pytest.mark.skipif(
    find_spec("torch") is None or find_spec("sklearn") is None, reason="torch and scikit-learn are not installed"
)


def train(folder: Path, *more: str, **variables: str) -> tuple[list[dict[str, float]], str]:
    """Runs the script as a trainer does; returns the metrics it reported, without their times, and what it printed."""
    folder.mkdir()
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "PYTHONPATH": str(Path(dropsweep.__file__).parents[1]),
        "CUDA_VISIBLE_DEVICES": "",  # sums on a GPU are not in a fixed order
        "DROPSWEEP_METRICS": str(folder / "metrics.jsonl"),
        "DROPSWEEP_CHECKPOINTS": str(folder / "checkpoints"),
        **variables,
    }
    command = [sys.executable, str(TRAIN), *ARGUMENTS, *more]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        del line["time"]
    return lines, done.stdout


@pytest.mark.parametrize(
    ("steps_per_checkpoint", "made", "resumed_after"),
    [
        pytest.param("0", [45, 90, 135], 45, id="between two epochs"),
        pytest.param("20", [20, 40, 60, 80, 100, 120], 60, id="in the middle of an epoch"),
    ],
)
def test_a_resumed_run_has_the_losses_and_weights_of_an_unbroken_one(
    tmp_path: Path, steps_per_checkpoint: str, made: list[int], resumed_after: int
) -> None:
    interval = ("--steps-per-checkpoint", steps_per_checkpoint)
    unbroken, _ = train(tmp_path / "unbroken", *interval)
    checkpoints = tmp_path / "unbroken" / "checkpoints"
    assert sorted(path.name for path in checkpoints.iterdir()) == [f"step-{step:06}" for step in made]
    resume_from = checkpoints / f"step-{resumed_after:06}"
    resumed, printed = train(tmp_path / "resumed", *interval, DROPSWEEP_RESUME_FROM=str(resume_from))
    assert printed.startswith(f"resumed after epoch 1 ({resumed_after} of 135 steps)\n")
    assert [line["step"] for line in unbroken] == [1, 2, 3]
    assert resumed == unbroken[1:]  # JSON keeps every bit of a float
    models = [(tmp_path / run / "outputs" / "model.pt").read_bytes() for run in ("unbroken", "resumed")]
    assert models[0] == models[1]
    assert unbroken[-1]["accuracy"] > 0.7  # it learns: one class in ten is right by chance
    assert unbroken[-1]["train_loss"] < unbroken[0]["train_loss"]
