"""`dropsweep wait` says nothing and ends as the jobs ended; `dropsweep submit` sets values over the file's."""

import json
import socket
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dropsweep.cli import app
from dropsweep.cli.exits import ExitCode
from dropsweep.names import JOBS
from dropsweep.records import JobRecord
from dropsweep.settings import emulator_connection_string
from dropsweep.states import JobReason
from tests.emulator.client.conftest import Run, World

COMMAND = "type: command\nname: hello  # kept\ncommand: sh x.sh\n"
ENDS = {
    "completed": (JobReason.TRIALS_COMPLETED, ExitCode.OK),
    "failed": (JobReason.NO_TRIAL_COMPLETED, ExitCode.FAILED),
    "cancelled": (JobReason.CANCELLED_BY_REQUEST, ExitCode.CANCELLED),
    "rejected": (JobReason.SPEC_INVALID, ExitCode.REJECTED),
}


def ended(world: World, state: str) -> JobRecord:
    return world.job(world.key(f"{state}-0123456789"), reason=ENDS[state][0])


@pytest.mark.parametrize("state", ENDS)
def test_waiting_for_a_job_gives_its_code_and_writes_nothing(world: World, run: Run, state: str) -> None:
    done = run("wait", ended(world, state).key.path)
    assert (done.exit_code, done.output) == (ENDS[state][1], "")


@pytest.mark.parametrize(
    ("states", "code"),
    [
        (("completed", "cancelled", "rejected", "failed"), ExitCode.FAILED),
        (("cancelled", "rejected", "completed"), ExitCode.REJECTED),
        (("completed", "cancelled"), ExitCode.CANCELLED),
    ],
)
def test_waiting_for_several_jobs_gives_the_worst_code(
    world: World, run: Run, states: tuple[str, ...], code: ExitCode
) -> None:
    paths = [ended(world, state).key.path for state in states]
    assert run("wait", *paths).exit_code == code
    document = json.loads(run("wait", *paths, "--json").stdout)
    assert document["exit_code"] == code
    assert [(told["job"], told["state"]) for told in document["jobs"]] == list(zip(paths, states, strict=True))
    assert [told["exit_code"] for told in document["jobs"]] == [ENDS[state][1] for state in states]


def test_waiting_ends_with_a_code_of_its_own_when_the_time_is_over(world: World, run: Run) -> None:
    path = world.job().key.path
    done = run("wait", path, "--timeout", "0.2")
    assert done.exit_code == ExitCode.TIMED_OUT
    assert path in done.stderr
    assert json.loads(run("wait", path, "--timeout", "0", "--json").stderr)["error"]["exit_code"] == 124


def test_when_the_time_is_over_the_document_has_every_job_and_the_time_that_was_asked_for(
    world: World, run: Run
) -> None:
    going, done = world.job(world.key("going-0123456789")), ended(world, "failed")
    waited = run("wait", going.key.path, done.key.path, "--timeout", "0.3", "--json")
    assert waited.exit_code == ExitCode.TIMED_OUT
    assert json.loads(waited.stdout) == {
        "jobs": [
            {"job": going.key.path, "state": "running", "exit_code": None},
            {"job": done.key.path, "state": "failed", "exit_code": 1},
        ],
        "exit_code": 124,
    }
    (line,) = waited.stderr.splitlines()
    error = json.loads(line)["error"]
    message = f"{going.key.path}: running after 0.3 s. Wait longer, or cancel it"
    assert error == {"kind": "TimeoutError", "message": message, "exit_code": 124}
    assert run("wait", done.key.path, going.key.path, "--timeout", "0.3").stderr == f"error: {message}\n"


@pytest.mark.parametrize("way", ["account", "api"])
def test_what_hangs_does_not_hold_the_waiting_beyond_its_time(way: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        named = emulator_connection_string(port, port) if way == "account" else f"http://127.0.0.1:{port}/api"
        began = time.monotonic()
        arguments = ["wait", "w/e/one", "w/e/two", "--timeout", "1", "--json", "--connection", named]
        done = CliRunner().invoke(app, arguments, env={"DROPSWEEP_KEY": "", "DROPSWEEP_URL": ""})
    assert time.monotonic() - began < 60
    assert done.exit_code == ExitCode.TIMED_OUT
    told = [{"job": job, "state": None, "exit_code": None} for job in ("w/e/one", "w/e/two")]
    assert json.loads(done.stdout) == {"jobs": told, "exit_code": 124}
    assert json.loads(done.stderr)["error"]["message"].startswith("after 1 s: ")


def test_an_account_that_does_not_answer_before_the_time_is_over_is_an_error_of_its_own() -> None:
    arguments = ["wait", "w/e/one", "--timeout", "60", "--connection", emulator_connection_string(1, 1)]
    assert CliRunner().invoke(app, arguments).exit_code == ExitCode.STORAGE


def test_waiting_for_a_job_that_does_not_exist_tells_so(world: World, run: Run) -> None:
    assert run("wait", f"{world.workspace}/default/none").exit_code == ExitCode.NOT_FOUND


def test_values_are_set_over_those_of_the_file_which_stays_as_it_is(world: World, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(COMMAND)
    done = run("submit", file, "-w", world.workspace, "--set", "limits.timeout=60", "--set", "name=bye")
    assert done.exit_code == 0, done.output
    dropped = world.store.blobs.read(JOBS, f"{world.workspace}/default/job.yaml")
    assert dropped is not None
    text = COMMAND.replace("hello", '"bye"') + 'limits: {"timeout": 60}\n'
    assert dropped.body.decode() == text
    assert "/bye-" in done.stdout
    assert file.read_text() == COMMAND


def test_the_experiment_and_the_code_folder_may_be_set_too(world: World, run: Run, tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "x.sh").write_text("true")
    file = tmp_path / "job.yaml"
    file.write_text(COMMAND)
    done = run("submit", file, "-w", world.workspace, "--set", "experiment_name=other", "--set", "code=./src")
    assert done.exit_code == 0, done.output
    dropped = world.store.blobs.read(JOBS, f"{world.workspace}/other/job.yaml")
    assert dropped is not None
    assert b'code: "sha256/' in dropped.body


@pytest.mark.parametrize(
    ("value", "code", "told"),
    [
        ("limits.timeout", ExitCode.USAGE, "must be path=value"),
        ("type.x=1", ExitCode.REJECTED, "names a key of a mapping"),
        ("a=[1", ExitCode.REJECTED, "a value is read as YAML"),
    ],
)
def test_a_value_that_cannot_be_set_is_told_and_nothing_is_dropped(
    world: World, run: Run, tmp_path: Path, value: str, code: ExitCode, told: str
) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(COMMAND)
    done = run("submit", file, "-w", world.workspace, "--set", value)
    assert (done.exit_code, told in done.stderr) == (code, True)
    assert list(world.store.blobs.list(JOBS, f"{world.workspace}/")) == []


def test_a_job_file_is_read_from_standard_input(world: World, connection_string: str) -> None:
    env = {"DROPSWEEP_STORAGE": connection_string}
    done = CliRunner().invoke(app, ["submit", "-", "-w", world.workspace], input=COMMAND, env=env)
    assert done.exit_code == 0, done.output
    dropped = world.store.blobs.read(JOBS, f"{world.workspace}/default/stdin.yaml")
    assert dropped is not None
    assert dropped.body.decode() == COMMAND
