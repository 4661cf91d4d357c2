"""The commands `dropsweep poison …`: messages that nobody could act on."""

from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from dropsweep.cli.exits import code_of
from dropsweep.cli.options import AsJson, Connection
from dropsweep.cli.session import Session, session
from dropsweep.errors import DropsweepError, MessageError, NotFoundError

if TYPE_CHECKING:
    from rich.table import Table

    from dropsweep.records.buried import BuriedMessage

_MAX_SHOWN: Final = 60
"""Characters of a body in the table; `--json` has all of it."""

poison = typer.Typer(
    help="Look at messages that nobody could act on, and send them again.",
    rich_markup_mode=None,
    no_args_is_help=True,
)


@poison.command("list", epilog="Examples:\n\n\b\n  dropsweep poison list")
def list_buried(context: typer.Context, connection: Connection = None, as_json: AsJson = False) -> None:
    """List the messages that were buried, newest first, and why."""
    with session(context, connection, as_json) as here:
        found = here.client.buried()
        if as_json:
            here.write({"messages": [_document(message) for message in found]})
        elif found:
            here.out.print(_table(found))
        else:
            here.remark("no message is buried")


@poison.command(
    epilog="Examples:\n\n\b\n  dropsweep poison requeue 5d1c0e6e\n  dropsweep poison requeue --all",
)
def requeue(
    context: typer.Context,
    message: Annotated[
        str | None, typer.Argument(metavar="ID", help="A message's id, or the beginning of one.", show_default=False)
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every message that is buried now.")] = False,
    connection: Connection = None,
    as_json: AsJson = False,
) -> None:
    """Send buried messages to their queues again; a dropped file is put anew."""
    with session(context, connection, as_json) as here:
        if (message is not None) == everything:
            raise DropsweepError("an ID or --all must be given, and not both. `dropsweep poison list` shows the ids")
        if message is not None:
            done = [here.client.requeue(message)]
            failed: list[tuple[BuriedMessage, DropsweepError]] = []
        else:
            done, failed = _requeue_all(here)
        _tell(here, done, failed)
        if failed:
            raise typer.Exit(code_of(failed[0][1]))


def _requeue_all(here: Session) -> "tuple[list[BuriedMessage], list[tuple[BuriedMessage, DropsweepError]]]":
    """Sends all that are buried at the start, past those that cannot be sent."""
    done: list[BuriedMessage] = []
    failed: list[tuple[BuriedMessage, DropsweepError]] = []
    for message in here.client.buried():
        try:
            done.append(here.client.requeue(message))
        except (NotFoundError, MessageError) as error:
            failed.append((message, error))
    return done, failed


def _tell(here: Session, done: "list[BuriedMessage]", failed: "list[tuple[BuriedMessage, DropsweepError]]") -> None:
    if here.as_json:
        refused = [{"id": message.id, "queue": message.queue, "message": str(error)} for message, error in failed]
        here.write({"requeued": [{"id": sent.id, "queue": sent.queue} for sent in done], "refused": refused})
        return
    for sent in done:
        typer.echo(f"{sent.id}  {sent.queue}")
    for message, error in failed:
        here.remark(f"left buried: {message.id}: {error}")
    if not done and not failed:
        here.remark("no message is buried")


def _document(message: "BuriedMessage") -> dict[str, Any]:
    """Returns the record as its blob has it, and when it was written."""
    from dropsweep.records.codec import time_out

    return {**message.to_document(), "when": time_out(message.when)}


def _table(found: "list[BuriedMessage]") -> "Table":
    from rich.table import Table

    from dropsweep.live import literal
    from dropsweep.page.words import moment

    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("id", "queue"):
        table.add_column(column, no_wrap=True)
    table.add_column("when", overflow="fold")
    table.add_column("attempts", justify="right", no_wrap=True)
    for column in ("reason", "body"):
        table.add_column(column, overflow="fold")
    length = _id_length([message.id for message in found])
    for message in found:
        body = repr(message.body) if message.text is None else _line(message.text)
        table.add_row(
            literal(message.id[:length]),
            literal(message.queue),
            moment(message.when),
            str(message.num_attempts),
            literal(_line(message.reason)),
            literal(body if len(body) <= _MAX_SHOWN else f"{body[: _MAX_SHOWN - 1]}…"),
        )
    return table


def _line(text: str) -> str:
    return " ".join(text.split())


def _id_length(ids: list[str]) -> int:
    """As much of the ids as tells them apart, at least eight characters."""
    length = 8
    while len({message_id[:length] for message_id in ids}) < len(ids):
        length += 1
    return length
