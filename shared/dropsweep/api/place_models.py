"""The documents of schedules, workspaces and experiments as models, beside those in `models`."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import Field

from dropsweep.api.models import (
    Count,
    Deletion,
    Document,
    FailedAction,
    JobSummary,
    Number,
    Path,
    ProblemEntry,
    UnreadableJob,
)
from dropsweep.client.schedules import ScheduleState
from dropsweep.records.schedule import TickOutcome

SchedulePath = Annotated[str, Field(description="workspace/schedule")]


class Schedule(Document):
    """A schedule as a list shows it."""

    schedule: SchedulePath
    state: ScheduleState
    next_due: datetime | None
    num_problems: Count
    file: str


class Schedules(Document):
    """All schedules, or those of one workspace."""

    items: list[Schedule]


class Tick(Document):
    """What became of one due time, as its record has it."""

    due: datetime
    outcome: TickOutcome
    job: Annotated[str, Field(description="workspace/experiment/job; empty without one")]


class ScheduleView(Document):
    """A schedule with all that is known of it."""

    schedule: SchedulePath
    state: ScheduleState
    next_due: datetime | None
    file: str
    display_name: str
    description: str
    tags: dict[str, str]
    trigger: Annotated[str, Field(description="when it is due, in a few words")]
    time_zone: str
    start: datetime | None
    end: datetime | None
    catch_up: str
    overlap: str
    problems: list[ProblemEntry]
    counts: Annotated[dict[str, int], Field(description="due times by what became of them")]
    ticks: Annotated[list[Tick], Field(description="the latest due times, newest first")]


class ScheduleAction(Document):
    """How a schedule stands after it was to be changed."""

    schedule: SchedulePath
    is_paused: bool


class ScheduleRun(Document):
    """The job that a schedule was made to run now."""

    schedule: SchedulePath
    job: Path


class DueTimes(Document):
    """The next due times of a schedule, in UTC."""

    schedule: SchedulePath
    due: list[datetime]


class Workspace(Document):
    """A workspace as a list shows it."""

    workspace: str
    num_experiments: Count
    num_jobs: Count
    counts: Annotated[dict[str, int], Field(description="jobs by state")]
    last_activity: datetime | None
    has_policy: bool
    is_policy_broken: Annotated[bool, Field(description="that cannot be used, as the last pass of the timer found")]


class Workspaces(Document):
    """All workspaces that have a job or a policy file, by name."""

    items: list[Workspace]
    errors: list[UnreadableJob]


class Experiment(Document):
    """An experiment as a list shows it."""

    workspace: str
    experiment: str
    num_jobs: Count
    counts: Annotated[dict[str, int], Field(description="jobs by state")]
    last_activity: datetime | None


class Quota(Document):
    """How much of its quota a workspace uses; null where there is no limit."""

    num_concurrent_jobs: Count
    max_concurrent_jobs: Count | None
    num_concurrent_trials: Count
    max_concurrent_trials: Count | None
    num_waiting_jobs: Count


class WorkspaceView(Workspace):
    """A workspace with its experiments, its policy and what it uses of its quota."""

    experiments: list[Experiment]
    file: Annotated[str, Field(description="the policy file in the container `workspaces`; empty without one")]
    policy: dict[str, Any] | None
    problems: list[ProblemEntry]
    quota: Quota | None
    errors: list[UnreadableJob]


class Champion(Document):
    """The best job of an experiment for one objective."""

    job: Path
    trial: Count
    metric: Number
    primary_metric: str
    goal: str


class ExperimentView(Experiment):
    """An experiment with its jobs, newest first, and the best of them for each objective."""

    best: list[Champion]
    jobs: list[JobSummary]
    errors: list[UnreadableJob]


class Deletions(Document):
    """What was deleted of the jobs of an experiment."""

    jobs: list[Deletion]
    errors: list[FailedAction]
