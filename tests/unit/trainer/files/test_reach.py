import os
import sys
from pathlib import Path

import pytest

from dropsweep_trainer.files.reach import Reach
from dropsweep_trainer.processes.users import User
from tests.unit.trainer.conftest import make_deep

needs_root = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="needs Linux, and root to take on another user's rights"
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "attempt"
    (made / "outputs" / "deep" / "er").mkdir(parents=True)
    (made / "outputs" / "a").write_text("a")
    (made / "outputs" / "deep" / "er" / "b").write_text("b")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "b").write_text("not theirs")
    return made


def read(reach: Reach, path: Path) -> str:
    with open(path, encoding="utf-8", opener=reach.opener) as stream:
        return stream.read()


def test_regular_files_are_found_and_read(root: Path) -> None:
    reach = Reach(root)
    assert list(reach.files(root / "outputs")) == ["a", "deep/er/b"]
    assert read(reach, root / "outputs" / "deep" / "er" / "b") == "b"
    assert reach.files(root / "none") == {}


def test_a_file_can_be_made_and_added_to(root: Path) -> None:
    for text in ("1", "2"):
        with open(root / "log", "a", encoding="utf-8", opener=Reach(root).opener) as stream:
            stream.write(text)
    assert (root / "log").read_text() == "12"


def test_a_link_is_neither_found_nor_opened(root: Path, tmp_path: Path) -> None:
    (root / "outputs" / "link").symlink_to(tmp_path / "outside" / "b")
    (root / "outputs" / "folder").symlink_to(tmp_path / "outside")
    reach = Reach(root)
    assert list(reach.files(root / "outputs")) == ["a", "deep/er/b"]
    for path in ("link", "folder/b"):
        with pytest.raises(OSError, match=str(os.strerror(40)) + "|Not a directory"):
            read(reach, root / "outputs" / path)


def test_a_folder_that_became_a_link_after_the_look_leads_nowhere(root: Path, tmp_path: Path) -> None:
    reach = Reach(root)
    [_, path] = reach.files(root / "outputs")
    (root / "outputs" / "deep" / "er" / "b").unlink()
    (root / "outputs" / "deep" / "er").rmdir()
    (root / "outputs" / "deep" / "er").symlink_to(tmp_path / "outside")
    with pytest.raises(NotADirectoryError):
        read(reach, root / "outputs" / path)


@pytest.mark.parametrize("what", ["link", "file"])
def test_what_must_be_a_folder_and_is_none_is_told(root: Path, tmp_path: Path, what: str) -> None:
    if what == "link":
        (root / "logs").symlink_to(tmp_path / "outside")
    else:
        (root / "logs").touch()
    with pytest.raises(NotADirectoryError, match="must be a folder"):
        Reach(root).files(root / "logs")


def test_nobody_waits_for_the_other_end_of_a_pipe(root: Path) -> None:
    os.mkfifo(root / "outputs" / "pipe")
    reach = Reach(root)
    assert "pipe" not in reach.files(root / "outputs")
    with pytest.raises(OSError, match="no regular file"):
        read(reach, root / "outputs" / "pipe")


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's /dev/full")
def test_no_device_is_opened_behind_a_hard_name(root: Path) -> None:
    with pytest.raises(OSError, match="no regular file"):
        read(Reach(Path("/dev")), Path("/dev/full"))


def test_folders_as_deep_as_they_may_be_are_no_trouble(passable: Path) -> None:
    make_deep(passable, 1500)
    (passable / "a").touch()
    assert list(Reach(passable).files(passable)) == ["a"]


@needs_root
def test_a_hard_link_to_what_the_trial_may_not_read_gives_the_worker_nothing(passable: Path) -> None:
    secret, outputs = passable / "secret", passable / "attempt" / "outputs"
    secret.write_text("the worker's own")
    secret.chmod(0o600)
    outputs.mkdir(parents=True)
    os.link(secret, outputs / "hard")
    assert read(Reach(passable / "attempt"), outputs / "hard") == "the worker's own"
    with pytest.raises(PermissionError):
        read(Reach(passable / "attempt", User(20_077, 20_077)), outputs / "hard")
