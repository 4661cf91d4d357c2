import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from dropsweep_trainer.staging.copies import copy_writable
from dropsweep_trainer.staging.seals import seal


@pytest.fixture
def elsewhere() -> Iterator[Path]:
    """A folder on another file system, where there is one."""
    shm = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shm if os.access(shm, os.W_OK) else None) as folder:
        yield Path(folder)


def code(folder: Path) -> Path:
    source = folder / "source"
    (source / "deep" / "er").mkdir(parents=True)
    (source / "empty").touch()
    (source / "train.py").write_bytes(os.urandom(3_000_001))
    (source / "deep" / "er" / "x").write_bytes(b"x")
    for path in (*source.rglob("*"), source):
        seal(path)
    return source


def test_a_copy_is_the_same_and_can_be_changed(tmp_path: Path, elsewhere: Path) -> None:
    source = code(elsewhere)
    for into in (tmp_path / "other file system", elsewhere / "same file system"):
        copy_writable(source, into)
        found = {path.relative_to(into).as_posix(): path for path in into.rglob("*")}
        assert sorted(found) == ["deep", "deep/er", "deep/er/x", "empty", "train.py"]
        for name, path in found.items():
            assert path.is_dir() or path.read_bytes() == (source / name).read_bytes()
            assert path.stat().st_mode & 0o777 == 0o755
            assert path.is_dir() or path.stat().st_nlink == 1
        found["deep/er/x"].write_bytes(b"changed")
        assert (source / "deep" / "er" / "x").read_bytes() == b"x"


def test_nothing_is_copied_over_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(FileExistsError):
        copy_writable(code(tmp_path), tmp_path / "there")
