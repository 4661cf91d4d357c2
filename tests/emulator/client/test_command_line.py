"""Every command against a real account: what it prints for people and programs, and its exit code."""

import http.server
import json
import os
import pty
import re
import select
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path
from typing import Any

import pytest

from dropsweep.cli.exits import BY_STATE, ExitCode
from dropsweep.errors import Problem, StorageCorrupt
from dropsweep.names import JobKey, Priority
from dropsweep.nodes import BUDGET
from dropsweep.records import JobRecord
from dropsweep.settings import emulator_connection_string
from dropsweep.states import JobReason, JobState, TrialReason, TrialState
from tests.emulator.client.conftest import BEGAN, Run, World

BOTH_WAYS = True

_TAKES_CTRL_C = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
"""What runs in the background of a shell has SIGINT ignored, and so has what it starts."""
DROPSWEEP = [sys.executable, "-c", f"{_TAKES_CTRL_C}; from dropsweep.cli import main; main()"]


def process(connection_string: str, *arguments: str, **more: Any) -> subprocess.Popen[bytes]:
    env = {**os.environ, "DROPSWEEP_STORAGE": connection_string, "PYTHONPATH": os.pathsep.join(sys.path)}
    env |= more.pop("env", {})
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | more
    return subprocess.Popen([*DROPSWEEP, *arguments], env=env, **pipes)


