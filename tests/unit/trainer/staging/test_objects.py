import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dropsweep.storage import Listed
from dropsweep_trainer.staging.objects import Objects, named_by_content
from dropsweep_trainer.staging.seals import BLOCK_BYTES, seal


@pytest.fixture
def objects(tmp_path: Path) -> Objects:
    for name in ("objects", "tree"):
        (tmp_path / name).mkdir()
    return Objects(tmp_path / "objects")


def sealed(path: Path, body: bytes = b"content") -> Path:
    path.write_bytes(body)
    seal(path)
    return path


def test_a_hash_that_a_blob_of_one_container_says_names_nothing_of_another_one() -> None:
    blob = Listed("a", "etag", datetime.now(UTC), 7, {}, "00ff")
    assert named_by_content("one", blob) != named_by_content("two", blob)
    assert named_by_content("one-1", blob).endswith("-7")
    unknown = Listed("a", "etag", datetime.now(UTC), 7, {}, "")
    assert named_by_content("one", unknown) == ""


def test_a_file_that_is_there_already_becomes_one_with_it_and_nothing_else_is_touched(
    objects: Objects, tmp_path: Path
) -> None:
    tree = tmp_path / "tree"
    first, second, other = sealed(tree / "first"), sealed(tree / "x"), tree / "x.same"
    seen: list[set[str]] = []
    link = objects.link

    def watched(name: str, into: Path) -> bool:
        has_linked = link(name, into)
        seen.append({path.name for path in tree.iterdir()})
        # What a download of a blob of this name does at that moment, with the rights of root.
        other.write_bytes(b"another")
        return has_linked

    objects.link = watched  # type: ignore[method-assign]
    objects.keep("name-7", first)
    objects.keep("name-7", second)
    assert seen == [{"first", "x"}]
    assert second.stat().st_ino == first.stat().st_ino
    assert (first.read_bytes(), other.read_bytes()) == (b"content", b"another")
    assert os.listdir(tmp_path / "objects") == ["name-7"]


def test_what_no_folder_has_is_counted_and_goes(objects: Objects, tmp_path: Path) -> None:
    kept, gone = sealed(tmp_path / "tree" / "kept"), sealed(tmp_path / "tree" / "gone")
    objects.keep("kept-7", kept)
    objects.keep("gone-7", gone)
    assert objects.loose_bytes() == 0
    gone.unlink()
    assert objects.loose_bytes() == 7 + BLOCK_BYTES
    objects.sweep()
    assert os.listdir(tmp_path / "objects") == ["kept-7"]


def test_what_a_worker_left_that_died_while_it_replaced_a_file_goes_with_the_rest(
    objects: Objects, tmp_path: Path
) -> None:
    file = sealed(tmp_path / "tree" / "file")
    objects.keep("name-7", file)
    os.link(file, tmp_path / "objects" / ".left")
    file.unlink()
    objects.sweep()
    assert os.listdir(tmp_path / "objects") == []
