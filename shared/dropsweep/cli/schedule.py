"""The commands `dropsweep schedule …`: jobs that come by the clock."""

from typing import TYPE_CHECKING, Annotated

import typer

from dropsweep.cli.options import AsJson, Connection, Workspace
from dropsweep.cli.session import Session, session

if TYPE_CHECKING:
    from rich.table import Table

    from dropsweep.client.schedules import ListedSchedule, ShownSchedule

schedule = typer.Typer(
    help="Look at schedules, pause and resume them, and run one now.",
    rich_markup_mode=None,
    no_args_is_help=True,
)
Name = Annotated[str, typer.Argument(metavar="SCHEDULE", help="workspace/schedule, as `list` shows it.")]


@schedule.command("list", epilog="Examples:\n\n\b\n  dropsweep schedule list\n  dropsweep schedule list -w vision")
def list_schedules(
    context: typer.Context, workspace: Workspace = None, connection: Connection = None, as_json: AsJson = False
) -> None:
    """List the schedules, how they stand and when they are due."""
    with session(context, connection, as_json) as here:
        found = here.client.schedules.all(workspace)
        if as_json:
            from dropsweep import documents

            here.write({"schedules": [documents.of_schedule(one) for one in found]})
        elif found:
            here.out.print(_table(found))
        else:
            here.remark("there is no schedule")


@schedule.command(epilog="Examples:\n\n\b\n  dropsweep schedule show vision/nightly")
def show(
    context: typer.Context,
    name: Name,
    num_ticks: Annotated[
        int, typer.Option("--ticks", min=0, max=100, metavar="N", help="Latest due times to show.")
    ] = 10,
    connection: Connection = None,
    as_json: AsJson = False,
) -> None:
    """Show a schedule, what is wrong with it, and its latest due times with their jobs."""
    with session(context, connection, as_json) as here:
        found = here.client.schedules.show(name, num_ticks=num_ticks)
        if as_json:
            from dropsweep import documents

            here.write(documents.of_shown_schedule(found))
        else:
            _show(here, found)


@schedule.command(epilog="Examples:\n\n\b\n  dropsweep schedule pause vision/nightly")
def pause(context: typer.Context, name: Name, connection: Connection = None, as_json: AsJson = False) -> None:
    """Pause a schedule; due times meanwhile are not made up for."""
    with session(context, connection, as_json) as here:
        here.client.schedules.pause(name)
        _tell_state(here, name)


@schedule.command(epilog="Examples:\n\n\b\n  dropsweep schedule resume vision/nightly")
def resume(context: typer.Context, name: Name, connection: Connection = None, as_json: AsJson = False) -> None:
    """Let a paused schedule go on with its next due time."""
    with session(context, connection, as_json) as here:
        here.client.schedules.resume(name)
        _tell_state(here, name)


@schedule.command("run-now", epilog="Examples:\n\n\b\n  dropsweep schedule run-now vision/nightly")
def run_now(context: typer.Context, name: Name, connection: Connection = None, as_json: AsJson = False) -> None:
    """Make one job of a schedule now, besides its due times."""
    with session(context, connection, as_json) as here:
        key = here.client.schedules.run_now(name)
        if as_json:
            here.write({"schedule": name, "job": key.path})
        else:
            typer.echo(key.path)
            here.remark(f"it begins within a minute; see how it goes: {here.program} watch {key.path}")


@schedule.command("next", epilog="Examples:\n\n\b\n  dropsweep schedule next vision/nightly -n 3")
def next_due(
    context: typer.Context,
    name: Name,
    num: Annotated[int, typer.Option("--num", "-n", min=1, max=1000, metavar="N", help="How many.")] = 10,
    connection: Connection = None,
    as_json: AsJson = False,
) -> None:
    """Show when a schedule is due next."""
    with session(context, connection, as_json) as here:
        from dropsweep.page.words import moment
        from dropsweep.records.codec import time_out

        found = here.client.schedules.upcoming(name, num)
        if as_json:
            here.write({"schedule": name, "due": [time_out(due) for due in found]})
        for due in [] if as_json else found:
            typer.echo(moment(due))
        if not found:
            here.remark(f"{name} has no due time any more")


def _tell_state(here: Session, name: str) -> None:
    from dropsweep import documents
    from dropsweep.page.words import moment

    found = here.client.schedules.show(name, num_ticks=0)
    if here.as_json:
        here.write(documents.of_shown_schedule(found))
    else:
        due = f", due next at {moment(found.next_due)}" if found.next_due else ""
        typer.echo(f"{found.key.path}: {found.state}{due}")


def _table(found: "list[ListedSchedule]") -> "Table":
    from dropsweep.cli.layout import plain_table
    from dropsweep.live import literal
    from dropsweep.page.words import moment

    table = plain_table()
    table.add_column("schedule", overflow="fold")
    for column in ("state", "next due"):
        table.add_column(column, no_wrap=True)
    table.add_column("problems", justify="right", no_wrap=True)
    for one in found:
        table.add_row(literal(one.key.path), one.state, moment(one.next_due), str(one.num_problems or ""))
    return table


def _show(here: Session, found: "ShownSchedule") -> None:
    from dropsweep.cli.layout import grid, plain_table
    from dropsweep.live import literal
    from dropsweep.page.words import moment

    counts = ", ".join(f"{num:,} {outcome}" for outcome, num in found.counts.items())
    rows = {
        "schedule": found.key.path,
        "name": found.display_name,
        "state": found.state,
        "due": f"{found.trigger}, {found.time_zone}" if found.trigger else "",
        "next due": moment(found.next_due) if found.next_due else "",
        "from": moment(found.start) if found.start else "",
        "until": moment(found.end) if found.end else "",
        "missed": f"catch up: {found.catch_up}" if found.catch_up else "",
        "overlap": found.overlap,
        "due times": counts,
        "file": found.file,
        "description": found.description,
        "tags": ", ".join(f"{name}={value}" for name, value in found.tags.items()),
    }
    here.out.print(grid(rows))
    for problem in found.problems:
        here.out.print(literal(f"{problem.severity}: {problem}"), soft_wrap=True)
    if not found.ticks:
        return
    table = plain_table()
    for column in ("due", "outcome"):
        table.add_column(column, no_wrap=True)
    table.add_column("job", overflow="fold")
    for tick in found.ticks:
        several = f" ({tick.num:,})" if tick.num > 1 else ""
        asked = " (run now)" if tick.run_id else ""
        table.add_row(moment(tick.due), f"{tick.outcome}{several}{asked}", literal(tick.job))
    here.out.print(table)
