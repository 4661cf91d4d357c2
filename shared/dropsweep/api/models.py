"""The documents of the API as models, from which its OpenAPI document is made.

Records are served as they lie in the storage, and never pass through these models: a test holds that the two agree.
"""

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from dropsweep.errors import Severity
from dropsweep.names import Priority
from dropsweep.states import JobReason, JobState, TrialReason, TrialState, Wish
from dropsweep.steps._change import Left

MAX_INTEGER: Final = 2**53 - 1
"""The greatest number that every reader of JSON holds exactly (RFC 8259, section 6)."""
Number = float | Literal["NaN", "Infinity", "-Infinity"]
Count = Annotated[int, Field(ge=0)]
Path = Annotated[str, Field(description="workspace/experiment/job")]


class Document(BaseModel):
    """What all have in common: later versions may add members, so readers pass over those they do not know."""

    model_config = ConfigDict(extra="allow")


class ProblemEntry(Document):
    """One thing that is wrong with a file or a request."""

    path: Annotated[str, Field(description="where: keys joined by dots, indexes in brackets; empty: the whole")]
    value: Annotated[str, Field(description="what stands there, shortened; empty when nothing does")]
    rule: Annotated[str, Field(description="what must hold")]
    remedy: Annotated[str, Field(description="what to do")]
    severity: Severity


class Problem(Document):
    """Problem details (RFC 9457): the answer to everything that went wrong."""

    type: Annotated[str, Field(description="which problem it is; docs/http-api.md has a row for each")]
    title: Annotated[str, Field(description="the same for all problems of the type")]
    status: Annotated[int, Field(ge=400, le=599, description="the HTTP status")]
    detail: Annotated[str, Field(description="this very problem, with value, rule and remedy")]
    instance: Annotated[str, Field(description="the path of the request")]
    kind: Annotated[str, Field(description="the class of `dropsweep.errors` behind it")] = ""
    code: Annotated[str, Field(description="`not_begun`: the trial may still come")] = ""
    problems: Annotated[list[ProblemEntry], Field(description="everything that is wrong with a job file")] = []


class Best(Document):
    """The best completed trial so far."""

    trial: Count
    metric: Number


class Retries(Document):
    """Which failed trials a person wants to be tried again, by rounds."""

    round: Count
    all: Count
    trials: dict[str, int]


class Retried(Document):
    """How many trials were tried again because an attempt failed."""

    num_trials: Count
    num_alone: Annotated[
        int, Field(ge=0, description="those of them that have a node for themselves for want of memory")
    ]


class StateChange(Document):
    """A change of state that has not been told on `reply_to` yet."""

    number: int
    state: JobState
    reason: JobReason
    message: str
    at: datetime


class Job(Document):
    """A job's record, as its blob `job.json` has it."""

    version: Literal[1]
    job: Path
    kind: Annotated[str, Field(description="`sweep`, `command`, or `unknown` for a file that was rejected")]
    state: JobState
    reason: JobReason
    message: str
    name: str
    display_name: str
    tags: dict[str, str]
    cluster: str
    priority: Priority
    num_trials: Count
    window: int
    timeout_s: float | None
    trial_timeout_s: float | None
    goal: str | None
    primary_metric: str | None
    next_trial: Count
    closed_below: Count
    closed: list[int]
    closed_counts: dict[str, int]
    closed_best: Best | None
    closed_retried: Retried
    counts: dict[str, int]
    best: Best | None
    retried: Retried
    created: datetime
    started: datetime | None
    finished: datetime | None
    source: str
    warnings: list[str]
    requests: dict[str, Wish]
    retries: Retries
    paused: datetime | None
    idle_s: float
    submission_id: str
    schedule: str
    reply_to: str
    is_reply_base64: bool
    num_changes: Count
    untold: list[StateChange]
    deleted: datetime | None


class JobSummary(Document):
    """A job as a list shows it."""

    job: Path
    state: JobState
    reason: JobReason
    kind: str
    num_trials: Count
    num_final: Count
    best: Best | None
    created: datetime
    is_waiting: Annotated[
        bool, Field(description="for its turn in its workspace, or for node-hours of its cluster; its message tells")
    ]
    retried: Retried


class Found(Document):
    """The job that a text means."""

    job: Path
    num_named: Annotated[int, Field(ge=1, description="jobs of the name that was given; this is the newest of them")]


class UnreadableJob(Document):
    """A job whose record cannot be read."""

    job: Path
    message: str


class Jobs(Document):
    """One page of a list of jobs, newest first."""

    items: list[JobSummary]
    errors: list[UnreadableJob]
    next: Annotated[str | None, Field(description="`cursor` of the following page; null after the last one")]


