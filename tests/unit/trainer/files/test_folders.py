import os
import stat
import sys
from pathlib import Path

import pytest

from dropsweep.errors import ConfigError, StagingError
from dropsweep_trainer.files.folders import Folders, WorkerFolder, hand_over, remove
from dropsweep_trainer.processes.users import User
from tests.unit.trainer.conftest import make_deep

needs_root = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="needs Linux, and root to give files away"
)
SOMEBODY = User(20_077, 20_077)


def test_a_folder_goes_however_deep_and_whatever_its_modes(passable: Path) -> None:
    folder = passable / "folder"
    (folder / "shut" / "in").mkdir(parents=True)
    (folder / "shut" / "in" / "file").touch()
    (folder / "shut").chmod(0)
    make_deep(folder, 1500)
    remove(folder)
    assert not folder.exists()


def test_what_a_link_leads_to_stays(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").touch()
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path / "kept")
    (tmp_path / "itself").symlink_to(tmp_path / "kept")
    for path in (folder, tmp_path / "itself", tmp_path / "none"):
        remove(path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept"]
    assert (tmp_path / "kept" / "file").exists()


@needs_root
def test_what_is_handed_over_is_that_user_s_alone_and_goes_with_its_rights(passable: Path) -> None:
    folders = Folders(WorkerFolder(passable / "work").attempt(7))
    folders.work.mkdir()
    (folders.work / "code.py").touch()
    folders.make([folders.outputs / "model"])
    (folders.work / "link").symlink_to("/etc/hostname")
    hand_over(folders, SOMEBODY)
    assert stat.S_IMODE(folders.root.stat().st_mode) == 0o700
    owners = {path.lstat().st_uid for path in (folders.root, *folders.root.rglob("*"), folders.tmp)}
    assert owners == {SOMEBODY.uid}
    assert Path("/etc/hostname").stat().st_uid == 0
    (folders.work / "not-theirs").mkdir(mode=0o700)
    (folders.work / "not-theirs" / "file").touch()
    remove(folders.root, SOMEBODY)
    assert (folders.work / "not-theirs" / "file").exists()
    remove(folders.tmp, SOMEBODY)


@needs_root
def test_an_attempt_s_folder_of_a_worker_that_was_killed_goes_with_the_rights_of_its_user(passable: Path) -> None:
    first = WorkerFolder(passable / "work")
    folders = Folders(first.attempt(0))
    folders.work.mkdir()
    folders.make([])
    hand_over(folders, SOMEBODY)
    (folders.root / "root-s").mkdir(mode=0o700)
    (folders.root / "root-s" / "file").touch()
    first.close()
    assert (folders.root / "root-s" / "file").exists()


def test_nothing_below_the_work_folder_can_be_listed_by_others(tmp_path: Path) -> None:
    folder = WorkerFolder(tmp_path / "work")
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (folder.path, tmp_path / "work" / "cache")}
    assert modes == {0o711}
    assert stat.S_IMODE(folder.attempt(0).stat().st_mode) == 0o700
    folder.close()


@needs_root
def test_a_cache_of_somebody_else_s_making_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    os.chown(tmp_path / "cache", 20_077, 20_077)
    with pytest.raises(ConfigError, match="belongs to user 20077"):
        WorkerFolder(tmp_path)


@needs_root
def test_a_worker_s_folder_of_somebody_else_s_making_is_left_to_them(tmp_path: Path) -> None:
    planted = tmp_path / "worker-x"
    planted.mkdir()
    (planted / "lock").touch()
    os.chown(planted, 20_077, 20_077)
    WorkerFolder(tmp_path).close()
    assert (planted / "lock").exists()


def test_temporary_files_lie_where_sockets_can_have_a_name(tmp_path: Path) -> None:
    short = Folders(Path("/w/worker-12345678/0000000-12345678"))
    assert short.tmp == short.root / "tmp"
    long = Folders(tmp_path / ("x" * 60) / "0000000-12345678")
    assert not long.tmp.is_relative_to(tmp_path)
    assert len(os.fsencode(long.tmp)) < 90 + len(os.fsencode(long.root.parent.name))
    long.work.mkdir(parents=True)
    long.make([])
    assert stat.S_IMODE(long.tmp.stat().st_mode) == 0o700
    with pytest.raises(FileExistsError):
        long.make([])
    remove(long.tmp)


def test_a_file_where_a_folder_must_be_is_told(tmp_path: Path) -> None:
    folders = Folders(tmp_path)
    folders.work.mkdir()
    folders.outputs.touch()
    with pytest.raises(StagingError, match=r"\./outputs"):
        folders.make([])
    remove(folders.tmp)
