"""Hints name the command line as a person must type it."""

import sys
from pathlib import Path

import pytest

from dropsweep.client.program import program


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    made = tmp_path / "env" / "bin" / "dropsweep"
    made.parent.mkdir(parents=True)
    made.touch(mode=0o755)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(made)])
    return made


def test_a_program_below_the_working_directory_is_named_from_there(script: Path) -> None:
    assert program() == "env/bin/dropsweep"


def test_a_program_elsewhere_is_named_by_its_whole_path(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    monkeypatch.setenv("PATH", "/nowhere")
    (elsewhere := script.parents[2] / "elsewhere").mkdir()
    monkeypatch.chdir(elsewhere)
    assert program() == str(script)


def test_a_program_on_the_search_path_needs_no_path(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(script.parent))
    assert program() == "dropsweep"


def test_another_program_of_that_name_on_the_search_path_is_not_meant(
    script: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "dropsweep").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "other"))
    assert program() == "env/bin/dropsweep"


def test_within_another_program_it_is_the_one_beside_this_python(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["-c"])
    monkeypatch.setattr(sys, "executable", str(script.with_name("python")))
    assert program() == "env/bin/dropsweep"
    script.unlink()
    assert program() == "dropsweep"
