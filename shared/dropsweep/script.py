"""What a training script calls: parameters in, metrics and checkpoints out.

    import dropsweep

    dropsweep.report(step=epoch, accuracy=0.97)          # one line of metrics
    with dropsweep.checkpoint(epoch) as folder:          # whole or not there at all
        torch.save(model.state_dict(), folder / "model.pt")
    folder = dropsweep.resume_from()                     # None on the first attempt

Each function reads one environment variable that the trainer sets, and does something sensible without it, so that the
same script runs by hand. None of them is needed: the variables are the contract, and any language can keep it.

This module loads from the standard library only what its functions cannot do without, because every trial pays for it:
`pathlib`, `shutil` and `typing` would double its time.
"""

import contextlib
import errno
import json
import math
import operator
import os
import re
import sys
import time
from collections.abc import Iterator

TYPE_CHECKING = False  # mypy takes this for true; `typing`'s own costs an import
if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any, Final, SupportsFloat, SupportsIndex

METRICS_VARIABLE: "Final" = "DROPSWEEP_METRICS"
"""Path of the file to which lines of metrics are appended."""
PARAMS_VARIABLE: "Final" = "DROPSWEEP_PARAMS"
"""The trial's parameters as one JSON object."""
CHECKPOINTS_VARIABLE: "Final" = "DROPSWEEP_CHECKPOINTS"
"""Folder in which whole checkpoints appear, each a folder whose name does not start with a dot."""
ATTEMPT_VARIABLE: "Final" = "DROPSWEEP_ATTEMPT"
"""The attempt's number, from 1; in a trial alone."""
RESUME_VARIABLE: "Final" = "DROPSWEEP_RESUME_FROM"
"""Folder of the latest whole checkpoint; not set on a first attempt, nor when no checkpoint became whole."""

METRIC_RULE: "Final" = "1 to 200 letters, digits, _, -, ., / and inner spaces, starting with a letter, digit or _"
_METRIC = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./ -]{0,199}(?<! )")
CHECKPOINT_RULE: "Final" = "1 to 64 letters, digits, - and _, starting with a letter or digit"
_CHECKPOINT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def report(step: "SupportsIndex | None" = None, **metrics: "SupportsFloat") -> None:
    """Appends one line of metrics to `$DROPSWEEP_METRICS`; without that variable, prints the line.

    The line is one flat JSON object, for example `{"step": 3, "time": 1767225600.125, "accuracy": 0.97}`, where `time`
    is in seconds since 1970 (UTC). It is written whole by one call of the operating system at the file's end, so
    threads and processes may report at once and no line is torn. On return the line is in the file.

    Args:
        step: which step of the training the metrics belong to (an epoch, a batch: the script's choice), a whole number
            from 0; None for metrics of the whole run.
        metrics: at least one value by name: a number, or anything with one number in it, such as a tensor or an array
            of no dimensions. True and False count as 1 and 0. JSON has no NaN and no infinities: they are written as
            the texts "NaN", "Infinity" and "-Infinity", and read back as the numbers. Names follow `METRIC_RULE`; one
            that is no Python name is given as `**{"val/accuracy": 0.97}`.

    Raises:
        TypeError: a value is not one number, or the step is not a whole number; nothing is written.
        ValueError: a name breaks the rule or is `time`, a step is negative, a number is beyond a float, or there is no
            metric; nothing is written.
        OSError: the file cannot be written.
    """
    entry: dict[str, int | float | str] = {}
    if step is not None:
        entry["step"] = _whole_number("step", step)
    entry["time"] = round(time.time(), 3)
    if not metrics:
        raise ValueError("report() got no metric: it needs at least one. Call it as report(step=3, accuracy=0.97)")
    for name, value in metrics.items():
        if _METRIC.fullmatch(name) is None or name == "time":
            raise ValueError(
                f"metric name {_short(name)}: it must be {METRIC_RULE}, and not `time`, which is the line's own. "
                "Rename the metric"
            )
        entry[name] = _number(name, value)
    line = json.dumps(entry, allow_nan=False) + "\n"
    path = os.environ.get(METRICS_VARIABLE)
    if path:
        _append(path, line.encode())
    else:
        sys.stdout.write(line)
        sys.stdout.flush()


def params() -> "dict[str, Any]":
    """Returns the trial's parameters by name, from `$DROPSWEEP_PARAMS`; without that variable, an empty dictionary.

    Raises:
        ValueError: the variable does not hold a JSON object, which no trainer does; somebody else set it.
    """
    text = os.environ.get(PARAMS_VARIABLE)
    if not text:
        return {}
    try:
        parameters = json.loads(text)
    except ValueError:
        parameters = None
    if not isinstance(parameters, dict):
        raise ValueError(
            f"{PARAMS_VARIABLE} is {_short(text)}: it must hold a JSON object. "
            'Unset it, or set it to the parameters, as in {"lr": 0.1}'
        )
    return parameters


