"""The command `dropsweep doctor`: everything that can be wrong with a deployment, looked for at once."""

from typing import TYPE_CHECKING, Final

import typer

from dropsweep.cli.exits import ExitCode
from dropsweep.cli.options import AsJson, Connection
from dropsweep.cli.session import Session, session
from dropsweep.errors import ConfigError, DropsweepError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from dropsweep.client.doctor.findings import Finding

doctor = typer.Typer(rich_markup_mode=None)

_STYLES: Final = {"ok": "green", "warning": "yellow", "error": "bold red"}


@doctor.command("doctor", epilog="Examples:\n\n\b\n  dropsweep doctor\n  dropsweep doctor --json")
def examine(context: typer.Context, connection: Connection = None, as_json: AsJson = False) -> None:
    """Look for whatever is wrong, and say what to do about it."""
    with session(context, connection, as_json) as here:
        from dropsweep.client.doctor.findings import Health, health_of, to_document

        findings = _findings(here)
        if as_json:
            here.write(to_document(findings))
        else:
            _print(here, findings)
        if health_of(findings) is not Health.OK:
            raise typer.Exit(ExitCode.FAILED)


def _findings(here: Session) -> "list[Finding]":
    """Examines; that nothing is named to be examined is a finding as well."""
    from dropsweep.client.doctor.findings import CONNECTION, Finding, Status
    from dropsweep.client.doctor.here import here as this_side

    try:
        client = here.client
    except ConfigError as error:
        told, _, remedy = str(error).rpartition(". ")
        start = "On one machine `make up` starts an account and prints the line to paste"
        return [this_side(), Finding(CONNECTION, Status.ERROR, told, f"{remedy}. {start}")]
    findings = client.examine()
    return [this_side(), *(_that_side(here) if here.is_http else ()), *findings]


def _that_side(here: Session) -> "list[Finding]":
    """Tells what answers for the HTTP API; nothing when it does not, for that is found by the examination."""
    from dropsweep.client.doctor.findings import CONNECTION, Finding, Status
    from dropsweep.client.doctor.here import differing
    from dropsweep.client.http import HttpClient

    client = here.client
    assert isinstance(client, HttpClient)
    try:
        version = client.version()
    except DropsweepError:
        return []
    found = Finding(
        CONNECTION, Status.OK, f"{client.place} answers, with dropsweep {version}; what follows is seen there"
    )
    another = differing("the functions that serve the HTTP API", version)
    return [found, another] if another else [found]


def _print(here: Session, findings: "Sequence[Finding]") -> None:
    """Writes the table; into a pipe without the blanks at the ends of its lines, which are as long as the longest."""
    if here.out.is_terminal:
        here.out.print(_table(findings))
        return
    from dropsweep.live import literal

    with here.out.capture() as printed:
        here.out.print(_table(findings))
    here.out.print(literal("\n".join(line.rstrip() for line in printed.get().splitlines())), soft_wrap=True)


def _table(findings: "Sequence[Finding]") -> "Table":
    from dropsweep.cli.layout import plain_table
    from dropsweep.live import literal

    table = plain_table()
    table.add_column("check", no_wrap=True)
    table.add_column("status", no_wrap=True)
    table.add_column("what was seen, and what to do", overflow="fold")
    for finding in findings:
        told = literal(finding.message)
        if finding.remedy:
            told.append("\n").append_text(literal(f"→ {finding.remedy}"))
        table.add_row(literal(finding.check), literal(finding.status, _STYLES[finding.status]), told)
    return table
