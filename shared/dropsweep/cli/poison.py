"""The commands `dropsweep poison …`: messages that nobody could act on."""

from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from dropsweep.cli.delete import Yes, confirm
from dropsweep.cli.exits import code_of
from dropsweep.cli.options import AsJson, Connection
from dropsweep.cli.session import Session, session
from dropsweep.errors import DropsweepError, StorageCorrupt, StorageDenied, StorageUnavailable
from dropsweep.names import BURIED

if TYPE_CHECKING:
    from rich.table import Table

    from dropsweep.client.poison import BuriedName
    from dropsweep.records.buried import BuriedMessage

_MAX_SHOWN: Final = 60
"""Characters of a body in the table; `--json` has all of it."""

_Unreadable = dict[str, StorageCorrupt]
"""What is wrong with a blob that stands among the records and is none, by its path."""

poison = typer.Typer(
    help="Look at messages that nobody could act on, send them again, or delete them.",
    rich_markup_mode=None,
    no_args_is_help=True,
)


_Message = Annotated[
    str | None, typer.Argument(metavar="ID", help="A message's id, or the beginning of one.", show_default=False)
]
_Everything = Annotated[bool, typer.Option("--all", help="Every message that is buried now.")]


@poison.command("list", epilog="Examples:\n\n\b\n  dropsweep poison list")
def list_buried(context: typer.Context, connection: Connection = None, as_json: AsJson = False) -> None:
    """List the messages that were buried, newest first, and why."""
    with session(context, connection, as_json) as here:
        unreadable: _Unreadable = {}
        found = here.client.buried(on_corrupt=unreadable.__setitem__)
        if as_json:
            messages = [_document(message) for message in found]
            here.write({"messages": messages, "errors": _errors(here, unreadable)})
        elif found or unreadable:
            here.out.print(_table(found, list(unreadable)))
        else:
            here.remark("no message is buried")
        here.end_with(unreadable)


@poison.command(
    epilog="Examples:\n\n\b\n  dropsweep poison requeue 5d1c0e6e\n  dropsweep poison requeue --all",
)
def requeue(
    context: typer.Context,
    message: _Message = None,
    everything: _Everything = False,
    connection: Connection = None,
    as_json: AsJson = False,
) -> None:
    """Send buried messages to their queues again; a dropped file is put anew."""
    with session(context, connection, as_json) as here:
        _check_named(message, everything)
        if message is not None:
            _tell(here, [here.client.requeue(message)], [], {})
        else:
            _requeue_all(here)


@poison.command(
    epilog="Examples:\n\n\b\n  dropsweep poison delete 5d1c0e6e\n  dropsweep poison delete --all --yes",
)
def delete(
    context: typer.Context,
    message: _Message = None,
    everything: _Everything = False,
    yes: Yes = False,
    connection: Connection = None,
    as_json: AsJson = False,
) -> None:
    """Delete buried messages that are no use to anybody."""
    with session(context, connection, as_json) as here:
        _check_named(message, everything)
        if message is not None:
            _tell_deleted(here, [here.client.delete_buried(message)])
            return
        confirm(here, "every message that is buried now will be deleted", "all", yes=yes)
        gone: list[BuriedName] = []
        try:
            for name in here.client.delete_all_buried():
                gone.append(name)
        finally:
            # Whatever ended it: what is deleted is deleted.
            _tell_deleted(here, gone)
        if not gone:
            here.remark("no message is buried")


def _check_named(message: str | None, everything: bool) -> None:
    """Refuses to guess which messages are meant.

    Raises:
        DropsweepError: none is named, or one and all are.
    """
    if (message is not None) == everything:
        raise DropsweepError("an ID or --all must be given, and not both. `dropsweep poison list` shows the ids")


def _tell_deleted(here: Session, gone: "list[BuriedName]") -> None:
    if here.as_json:
        here.write({"deleted": [{"id": name.id, "queue": name.queue} for name in gone]})
        return
    for name in gone:
        typer.echo(f"{name.id}  {name.queue}")


def _requeue_all(here: Session) -> None:
    """Sends all that are buried at the start, past those that cannot be sent."""
    unreadable: _Unreadable = {}
    found = here.client.buried(on_corrupt=unreadable.__setitem__)
    done: list[BuriedMessage] = []
    failed: list[tuple[BuriedMessage, DropsweepError]] = []
    try:
        for message in found:
            try:
                done.append(here.client.requeue(message))
            except (StorageUnavailable, StorageDenied):
                raise  # the others would fare no better
            except DropsweepError as error:
                failed.append((message, error))
    finally:
        # Whatever ended it: what was sent is sent.
        _tell(here, done, failed, unreadable)
    if not found and not unreadable:
        here.remark("no message is buried")
    errors = [*(error for _, error in failed), *unreadable.values()]
    if errors:
        raise typer.Exit(code_of(errors[0]))


def _tell(
    here: Session,
    done: "list[BuriedMessage]",
    failed: "list[tuple[BuriedMessage, DropsweepError]]",
    unreadable: _Unreadable,
) -> None:
    if here.as_json:
        refused = [{"id": message.id, "queue": message.queue, "message": str(error)} for message, error in failed]
        requeued = [{"id": sent.id, "queue": sent.queue} for sent in done]
        here.write({"requeued": requeued, "refused": refused, "errors": _errors(here, unreadable)})
        return
    for sent in done:
        typer.echo(f"{sent.id}  {sent.queue}")
    for message, error in failed:
        here.remark(f"not sent: {message.id}: {error}")
    for path, unread in unreadable.items():
        here.tell(unread, code_of(unread), path)


def _errors(here: Session, unreadable: _Unreadable) -> list[dict[str, Any]]:
    return [{"path": path, **here.document(error, code_of(error))} for path, error in unreadable.items()]


def _document(message: "BuriedMessage") -> dict[str, Any]:
    """Returns the record as its blob has it, and when it was written."""
    from dropsweep.records.codec import time_out

    return {**message.to_document(), "when": time_out(message.when)}


def _table(found: "list[BuriedMessage]", unreadable: list[str]) -> "Table":
    from dropsweep.cli.layout import plain_table
    from dropsweep.live import literal
    from dropsweep.page.words import moment

    table = plain_table()
    for column in ("id", "queue"):
        table.add_column(column, no_wrap=True)
    table.add_column("when", overflow="fold")
    table.add_column("attempts", justify="right", no_wrap=True)
    for column in ("reason", "body"):
        table.add_column(column, overflow="fold")
    places = [path.removeprefix(BURIED).removesuffix(".json").rpartition("/") for path in unreadable]
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
    for queue, _, name in places:
        table.add_row(literal(name), literal(queue), "", "", "unreadable", "")
    return table


def _line(text: str) -> str:
    return " ".join(text.split())


def _id_length(ids: list[str]) -> int:
    """As much of the ids as tells them apart, at least eight characters."""
    length = 8
    while len({message_id[:length] for message_id in ids}) < len(ids):
        length += 1
    return length
