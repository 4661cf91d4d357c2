"""What a trial prints, read from where the last read ended."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from typing import Final

from dropsweep.errors import NotFoundError
from dropsweep.names import RUNS, JobKey
from dropsweep.records import JobRecord, TrialSummary
from dropsweep.storage import Store

CHUNK_BYTES: Final = 4 * 1024 * 1024
"""Most of a log that is read at once."""


class Stream(StrEnum):
    """Which of a process's two outputs."""

    STDOUT = "stdout"
    STDERR = "stderr"


@dataclass(frozen=True, slots=True)
class LogPart:
    """One read of an attempt's output.

    Attributes:
        body: what there was from the offset on, at most `CHUNK_BYTES`.
        attempt: the attempt that was read.
        latest: the trial's latest attempt.
        is_final: the trial has ended, and had so before the read began.
        has_more: more was there already.
    """

    body: bytes
    attempt: int
    latest: int
    is_final: bool
    has_more: bool = False


ReadPart = Callable[[int | None, int], LogPart | None]
"""Reads an attempt's output (None: the latest attempt's) from an offset on; None while the trial has no record.

It raises NotFoundError when there is no such job or trial, when the trial can never begin, or has no such attempt.
"""


def follow_log(
    read: ReadPart, *, attempt: int | None, follow: bool, about: str, poll_s: float = 0.5
) -> Iterator[bytes]:
    """Yields what a trial has printed, in pieces of at most `CHUNK_BYTES`.

    Args:
        read: reads one part.
        attempt: which attempt; None: the latest.
        follow: go on until the trial is final (or the attempt that was named is over), waiting for a trial that has
            not begun; a new attempt's output follows the one before it.
        about: the trial, in words.
        poll_s: seconds between two reads while nothing new is there.

    Raises:
        NotFoundError: as `read` does; without `follow` also for a trial that has not begun.
    """
    current, offset = attempt, 0
    while True:
        part = read(current, offset)
        if part is None:
            if not follow:
                raise NotFoundError(f"{about} has not begun, so it has no logs. Try again later")
            time.sleep(poll_s)
            continue
        current = part.attempt
        if part.body:
            offset += len(part.body)
            yield part.body
        match _next(part, follow=follow, is_named=attempt is not None):
            case _Next.READ_ON:
                pass
            case _Next.WAIT:
                time.sleep(poll_s)
            case _Next.NEXT_ATTEMPT:
                current, offset = current + 1, 0
            case _Next.END:
                return


class _Next(Enum):
    """What follows a read."""

    READ_ON = auto()
    WAIT = auto()
    NEXT_ATTEMPT = auto()
    END = auto()


def _next(part: LogPart, *, follow: bool, is_named: bool) -> _Next:
    """Decides what follows a read: the first line that holds counts."""
    is_over = part.latest > part.attempt
    table = (
        (part.has_more, _Next.READ_ON),
        (not follow, _Next.END),
        # The attempt may have written between the look and the read.
        (is_over and bool(part.body), _Next.READ_ON),
        (is_over and is_named, _Next.END),
        (is_over, _Next.NEXT_ATTEMPT),
        # The trial had ended before the read, which therefore saw all there is.
        (part.is_final, _Next.END),
        (bool(part.body), _Next.READ_ON),
    )
    return next((then for holds, then in table if holds), _Next.WAIT)


def read_part(
    store: Store, key: JobKey, trial: int, stream: Stream, attempt: int | None, offset: int
) -> LogPart | None:
    """Reads a part of what an attempt printed; one look at the trial and one read.

    Args:
        store: the storage account.
        key: the job.
        trial: its number.
        stream: which output.
        attempt: which attempt; None: the latest.
        offset: where to begin, in bytes.

    Returns:
        None while the trial has no record but can still get one.

    Raises:
        NotFoundError: no such job, trial or attempt, or the job ended without the trial.
    """
    # Looked at before reading: what a final record vouches for was written before it.
    head = store.blobs.head(RUNS, key.trial(trial)) if trial >= 0 else None
    if head is None:
        _check_may_begin(store, key, trial)
        return None
    summary = TrialSummary.from_metadata(trial, head.metadata)
    current = summary.attempt if attempt is None else attempt
    if not 1 <= current <= summary.attempt:
        raise no_attempt(key, trial, summary.attempt, current)
    name = key.stdout(trial, current) if stream is Stream.STDOUT else key.stderr(trial, current)
    body = store.blobs.read_range(RUNS, name, offset, CHUNK_BYTES) or b""
    return LogPart(body, current, summary.attempt, summary.state.is_final, len(body) == CHUNK_BYTES)


def no_attempt(key: JobKey, trial: int, num_attempts: int, attempt: int) -> NotFoundError:
    """Returns the error for an attempt that a trial has not made; the first one is 1."""
    return NotFoundError(
        f"trial {trial} of {key.path} has {num_attempts} attempts, and not {attempt}. Name one from 1 to {num_attempts}"
    )


def _check_may_begin(store: Store, key: JobKey, trial: int) -> None:
    """Raises NotFoundError unless a trial without a record can still get one."""
    blob = store.blobs.read(RUNS, key.record)
    if blob is None:
        raise NotFoundError(f"{key.path}: there is no such job. `dropsweep list` shows what there is")
    record = JobRecord.from_json(blob.body)
    if not 0 <= trial < record.num_trials:
        raise NotFoundError(
            f"{key.path} has no trial {trial}: it has {record.num_trials}, counted from 0. Name one of them"
        )
    if record.state.is_final:
        raise NotFoundError(f"trial {trial} of {key.path} has not begun, so it has no logs: the job ended without it")
