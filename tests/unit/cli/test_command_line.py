"""What the command line does before any account is opened."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dropsweep.cli import app
from dropsweep.cli.exits import MEANINGS, ExitCode, code_of
from dropsweep.errors import DropsweepError

COMMANDS = (
    *("submit", "list", "show", "watch", "wait", "logs", "best", "download", "upload"),
    *("cancel", "pause", "resume", "retry", "edit", "delete"),
    *("experiment list", "experiment show", "experiment compare", "experiment cancel", "experiment pause"),
    *("experiment resume", "experiment retry", "experiment delete"),
    *("workspace list", "workspace show", "workspace retain"),
    *("schedule list", "schedule show", "schedule pause", "schedule resume", "schedule run-now", "schedule next"),
    *("cluster list", "cluster show", "cluster check", "cluster bundle"),
    *("poison list", "poison requeue", "poison delete"),
    "doctor",
)
OF_FILES = ("cluster check", "cluster bundle")
"""Commands that open no account."""
FIRST_WORDS = list(dict.fromkeys(command.split()[0] for command in COMMANDS))
ROOT = Path(__file__).parents[3]


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], env=env, capture_output=True, text=True, check=False
    )


def test_help_lists_every_command_and_every_exit_code() -> None:
    shown = CliRunner().invoke(app, ["--help"]).stdout
    assert re.findall(r"^  (\w+)  ", shown, re.MULTILINE) == FIRST_WORDS
    for code, meaning in MEANINGS.items():
        assert f"{code}  {meaning}" in shown


@pytest.mark.parametrize("command", COMMANDS)
def test_every_commands_help_has_an_example_and_takes_json_and_a_connection(command: str) -> None:
    shown = CliRunner().invoke(app, [*command.split(), "--help"]).stdout
    assert f"\n    dropsweep {command}" in shown
    assert "--json" in shown
    assert ("--connection" in shown) is (command not in OF_FILES)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_that_takes_a_value_says_in_a_word_what_it_is(command: str) -> None:
    shown = CliRunner().invoke(app, [*command.split(), "--help"]).stdout
    assert re.findall(r"--[\w-]+ <.*?>", shown) == []


def test_help_tells_what_a_connection_string_on_the_command_line_gives_away_and_what_waiting_writes() -> None:
    def words(*command: str) -> str:
        return " ".join(CliRunner().invoke(app, [*command, "--help"]).stdout.split())

    assert "A connection string that is given here, with the account's key in it, shows in the list" in words("list")
    assert "Without --json nothing is written but errors." in words("wait")
    assert "{JOB}..." in words("wait")


@pytest.mark.parametrize("command", ["cancel", "pause", "resume", "retry"])
def test_what_is_to_be_changed_must_be_named_before_any_account_is_opened(command: str) -> None:
    for arguments in ([], ["-w", "vision"], ["-e", "digits"], ["job", "-w", "vision", "-e", "digits"]):
        done = CliRunner().invoke(app, [command, *arguments], env={"DROPSWEEP_STORAGE": None})
        assert (done.exit_code, done.stdout) == (ExitCode.USAGE, "")
        assert "--workspace" in done.stderr
        assert "DROPSWEEP_STORAGE" not in done.stderr


def test_help_loads_neither_the_storage_sdk_nor_rich_nor_pydantic() -> None:
    code = "import sys; from dropsweep.cli import app; app(['--help'], standalone_mode=False); print(*sys.modules)"
    loaded = python(code).stdout.splitlines()[-1].split()
    assert "typer" in loaded
    assert not {"azure", "rich", "pydantic", "yaml", "requests", "scipy"} & set(loaded)


def test_without_an_account_the_remedy_is_told() -> None:
    code = "from dropsweep.cli import main; main()"
    done = python(code, "list")
    assert done.returncode == ExitCode.USAGE
    assert done.stderr.startswith("error: DROPSWEEP_STORAGE is not set")
    assert "make up" in done.stderr
    error = json.loads(python(code, "list", "--json").stderr)["error"]
    assert (error["kind"], error["exit_code"]) == ("ConfigError", 2)


@pytest.mark.parametrize(
    "connection",
    [
        "AccountName=a;AccountKey=abc;BlobEndpoint=http://127.0.0.1:9/a;QueueEndpoint=http://127.0.0.1:9/a",
        "DefaultEndpointsProtocol=http;AccountName=a",
        "AccountName=a;AccountKey",
    ],
)
def test_no_message_has_two_full_stops_in_a_row(connection: str) -> None:
    done = python("from dropsweep.cli import main; main()", "list", "--connection", connection)
    assert done.returncode in (ExitCode.USAGE, ExitCode.STORAGE)
    assert done.stderr.startswith("error: ")
    assert ".. " not in done.stderr
    assert ". Check " in done.stderr


def test_an_identity_that_gets_no_token_is_told_in_one_line() -> None:
    code = """
import os
from dropsweep.cli import main
for service in ("blob", "queue"):
    os.environ[f"DROPSWEEP_STORAGE__{service}ServiceUri"] = "https://127.0.0.1:9/a"
os.environ["AZURE_TOKEN_CREDENTIALS"] = "EnvironmentCredential"
main()
"""
    done = python(code, "list")
    assert done.returncode == ExitCode.STORAGE
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: listing runs/: ")


def test_help_and_version_end_quietly_when_nobody_can_read_them() -> None:
    for arguments in ("--help", "--version", "list --help", "list --json --help"):
        code = f"import sys; sys.argv[1:] = {arguments.split()}; from dropsweep.cli import main; main()"
        line = f"{shlex.quote(sys.executable)} -c {shlex.quote(code)} >&-"
        env = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(["sh", "-c", line], env=env, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (ExitCode.PIPE_CLOSED, ""), arguments


def test_wrong_usage_is_json_where_json_is_asked_for() -> None:
    code = "from dropsweep.cli import main; main()"
    assert "Missing argument" in python(code, "show").stderr
    done = python(code, "show", "--json")
    assert done.returncode == ExitCode.USAGE
    assert "Missing argument" in json.loads(done.stderr)["error"]["message"]
    assert python(code, "list", "--json", "--help").returncode == ExitCode.OK


def test_the_version_is_told() -> None:
    from dropsweep import __version__

    assert CliRunner().invoke(app, ["--version"]).stdout == f"dropsweep {__version__}\n"


def test_every_error_of_ours_has_an_exit_code() -> None:
    pending = [DropsweepError]
    while pending:
        kind = pending.pop()
        pending += kind.__subclasses__()
        assert code_of(kind(()) if kind.__name__ == "SpecError" else kind("x")) in MEANINGS
    assert set(MEANINGS) == set(ExitCode)


def test_the_documentation_has_the_same_commands_and_exit_codes() -> None:
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| (\d+) \| (.+) \|$", page, re.MULTILINE))
    assert rows == {str(int(code)): meaning for code, meaning in MEANINGS.items()}
    headings = re.findall(r"^### `dropsweep (\w+)", page, re.MULTILINE)
    assert list(dict.fromkeys(headings)) == FIRST_WORDS
    for block in re.findall(r"^    dropsweep (.+)$|^dropsweep (.+)$", page, re.MULTILINE):
        words = " ".join(block).split()
        options = {word for word in words if word.startswith("-")}
        command = next(command for command in COMMANDS if words[: len(command.split())] == command.split())
        shown = CliRunner().invoke(app, [*command.split(), "--help"]).stdout
        assert all(option in shown for option in options), words
