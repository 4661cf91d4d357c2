"""A schedule's record, and the records of its due times."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

from dropsweep.errors import Problem, Severity, StorageCorrupt
from dropsweep.names import ScheduleKey
from dropsweep.records.codec import VERSION, Json, dump, load, time_in, time_of, time_out

MAX_NUM_JOBS: Final = 100
"""Latest jobs of a schedule that its record names; and latest ones that a person asked for under an id."""


class TickOutcome(StrEnum):
    """What became of a due time."""

    SUBMITTED = "submitted"
    """It became a job."""
    SKIPPED = "skipped"
    """An earlier job was live, and the schedule's `overlap` is `skip`."""
    MISSED = "missed"
    """Nothing ran at the time, and `catch_up` does not make up for it."""
    REFUSED = "refused"
    """Its job file cannot be accepted."""


@dataclass(frozen=True, slots=True)
class TickRecord:
    """What became of one due time, created once.

    Attributes:
        key: the schedule.
        due: when.
        outcome: what became of it.
        at: when that was decided, by the storage service's clock.
        job: path of the job; empty without one.
        run_id: set when a person asked for this job; the due time is then when they asked.
        first, num: of missed due times: the first of those that this record stands for, and how many they are.
        problems: why the job file was refused.
    """

    key: ScheduleKey
    due: datetime
    outcome: TickOutcome
    at: datetime
    job: str = ""
    run_id: str = ""
    first: datetime | None = None
    num: int = 1
    problems: tuple[Problem, ...] = ()

    @property
    def path(self) -> str:
        """Where the record lies in the container `runs`."""
        return self.key.tick(self.due, self.run_id)

    def to_json(self) -> bytes:
        """Returns the record as JSON for people and programs."""
        return dump(
            {
                "version": VERSION,
                "schedule": self.key.path,
                "due": time_out(self.due),
                "outcome": self.outcome,
                "at": time_out(self.at),
                "job": self.job,
                "run_id": self.run_id,
                "first": time_out(self.first),
                "num": self.num,
                "problems": [problem.to_json() for problem in self.problems],
            }
        )

    @classmethod
    def from_json(cls, body: bytes) -> "TickRecord":
        """Reads what `to_json` wrote.

        Raises:
            StorageCorrupt: when it is not that.
        """
        document = load(body)
        try:
            return cls(
                key=ScheduleKey.parse(document["schedule"]),
                due=time_of(document["due"]),
                outcome=TickOutcome(document["outcome"]),
                at=time_of(document["at"]),
                job=document["job"],
                run_id=document["run_id"],
                first=time_in(document["first"]),
                num=document["num"],
                problems=_problems_in(document["problems"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise StorageCorrupt(f"the record of a due time cannot be read: {error!r}") from error


@dataclass(frozen=True, slots=True)
class Pending:
    """Due times whose turn has come, and the job file as it was then: whatever happens to the file, these follow it.

    Attributes:
        dues: the due times, ascending.
        overlap: the schedule's policy, one of `schedules.Overlap`.
        experiment: where the jobs shall belong.
        document: the job file; None when there is none to be had.
        problems: what is wrong with the file; warnings, where there is a document.
        run_id: set when a person asked for the one job.
        missed_first, missed_last, num_missed: the due times that are given up; 0: none.
    """

    dues: tuple[datetime, ...]
    overlap: str
    experiment: str
    document: Json | None
    problems: tuple[Problem, ...] = ()
    run_id: str = ""
    missed_first: datetime | None = None
    missed_last: datetime | None = None
    num_missed: int = 0


@dataclass(frozen=True, slots=True)
class Asked:
    """A job that a person asked for under an id, so that asking again makes no other.

    Attributes:
        run_id: follows from that id.
        due: when it was asked for.
        job: path of the job that it becomes.
    """

    run_id: str
    due: datetime
    job: str


@dataclass(frozen=True, slots=True)
class ScheduleRecord:
    """What is known of one schedule besides its file.

    Attributes:
        key: the schedule.
        etag: version of the file that was looked at last, without quotes; empty before the first look.
        anchor: when the schedule was handed in: when its file was written, as it was first seen.
        until: all due times up to it have been dealt with, or are pending.
            Of a broken file: when it was looked at last.
        next_due: the next one; None: there is none, or the file is broken.
        trigger, catch_up: as the file said when it was sound last; what was due by it and not looked at before the
            file was changed is found by them. `trigger` is None before that.
        is_paused: a person paused it.
        is_enabled: as the file says.
        is_broken: the file has errors.
        problems: what is wrong with the file, or why its last job was refused.
        pending: due times whose turn has come and that may not have been carried out yet.
        jobs: paths of its latest jobs, oldest first, at most `MAX_NUM_JOBS`; where `overlap` is not `allow`, those
            that were live at the last due time.
        asked: the latest jobs that were asked for under an id, oldest first, at most `MAX_NUM_JOBS`.
        counts: due times by what became of them.
    """

    key: ScheduleKey
    etag: str
    anchor: datetime
    until: datetime
    next_due: datetime | None = None
    trigger: Json | None = None
    catch_up: str = "latest"
    is_paused: bool = False
    is_enabled: bool = True
    is_broken: bool = False
    problems: tuple[Problem, ...] = ()
    pending: tuple[Pending, ...] = ()
    jobs: tuple[str, ...] = ()
    asked: tuple[Asked, ...] = ()
    counts: Mapping[TickOutcome, int] = field(default_factory=dict)

    def settled(
        self, pending: Pending, ticks: tuple[TickRecord, ...], jobs: tuple[str, ...], problems: tuple[Problem, ...]
    ) -> "ScheduleRecord":
        """Returns the record with some pending due times carried out.

        Args:
            pending: what was pending.
            ticks: what became of each.
            jobs: the schedule's latest jobs.
            problems: why the last of them was refused; empty when none was.
        """
        counts = dict(self.counts)
        for tick in ticks:
            counts[tick.outcome] = counts.get(tick.outcome, 0) + tick.num
        # None twice, in the order of their last mention.
        named = tuple(dict.fromkeys(jobs))[-MAX_NUM_JOBS:]
        return replace(
            self,
            pending=tuple(other for other in self.pending if other != pending),
            jobs=named,
            counts=counts,
            problems=self.problems if self.is_broken else problems,
        )

    def to_json(self) -> bytes:
        """Returns the record as JSON for people and programs."""
        return dump(
            {
                "version": VERSION,
                "schedule": self.key.path,
                "etag": self.etag,
                "anchor": time_out(self.anchor),
                "until": time_out(self.until),
                "next_due": time_out(self.next_due),
                "trigger": self.trigger,
                "catch_up": self.catch_up,
                "is_paused": self.is_paused,
                "is_enabled": self.is_enabled,
                "is_broken": self.is_broken,
                "problems": [problem.to_json() for problem in self.problems],
                "pending": [_pending_out(pending) for pending in self.pending],
                "jobs": list(self.jobs),
                "asked": [{"run_id": one.run_id, "due": time_out(one.due), "job": one.job} for one in self.asked],
                "counts": dict(self.counts),
            }
        )

    @classmethod
    def from_json(cls, body: bytes) -> "ScheduleRecord":
        """Reads what `to_json` wrote.

        Raises:
            StorageCorrupt: when it is not that.
        """
        document = load(body)
        try:
            return cls(
                key=ScheduleKey.parse(document["schedule"]),
                etag=document["etag"],
                anchor=time_of(document["anchor"]),
                until=time_of(document["until"]),
                next_due=time_in(document["next_due"]),
                trigger=document["trigger"],
                catch_up=document["catch_up"],
                is_paused=document["is_paused"],
                is_enabled=document["is_enabled"],
                is_broken=document["is_broken"],
                problems=_problems_in(document["problems"]),
                pending=tuple(_pending_in(pending) for pending in document["pending"]),
                jobs=tuple(document["jobs"]),
                asked=tuple(Asked(one["run_id"], time_of(one["due"]), one["job"]) for one in document["asked"]),
                counts={TickOutcome(outcome): num for outcome, num in document["counts"].items()},
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise StorageCorrupt(f"a schedule's record cannot be read: {error!r}") from error

    def to_metadata(self) -> dict[str, str]:
        """Returns what a list call shall see of it."""
        return {
            "etag": self.etag,
            "until": time_out(self.until) or "",
            "next": time_out(self.next_due) or "",
            "paused": str(self.is_paused),
            "enabled": str(self.is_enabled),
            "broken": str(self.is_broken),
            "problems": str(len(self.problems)),
            "pending": str(len(self.pending)),
        }


@dataclass(frozen=True, slots=True)
class ScheduleSummary:
    """What a list call sees of a schedule's record; its attributes are that record's, or the numbers of them."""

    key: ScheduleKey
    etag: str
    until: datetime
    next_due: datetime | None
    is_paused: bool
    is_enabled: bool
    is_broken: bool
    num_problems: int
    num_pending: int

    @classmethod
    def from_metadata(cls, key: ScheduleKey, metadata: Mapping[str, str]) -> "ScheduleSummary":
        """Reads what `ScheduleRecord.to_metadata` wrote.

        Raises:
            StorageCorrupt: when it is not that.
        """
        try:
            return cls(
                key,
                metadata["etag"],
                time_of(metadata["until"]),
                time_in(metadata["next"]),
                metadata["paused"] == "True",
                metadata["enabled"] == "True",
                metadata["broken"] == "True",
                int(metadata["problems"]),
                int(metadata["pending"]),
            )
        except (KeyError, ValueError) as error:
            raise StorageCorrupt(f"{key.state}: metadata cannot be read: {error!r}") from error


def _problems_in(document: list[Json]) -> tuple[Problem, ...]:
    return tuple(Problem(**{**entry, "severity": Severity(entry["severity"])}) for entry in document)


def _pending_out(pending: Pending) -> Json:
    return {
        "dues": [time_out(due) for due in pending.dues],
        "overlap": pending.overlap,
        "experiment": pending.experiment,
        "document": pending.document,
        "problems": [problem.to_json() for problem in pending.problems],
        "run_id": pending.run_id,
        "missed_first": time_out(pending.missed_first),
        "missed_last": time_out(pending.missed_last),
        "num_missed": pending.num_missed,
    }


def _pending_in(document: Json) -> Pending:
    return Pending(
        dues=tuple(time_of(due) for due in document["dues"]),
        overlap=document["overlap"],
        experiment=document["experiment"],
        document=document["document"],
        problems=_problems_in(document["problems"]),
        run_id=document["run_id"],
        missed_first=time_in(document["missed_first"]),
        missed_last=time_in(document["missed_last"]),
        num_missed=document["num_missed"],
    )
