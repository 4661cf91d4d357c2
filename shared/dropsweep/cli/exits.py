"""Exit codes: one table, for the program, its help and its page in the documentation."""

from collections.abc import Iterable, Mapping
from enum import IntEnum
from types import MappingProxyType
from typing import Final

from dropsweep.errors import (
    ConflictError,
    DropsweepError,
    MessageError,
    NotFoundError,
    SpecError,
    StorageCorrupt,
    StorageError,
)
from dropsweep.states import JobState


class ExitCode(IntEnum):
    """What the process's end says."""

    OK = 0
    FAILED = 1
    USAGE = 2
    REJECTED = 3
    CANCELLED = 4
    NOT_FOUND = 5
    STORAGE = 6
    TIMED_OUT = 124
    INTERRUPTED = 130
    PIPE_CLOSED = 141


MEANINGS: Final[Mapping[ExitCode, str]] = MappingProxyType(
    {
        ExitCode.OK: "done; after watching or waiting: the job completed",
        ExitCode.FAILED: "the job failed, `doctor` found an error, or a file could not be read, written or downloaded",
        ExitCode.USAGE: "wrong usage: an option, a job's name that fits several jobs, no storage account named",
        ExitCode.REJECTED: "a job file or a cluster file was rejected; every problem is told",
        ExitCode.CANCELLED: "the job was cancelled, by a person or by its timeout",
        ExitCode.NOT_FOUND: "there is no such job, trial or result",
        ExitCode.STORAGE: "the storage account does not answer, answers with an error, or refuses access",
        ExitCode.TIMED_OUT: "`wait --timeout`: a job had not ended in time; it goes on",
        ExitCode.INTERRUPTED: "Ctrl-C; the job goes on",
        ExitCode.PIPE_CLOSED: "whoever read the output closed it",
    }
)

BY_STATE: Final[Mapping[JobState, ExitCode]] = MappingProxyType(
    {
        JobState.COMPLETED: ExitCode.OK,
        JobState.FAILED: ExitCode.FAILED,
        JobState.CANCELLED: ExitCode.CANCELLED,
        JobState.REJECTED: ExitCode.REJECTED,
    }
)
"""What watching a job to its end, or waiting for it, gives."""

_WORST_FIRST: Final = (ExitCode.FAILED, ExitCode.REJECTED, ExitCode.CANCELLED, ExitCode.OK)


def worst(states: Iterable[JobState]) -> ExitCode:
    """Returns what several ended jobs give together: 1 if any failed, else 3 if any was rejected, else 4, else 0."""
    codes = {BY_STATE[state] for state in states}
    return next((code for code in _WORST_FIRST if code in codes), ExitCode.OK)


_BY_ERROR: Final[tuple[tuple[type[Exception], ExitCode], ...]] = (
    (SpecError, ExitCode.REJECTED),
    (NotFoundError, ExitCode.NOT_FOUND),
    (StorageCorrupt, ExitCode.FAILED),
    (ConflictError, ExitCode.FAILED),
    (MessageError, ExitCode.FAILED),
    (StorageError, ExitCode.STORAGE),
    (DropsweepError, ExitCode.USAGE),
)


def code_of(error: Exception) -> ExitCode:
    """Returns the exit code for an error that ends a command."""
    return next((code for kind, code in _BY_ERROR if isinstance(error, kind)), ExitCode.FAILED)
