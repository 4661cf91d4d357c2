"""The shell example keeps the contract: metrics lines, whole checkpoints, resume, a result."""

import math
import os
import subprocess
from pathlib import Path

import pytest

from dropsweep import metrics

WORK = Path(__file__).parents[3] / "examples" / "shell" / "work.sh"


def run_work(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs the script as a trainer does, with its files in the folder."""
    environment = {
        "PATH": os.environ["PATH"],
        "DROPSWEEP_METRICS": str(folder / "metrics.jsonl"),
        "DROPSWEEP_CHECKPOINTS": str(folder / "checkpoints"),
        **variables,
    }
    return subprocess.run(
        ["sh", str(WORK), *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("rule", ["midpoint", "trapezoid", "simpson"])
def test_each_rule_comes_nearer_to_pi_round_by_round(rule: str, tmp_path: Path) -> None:
    done = run_work(tmp_path, rule, "6")
    assert done.returncode == 0, done.stderr
    points = metrics.parse((tmp_path / "metrics.jsonl").read_bytes().splitlines())
    assert [point.step for point in points] == [1, 2, 3, 4, 5, 6]
    errors = [point.values["error"] for point in points]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-4
    assert math.isclose(float((tmp_path / "outputs" / "result.txt").read_text()), math.pi, abs_tol=1e-4)


def test_a_resumed_run_ends_as_an_unbroken_one(tmp_path: Path) -> None:
    unbroken, resumed = tmp_path / "unbroken", tmp_path / "resumed"
    unbroken.mkdir()
    resumed.mkdir()
    assert run_work(unbroken, "midpoint", "6").returncode == 0
    checkpoint = unbroken / "checkpoints" / "round-004"
    assert run_work(resumed, "midpoint", "6", DROPSWEEP_RESUME_FROM=str(checkpoint)).returncode == 0
    lines = (unbroken / "metrics.jsonl").read_text().splitlines()
    assert (resumed / "metrics.jsonl").read_text().splitlines() == lines[4:]
    assert (resumed / "outputs" / "result.txt").read_bytes() == (unbroken / "outputs" / "result.txt").read_bytes()
    assert sorted(path.name for path in (resumed / "checkpoints").iterdir()) == ["round-005", "round-006"]


def test_an_unknown_rule_fails_and_says_so(tmp_path: Path) -> None:
    done = run_work(tmp_path, "guess", "3")
    assert done.returncode != 0
    assert "unknown rule: guess" in done.stderr
    assert not (tmp_path / "outputs" / "result.txt").exists()