def test_submit_prints_the_jobs_path_alone_so_that_a_script_can_take_it(run: Run, world: World, tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text("type: command\ncommand: x\nname: hello\n")
    done = run("submit", file, "-w", world.workspace, "-e", "exp")
    assert done.exit_code == 0
    assert done.stdout.startswith(f"{world.workspace}/exp/hello-")
    assert done.stdout.count("\n") == 1
    assert f"dropsweep watch {done.stdout.strip()}" in done.stderr
    told = json.loads(run("submit", file, "-w", world.workspace, "--json").stdout)
    assert JobKey.parse(told["job"]).experiment == "default"


@pytest.mark.parametrize("priority", ["high", "normal"])
def test_a_priority_is_told_when_it_is_not_the_normal_one(
    run: Run, world: World, tmp_path: Path, priority: str
) -> None:
    file = tmp_path / "job.yaml"
    file.write_text("type: command\ncommand: x\n")
    done = run("submit", file, "-w", world.workspace, "--priority", priority)
    told = "submitted with high priority; see" if priority == "high" else "submitted; see"
    assert done.stderr.startswith(told)
    key = world.job(priority=Priority(priority)).key
    [line] = [line for line in run("show", key.path).stdout.splitlines() if line.startswith("cluster")]
    assert line.split(maxsplit=1)[1].rstrip() == ("local, with high priority" if priority == "high" else "local")
    assert json.loads(run("show", key.path, "--json").stdout)["job"]["priority"] == priority


def test_one_submission_id_is_one_job_from_the_command_line_too(run: Run, world: World, tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text("type: command\ncommand: x\nname: hello\n")
    first, again, other = (
        run("submit", file, "-w", world.workspace, "--submission-id", text).stdout for text in ("s-1", "s-1", "s-2")
    )
    assert first == again != other
    assert run("submit", file, "-w", world.workspace, "--submission-id", "two words").exit_code == 3


def test_a_file_that_cannot_be_submitted_is_told_with_its_problems(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text("code: ./absent\n")
    done = run("submit", file)
    assert (done.exit_code, done.stdout) == (ExitCode.REJECTED, "")
    assert "code is ./absent: code names a folder" in done.stderr
    error = json.loads(run("submit", file, "--json").stderr)["error"]
    assert (error["kind"], error["exit_code"]) == ("SpecError", 3)
    assert error["problems"][0]["path"] == "code"


def test_list_shows_the_jobs_whole_names_however_narrow_the_screen(run: Run, world: World, sweep: JobRecord) -> None:
    long = world.job(world.key("x" * 75), num_trials=2**30)
    done = run("list", "-w", world.workspace)
    assert sweep.key.path in done.stdout
    assert long.key.path in done.stdout
    assert re.search(r"completed\s+sweep\s+4/4\s+0\.97\s+2026-03-01 14:00:00 UTC", done.stdout)
    jobs = json.loads(run("list", "-w", world.workspace, "--json").stdout)["jobs"]
    assert {job["job"]: job["num_trials"] for job in jobs} == {sweep.key.path: 4, long.key.path: 2**30}
    assert json.loads(run("list", "-w", "none", "--json").stdout) == {"jobs": [], "errors": []}


def test_list_marks_the_jobs_that_wait_for_their_turn_or_for_node_hours(run: Run, world: World) -> None:
    waiting = world.job(world.key("waiting"), reason=JobReason.ACCEPTED, message=f"{BUDGET}gpu has used its hours")
    other = world.job(world.key("other"), reason=JobReason.ACCEPTED)
    lines = run("list", "-w", world.workspace).stdout.splitlines()[1:]
    states = dict(re.split(r" {2,}", line)[:2] for line in lines)
    assert states == {waiting.key.path: "queued (waits)", other.key.path: "queued"}
    jobs = json.loads(run("list", "-w", world.workspace, "--json").stdout)["jobs"]
    assert {job["job"]: job["is_waiting"] for job in jobs} == {waiting.key.path: True, other.key.path: False}


def test_a_job_whose_record_cannot_be_read_keeps_no_other_out_of_the_list(
    run: Run, world: World, sweep: JobRecord
) -> None:
    bare = world.key("bare")
    world.file(bare.record, sweep.to_json())
    done = run("list", "-w", world.workspace)
    assert done.exit_code == ExitCode.FAILED
    rows = [line.split()[:2] for line in done.stdout.splitlines()[1:]]
    assert rows == [[sweep.key.path, "completed"], [bare.path, "unreadable"]]
    assert done.stderr.startswith(f"error: runs/{bare.record}: metadata cannot be read")
    assert done.stderr.count("\n") == 1
    done = run("list", "-w", world.workspace, "--json")
    assert (done.exit_code, done.stderr) == (ExitCode.FAILED, "")
    document = json.loads(done.stdout)
    assert [job["job"] for job in document["jobs"]] == [sweep.key.path]
    (error,) = document["errors"]
    assert (error["job"], error["kind"], error["exit_code"]) == (bare.path, "StorageCorrupt", 1)
    with pytest.raises(StorageCorrupt, match="Put the blob back"):
        world.client.jobs(world.workspace)


def test_show_tells_everything_and_reads_no_markup(run: Run, sweep: JobRecord) -> None:
    done = run("show", sweep.key.path)
    assert done.exit_code == 0
    for part in ("team=[red]vision[/red]", "maximize accuracy", "3 completed, 1 failed", "[bold]no space[/bold]"):
        assert part in done.stdout
    document = json.loads(run("show", sweep.key.path, "--json").stdout)
    assert document["job"] == json.loads(sweep.to_json())
    assert (document["running"], document["problems"]) == ([], [])


def test_show_of_a_running_job_has_its_running_trials(run: Run, world: World) -> None:
    record = world.job()
    world.trial(2, TrialReason.CLAIMED, 0.5, step=7)
    assert "lr=0.03 optimizer=adam" in run("show", record.key.path).stdout
    running = json.loads(run("show", record.key.path, "--json").stdout)["running"]
    assert [(trial["trial"], trial["step"], trial["metric"]) for trial in running] == [(2, 7, 0.5)]


def test_show_of_a_running_job_counts_what_is_there_and_not_what_the_last_pass_saw(run: Run, world: World) -> None:
    record = world.job(counts={TrialState.QUEUED: 4})
    world.trial(0, metric=0.5)
    world.trial(1, TrialReason.CLAIMED)
    world.trial(2, TrialReason.EXIT_CODE, message="exit code 3")
    shown = run("show", record.key.path).stdout
    assert "4 trials: 1 queued, 1 running, 1 completed, 1 failed" in shown
    assert "trial 2 failed: exit code 3" in shown
    assert "trial 0, accuracy 0.5 (maximize)" in shown
    counts = {"queued": 1, "running": 1, "completed": 1, "failed": 1}
    assert json.loads(run("show", record.key.path, "--json").stdout)["counts"] == counts


def test_a_name_means_the_newest_job_which_is_said_and_cancel_wants_to_know_more(run: Run, world: World) -> None:
    name = f"n{uuid.uuid4().hex[:8]}"
    world.job(world.key(f"{name}-0000000000"), created=BEGAN.replace(hour=20), num_trials=7)
    new = world.job(world.key(f"{name}-1111111111"), created=BEGAN.replace(hour=21), num_trials=5)
    done = run("show", name)
    assert "5 trials" in done.stdout
    assert done.stderr == f"{new.key.path} is the newest of 2 jobs of this name\n"
    assert json.loads(run("show", name, "--json").stdout)["job"]["num_trials"] == 5
    done = run("cancel", name)
    assert done.exit_code == ExitCode.USAGE
    assert new.key.path in done.stderr
    assert world.client.record(new.key) == new


def test_a_job_that_was_submitted_a_moment_ago_is_waited_for_and_a_slip_of_the_pen_is_not(
    connection_string: str, run: Run, world: World, tmp_path: Path
) -> None:
    file = tmp_path / "job.yaml"
    file.write_text("type: command\ncommand: x\nname: hello\n")
    key = JobKey.parse(run("submit", file, "-w", world.workspace).stdout.strip())
    began = time.monotonic()
    done = run("watch", f"{key.path[:-1]}{'1' if key.path.endswith('0') else '0'}")
    assert done.exit_code == ExitCode.NOT_FOUND
    assert "functions" not in done.stderr
    assert time.monotonic() - began < 60  # a job that was just submitted is waited for three times as long
    running = process(connection_string, "watch", key.path)
    assert running.stdout is not None
    assert b"waiting for its file" in running.stdout.readline()
    world.finish(world.job(key))
    running.communicate(timeout=60)
    assert running.returncode == 0


def test_show_of_a_trial_has_its_record_and_its_metrics(run: Run, world: World, sweep: JobRecord) -> None:
    world.file(sweep.key.metrics(1, 2), '{"step": 1, "accuracy": "NaN"}\n')
    document = json.loads(run("show", sweep.key.path, 1, "--json").stdout)
    assert document["trial"]["parameters"] == {"lr": 0.02, "optimizer": "adam"}
    assert document["metrics"] == [{"step": 1.0, "values": {"accuracy": "NaN"}}]
    text = run("show", sweep.key.path, 2).stdout
    assert "failed (exit_code)" in text
    assert "exit code 3: [bold]no space[/bold]" in text


def test_best_is_told_to_people_and_programs_and_its_absence_too(run: Run, world: World, sweep: JobRecord) -> None:
    assert "trial 1, accuracy 0.97 (maximize)" in run("best", sweep.key.path).stdout
    document = json.loads(run("best", sweep.key.path, "--json").stdout)
    assert (document["trial"], document["metric"], document["parameters"]["lr"]) == (1, 0.97, 0.02)
    none = world.job(world.key("none"))
    done = run("best", none.key.path)
    assert (done.exit_code, done.stdout) == (ExitCode.NOT_FOUND, "")
    assert "no trial has completed" in done.stderr


def test_download_takes_the_trial_that_is_meant(run: Run, world: World, sweep: JobRecord, tmp_path: Path) -> None:
    world.file(sweep.key.stdout(1, 2), "hello\n")
    document = json.loads(run("download", sweep.key.path, tmp_path / "a", "--best", "--json").stdout)
    assert (document["trial"], document["num_files"], document["refused"]) == (1, 3, [])
    assert (tmp_path / "a/trials/0000001/attempts/2/stdout.txt").read_text() == "hello\n"
    assert "2 files" in run("download", sweep.key.path, tmp_path / "b", "--trial", 0).stdout
    world.file(f"{sweep.key.outputs(1, 2)}a//b", "x")
    part = run("download", sweep.key.path, tmp_path / "d", "--best")
    assert (part.exit_code, "4 files" in part.stdout) == (ExitCode.FAILED, False)
    assert part.stderr == f"left out: {sweep.key.outputs(1, 2)}a//b: its name leads out of the folder or fits no file\n"
    both = run("download", sweep.key.path, tmp_path / "c", "--best", "--all")
    assert both.exit_code == ExitCode.USAGE
    assert "exclude each other" in both.stderr


def test_cancel_tells_the_state_that_the_job_is_in_then(run: Run, world: World, sweep: JobRecord) -> None:
    record = world.job(world.key("going"))
    assert json.loads(run("cancel", record.key.path, "--json").stdout)["state"] == "cancelling"
    done = run("cancel", sweep.key.path)
    assert done.exit_code == 0
    assert "completed" in done.stdout


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        (JobReason.TRIALS_COMPLETED, ExitCode.OK),
        (JobReason.NO_TRIAL_COMPLETED, ExitCode.FAILED),
        (JobReason.CANCELLED_BY_REQUEST, ExitCode.CANCELLED),
        (JobReason.CANCELLED_BY_TIMEOUT, ExitCode.CANCELLED),
        (JobReason.SPEC_INVALID, ExitCode.REJECTED),
    ],
)
def test_watch_ends_with_the_code_of_the_jobs_end(run: Run, world: World, reason: JobReason, code: ExitCode) -> None:
    record = world.job(world.key("ended"), reason=reason)
    world.file(record.key.error, {"problems": [Problem("a", "", "it must be", "Do it").to_json()]})
    done = run("watch", record.key.path)
    assert done.exit_code == code
    assert record.state in done.stdout
    lines = run("watch", record.key.path, "--json")
    assert lines.exit_code == code
    assert [json.loads(line)["state"] for line in lines.stdout.splitlines()] == [record.state]


def test_every_final_state_has_an_exit_code() -> None:
    assert set(BY_STATE) == {state for state in JobState if state.is_final}


def test_a_job_that_is_not_there_is_an_error_for_people_and_programs(run: Run) -> None:
    for arguments in (["show", "no/such/job"], ["logs", "no/such/job"], ["best", "nothing"], ["cancel", "no/such/job"]):
        done = run(*arguments)
        assert (done.exit_code, done.stdout) == (ExitCode.NOT_FOUND, "")
        assert done.stderr.startswith("error: ")
        assert "Traceback" not in done.stderr
        error = json.loads(run(*arguments, "--json").stderr)["error"]
        assert (error["kind"], error["exit_code"]) == ("NotFoundError", 5)


def test_an_account_that_does_not_answer_or_refuses_is_told_within_seconds(
    run: Run, connection_string: str, world: World
) -> None:
    began = time.monotonic()
    done = run("list", "--connection", emulator_connection_string(1, 1))
    assert done.exit_code == ExitCode.STORAGE
    assert done.stderr.startswith("error: the storage account does not answer. ")
    assert "`make up` starts it (http://127.0.0.1:1/devstoreaccount1, listing runs/: Connection refused)" in done.stderr
    assert "Caused by" not in done.stderr
    wrong = re.sub(r"AccountKey=....", "AccountKey=AAAA", connection_string)
    done = run("--connection", wrong, "list")
    assert done.exit_code == ExitCode.STORAGE
    assert "Check the key" in done.stderr
    assert time.monotonic() - began < 60


class Failing(http.server.BaseHTTPRequestHandler):
    """A gateway that answers each request with an error and a page for people."""

    def do_GET(self) -> None:
        self.send_response(500)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(b"boom")

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.mark.parametrize("option", ["", "--json"])
def test_an_account_that_answers_with_an_error_is_told_so_and_once(option: str) -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Failing) as server:
        threading.Thread(target=server.serve_forever).start()
        port = server.server_port
        done = process(emulator_connection_string(port, port), "list", *filter(None, [option]))
        _, errors = done.communicate(timeout=60)
        server.shutdown()
    assert done.returncode == ExitCode.STORAGE
    (line,) = errors.decode().splitlines()
    said = "listing runs/: the storage account answers, but with the error 500. Try again in a minute"
    said += f" (http://127.0.0.1:{port}/devstoreaccount1)"
    if option:
        assert json.loads(line) == {"error": {"kind": "StorageUnavailable", "message": said, "exit_code": 6}}
    else:
        assert line == f"error: {said}"