@contextlib.contextmanager
def checkpoint(name: "str | SupportsIndex") -> "Iterator[Path]":
    """Gives an empty folder to write a checkpoint into, and makes the checkpoint whole when the block ends.

    The folder has a hidden name until then. At the block's end its modification time is set, and it is renamed to
    `$DROPSWEEP_CHECKPOINTS/{name}` (without that variable, `./checkpoints/{name}`). In a trial, which has
    `$DROPSWEEP_ATTEMPT`, the trainer uploads it from that moment on, while the script goes on; elsewhere it is on disk
    when the block has ended. When the block raises, the folder is removed and the error goes on; when the process
    dies, only a hidden folder is left, which nobody takes for a checkpoint. The latest checkpoint is the one whose
    folder was modified last.

    A checkpoint of the same name is replaced: it is moved away only once the new one is whole.

    Args:
        name: a step, a whole number from 0, which names the folder `step-000005`; or a name of the script's own
            (`CHECKPOINT_RULE`).

    Yields:
        The path of the hidden folder, absolute.

    Raises:
        TypeError: the name is neither a text nor a whole number; the block does not run.
        ValueError: the name breaks the rule (the block does not run), or the block wrote no file.
        OSError: the disk refuses.
    """
    from pathlib import Path  # costs as much as half of this module's import, and many scripts keep no checkpoint

    folder_name = _checkpoint_name(name)
    root = os.path.abspath(os.environ.get(CHECKPOINTS_VARIABLE) or "checkpoints")
    os.makedirs(root, exist_ok=True)
    # The trainer's folder dies with its node; what counts is in the account, and to wait for the disk would only hold
    # the training up, for seconds when the checkpoint is large.
    flush = _leave if os.environ.get(ATTEMPT_VARIABLE) else _flush
    hidden = os.path.join(root, f".{folder_name}-{os.getpid()}-{time.time_ns()}")
    os.mkdir(hidden)
    try:
        yield Path(hidden)
        if not _flush_tree(hidden, flush):
            raise ValueError(
                f"checkpoint {folder_name!r} holds no file: an empty one could not be resumed from. "
                "Write into the folder that the `with` statement gives"
            )
        # The script may have copied an old folder's time, and the clock that stamps files can give two the same one.
        now_ns = time.time_ns()
        os.utime(hidden, ns=(now_ns, now_ns))
        _put_in_place(hidden, os.path.join(root, folder_name))
        flush(root)
    except BaseException:
        _remove_tree(hidden)
        raise


def resume_from() -> "Path | None":
    """Returns the folder of the checkpoint to go on from, `$DROPSWEEP_RESUME_FROM`, or None for a fresh start.

    Raises:
        FileNotFoundError: the variable names no folder; a silent fresh start would lose what was trained.
    """
    from pathlib import Path

    text = os.environ.get(RESUME_VARIABLE)
    if not text:
        return None
    folder = Path(text)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{RESUME_VARIABLE} is {_short(text)}: it must be the folder of a checkpoint. "
            "Unset it to start afresh, or name a folder under checkpoints"
        )
    return folder


def outputs() -> "Path":
    """Returns `./outputs`, which exists on return; what lies in it when the process ends is kept with the trial."""
    from pathlib import Path

    folder = Path("outputs")
    folder.mkdir(exist_ok=True)
    return folder


def _short(value: object) -> str:
    """The value as Python writes it, at most 80 characters."""
    text = repr(value)
    return text if len(text) <= 80 else text[:79] + "…"


def _whole_number(what: str, value: "SupportsIndex") -> int:
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):
        raise TypeError(f"{what} {_short(value)}: it must be a whole number. Pass an int, or round it with int()")
    if number < 0:
        raise ValueError(f"{what} {_short(value)}: it must be 0 or more. Count from 0")
    return number


def _number(name: str, value: object) -> float | str:
    """Returns the value as JSON can hold it."""
    number: object = None
    try:
        # Tensors and arrays: float() of a tensor warns while its gradient is kept, item() does not.
        number = value.item() if hasattr(value, "item") else value
        if not isinstance(number, (str, bytes, bytearray)):
            number = float(number)  # type: ignore[arg-type]
    except OverflowError:
        raise ValueError(
            f"metric {name!r} is {_short(value)}: it must fit into a float. Scale it down, or report its logarithm"
        ) from None
    except (TypeError, ValueError, RuntimeError):  # what float(), NumPy and PyTorch raise for what is not one number
        number = None
    if not isinstance(number, float):
        raise TypeError(
            f"metric {name!r} is {_short(value)}: it must be one number. Reduce it, for example to its mean"
        )
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "Infinity" if number > 0 else "-Infinity"
    return number


def _append(path: str, line: bytes) -> None:
    """Appends the line by one write: with O_APPEND the system finds the end and writes in one step."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        num_written = os.write(descriptor, line)
    finally:
        os.close(descriptor)
    if num_written != len(line):
        raise OSError(errno.ENOSPC, f"only {num_written} of {len(line)} bytes of metrics could be written", path)


def _checkpoint_name(name: "str | SupportsIndex") -> str:
    if not isinstance(name, str):
        return f"step-{_whole_number('checkpoint', name):06}"
    if _CHECKPOINT.fullmatch(name) is None:
        raise ValueError(
            f"checkpoint name {_short(name)}: it must be {CHECKPOINT_RULE}. Choose another, or pass the step's number"
        )
    return name


def _flush(path: str) -> None:
    """Waits until a file's bytes, or a folder's entries, are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _leave(_path: str) -> None:
    """Leaves it to the system when a file's bytes, or a folder's entries, are written to disk."""


def _flush_tree(folder: str, flush: "Callable[[str], None]") -> int:
    """Calls `flush` for a folder and everything in it, and returns the number of files."""
    num_files = 0
    for parent, _, files in os.walk(folder):
        for file in files:
            flush(os.path.join(parent, file))
        flush(parent)
        num_files += len(files)
    return num_files


def _put_in_place(whole: str, place: str) -> None:
    """Renames the whole folder to its place; an older one there is moved aside, under a hidden name, and removed."""
    try:
        os.rename(whole, place)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        aside = f"{whole}-replaced"
        os.rename(place, aside)
        os.rename(whole, place)
        _remove_tree(aside)


def _remove_tree(folder: str) -> None:
    """Removes what can be removed: a hidden folder that stays costs disk and nothing else."""
    import shutil  # brings in the readers of three kinds of archive

    shutil.rmtree(folder, ignore_errors=True)
