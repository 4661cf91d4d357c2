"""Handing a job in uploads its code once and drops a file that becomes the job whose key is returned."""

import os
from pathlib import Path

import pytest

from dropsweep.client import Match
from dropsweep.client.code import read_folder, upload_folder
from dropsweep.errors import NotFoundError, SpecError
from dropsweep.names import CODE, JOBS, RUNS, Priority
from dropsweep.records import JobRecord
from dropsweep.settings import Settings
from dropsweep.states import JobState
from dropsweep.steps.pick_up import pick_up
from tests.emulator.client.conftest import Run, World

COMMAND = "type: command\nname: hello  # kept\ncode: ./src\ncommand: python train.py\n"


@pytest.fixture
def job_file(tmp_path: Path) -> Path:
    (tmp_path / "src" / "sub").mkdir(parents=True)
    (tmp_path / "src" / "train.py").write_text(f"print({os.urandom(8).hex()!r})")
    (tmp_path / "src" / "sub" / "data #1 %41 é.txt").write_text("data")
    file = tmp_path / "job.yaml"
    file.write_text(COMMAND)
    return file


def uploaded(world: World, file: Path) -> dict[str, bytes]:
    folder = read_folder(file.parent / "src", where="code").blob
    names = [found.name for found in world.store.blobs.list(CODE, f"{folder}/")]
    return {name.removeprefix(f"{folder}/"): world.store.blobs.read(CODE, name).body for name in names}


def test_the_key_is_that_of_the_job_which_the_dropped_file_becomes(
    world: World, settings: Settings, job_file: Path
) -> None:
    key = world.client.submit(job_file, workspace=world.workspace, experiment="exp").key
    path = f"{world.workspace}/exp/job.yaml"
    assert pick_up(world.store, settings, path) == key
    record = JobRecord.from_json(world.store.blobs.read(RUNS, key.record).body)
    assert record.state is JobState.QUEUED, record.message
    assert key.job.startswith("hello-")
    dropped = world.store.blobs.read(JOBS, path).body.decode()
    digest = read_folder(job_file.parent / "src", where="code").digest
    assert dropped == COMMAND.replace("./src", f'"sha256/{digest}"')


def test_a_cluster_and_a_priority_of_the_command_line_go_over_the_files(
    run: Run, world: World, settings: Settings, tmp_path: Path
) -> None:
    file = tmp_path / "job.yaml"
    file.write_text("type: command\ncommand: x\ncompute: azureml:elsewhere\nschedulingPriority: low  # kept\n")
    options = ("-c", "local", "--priority", "high", "--set", "compute=azureml:nowhere")
    done = run("submit", file, "-w", world.workspace, "-e", "exp", *options)
    assert done.exit_code == 0, done.stderr
    key = pick_up(world.store, settings, f"{world.workspace}/exp/job.yaml")
    assert key is not None
    record = JobRecord.from_json(world.store.blobs.read(RUNS, key.record).body)
    assert record.state is JobState.QUEUED, record.message
    assert (record.cluster, record.priority) == ("local", Priority.HIGH)
    assert "# kept" in world.store.blobs.read(JOBS, f"{world.workspace}/exp/job.yaml").body.decode()


def test_the_folder_is_uploaded_as_it_is_and_only_once(world: World, job_file: Path) -> None:
    first = world.client.submit(job_file, workspace=world.workspace).key
    files = uploaded(world, job_file)
    assert set(files) == {"train.py", "sub/data #1 %41 é.txt"}
    assert files["train.py"] == (job_file.parent / "src" / "train.py").read_bytes()
    folder = read_folder(job_file.parent / "src", where="code")
    assert upload_folder(world.store, folder) == 0
    assert world.client.submit(job_file, workspace=world.workspace).key != first  # dropped again: a new job


def test_an_interrupted_upload_is_completed_by_the_next(world: World, job_file: Path) -> None:
    folder = read_folder(job_file.parent / "src", where="code")
    upload_folder(world.store, folder)
    world.store.blobs.delete(CODE, f"{folder.blob}/train.py")
    assert upload_folder(world.store, folder) == 1
    assert "train.py" in uploaded(world, job_file)


def test_a_file_edited_during_the_upload_leaves_nothing_wrong_under_the_digest(world: World, job_file: Path) -> None:
    folder = read_folder(job_file.parent / "src", where="code")
    (job_file.parent / "src" / "train.py").write_text("something else")
    with pytest.raises(SpecError, match="Submit again"):
        upload_folder(world.store, folder)
    assert world.store.blobs.read(CODE, f"{folder.blob}/train.py") is None


def test_the_experiment_is_the_argument_or_the_files_own_or_default(world: World, tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text("type: command\ncommand: x\ncode: somewhere/else\n")
    assert world.client.submit(file, workspace=world.workspace).key.experiment == "default"
    file.write_text("type: command\ncommand: x\nexperiment_name: own\n")
    assert world.client.submit(file, workspace=world.workspace).key.experiment == "own"
    key = world.client.submit(file, workspace=world.workspace, experiment="given").key
    assert (key.workspace, key.experiment) == (world.workspace, "given")


def test_a_file_that_cannot_be_read_is_dropped_for_its_problems_to_be_told(
    world: World, settings: Settings, tmp_path: Path
) -> None:
    file = tmp_path / "bad file.yaml"
    file.write_text("type: [")
    key = world.client.submit(file, workspace=world.workspace).key
    assert pick_up(world.store, settings, f"{world.workspace}/default/bad file.yaml") == key
    assert world.client.record(key).state is JobState.REJECTED
    assert "not YAML" in str(world.client.problems(key)[0])


@pytest.mark.parametrize(
    ("name", "text", "workspace", "rule"),
    [
        ("job.txt", "", "w", "ends in .yaml"),
        ("job.yaml", "", "../w", "a name is 1 to 64"),
        ("job.yaml", "experiment_name: a/b\n", "w", "a name is 1 to 64"),
        ("job.yaml", "#" * (1024 * 1024 + 1), "w", "at most 1,048,576 bytes"),
        ("job.yaml", "code: ./absent", "w", "does not exist"),
    ],
)
def test_what_cannot_become_a_job_is_refused_before_anything_is_sent(
    world: World, tmp_path: Path, name: str, text: str, workspace: str, rule: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(SpecError, match=rule):
        world.client.submit(tmp_path / name, workspace=workspace)


def test_a_job_whose_file_waits_to_be_taken_up_is_known_by_its_path(world: World, tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text("type: command\ncommand: x\nname: hello\n")
    first = world.client.submit(file, workspace=world.workspace).key
    assert world.client.find(first.path) == Match(first)
    second = world.client.submit(file, workspace=world.workspace).key
    assert world.client.resolve(second.path) == second
    with pytest.raises(NotFoundError):
        world.client.resolve(first.path)  # the second took its place
