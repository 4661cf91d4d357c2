"""`make clean` spares a stack that runs."""

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from local.paths import ROOT


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with data of `make up` and without an environment."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "local").mkdir()
    shutil.copy(ROOT / "local" / "idle.py", tmp_path / "local")
    (tmp_path / ".dropsweep" / "up").mkdir(parents=True)
    (tmp_path / ".dropsweep" / "up" / "lock").touch()
    return tmp_path


def clean(checkout: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["make", "clean"], cwd=checkout, capture_output=True, text=True, check=False, timeout=60)


def test_make_clean_removes_nothing_while_a_stack_uses_a_data_folder(checkout: Path) -> None:
    lock = os.open(checkout / ".dropsweep" / "up" / "lock", os.O_RDWR)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = clean(checkout)
    finally:
        os.close(lock)
    assert done.returncode != 0
    assert ".dropsweep/up: a stack that runs uses this folder, so nothing was removed" in done.stderr
    assert (checkout / ".dropsweep" / "up" / "lock").exists()


def test_make_clean_removes_the_data_when_nothing_runs_and_when_there_is_none(checkout: Path) -> None:
    for _ in range(2):
        done = clean(checkout)
        assert (done.returncode, done.stderr) == (0, "")
        assert not (checkout / ".dropsweep").exists()
