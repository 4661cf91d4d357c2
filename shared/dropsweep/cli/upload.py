"""The command `dropsweep upload`: data of this machine into the account, for job files to name."""

import sys
import threading
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from dropsweep.cli.options import AsJson, Connection
from dropsweep.cli.session import Session, session
from dropsweep.errors import StorageUnavailable

if TYPE_CHECKING:
    from rich.progress import Progress

    from dropsweep.client.datasets import Existing, Uploaded, UploadProgress

EXAMPLES: Final = (
    "Examples:\n\n\b\n  dropsweep upload ./digits digits\n  dropsweep upload ./digits data/vision/digits-v2\n"
    "  dropsweep upload ./more data/vision/digits-v2 --add"
)
_LOOK_S: Final = 0.1
"""How often the main thread looks how far the upload is, and whether Ctrl-C came."""


class _Stopped(Exception):
    """A person pressed Ctrl-C; raised in the upload's own threads."""


def upload(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A folder of this machine.")],
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="Where it goes: container/path, or a path in the container `data`."),
    ],
    adds: Annotated[bool, typer.Option("--add", help="Put the files beside others that are there.")] = False,
    replaces: Annotated[
        bool, typer.Option("--replace", help="As --add, and overwrite files of the same name with other content.")
    ] = False,
    connection: Connection = None,
    as_json: AsJson = False,
) -> None:
    """Upload a folder of data, and print the lines that name it in a job file."""
    with session(context, connection, as_json) as here:
        from dropsweep.client.datasets import Existing, UploadProgress

        existing = Existing.REPLACE if replaces else Existing.ADD if adds else Existing.REFUSE
        progress = UploadProgress()
        done = _upload(here, folder, name, existing, progress)
        if as_json:
            counts = {"num_files": done.num_files, "size_bytes": done.size_bytes, "num_same": done.num_same}
            document = {"path": done.place, **counts, "num_others": done.num_others}
            inputs = {done.input_name: {"type": "uri_folder", "path": done.place}}
            here.write({**document, "inputs": inputs})
            return
        here.remark(_told(done))
        typer.echo(done.lines, nl=False)
        here.remark(
            f"put these lines into the job file; its command gets the folder by ${{{{inputs.{done.input_name}}}}}"
        )


def _upload(here: Session, folder: Path, name: str, existing: "Existing", progress: "UploadProgress") -> "Uploaded":
    """Uploads in a thread of its own, so that Ctrl-C is heard at once and ends it in good order."""
    # An event, and not the thread's end: CPython 3.11 takes a thread for ended whose `join` is interrupted.
    stopping, ended = threading.Event(), threading.Event()
    outcome: list[Uploaded | BaseException] = []
    client = here.client

    def check() -> None:
        if stopping.is_set():
            raise _Stopped

    def work() -> None:
        try:
            outcome.append(client.upload(folder, name, existing=existing, progress=progress, check=check))
        except BaseException as error:  # noqa: BLE001 - it is raised in the main thread
            outcome.append(error)
        finally:
            ended.set()

    worker = threading.Thread(target=work, name="upload")
    with _bar(here) or nullcontext() as bar:
        try:
            worker.start()
            while not ended.wait(_LOOK_S):
                if bar is not None:
                    _draw(bar, progress)
        except KeyboardInterrupt:
            stopping.set()
            if worker.ident is not None:  # else Ctrl-C came before it began
                ended.wait()
            if not outcome or isinstance(outcome[0], _Stopped):
                here.remark(_left(progress, goes_on=True))
                raise
    [result] = outcome
    if isinstance(result, BaseException):
        if progress.num_sent:
            here.remark(_left(progress, goes_on=isinstance(result, StorageUnavailable)))
        raise result
    return result


def _told(done: "Uploaded") -> str:
    from dropsweep.page.words import plural, size_text

    told = [f"{plural(done.num_files, 'file')} sent ({size_text(done.size_bytes)})"]
    told += [f"{done.num_same:,} there already"] if done.num_same else []
    told += [f"{plural(done.num_others, 'other blob')} left there"] if done.num_others else []
    return f"{done.place}: {', '.join(told)}"


def _left(progress: "UploadProgress", *, goes_on: bool) -> str:
    """Says what was sent, and where nothing but the way there was in the way, what goes on from there."""
    from dropsweep.page.words import plural

    if not progress.num_due:
        return "nothing was sent"
    whole = f"{progress.num_sent:,} of {plural(progress.num_due, 'file')} are in {progress.place}, each as a whole"
    return f"{whole}; the same command goes on from there" if goes_on else whole


def _bar(here: Session) -> "Progress | None":
    """The progress bar, on a terminal alone."""
    if here.as_json or not sys.stderr.isatty():
        return None
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (BarColumn(), DownloadColumn(binary_units=True), TransferSpeedColumn(), TimeRemainingColumn())
    bar = Progress(TextColumn("{task.description}"), *columns, console=here.err, transient=True)
    bar.add_task("looking at what is there", total=None)
    return bar


def _draw(bar: "Progress", progress: "UploadProgress") -> None:
    [task] = bar.task_ids
    if progress.num_due:
        described = f"{progress.num_sent:,}/{progress.num_due:,} files"
        # Blocks that are sent again are counted again, and a bar never goes beyond its end.
        sent_bytes = min(progress.sent_bytes, progress.due_bytes)
        bar.update(task, description=described, total=progress.due_bytes, completed=sent_bytes)
