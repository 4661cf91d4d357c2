"""On what numbers were measured, as it is told with them."""

import json
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench.machine import commit, facts, told

FACTS = {
    "version": "1.2.3",
    "started": "2026-11-22T10:00:00+00:00",
    "machine": {"processor": "Some CPU 9000", "cores": 2, "memory_gib": 23.5, "load": 0.25, "python": "3.11.7"},
}


def test_a_sentence_tells_processor_cores_memory_python_and_the_load_before() -> None:
    assert told(FACTS) == (
        "Measured on 2026-11-22 with dropsweep 1.2.3 and Python 3.11.7, on 2 cores (Some CPU 9000) with 23.5 GiB of "
        "memory; load before it: 0.25."
    )


def test_a_sentence_names_the_other_tools_and_that_it_was_quick() -> None:
    text = told(FACTS | {"tools": {"ray": "2.0", "optuna": "5.0"}, "is_quick": True})
    assert "with dropsweep 1.2.3, ray 2.0, optuna 5.0 and Python 3.11.7," in text
    assert text.endswith("Quick: fewer samples than usual.")
    assert "Quick" not in told(FACTS | {"is_quick": False})


def test_a_sentence_names_the_commit_where_there_is_one() -> None:
    assert "with dropsweep 1.2.3 at abc1234 and Python" in told(FACTS | {"commit": "abc1234"})
    assert told(FACTS | {"commit": None}) == told(FACTS)


def git(folder: Path, *command: str) -> str:
    person = ["-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false"]
    command = ("git", "-C", str(folder), *person, *command)
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.skipif(shutil.which("git") is None, reason="there is no git")
def test_a_checkout_tells_its_commit_and_whether_files_were_changed_since(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    assert commit(tmp_path) is None  # nothing is committed yet
    (tmp_path / "file").write_text("one")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "--quiet", "--message", "one")
    known = commit(tmp_path)
    assert known
    assert git(tmp_path, "rev-parse", "HEAD").startswith(known)
    (tmp_path / "file").write_text("another")
    assert commit(tmp_path) == f"{known}-dirty"
    (tmp_path / "folder").mkdir()
    assert commit(tmp_path / "folder") is None  # it is no checkout of its own


def test_the_facts_of_this_machine_make_a_sentence_and_stand_in_json() -> None:
    known = facts({"ray": "2.0"})
    assert json.loads(json.dumps(known)) == known
    assert "ray 2.0" in told(known)
    assert "tools" not in facts()


@pytest.mark.skipif(
    sys.platform != "linux" or "model name\t" not in Path("/proc/cpuinfo").read_text(),
    reason="this system has no name of its processor in /proc",
)
def test_the_processor_has_its_makers_name() -> None:
    name = facts()["machine"]["processor"]
    assert name != platform.machine()
    assert f"model name\t: {name}" in Path("/proc/cpuinfo").read_text()
