"""What every command does around its own work: open the account, write results, tell errors, end with a code."""

import contextlib
import json
import logging
import math
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import typer

from dropsweep.cli.exits import ExitCode, code_of
from dropsweep.cli.streams import discard_output
from dropsweep.errors import ConfigError, DropsweepError, Severity, SpecError, StorageDenied, StorageUnavailable
from dropsweep.settings import URL

if TYPE_CHECKING:
    from rich.console import Console

    from dropsweep.client import BaseClient
    from dropsweep.names import JobKey

_PATIENCE_S = 3.0
"""Less than a program's: a person wants to hear of a wrong address within seconds."""
_MIN_READ_TIMEOUT_S = 2.0
"""The functions take their time for the first answer after a rest."""
_UNLIMITED_COLUMNS = 1000
_MAX_DETAIL = 120


@dataclass
class Session:
    """One command's run.

    Attributes:
        connection: the account or API from the command line, or None for the environment.
        as_json: results as JSON rather than for people.
        time_s: the most seconds that the command may take, if a person has set that; None: no bound.
    """

    connection: str | None
    as_json: bool
    time_s: float | None = None

    @cached_property
    def client(self) -> "BaseClient":
        """The storage account or the HTTP API; opened on first use."""
        # What went wrong is told as any other error, and once: the one would list every identity that it tried, over
        # many lines, the other would warn of an answer that is no XML.
        for name in ("azure.identity", "azure.storage"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        bound_s = math.inf if self.time_s is None else self.time_s
        patience_s = min(_PATIENCE_S, bound_s)
        if self.is_http:
            from dropsweep.client.http import HttpClient
            from dropsweep.client.http.web import READ_TIMEOUT_S

            read_timeout_s = min(READ_TIMEOUT_S, max(bound_s, _MIN_READ_TIMEOUT_S))
            if self.connection:
                return HttpClient(self.connection, patience_s=patience_s, read_timeout_s=read_timeout_s)
            return HttpClient.from_env(patience_s=patience_s, read_timeout_s=read_timeout_s)
        from dropsweep.client import Client

        # The account derives from the patience for how long an answer may stand still.
        if self.connection:
            return Client(self.connection, patience_s=patience_s)
        return Client.from_env(patience_s=patience_s)

    @property
    def is_http(self) -> bool:
        """True when it works over the HTTP API. An option goes before the environment, and there the API first."""
        return is_api(self.connection) if self.connection else bool(os.environ.get(URL, "").strip())

    def find(self, job: str) -> "JobKey":
        """Returns the job that a person means; of several of one name the newest, and then says so."""
        match = self.client.find(job)
        if match.num_named > 1:
            self.remark(f"{match.key.path} is the newest of {match.num_named} jobs of this name")
        return match.key

    @cached_property
    def program(self) -> str:
        """What a person types for this program, here."""
        from dropsweep.client.program import program

        return program()

    @cached_property
    def out(self) -> "Console":
        """Where results for people go: standard output."""
        return self._console(is_error=False)

    @cached_property
    def err(self) -> "Console":
        """Where remarks and errors for people go: standard error."""
        return self._console(is_error=True)

    def _console(self, *, is_error: bool) -> "Console":
        from rich.console import Console

        class Screen(Console):
            def on_broken_pipe(self) -> None:
                raise BrokenPipeError

        stream = sys.stderr if is_error else sys.stdout
        # A program that reads a table must not get it cut to the width of a terminal that is not there.
        width = None if stream.isatty() else _UNLIMITED_COLUMNS
        return Screen(stderr=is_error, highlight=False, width=width)

    def write(self, document: Mapping[str, Any]) -> None:
        """Writes the command's one JSON document."""
        sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n")

    def write_line(self, document: Mapping[str, Any]) -> None:
        """Writes one JSON document on a line of its own, at once."""
        sys.stdout.write(json.dumps(document, ensure_ascii=False, allow_nan=False) + "\n")
        sys.stdout.flush()

    def remark(self, text: str) -> None:
        """Tells a person something that is no result; nothing with `--json`."""
        if not self.as_json:
            from dropsweep.live import literal

            self.err.print(literal(_as_called(text), "dim"), soft_wrap=True)

    def document(self, error: Exception, code: ExitCode) -> dict[str, Any]:
        """Returns an error as JSON."""
        document: dict[str, Any] = {
            "kind": type(error).__name__,
            "message": self.message(error),
            "exit_code": int(code),
        }
        if isinstance(error, SpecError):
            document["problems"] = [problem.to_json() for problem in error.problems]
        return document

    def tell(self, error: Exception, code: ExitCode, about: str = "") -> None:
        """Writes an error to standard error, for people, and then with what it is about, or as one JSON object."""
        if self.as_json:
            _write_error(self.document(error, code))
            return

        if isinstance(error, SpecError) and not about:
            for problem in error.problems:
                self._tell(_as_called(str(problem)), problem.severity)
            return
        told = self.message(error)
        if about and about not in told:
            told = f"{about}: {told}"
        self._tell(told, Severity.ERROR)

    def _tell(self, told: str, severity: "Severity") -> None:
        from dropsweep.live import literal

        style = "bold red" if severity is Severity.ERROR else "yellow"
        self.err.print(literal(f"{severity}: ", style).append_text(literal(told)), soft_wrap=True)

    def message(self, error: Exception) -> str:
        """Returns what is said of an error: what went wrong, where, and what to do."""
        if isinstance(error, ConfigError):
            start = (
                ". `make up` starts an account on this machine and prints the line to paste; --url names an HTTP API"
            )
            return f"{error}{'' if self.is_http else start}"
        if isinstance(error, StorageUnavailable):
            return str(error) if self.is_http else _unavailable(error, self.client.place)
        if isinstance(error, OSError) and error.strerror:
            where = f"{error.filename}: " if error.filename else ""
            return f"{where}{error.strerror}"
        # What the SDK says ends with a full stop of its own.
        told = _as_called(re.sub(r"(?<=\w)\.\.(?=\s|$)", ".", str(error)))
        return f"{told} ({self.client.place})" if isinstance(error, StorageDenied) and not self.is_http else told

    def errors(self, found: "Mapping[JobKey, Exception]") -> list[dict[str, Any]]:
        """Returns what is wrong with some jobs as JSON, for the `errors` of a command's document."""
        return [{"job": key.path, **self.document(error, code_of(error))} for key, error in found.items()]

    def end_with(self, errors: "Mapping[JobKey, Exception] | Mapping[str, Exception]") -> None:
        """Ends the command with the code of the first of some errors, each under what it is about; told to people.

        Does nothing when there is none. With `--json` the errors stand in the command's document.

        Raises:
            typer.Exit: with the code.
        """
        for about, error in errors.items():
            if not self.as_json:
                self.tell(error, code_of(error), about if isinstance(about, str) else about.path)
        if errors:
            raise typer.Exit(code_of(next(iter(errors.values()))))


@contextlib.contextmanager
def session(
    context: typer.Context, connection: str | None, as_json: bool, *, time_s: float | None = None
) -> Iterator[Session]:
    """Runs a command's work; an error is told and becomes an exit code.

    Args:
        context: typer's, with what was named before the command.
        connection: the account or API that was named after the command; None: none was.
        as_json: results as JSON rather than for people.
        time_s: the most seconds that the command may take; None: no bound.

    Raises:
        typer.Exit: with the code that `exits.MEANINGS` explains.
    """
    here = Session(connection or context.obj, as_json, time_s)
    try:
        yield here
        sys.stdout.flush()
    except BrokenPipeError:
        discard_output()
        raise typer.Exit(ExitCode.PIPE_CLOSED) from None
    except KeyboardInterrupt:
        if as_json:
            code = ExitCode.INTERRUPTED
            _write_error({"kind": "Interrupted", "message": "interrupted", "exit_code": int(code)})
        here.remark("interrupted")
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    except (DropsweepError, OSError) as error:
        code = code_of(error)
        here.tell(error, code)
        raise typer.Exit(code) from None


def _write_error(document: Mapping[str, Any]) -> None:
    sys.stderr.write(json.dumps({"error": document}, ensure_ascii=False) + "\n")


def is_api(text: str) -> bool:
    """True for the URL of an HTTP API; False for a connection string and for the URL of a storage account."""
    url = urlsplit(text.strip())
    return url.scheme in ("http", "https") and ".blob." not in (url.hostname or "")


def _unavailable(error: StorageUnavailable, place: str) -> str:
    status = getattr(error.__cause__, "status_code", None)
    if status is not None:
        what = str(error).partition(": ")[0]
        return f"{what}: the storage account answers, but with the error {status}. Try again in a minute ({place})"
    return (
        "the storage account does not answer. Is its name right, and is it up? "
        f"On one machine `make up` starts it ({place}, {_in_short(str(error))})"
    )


def _in_short(text: str) -> str:
    """What was tried and why it failed, of an SDK's long line."""
    what = text.partition(": ")[0]
    why = re.search(r"\[Errno -?\d+\] ([^\"')\]]+)", text)
    if why is not None:
        return f"{what}: {why[1]}"
    # What the SDK names by a class of a connection pool is a host.
    told = re.sub(r"\w*Pool\(host='([^']*)', port=(\d+)\)", r"\1:\2", text).partition(". ")[0]
    return told if len(told) <= _MAX_DETAIL else f"{told[: _MAX_DETAIL - 1]}…"


def _as_called(text: str) -> str:
    """Names the program as it was called: the library, which writes most hints, knows only its usual name."""
    from dropsweep.client.program import USUAL, program

    return re.sub(rf"`{USUAL} (?=[a-z])", lambda _: f"`{program()} ", text)
