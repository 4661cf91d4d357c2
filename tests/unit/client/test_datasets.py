"""Where data may go, what a folder of data is, and what the lines are that name it in a job file."""

import os
from pathlib import Path

import pytest
import yaml

from dropsweep.client import datasets
from dropsweep.client.datasets import Uploaded, UploadProgress, _read, place_of
from dropsweep.clusters import Cluster
from dropsweep.errors import DropsweepError
from dropsweep.spec import read_job


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("digits", ("data", "digits")),
        ("digits/", ("data", "digits")),
        ("data/digits", ("data", "digits")),
        ("texts/en/v2/", ("texts", "en/v2")),
        ("azureml://datastores/texts/paths/en", ("texts", "en")),
    ],
)
def test_a_name_is_a_container_and_a_path_or_a_path_in_the_usual_container(name: str, place: tuple[str, str]) -> None:
    assert place_of(name) == place


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("", "names a container or a file, but not both"),
        (".", "no `.`"),
        ("../up", "a path on your own machine"),
        ("data/a//b", "no empty part"),
        ("DATA/x", "a container's name"),
        ("azure-webjobs-secrets/x", "the Functions host keeps"),
        ("https://name.blob.core.windows.net/data/x", "whatever account the address names"),
        ("jobs/x", "Dropsweep's own: data goes into another one. Name it data/x"),
        ("runs/x", "Dropsweep's own"),
        ("code/x", "Dropsweep's own"),
        ("data/a\ufffeb", "no U\\+FFFE, no U\\+FFFF"),
        ("data/a\udcffb", "half of a surrogate pair"),
    ],
)
def test_a_name_that_no_job_file_could_have_is_refused(name: str, told: str) -> None:
    with pytest.raises(DropsweepError, match=told):
        place_of(name)


PLACES = ["data/digits", "data/a b/ä.v2", "texts/-", "data/a: b #c", "data/{x}'"]
NO_TEXTS = ["data/123", "data/1e3", "data/0x1f", "data/null", "data/Yes", "data/n", "data/.5", "data/2024-01", "123/4"]
INVISIBLE = ["data/a\x85b", "data/a\u2028b", "data/\ufeffa", "data/a\U0001f600", "data/a\U000e0001b", "data/a\xa0b"]


@pytest.mark.parametrize("place", [*PLACES, *NO_TEXTS, *INVISIBLE])
def test_the_lines_are_an_input_that_a_job_file_may_have(place: str) -> None:
    done = Uploaded(place, 1, 1, 0, 0)
    text = f"type: command\ncommand: 'ls ${{{{inputs.{done.input_name}}}}}'\n{done.lines}"
    found = read_job(text.encode(), file_name="a.yaml", clusters=[Cluster("local")], seed=1, experiment="default")
    assert found.problems == ()
    assert found.spec is not None
    given = found.spec.inputs[done.input_name]
    container, _, path = place.partition("/")
    assert (given.container, given.blob, given.type) == (container, path, "uri_folder")
    by_yaml_1_1 = yaml.safe_load(done.lines)
    assert by_yaml_1_1 == {"inputs": {done.input_name: {"type": "uri_folder", "path": place}}}


@pytest.mark.parametrize(("place", "key"), [("data/digits", "digits"), ("data/n", '"n"'), ("data/42", '"42"')])
def test_a_name_is_put_in_quotes_only_where_yaml_would_take_it_for_something_else(place: str, key: str) -> None:
    assert Uploaded(place, 1, 1, 0, 0).lines.splitlines()[1] == f"  {key}:"


def test_hidden_files_and_what_git_ignores_belong_to_a_folder_of_data(tmp_path: Path) -> None:
    for name in (".hidden", "sub/a", ".gitignore", "__pycache__/x"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("*")
    assert [file.relative for file in _read(tmp_path, "p")] == [".gitignore", ".hidden", "__pycache__/x", "sub/a"]


def test_a_link_that_leads_out_of_the_folder_is_refused_and_one_within_it_is_followed(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "a").write_text("a")
    (root / "inner").symlink_to("a")
    assert [file.relative for file in _read(root, "p")] == ["a", "inner"]
    (tmp_path / "secret").write_text("s")
    (root / "outer").symlink_to(tmp_path / "secret")
    with pytest.raises(DropsweepError, match="outer: a link leads to a file within the folder of data"):
        _read(root, "p")
    (root / "outer").unlink()
    (root / "up").symlink_to(tmp_path)
    with pytest.raises(DropsweepError, match=r"up: a link to a folder is not followed\. Copy the folder$"):
        _read(root, "p")


def test_what_is_no_folder_or_has_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DropsweepError, match="has no file in it"):
        _read(tmp_path, "p")
    with pytest.raises(DropsweepError, match="is no folder here"):
        _read(tmp_path / "absent", "p")
    (tmp_path / "file").touch()
    with pytest.raises(DropsweepError, match="is a file: a folder is uploaded"):
        _read(tmp_path / "file", "p")


def test_a_name_that_is_too_long_for_a_blob_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    assert len(_read(tmp_path, "p" * 1_022)) == 1
    with pytest.raises(DropsweepError, match="a name of 1,025 characters: the storage takes 1,024"):
        _read(tmp_path, "p" * 1_023)


@pytest.mark.parametrize("letter", ["\ufffe", "\uffff"])
def test_a_name_that_the_service_could_not_list_is_refused(tmp_path: Path, letter: str) -> None:
    (tmp_path / f"a{letter}b").touch()
    with pytest.raises(DropsweepError, match=r"a file's name has no .*U\+FFFE, U\+FFFF.* Rename it$"):
        _read(tmp_path, "p")


def test_a_path_of_more_parts_than_the_service_takes_is_refused(tmp_path: Path) -> None:
    deepest = tmp_path.joinpath(*["d"] * 252)
    os.makedirs(deepest)
    (deepest / "a").touch()
    assert len(_read(tmp_path, "p")) == 1
    with pytest.raises(DropsweepError, match=r"has at most 254 parts .* have 255\. Put it less deep$"):
        _read(tmp_path, "p/q")
    (deepest / "e" / "f").mkdir(parents=True)  # nothing is looked for below what is too deep
    with pytest.raises(DropsweepError, match=r"d/d/d.*have 255"):
        _read(tmp_path, "p")


def test_a_file_that_is_larger_than_a_blob_can_be_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "large").write_bytes(b"1234")
    monkeypatch.setattr(datasets, "MAX_FILE_BYTES", 4)
    assert len(_read(tmp_path, "p")) == 1
    monkeypatch.setattr(datasets, "MAX_FILE_BYTES", 3)
    with pytest.raises(DropsweepError, match=r"large: a blob has at most 3 bytes, and this file has 4\. Split it"):
        _read(tmp_path, "p")


def test_progress_counts_what_several_threads_send() -> None:
    progress = UploadProgress()
    for _ in range(3):
        progress.send(5)
        progress.end()
    assert (progress.sent_bytes, progress.num_sent) == (15, 3)
