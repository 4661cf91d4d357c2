"""`dropsweep doctor`, for people and for programs."""

import json
from collections.abc import Callable

from typer.testing import Result

from dropsweep import __version__
from dropsweep.cli.exits import ExitCode
from tests.emulator.doctor.conftest import Account

Run = Callable[..., Result]
NOWHERE = "AccountName=a;AccountKey=YWJj;BlobEndpoint=http://127.0.0.1:9/a;QueueEndpoint=http://127.0.0.1:9/a"


def test_of_a_deployment_that_is_well_it_says_so_and_ends_with_0(run: Run, account: Account) -> None:
    done = run("doctor")
    assert done.exit_code == ExitCode.OK
    lines = done.stdout.splitlines()
    assert lines[0].split()[:2] == ["check", "status"]
    assert {line.split()[1] for line in lines[1:]} == {"ok"}
    assert f"dropsweep {__version__}" in done.stdout
    assert done.stderr == ""


def test_an_error_ends_it_with_1_and_the_remedy_stands_below_the_finding(run: Run, account: Account) -> None:
    account.timer(age_s=4000)
    done = run("doctor")
    assert done.exit_code == ExitCode.FAILED
    lines = done.stdout.splitlines()
    [at] = [number for number, line in enumerate(lines) if line.split()[:2] == ["functions", "error"]]
    assert lines[at + 1].strip().startswith("→ See that the function app is started")


def test_into_a_pipe_no_line_is_filled_with_blanks(run: Run, account: Account) -> None:
    lines = run("doctor").stdout.splitlines()
    assert len(lines) > 5
    assert all(line == line.rstrip() for line in lines)


def test_json_has_the_status_of_all_and_every_finding(run: Run, account: Account) -> None:
    done = run("doctor", "--json")
    document = json.loads(done.stdout)
    assert (done.exit_code, document["status"]) == (ExitCode.OK, "ok")
    assert all(set(finding) == {"check", "status", "message", "remedy"} for finding in document["findings"])
    account.timer(age_s=4000)
    done = run("doctor", "--json")
    assert (done.exit_code, json.loads(done.stdout)["status"]) == (ExitCode.FAILED, "degraded")


def test_without_an_account_that_is_the_finding(run: Run, account: Account) -> None:
    done = run("doctor", "--json", env={"DROPSWEEP_STORAGE": None})
    document = json.loads(done.stdout)
    assert (done.exit_code, document["status"]) == (ExitCode.FAILED, "down")
    here, found = document["findings"]
    assert (here["check"], found["check"]) == ("versions", "connection")
    assert found["message"].startswith("DROPSWEEP_STORAGE is not set")
    assert "make up" in found["remedy"]


def test_an_account_that_does_not_answer_is_a_finding(run: Run, account: Account) -> None:
    done = run("doctor", "--connection", NOWHERE)
    assert done.exit_code == ExitCode.FAILED
    assert "Connection refused" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
