"""`dropsweep logs`: what it prints, byte for byte, and what it says of a trial that did not complete."""

import json

from dropsweep.cli.exits import ExitCode
from dropsweep.records import JobRecord
from tests.emulator.client.conftest import Run, World

BOTH_WAYS = True


def test_following_the_logs_of_a_trial_that_fails_ends_with_why(run: Run, world: World, sweep: JobRecord) -> None:
    world.file(sweep.key.stdout(2, 1), b"one\n")
    done = run("logs", sweep.key.path, 2, "-f")
    assert (done.exit_code, done.stdout) == (0, "one\n")
    assert done.stderr == "trial 2 failed (exit_code): exit code 3: [bold]no space[/bold]\n"
    assert run("logs", sweep.key.path, 2).stderr == done.stderr
    assert run("logs", sweep.key.path, 1, "-f").stderr == ""


def test_logs_are_written_byte_for_byte_or_as_a_json_object_a_line(run: Run, world: World, sweep: JobRecord) -> None:
    world.file(sweep.key.stdout(1, 2), b"one \xff\n[red]two[/red]\nthree")
    world.file(sweep.key.stderr(1, 2), b"oops\n")
    assert run("logs", sweep.key.path, 1).stdout_bytes == b"one \xff\n[red]two[/red]\nthree"
    assert run("logs", sweep.key.path, 1, "-f", "--stderr").stdout == "oops\n"
    lines = [json.loads(line) for line in run("logs", sweep.key.path, 1, "--json").stdout.splitlines()]
    assert [line["line"] for line in lines] == ["one \ufffd", "[red]two[/red]", "three"]
    assert {(line["trial"], line["stream"]) for line in lines} == {(1, "stdout")}


def test_logs_of_a_command_need_no_trial_and_those_of_a_sweep_do(run: Run, world: World, sweep: JobRecord) -> None:
    done = run("logs", sweep.key.path)
    assert done.exit_code == ExitCode.USAGE
    assert "trial 1 is the best" in done.stderr
    record = world.job(world.key("one"), kind="command", num_trials=1, next_trial=1, goal=None, primary_metric=None)
    world.trial(0, key=record.key)
    world.file(record.key.stdout(0, 1), "hello\n")
    assert run("logs", record.key.path).stdout == "hello\n"
