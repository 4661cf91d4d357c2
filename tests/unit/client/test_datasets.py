"""Where data may go, what a folder of data is, and what the lines are that name it in a job file."""

from pathlib import Path

import pytest

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
    ],
)
def test_a_name_that_no_job_file_could_have_is_refused(name: str, told: str) -> None:
    with pytest.raises(DropsweepError, match=told):
        place_of(name)


@pytest.mark.parametrize("place", ["data/digits", "data/a b/ä.v2", "texts/-", "data/a: b #c", "data/{x}'"])
def test_the_lines_are_an_input_that_a_job_file_may_have(place: str) -> None:
    done = Uploaded(place, 1, 1, 0, 0)
    text = f"type: command\ncommand: 'ls ${{{{inputs.{done.input_name}}}}}'\n{done.lines}"
    found = read_job(text.encode(), file_name="a.yaml", clusters=[Cluster("local")], seed=1, experiment="default")
    assert found.problems == ()
    assert found.spec is not None
    given = found.spec.inputs[done.input_name]
    container, _, path = place.partition("/")
    assert (given.container, given.blob, given.type) == (container, path, "uri_folder")


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


def test_progress_counts_what_several_threads_send() -> None:
    progress = UploadProgress()
    for _ in range(3):
        progress.send(5)
        progress.end()
    assert (progress.sent_bytes, progress.num_sent) == (15, 3)
