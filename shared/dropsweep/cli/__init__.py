"""The command line, `dropsweep`: what `Client` does, for people and for scripts.

Only what parses the command line is loaded at start; each command loads what it needs.
"""

import json
import sys

import typer

from dropsweep.cli.app import app
from dropsweep.cli.exits import ExitCode
from dropsweep.cli.streams import discard_output, open_streams

__all__ = ["app", "main"]

_UsageError: type[Exception] = typer.BadParameter.__bases__[0]
"""What every mistake on the command line is; typer exports only its child."""


def main() -> None:
    """Runs one command and ends the process with its exit code (`exits.ExitCode`)."""
    open_streams()
    try:
        _run()
    except SystemExit as end:
        # Commands tell it themselves; of help and version typer makes a plain failure.
        if not isinstance(end.__context__, BrokenPipeError):
            raise
        discard_output()
        sys.exit(ExitCode.PIPE_CLOSED)


def _run() -> None:
    if "--json" not in sys.argv:
        app(prog_name="dropsweep")
    try:
        sys.exit(app(prog_name="dropsweep", standalone_mode=False))
    except _UsageError as error:
        told = {"kind": "UsageError", "message": error.format_message(), "exit_code": 2}  # type: ignore[attr-defined]
        sys.stderr.write(json.dumps({"error": told}, ensure_ascii=False) + "\n")
        sys.exit(2)
