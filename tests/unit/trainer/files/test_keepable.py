import os
from pathlib import Path

import pytest

from dropsweep_trainer.files.keepable import blob_name, why_not

GIB = 2**30


def stat(size_bytes: int = 0, there_bytes: int = 0) -> os.stat_result:
    values = list(os.stat("/"))
    values[6] = size_bytes
    return os.stat_result(values, {"st_blocks": there_bytes // 512})


def test_a_name_that_is_no_text_is_spelled_out() -> None:
    assert blob_name("p/", os.fsdecode(b"a\xff")) == "p/a\\xff"
    assert blob_name("p/", "ä/b") == "p/ä/b"


def test_files_as_they_are_can_be_kept(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 10_000)
    assert why_not("p/", {"file": (tmp_path / "file").stat()}) == ""
    assert why_not("p/", {}) == ""


@pytest.mark.parametrize(
    ("path", "fits"),
    [("a" * 1022, True), ("a" * 1023, False), ("a/" * 252 + "a", True), ("a/" * 253 + "a", False)],
)
def test_a_path_has_the_room_that_a_blob_s_name_has(path: str, fits: bool) -> None:
    assert (why_not("p/", {path: stat()}) == "") is fits


def test_a_name_that_is_spelled_out_takes_the_room_that_it_takes() -> None:
    assert why_not("p/", {os.fsdecode(b"\xff" * 300): stat()}) != ""


@pytest.mark.parametrize(
    ("sizes", "is_kept"),
    [
        ([(15 * GIB, 0)], True),
        ([(17 * GIB, 0)], False),
        ([(9 * GIB, 0), (9 * GIB, 0)], False),
        ([(100 * GIB, 50 * GIB)], True),  # as a file system that compresses shows it
        ([(100 * GIB, 6 * GIB)], False),
        ([(100 * GIB, 100 * GIB)], True),
    ],
)
def test_many_holes_with_next_to_nothing_between_them_are_not_kept(sizes: list[tuple[int, int]], is_kept: bool) -> None:
    files = {str(index): stat(*size) for index, size in enumerate(sizes)}
    assert (why_not("p/", files) == "") is is_kept
