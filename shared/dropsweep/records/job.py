"""A job's record, and what a list call sees of it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from dropsweep.errors import StorageCorrupt
from dropsweep.names import SHARD_SIZE, JobKey, Priority
from dropsweep.records.codec import VERSION, Json, dump, load, time_in, time_of, time_out
from dropsweep.records.retries import Retried, Retries
from dropsweep.states import JOB_STATE, JobReason, JobState, TrialState, Wish, check_job_move

_WAITS: Final = "waits"
"""How each message begins that says what of its workspace or its cluster a job waits for."""


@dataclass(frozen=True, slots=True)
class Best:
    """The best completed trial so far and its primary metric."""

    trial: int
    metric: float


@dataclass(frozen=True, slots=True)
class StateChange:
    """A change of a job's state that somebody wants to be told of.

    Attributes:
        number: counts the changes of one job, from 1.
        state, reason, message: as the record had them after the change.
        at: when, by the storage service's clock.
    """

    number: int
    state: JobState
    reason: JobReason
    message: str
    at: datetime


@dataclass(frozen=True, slots=True)
class JobRecord:
    """What is known of one job.

    Attributes:
        key: the job.
        kind: `sweep` or `command`.
        reason: why it is in its state; the state follows from it.
        message: the reason in words, for people.
        name, display_name, tags, cluster, priority: as its file says.
        num_trials: how many trials it has in all (up to 2^63).
        window: most of its trials that may be dispatched and not final; the deployment may have a smaller bound.
        timeout_s: seconds from `started`, without `idle_s`, until it is cancelled; None: never.
        trial_timeout_s: seconds that one attempt of a trial may take, or None.
        goal, primary_metric: the objective, or None for a command.
        next_trial: trials `[0, next_trial)` have been taken for dispatch.
        closed_below: all shards below this one are closed: every trial in them is final and summed up here.
        closed: closed shards at or above `closed_below`, ascending.
        closed_counts: trials by final state in all closed shards.
        closed_best: the best trial in all closed shards.
        closed_retried: trials of closed shards that were tried again.
        counts: trials by state as of the last pass; trials dispatched but not claimed count as queued.
        best: the best trial as of the last pass.
        retried: trials that were tried again, as of the last pass.
        created, started, finished: by the storage service's clock.
        source: where it came from: a dropped file's path, or a way in.
        submission_id: what its sender says must not happen twice; empty without one.
        schedule: name of the schedule, in the same workspace, that made it; empty for any other job.
        reply_to: the queue that is told of each change of its state; empty: none.
        is_reply_base64: what is told goes in base64, as the submission came.
        num_changes: changes of state that were to be told, so far.
        untold: those of them that have not been sent yet.
        warnings: what its file says that is not acted on.
        requests: single trials that a person wants paused or cancelled.
        retries: failed trials that a person wants to be tried again.
        paused: since when it is paused.
        idle_s: seconds in which it was paused, or had ended before it was retried.
        deleted: since when it is being deleted; nothing else changes it from then on.
    """

    key: JobKey
    kind: str
    reason: JobReason
    name: str
    num_trials: int
    created: datetime
    window: int = 1
    message: str = ""
    display_name: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    cluster: str = ""
    priority: Priority = Priority.NORMAL
    timeout_s: float | None = None
    trial_timeout_s: float | None = None
    goal: str | None = None
    primary_metric: str | None = None
    next_trial: int = 0
    closed_below: int = 0
    closed: tuple[int, ...] = ()
    closed_counts: Mapping[TrialState, int] = field(default_factory=dict)
    closed_best: Best | None = None
    closed_retried: Retried = field(default_factory=Retried)
    counts: Mapping[TrialState, int] = field(default_factory=dict)
    best: Best | None = None
    retried: Retried = field(default_factory=Retried)
    started: datetime | None = None
    finished: datetime | None = None
    source: str = ""
    submission_id: str = ""
    schedule: str = ""
    reply_to: str = ""
    is_reply_base64: bool = False
    num_changes: int = 0
    untold: tuple[StateChange, ...] = ()
    warnings: tuple[str, ...] = ()
    requests: Mapping[int, Wish] = field(default_factory=dict)
    retries: Retries = field(default_factory=Retries)
    paused: datetime | None = None
    idle_s: float = 0.0
    deleted: datetime | None = None

    @property
    def state(self) -> JobState:
        """Follows from the reason."""
        return JOB_STATE[self.reason]

    @property
    def is_waiting(self) -> bool:
        """True while it waits for its turn in its workspace, or for node-hours of its cluster; the message tells."""
        return not self.state.is_final and self.message.startswith(_WAITS)

    @property
    def owes_messages(self) -> bool:
        """True from a resume or a retry on until a pass has sent the messages of all trials that wait for a worker."""
        return self.reason in (JobReason.RESUMED, JobReason.RETRY_REQUESTED)

    def wish(self, trial: int) -> Wish:
        """What shall become of a trial of it, if the trial is not final."""
        if self.state in (JobState.CANCELLING, JobState.CANCELLED):
            return Wish.CANCEL
        asked = self.requests.get(trial, Wish.RUN)
        return Wish.PAUSE if self.state is JobState.PAUSED and asked is Wish.RUN else asked

    def is_summed_up(self, trial: int) -> bool:
        """True when a trial is final and counted here, in a closed shard."""
        shard = trial // SHARD_SIZE
        return trial < self.next_trial and (shard < self.closed_below or shard in self.closed)

    def spent_s(self, now: datetime) -> float:
        """Seconds that count for the timeout; 0 before the first dispatch."""
        if self.started is None:
            return 0.0
        idle_s = self.idle_s + ((now - self.paused).total_seconds() if self.paused else 0.0)
        return (now - self.started).total_seconds() - idle_s

    def moved(self, reason: JobReason, **changes: Any) -> "JobRecord":
        """Returns the record with another reason.

        Raises:
            IllegalMove: when the state may not change so.
        """
        check_job_move(self.state, reason)
        return replace(self, reason=reason, **changes)

    def noted(self, before: JobState | None, now: datetime) -> "JobRecord":
        """Returns the record with what is to be told of it since its state was `before` (None: it is new)."""
        if not self.reply_to or self.state is before:
            return self
        change = StateChange(self.num_changes + 1, self.state, self.reason, self.message, now)
        return replace(self, num_changes=change.number, untold=(*self.untold, change))

    def restarted(self, now: datetime) -> "JobRecord":
        """Returns the record of a job whose timeout begins anew."""
        return replace(self, paused=None, idle_s=(now - self.started).total_seconds() if self.started else 0.0)

    def unpaused(self, now: datetime) -> "JobRecord":
        """Returns the record with its pause, if there is one, added to `idle_s`."""
        if self.paused is None:
            return self
        return replace(self, paused=None, idle_s=self.idle_s + (now - self.paused).total_seconds())

    def reopened(self) -> "JobRecord":
        """Returns the record without its sums, so that the next pass lists every shard anew."""
        return replace(self, closed_below=0, closed=(), closed_counts={}, closed_best=None, closed_retried=Retried())

    def to_json(self) -> bytes:
        """Returns the record as JSON for people and programs."""
        return dump(
            {
                "version": VERSION,
                "job": self.key.path,
                "kind": self.kind,
                "state": self.state,
                "reason": self.reason,
                "message": self.message,
                "name": self.name,
                "display_name": self.display_name,
                "tags": dict(self.tags),
                "cluster": self.cluster,
                "priority": self.priority,
                "num_trials": self.num_trials,
                "window": self.window,
                "timeout_s": self.timeout_s,
                "trial_timeout_s": self.trial_timeout_s,
                "goal": self.goal,
                "primary_metric": self.primary_metric,
                "next_trial": self.next_trial,
                "closed_below": self.closed_below,
                "closed": list(self.closed),
                "closed_counts": dict(self.closed_counts),
                "closed_best": _best_out(self.closed_best),
                "closed_retried": self.closed_retried.to_json(),
                "counts": dict(self.counts),
                "best": _best_out(self.best),
                "retried": self.retried.to_json(),
                "created": time_out(self.created),
                "started": time_out(self.started),
                "finished": time_out(self.finished),
                "source": self.source,
                "submission_id": self.submission_id,
                "schedule": self.schedule,
                "reply_to": self.reply_to,
                "is_reply_base64": self.is_reply_base64,
                "num_changes": self.num_changes,
                "untold": [{**asdict(change), "at": time_out(change.at)} for change in self.untold],
                "warnings": list(self.warnings),
                "requests": dict(self.requests),
                "retries": {
                    "round": self.retries.round,
                    "all": self.retries.all,
                    "trials": dict(self.retries.trials),
                },
                "paused": time_out(self.paused),
                "idle_s": self.idle_s,
                "deleted": time_out(self.deleted),
            }
        )

    @classmethod
    def from_json(cls, body: bytes) -> "JobRecord":
        """Reads what `to_json` wrote.

        Raises:
            StorageCorrupt: when it is not that.
        """
        document = load(body)
        try:
            return cls(
                key=JobKey.parse(document["job"]),
                kind=document["kind"],
                reason=JobReason(document["reason"]),
                name=document["name"],
                num_trials=document["num_trials"],
                created=time_of(document["created"]),
                window=document["window"],
                message=document["message"],
                display_name=document["display_name"],
                tags=document["tags"],
                cluster=document["cluster"],
                priority=Priority(document.get("priority", Priority.NORMAL)),  # older records have none
                timeout_s=document["timeout_s"],
                trial_timeout_s=document["trial_timeout_s"],
                goal=document["goal"],
                primary_metric=document["primary_metric"],
                next_trial=document["next_trial"],
                closed_below=document["closed_below"],
                closed=tuple(document["closed"]),
                closed_counts={TrialState(state): count for state, count in document["closed_counts"].items()},
                closed_best=_best_in(document["closed_best"]),
                closed_retried=Retried.from_json(document.get("closed_retried")),
                counts={TrialState(state): count for state, count in document["counts"].items()},
                best=_best_in(document["best"]),
                retried=Retried.from_json(document.get("retried")),
                started=time_in(document["started"]),
                finished=time_in(document["finished"]),
                source=document["source"],
                # Records have these since jobs come by more ways than dropped files; the older ones are as good.
                submission_id=document.get("submission_id", ""),
                schedule=document.get("schedule", ""),
                reply_to=document.get("reply_to", ""),
                is_reply_base64=document.get("is_reply_base64", False),
                num_changes=document.get("num_changes", 0),
                untold=tuple(_change_in(change) for change in document.get("untold", ())),
                warnings=tuple(document["warnings"]),
                requests={int(trial): Wish(wish) for trial, wish in document["requests"].items()},
                retries=Retries(
                    document["retries"]["round"],
                    document["retries"]["all"],
                    {int(trial): number for trial, number in document["retries"]["trials"].items()},
                ),
                paused=time_in(document["paused"]),
                idle_s=document["idle_s"],
                deleted=time_in(document.get("deleted")),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise StorageCorrupt(f"a job's record cannot be read: {error!r}") from error

    def to_metadata(self) -> dict[str, str]:
        """Returns what a list call shall see of it."""
        metadata = {
            "state": str(self.state),
            "reason": str(self.reason),
            "kind": self.kind,
            "trials": str(self.num_trials),
            "final": str(sum(count for state, count in self.counts.items() if state.is_final)),
            "created": time_out(self.created) or "",
        }
        if self.is_waiting:
            metadata["waits"] = "1"
        if self.best is not None:
            metadata |= {"best": repr(self.best.metric), "besttrial": str(self.best.trial)}
        if self.retried.num_trials:
            metadata |= {"retried": str(self.retried.num_trials), "alone": str(self.retried.num_alone)}
        return metadata


@dataclass(frozen=True, slots=True)
class JobSummary:
    """What a list call sees of a job.

    Attributes:
        is_waiting: as `JobRecord.is_waiting`.
        retried: as `JobRecord.retried`.
    """

    key: JobKey
    state: JobState
    reason: JobReason
    kind: str
    num_trials: int
    num_final: int
    best: Best | None
    created: datetime
    is_waiting: bool = False
    retried: Retried = field(default_factory=Retried)

    @classmethod
    def from_metadata(cls, key: JobKey, metadata: Mapping[str, str]) -> "JobSummary":
        """Reads what `JobRecord.to_metadata` wrote.

        Raises:
            StorageCorrupt: when it is not that.
        """
        try:
            reason = JobReason(metadata["reason"])
            best = Best(int(metadata["besttrial"]), float(metadata["best"])) if "best" in metadata else None
            return cls(
                key,
                JOB_STATE[reason],
                reason,
                metadata["kind"],
                int(metadata["trials"]),
                int(metadata["final"]),
                best,
                time_of(metadata["created"]),
                "waits" in metadata,
                Retried(int(metadata.get("retried", "0")), int(metadata.get("alone", "0"))),
            )
        except (KeyError, ValueError) as error:
            raise StorageCorrupt(f"{key.record}: metadata cannot be read: {error!r}") from error


def _change_in(document: Json) -> StateChange:
    state, reason = JobState(document["state"]), JobReason(document["reason"])
    return StateChange(document["number"], state, reason, document["message"], time_of(document["at"]))


def _best_out(best: Best | None) -> Json | None:
    return None if best is None else {"trial": best.trial, "metric": best.metric}


def _best_in(document: Json | None) -> Best | None:
    return None if document is None else Best(document["trial"], document["metric"])