def test_a_reader_that_closes_the_pipe_ends_the_command_quietly(
    connection_string: str, world: World, sweep: JobRecord
) -> None:
    world.file(sweep.key.stdout(1, 2), b"x" * 79 + b"\n" + b"y" * 8_000_000)
    for options in ([], ["--json"]):
        running = process(connection_string, "logs", sweep.key.path, "1", *options)
        assert running.stdout is not None
        assert running.stdout.read(10)
        running.stdout.close()
        _, errors = running.communicate(timeout=60)
        assert (running.returncode, errors) == (ExitCode.PIPE_CLOSED, b"")


def shell(connection_string: str, line: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Runs a line of sh in which `dropsweep` is the command."""
    command = " ".join(map(shlex.quote, DROPSWEEP))
    return subprocess.run(
        ["sh", "-c", line.replace("dropsweep", command)],
        env={**os.environ, "DROPSWEEP_STORAGE": connection_string, "PYTHONPATH": os.pathsep.join(sys.path), **env},
        capture_output=True,
        text=True,
        check=False,
    )


def test_an_output_that_was_closed_from_the_start_ends_the_command_quietly(
    connection_string: str, world: World, sweep: JobRecord, tmp_path: Path
) -> None:
    file = tmp_path / "job.yaml"
    file.write_text("type: command\ncommand: x\nname: hello\n")
    for arguments in (f"list -w {world.workspace}", f"show {sweep.key.path} --json", f"submit {file} --json"):
        done = shell(connection_string, f"dropsweep {arguments} >&-")
        assert (done.returncode, done.stderr) == (ExitCode.PIPE_CLOSED, ""), arguments
    assert shell(connection_string, "dropsweep show no/such/job >&- 2>&-").returncode == ExitCode.NOT_FOUND
    done = shell(connection_string, f"dropsweep submit {file} -w {world.workspace} 2>&-")
    assert done.returncode == 0
    assert done.stdout.startswith(world.workspace)


def test_a_proxy_in_the_environment_does_not_come_between_us_and_this_machine(
    connection_string: str, world: World, sweep: JobRecord
) -> None:
    dead = "http://127.0.0.1:9"
    none = dict.fromkeys(("no_proxy", "NO_PROXY"), "")
    done = shell(connection_string, f"dropsweep list -w {world.workspace}", http_proxy=dead, HTTP_PROXY=dead, **none)
    assert (done.returncode, done.stderr) == (0, "")
    assert sweep.key.path in done.stdout


def test_ctrl_c_ends_watching_and_leaves_the_job_alone(connection_string: str, world: World) -> None:
    record = world.job()
    running = process(connection_string, "watch", record.key.path)
    assert running.stdout is not None
    assert b"running" in running.stdout.readline()
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=60)
    assert running.returncode == ExitCode.INTERRUPTED
    assert f"dropsweep cancel {record.key.path}" in errors.decode()
    assert b"Traceback" not in errors
    assert world.client.record(record.key) == record


def test_ctrl_c_is_an_error_object_where_json_is_asked_for(connection_string: str, world: World) -> None:
    record = world.job()
    running = process(connection_string, "watch", record.key.path, "--json")
    assert running.stdout is not None
    assert b"running" in running.stdout.readline()
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=60)
    assert running.returncode == ExitCode.INTERRUPTED
    told = {"kind": "Interrupted", "message": "interrupted", "exit_code": 130}
    assert json.loads(errors) == {"error": told}


def test_an_account_that_hangs_is_told_by_host_and_port(connection_string: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        done = process(emulator_connection_string(port, port), "list")
        _, errors = done.communicate(timeout=60)
    assert done.returncode == ExitCode.STORAGE
    assert f"listing runs/: 127.0.0.1:{port}: Read timed out)" in errors.decode()
    assert "Pool" not in errors.decode()


def on_a_terminal(connection_string: str, *arguments: str, **env: str) -> str:
    """Runs the command on a pseudo-terminal and returns what it showed."""
    ours, theirs = pty.openpty()
    more = {"TERM": "xterm-256color", **env}
    running = process(connection_string, *arguments, stdin=theirs, stdout=theirs, stderr=theirs, env=more)
    os.close(theirs)
    shown = b""
    while select.select([ours], [], [], 60)[0]:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # Linux says so when the other side is closed
            break
        if not piece:
            break
        shown += piece
    running.wait(60)
    os.close(ours)
    return shown.decode()


def test_colours_are_for_terminals_and_not_for_those_who_want_none(connection_string: str, sweep: JobRecord) -> None:
    assert "\x1b[32m" in on_a_terminal(connection_string, "show", sweep.key.path)
    plain = on_a_terminal(connection_string, "show", sweep.key.path, NO_COLOR="1")
    assert "\x1b[3" not in plain
    assert "completed" in plain
