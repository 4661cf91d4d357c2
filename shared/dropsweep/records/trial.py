"""A trial's record, and what a list call sees of it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from dropsweep.errors import StorageCorrupt
from dropsweep.names import RUNS, JobKey
from dropsweep.records.codec import (
    VERSION,
    dump,
    load,
    metrics_in,
    number_in,
    number_out,
    seconds_in,
    time_in,
    time_out,
)
from dropsweep.states import TRIAL_STATE, TrialReason, TrialState, check_trial_move

_MAX_METADATA_METRICS_BYTES: Final = 3000
_MAX_METADATA_TEXT: Final = 300
_MOST_ROWS: Final = 10


@dataclass(frozen=True, slots=True)
class TrialRecord:
    """What is known of one trial; created by its first claim, so a trial without a record is waiting for one.

    Attributes:
        job, trial: which.
        attempt: number of the latest claim, from 1; it fences writes.
        reason, message: why it is in its state, for programs and for people.
        parameters: what the search chose for it.
        metric: the last value of the primary metric, once final.
        metrics: the last value of every metric, once final.
        worker: who holds or held the latest claim.
        exit_code: of the process; negative: the signal that ended it.
        started: first claim; finished: final record. By the storage service's clock.
        num_lost: attempts in a row whose worker went silent or could not go on; one that made a checkpoint ends the
            row. num_lost_in_all: all of them. num_preempted: attempts given back because the worker was told to stop.
        resumed_from: the checkpoint that the latest attempt began with.
        num_retries: how often it was tried again because its command failed, since a person last asked for a retry.
        round: the latest round of retries that it was queued for; see `Retries`.
        runs_alone: it ran out of memory, or may have, and so its attempts since have their node for themselves.
        start: how the latest attempt's process began, once the attempt has ended: `warm`, or `cold: ` and why; empty
            when it had none.
        ran_s: seconds for which workers held it, all attempts that have ended together, each by the clock of its own
            worker; of one whose worker went silent, up to its last heartbeat. 0 in records of earlier versions.
    """

    job: JobKey
    trial: int
    attempt: int
    reason: TrialReason
    parameters: Mapping[str, Any]
    message: str = ""
    metric: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    worker: str = ""
    exit_code: int | None = None
    started: datetime | None = None
    finished: datetime | None = None
    num_lost: int = 0
    num_preempted: int = 0
    resumed_from: str = ""
    num_retries: int = 0
    round: int = 0
    num_lost_in_all: int = 0
    runs_alone: bool = False
    start: str = ""
    ran_s: float = 0.0

    @property
    def state(self) -> TrialState:
        """Follows from the reason."""
        return TRIAL_STATE[self.reason]

    @property
    def duration_s(self) -> float | None:
        """Seconds that the trial took, as `duration_s` says; None until it ended."""
        return duration_s(self.ran_s, self.started, self.finished)

    def moved(self, reason: TrialReason, **changes: Any) -> "TrialRecord":
        """Returns the record with another reason.

        Raises:
            IllegalMove: when the state may not change so.
        """
        check_trial_move(self.state, reason)
        return replace(self, reason=reason, **changes)

    def ran_until_beat_s(self, metadata: Mapping[str, str]) -> float:
        """Returns `ran_s` with the attempt that runs, up to its last heartbeat: that told it in the record's metadata.

        Raises:
            StorageCorrupt: the metadata holds something else.
        """
        try:
            return seconds_in(metadata.get("ran_s", self.ran_s))
        except ValueError as error:
            where = f"{RUNS}/{self.job.trial(self.trial)}"
            raise StorageCorrupt(f"the metadata ran_s of {where} cannot be read: {error}. Delete that entry") from error

    def has_lost_too_many(self, max_lost_workers: int) -> bool:
        """True when no other worker shall be tried: so many in a row, or ten times as many with progress in between."""
        return self.num_lost >= max_lost_workers or self.num_lost_in_all >= _MOST_ROWS * max_lost_workers

    def to_json(self) -> bytes:
        """Returns the record as JSON for people and programs."""
        return dump(
            {
                "version": VERSION,
                "job": self.job.path,
                "trial": self.trial,
                "attempt": self.attempt,
                "state": self.state,
                "reason": self.reason,
                "message": self.message,
                "parameters": dict(self.parameters),
                "metric": number_out(self.metric),
                "metrics": {name: number_out(value) for name, value in self.metrics.items()},
                "worker": self.worker,
                "exit_code": self.exit_code,
                "started": time_out(self.started),
                "finished": time_out(self.finished),
                "num_lost": self.num_lost,
                "num_lost_in_all": self.num_lost_in_all,
                "num_preempted": self.num_preempted,
                "resumed_from": self.resumed_from,
                "num_retries": self.num_retries,
                "round": self.round,
                "runs_alone": self.runs_alone,
                "start": self.start,
                "ran_s": self.ran_s,
            }
        )

    @classmethod
    def from_json(cls, body: bytes) -> "TrialRecord":
        """Reads what `to_json` wrote.

        Raises:
            StorageCorrupt: when it is not that.
        """
        document = load(body)
        try:
            return cls(
                job=JobKey.parse(document["job"]),
                trial=document["trial"],
                attempt=document["attempt"],
                reason=TrialReason(document["reason"]),
                parameters=document["parameters"],
                message=document["message"],
                metric=number_in(document["metric"]),
                metrics=metrics_in(document["metrics"]),
                worker=document["worker"],
                exit_code=document["exit_code"],
                started=time_in(document["started"]),
                finished=time_in(document["finished"]),
                num_lost=document["num_lost"],
                num_lost_in_all=document["num_lost_in_all"],
                num_preempted=document["num_preempted"],
                resumed_from=document["resumed_from"],
                num_retries=document["num_retries"],
                round=document["round"],
                # Records of earlier versions do not say these.
                runs_alone=bool(document.get("runs_alone")),
                start=document.get("start", ""),
                ran_s=seconds_in(document.get("ran_s", 0.0)),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise StorageCorrupt(f"a trial's record cannot be read: {error!r}") from error

    def to_metadata(self, *, step: float | None = None) -> dict[str, str]:
        """Returns what a list call shall see of it; `step` is the latest one of a running trial."""
        metadata = {
            "state": str(self.state),
            "reason": str(self.reason),
            "attempt": str(self.attempt),
            "started": time_out(self.started) or "",
            "finished": time_out(self.finished) or "",
        }
        if self.ran_s:
            metadata["ran_s"] = repr(self.ran_s)
        if self.metric is not None:
            metadata["metric"] = repr(self.metric)
        if step is not None:
            metadata["step"] = repr(step)
        if self.round:
            metadata["round"] = str(self.round)
        if self.num_retries:
            metadata["retries"] = str(self.num_retries)
        if self.runs_alone:
            metadata["alone"] = "1"
        if self.message:
            # The one control character that JSON in ASCII leaves as it is.
            metadata["message"] = json.dumps(self.message[:_MAX_METADATA_TEXT]).replace("\x7f", "\\u007f")
        metrics = json.dumps({name: number_out(value) for name, value in self.metrics.items()})
        if self.metrics and len(metrics) <= _MAX_METADATA_METRICS_BYTES:
            metadata["metrics"] = metrics
        return metadata


@dataclass(frozen=True, slots=True)
class TrialSummary:
    """What a list call sees of a trial.

    Attributes:
        step, metric, metrics: of a running trial, as of its last heartbeat. `metrics` is empty when they are too
            many for the metadata; the record has them.
        modified: when its record was last written, by the storage service's clock.
        ran_s: as `TrialRecord.ran_s`; of a running trial with the attempt that runs, up to its last heartbeat.
        num_retries, runs_alone: as in the record.
    """

    trial: int
    reason: TrialReason
    attempt: int
    metric: float | None = None
    step: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    message: str = ""
    started: datetime | None = None
    finished: datetime | None = None
    round: int = 0
    modified: datetime | None = None
    ran_s: float = 0.0
    num_retries: int = 0
    runs_alone: bool = False

    @property
    def state(self) -> TrialState:
        """Follows from the reason."""
        return TRIAL_STATE[self.reason]

    @property
    def duration_s(self) -> float | None:
        """Seconds that the trial took, as `duration_s` says; None until it ended."""
        return duration_s(self.ran_s, self.started, self.finished)

    def running_s(self, now: datetime) -> float | None:
        """Seconds for which workers have held a running trial, at a time of the storage service's clock.

        That is `ran_s` and the age of the heartbeat. None when nothing tells it.
        """
        # A heartbeat of an earlier version says when the first attempt began, and nothing else.
        since = self.modified if self.ran_s or self.started is None else self.started
        return None if since is None else self.ran_s + max(0.0, (now - since).total_seconds())

    @classmethod
    def from_metadata(cls, trial: int, metadata: Mapping[str, str], modified: datetime | None = None) -> "TrialSummary":
        """Reads what `TrialRecord.to_metadata` wrote.

        Raises:
            StorageCorrupt: when it is not that.
        """
        try:
            return cls(
                trial=trial,
                reason=TrialReason(metadata["reason"]),
                attempt=int(metadata["attempt"]),
                metric=float(metadata["metric"]) if "metric" in metadata else None,
                step=float(metadata["step"]) if "step" in metadata else None,
                metrics=metrics_in(json.loads(metadata.get("metrics", "{}"))),
                message=json.loads(metadata.get("message", '""')),
                started=time_in(metadata.get("started")),
                finished=time_in(metadata.get("finished")),
                round=int(metadata.get("round", "0")),
                modified=modified,
                ran_s=seconds_in(metadata.get("ran_s", "0")),
                num_retries=int(metadata.get("retries", "0")),
                runs_alone="alone" in metadata,
            )
        except (KeyError, ValueError, AttributeError) as error:
            raise StorageCorrupt(f"metadata of trial {trial} cannot be read: {error!r}") from error


def duration_s(ran_s: float, started: datetime | None, finished: datetime | None) -> float | None:
    """Returns how many seconds a trial took: `ran_s`, so that waiting between its attempts is left out.

    Where that is 0, as in records of earlier versions, it is the whole seconds from the first claim to the end, by the
    storage service's clock. None until the trial ended; never negative.
    """
    if finished is None or started is None:
        return None
    return ran_s or max(0.0, (finished - started).total_seconds())