class TrialSummary(Document):
    """A trial as a list shows it."""

    trial: Count
    state: TrialState
    reason: TrialReason
    attempt: int
    step: Number | None
    metric: Number | None
    metrics: dict[str, Number]
    message: str
    started: datetime | None
    finished: datetime | None
    round: Count
    modified: datetime | None
    ran_s: Annotated[float, Field(ge=0, description="as in the record; of a running trial up to its last heartbeat")]
    num_retries: Count
    runs_alone: bool


class Progress(Document):
    """One look at a job."""

    job: Path
    state: JobState
    reason: JobReason
    message: str
    num_trials: Count
    num_final: Count
    counts: dict[str, int]
    best: Best | None
    running: list[TrialSummary]
    elapsed_s: float
    record: Job
    served: Annotated[datetime, Field(description="when the look was, by the storage service's clock")]
    trials: Annotated[list[TrialSummary], Field(description="of the shards that are not summed up yet")]


class Spec(Document):
    """The normalised spec, as spec.json has it."""

    version: Literal[1]
    type: Literal["command", "sweep"]
    name: str
    cluster: str
    num_trials: Count


class Problems(Document):
    """What is wrong with the file of a rejected job; empty for any other job."""

    problems: list[ProblemEntry]


class BestTrial(Document):
    """The best completed trial, so far or in the end, as best.json has it."""

    version: Literal[1]
    job: Path
    trial: Count
    attempt: int
    primary_metric: str | None
    goal: str | None
    metric: Number | None
    parameters: dict[str, Any]
    metrics: dict[str, Number]
    files: dict[str, str]


class Point(Document):
    """What a trial reported at one time."""

    step: Number | None
    values: dict[str, Number]


class Points(Document):
    """The course of a trial."""

    points: list[Point]


class File(Document):
    """One file of a job."""

    path: Annotated[str, Field(description="below the job's folder")]
    size_bytes: Count
    modified: datetime


class Files(Document):
    """One page of files, in the order of their paths."""

    items: list[File]
    next: Annotated[str | None, Field(description="`cursor` of the following page; null after the last one")]


class Limits(Document):
    """The limits of a job, named as in the job file."""

    max_total_trials: Count
    max_concurrent_trials: Count
    timeout: float | None
    trial_timeout: float | None


class LimitsOfJob(Document):
    """How a job stands after its limits were to be changed."""

    job: Path
    state: JobState
    limits: Limits


def _whole(value: object) -> object:
    """Takes what JSON calls an integer, `4.0` too, and nothing that would have to be converted."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError("it must be a whole number")


Whole = Annotated[int, Field(gt=0, le=MAX_INTEGER), BeforeValidator(_whole)]


class NewLimits(BaseModel):
    """Limits to change, named as in the job file; those that are absent stay."""

    model_config = ConfigDict(extra="forbid")

    max_total_trials: Whole | None = None
    max_concurrent_trials: Whole | None = None
    timeout: Annotated[Whole | None, Field(description="seconds for the whole job, without its pauses")] = None
    trial_timeout: Annotated[Whole | None, Field(description="seconds of one attempt of a trial")] = None


class Action(Document):
    """How a job stands after it, or one of its trials, was to be changed."""

    job: Path
    trial: Count | None
    state: JobState
    reason: JobReason
    message: str
    note: Annotated[str, Field(description="why nothing was done; empty when it was done as asked")]
    left: Annotated[Left | None, Field(description="the same for programs; null when it was done as asked")]


class FailedAction(Document):
    """A job of an experiment for which an action failed."""

    job: Path
    kind: Annotated[str, Field(description="the class of `dropsweep.errors`")]
    message: str


class Actions(Document):
    """What became of an action on the jobs of an experiment that it is for."""

    jobs: list[Action]
    errors: list[FailedAction]


class Version(Document):
    """What runs here."""

    version: Annotated[str, Field(description="of Dropsweep")]
    api: Annotated[int, Field(description="of this API; it changes when what was there before does")]


class Finding(Document):
    """One thing that was looked at."""

    check: str
    status: Literal["ok", "warning", "error"]
    message: str
    remedy: str


class Health(Document):
    """What is wrong, in words."""

    status: Literal["ok", "degraded", "down"]
    findings: list[Finding]


class CodeFile(Document):
    """One file of a code snapshot."""

    path: str
    size_bytes: Count


class CodeFiles(Document):
    """The files of a code snapshot that are there, all of them."""

    items: list[CodeFile]


class Deletion(Document):
    """What was deleted of a job; the timer's pass deletes the rest."""

    job: Path
    num_blobs: Count
    is_done: Annotated[bool, Field(description="nothing is left of it")]
    source: Annotated[str, Field(description="the dropped file that made it and still stands; empty without one")]
