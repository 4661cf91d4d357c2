"""Where `Job.watch` shows how a job goes: one picture in a notebook's cell, or a line of text for each change."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TextIO

from dropsweep.client.progress import Progress
from dropsweep.page.words import figure

if TYPE_CHECKING:
    from dropsweep.client.picture import Picture

Show = Callable[[Progress, "Picture"], None]


def display_of(stream: TextIO) -> Show:
    """Returns what shows one look after another: in a notebook in place of the one before, else as text on `stream`."""
    return _in_notebook() if _is_notebook() else _as_lines(stream)


def _is_notebook() -> bool:
    """True in a Jupyter kernel; IPython's own terminal draws no HTML."""
    try:
        from IPython.core.getipython import get_ipython
    except ModuleNotFoundError:
        return False
    shell: Any = get_ipython()
    return shell is not None and getattr(shell, "kernel", None) is not None


def _in_notebook() -> Show:
    from IPython import display

    ipython: Any = display  # which has no types
    handle = ipython.display(ipython.HTML(""), display_id=True)
    before: list[object] = [None]

    def show(progress: Progress, picture: "Picture") -> None:
        now = (progress.record, dict(progress.counts), progress.trials)
        if now != before[0]:
            before[0] = now
            handle.update(ipython.HTML(picture.html(progress)))

    return show


def _as_lines(stream: TextIO) -> Show:
    before = [""]

    def show(progress: Progress, picture: "Picture") -> None:
        record = progress.record
        best = f", best {figure(progress.best.metric)} (trial {progress.best.trial})" if progress.best else ""
        line = f"{record.key.path}  {record.state}  {progress.num_final} of {record.num_trials} trials ended{best}\n"
        if line != before[0]:
            before[0] = line
            stream.write(line)
            stream.flush()

    return show
