"""Which files belong to a code folder, and what its digest depends on."""

import os
from pathlib import Path

import pytest

from dropsweep.client import code
from dropsweep.client.code import CodeFolder, read_folder
from dropsweep.errors import SpecError


def write(folder: Path, **files: str) -> Path:
    for name, content in files.items():
        path = folder / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder


def named(folder: CodeFolder) -> list[str]:
    return [file.relative for file in folder.files]


def test_the_digest_follows_from_names_and_contents_alone(tmp_path: Path) -> None:
    first = read_folder(write(tmp_path / "a", train_dot_py="x", sub__b="y"), where="code")
    second = write(tmp_path / "b", sub__b="y", train_dot_py="x")
    os.utime(second / "train.py", (1, 1))
    assert read_folder(second, where="code").digest == first.digest
    assert first.blob == f"sha256/{first.digest}"
    assert named(first) == ["sub/b", "train.py"]
    assert first.size_bytes == 2


@pytest.mark.parametrize(
    "files", [{"a": "x", "b": "z"}, {"a": "x", "c": "y"}, {"a": "x", "b": "y", "c": ""}, {"a": "xb"}]
)
def test_another_name_or_content_gives_another_digest(tmp_path: Path, files: dict[str, str]) -> None:
    one = read_folder(write(tmp_path / "one", a="x", b="y"), where="code")
    assert read_folder(write(tmp_path / "other", **files), where="code").digest != one.digest


def test_what_nobody_wants_uploaded_stays_behind(tmp_path: Path) -> None:
    write(tmp_path, _dot_git__x="", sub____pycache____y="", _dot_venv__z="", _dot_dropsweep__w="", keep="")
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "a.pyc").touch()
    (tmp_path / "sub" / "__pycache__").mkdir(parents=True, exist_ok=True)
    (tmp_path / "sub" / "__pycache__" / "b.pyc").touch()
    assert "keep" in named(read_folder(tmp_path, where="code"))
    assert not [name for name in named(read_folder(tmp_path, where="code")) if ".pyc" in name or name.startswith(".")]


def test_amlignore_takes_the_place_of_gitignore(tmp_path: Path) -> None:
    write(tmp_path, _dot_gitignore="*.csv\n", a_dot_csv="", b_dot_log="", data__c="")
    assert named(read_folder(tmp_path, where="code")) == [".gitignore", "b.log", "data/c"]
    write(tmp_path, _dot_amlignore="data/\n*.log\n!b.log\n")
    assert named(read_folder(tmp_path, where="code")) == [".amlignore", ".gitignore", "a.csv", "b.log"]


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    with pytest.raises(SpecError, match="at least one file"):
        read_folder(tmp_path, where="trial.code")


def test_a_folder_that_is_too_large_is_refused_with_its_largest_file(tmp_path: Path) -> None:
    with (tmp_path / "data.bin").open("wb") as file:
        file.truncate(code.MAX_CODE_BYTES + 1)  # takes no space on the disk
    with pytest.raises(SpecError, match=r"500 MiB.*data\.bin.*inputs"):
        read_folder(tmp_path, where="code")


def test_a_link_within_the_folder_is_followed_and_one_that_leads_out_is_refused(tmp_path: Path) -> None:
    root = write(tmp_path / "root", a="content")
    (root / "inner").symlink_to(root / "a")
    assert named(read_folder(root, where="code")) == ["a", "inner"]
    write(tmp_path, secret="s")
    (root / "outer").symlink_to(tmp_path / "secret")
    with pytest.raises(SpecError, match="outer: a link leads to a file within") as told:
        read_folder(root, where="code")
    assert told.value.problems[0].path == "code"


@pytest.mark.parametrize(
    ("target", "rule"),
    [
        ("..", "a link to a folder"),
        (".", "a link to a folder"),
        ("absent", "a file that exists"),
        ("link", "a file that exists"),
    ],
)
def test_links_to_folders_to_nothing_and_to_themselves_are_refused_unless_ignored(
    tmp_path: Path, target: str, rule: str
) -> None:
    write(tmp_path, a="")
    (tmp_path / "link").symlink_to(tmp_path / target)
    with pytest.raises(SpecError, match=rule):
        read_folder(tmp_path, where="code")
    write(tmp_path, _dot_amlignore="link\nlink/\n")
    assert "a" in named(read_folder(tmp_path, where="code"))


@pytest.mark.parametrize("name", [b"a\\b", b"a\nb", b"\xff", b"a\xef\xbf\xbe"])
def test_a_name_that_the_storage_cannot_keep_is_refused(tmp_path: Path, name: bytes) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).touch()
    with pytest.raises(SpecError, match="a file's name has no backslash"):
        read_folder(tmp_path, where="code")


def test_a_path_of_more_parts_than_the_storage_takes_with_the_digest_is_refused(tmp_path: Path) -> None:
    deepest = tmp_path.joinpath(*["d"] * 251)
    os.makedirs(deepest)
    (deepest / "a").touch()
    folder = read_folder(tmp_path, where="code")
    assert len(f"{folder.blob}/{folder.files[0].relative}".split("/")) == 254
    (deepest / "e").mkdir()
    (deepest / "e" / "a").touch()
    with pytest.raises(SpecError, match="at most 254 parts"):
        read_folder(tmp_path, where="code")


def test_something_that_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SpecError, match="plain files"):
        read_folder(tmp_path, where="code")
