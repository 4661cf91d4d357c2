"""What a trial prints, read from where the last read ended."""

import time
from collections.abc import Iterator
from enum import StrEnum
from typing import Final

from dropsweep.errors import NotFoundError
from dropsweep.names import RUNS, JobKey
from dropsweep.records import JobRecord, TrialSummary
from dropsweep.storage import Store

_CHUNK_BYTES: Final = 4 * 1024 * 1024


class Stream(StrEnum):
    """Which of a process's two outputs."""

    STDOUT = "stdout"
    STDERR = "stderr"


def read_log(
    store: Store,
    key: JobKey,
    trial: int,
    stream: Stream,
    *,
    attempt: int | None = None,
    follow: bool = False,
    poll_s: float = 0.5,
) -> Iterator[bytes]:
    """Yields what a trial has printed, in pieces of at most 4 MiB.

    Args:
        store: the storage account.
        key: the job.
        trial: its number.
        stream: which output.
        attempt: which attempt; None: the latest.
        follow: go on until the trial is final (or the attempt that was named is over), waiting for a trial that has
            not begun; a new attempt's output follows the one before it.
        poll_s: seconds between two reads while nothing new is there.

    Raises:
        NotFoundError: no such job or trial; without `follow` also a trial that has not begun.
    """
    current, offset = attempt, 0
    while True:
        # Looked at before reading: what a final record vouches for was written before it.
        summary = _summary(store, key, trial)
        if summary is None:
            if not follow or not _may_begin(store, key, trial):
                raise NotFoundError(f"trial {trial} of {key.path} has not begun, so it has no logs. Try again later")
            time.sleep(poll_s)
            continue
        current = summary.attempt if current is None else current
        if current > summary.attempt:
            raise NotFoundError(f"trial {trial} of {key.path} has {summary.attempt} attempts, and not {current}")
        name = key.stdout(trial, current) if stream is Stream.STDOUT else key.stderr(trial, current)
        num_read = 0
        while piece := store.blobs.read_range(RUNS, name, offset, _CHUNK_BYTES):
            offset += len(piece)
            num_read += len(piece)
            yield piece
        if not follow:
            return
        if summary.attempt > current:
            if attempt is not None:
                return
            current, offset = current + 1, 0
            continue
        if summary.state.is_final:
            return
        if not num_read:
            time.sleep(poll_s)


def _summary(store: Store, key: JobKey, trial: int) -> TrialSummary | None:
    head = store.blobs.head(RUNS, key.trial(trial))
    return None if head is None else TrialSummary.from_metadata(trial, head.metadata)


def _may_begin(store: Store, key: JobKey, trial: int) -> bool:
    """True while a trial without a record can still get one.

    Raises:
        NotFoundError: no such job or trial.
    """
    blob = store.blobs.read(RUNS, key.record)
    if blob is None:
        raise NotFoundError(f"{key.path}: there is no such job. `dropsweep list` shows what there is")
    record = JobRecord.from_json(blob.body)
    if trial >= record.num_trials:
        raise NotFoundError(
            f"{key.path} has no trial {trial}: it has {record.num_trials}, counted from 0. Name one of them"
        )
    return not record.state.is_final
