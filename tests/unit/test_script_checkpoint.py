"""The checkpoints a training script writes: each is whole or not there, whatever happens to its process."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import dropsweep
from dropsweep import script


@pytest.fixture(autouse=True)
def by_hand(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each test starts outside Dropsweep, in an empty folder."""
    monkeypatch.delenv(script.CHECKPOINTS_VARIABLE, raising=False)
    monkeypatch.delenv(script.ATTEMPT_VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)


def test_a_checkpoint_appears_whole_when_its_block_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "elsewhere" / "checkpoints"
    monkeypatch.setenv(script.CHECKPOINTS_VARIABLE, str(root))
    with dropsweep.checkpoint(5) as folder:
        assert folder.is_absolute()
        (folder / "state.pt").write_bytes(b"weights")
        (folder / "part").mkdir()
        (folder / "part" / "0").write_bytes(b"more")
        assert [entry.name[0] for entry in root.iterdir()] == ["."]
    assert [entry.name for entry in root.iterdir()] == ["step-000005"]
    assert (root / "step-000005" / "part" / "0").read_bytes() == b"more"


def test_by_hand_checkpoints_lie_in_the_working_directory(tmp_path: Path) -> None:
    with dropsweep.checkpoint("best") as folder:
        (folder / "state").write_text("1")
    assert (tmp_path / "checkpoints" / "best" / "state").read_text() == "1"


@pytest.mark.skipif(sys.platform != "linux", reason="files' names are read from /proc")
@pytest.mark.parametrize("is_trial", [False, True])
def test_only_outside_of_a_trial_it_waits_for_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_trial: bool
) -> None:
    flushed: list[str] = []
    flush = os.fsync

    def note(file: int) -> None:
        flushed.append(os.path.basename(os.readlink(f"/proc/self/fd/{file}")))
        flush(file)

    monkeypatch.setattr(os, "fsync", note)
    monkeypatch.setenv(script.CHECKPOINTS_VARIABLE, str(tmp_path / "checkpoints"))
    if is_trial:
        monkeypatch.setenv(script.ATTEMPT_VARIABLE, "1")
    with dropsweep.checkpoint(1) as folder:
        (folder / "state").write_text("1")
    assert flushed == ([] if is_trial else ["state", folder.name, "checkpoints"])


def test_a_checkpoint_outlives_a_change_of_the_working_directory(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with dropsweep.checkpoint(1) as folder:
        (folder / "state").write_text("1")
        os.chdir(tmp_path / "other")
    assert (tmp_path / "checkpoints" / "step-000001" / "state").exists()


def test_checkpoints_are_in_the_order_of_their_modification_times(tmp_path: Path) -> None:
    order = [3, 1, "last", 2, 10]
    for name in order:
        with dropsweep.checkpoint(name) as folder:
            (folder / "state").write_text("1")
    folders = list((tmp_path / "checkpoints").iterdir())
    assert len({folder.stat().st_mtime_ns for folder in folders}) == len(order)
    by_time = sorted(folders, key=lambda folder: folder.stat().st_mtime_ns)
    assert [folder.name for folder in by_time] == [
        "step-000003",
        "step-000001",
        "last",
        "step-000002",
        "step-000010",
    ]


def test_a_checkpoint_copied_from_an_old_folder_is_still_the_latest(tmp_path: Path) -> None:
    before_ns = time.time_ns()
    with dropsweep.checkpoint(1) as folder:
        (folder / "state").write_text("1")
        os.utime(folder, (0, 0))  # as a copy does that keeps times
    assert (tmp_path / "checkpoints" / "step-000001").stat().st_mtime_ns >= before_ns


@pytest.mark.parametrize("error", [RuntimeError("CUDA out of memory"), KeyboardInterrupt(), SystemExit(3)])
def test_a_block_that_raises_leaves_nothing_behind(tmp_path: Path, error: BaseException) -> None:
    def save() -> None:
        with dropsweep.checkpoint(1) as folder:
            (folder / "half").write_text("1")
            raise error

    with pytest.raises(type(error)) as raised:
        save()
    assert raised.value is error
    assert list((tmp_path / "checkpoints").iterdir()) == []


def test_a_block_that_raises_leaves_the_older_checkpoint_of_its_name(tmp_path: Path) -> None:
    with dropsweep.checkpoint("last") as folder:
        (folder / "state").write_text("old")

    def save() -> None:
        with dropsweep.checkpoint("last") as folder:
            (folder / "state").write_text("new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        save()
    assert (tmp_path / "checkpoints" / "last" / "state").read_text() == "old"


def test_a_checkpoint_of_the_same_name_is_replaced_as_a_whole(tmp_path: Path) -> None:
    for file in ("old", "new"):
        with dropsweep.checkpoint("last") as folder:
            (folder / file).write_text("1")
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["last"]
    assert [path.name for path in (tmp_path / "checkpoints" / "last").iterdir()] == ["new"]


def test_a_process_killed_inside_the_block_leaves_no_checkpoint(tmp_path: Path) -> None:
    code = """
import os, signal, dropsweep
with dropsweep.checkpoint(1) as folder:
    (folder / "state").write_text("whole")
with dropsweep.checkpoint(2) as folder:
    (folder / "state").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    library = str(Path(dropsweep.__file__).parents[1])
    killed = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": library}, cwd=tmp_path, capture_output=True, check=False
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    found = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert [name for name in found if not name.startswith(".")] == ["step-000001"]
    assert len(found) == 2  # the half one is there, and hidden


def test_a_checkpoint_without_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'step-000001' holds no file"), dropsweep.checkpoint(1) as folder:
        (folder / "empty").mkdir()
    assert list((tmp_path / "checkpoints").iterdir()) == []


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "..", "a b", "a" * 65])
def test_a_checkpoint_name_outside_the_rule_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"checkpoint name .*: it must be 1 to 64"), dropsweep.checkpoint(name):
        pytest.fail("the block ran")
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_step_that_is_no_whole_number_is_refused() -> None:
    with pytest.raises(TypeError, match=r"checkpoint 1\.5: it must be a whole number"):
        dropsweep.checkpoint(1.5).__enter__()  # type: ignore[arg-type]
