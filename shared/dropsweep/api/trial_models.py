"""The documents of the API that are about one trial, as models."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from dropsweep.api.models import Count, Document, Number, Path, TrialSummary
from dropsweep.states import TrialReason, TrialState


class Trial(Document):
    """A trial's record, as its blob has it."""

    version: Literal[1]
    job: Path
    trial: Count
    attempt: int
    state: TrialState
    reason: TrialReason
    message: str
    parameters: dict[str, Any]
    metric: Number | None
    metrics: dict[str, Number]
    worker: str
    exit_code: int | None
    started: datetime | None
    finished: datetime | None
    num_lost: Count
    num_lost_in_all: Count
    num_preempted: Count
    resumed_from: str
    num_retries: Count
    round: Count
    runs_alone: bool
    start: Annotated[
        str,
        Field(description="how the latest attempt's process began: `warm`, or `cold: ` and why; empty: it had none"),
    ]
    ran_s: Annotated[
        float,
        Field(ge=0, description="seconds that its attempts took so far, without waiting between them; 0: not known"),
    ]


class Trials(Document):
    """One page of the trials that have begun, lowest number first."""

    items: list[TrialSummary]
    next: Annotated[int | None, Field(description="`after` of the following page; null after the last one")]


class Checkpoint(Document):
    """One whole checkpoint of a trial."""

    label: Annotated[str, Field(description="names it in the storage")]
    name: Annotated[str, Field(description="what the script called it; empty when its manifest cannot be read")]
    attempt: Annotated[int, Field(description="which attempt made it")]
    step: Annotated[int | None, Field(description="the step in its name; null where the script named it otherwise")]
    num_files: Count
    size_bytes: Annotated[int, Field(ge=0, description="of all its files, also of those that an older one brought")]
    made: Annotated[datetime, Field(description="when it became whole, by the storage service's clock")]
    is_next: Annotated[bool, Field(description="the next attempt, if there is one, goes on from it")]
    problem: Annotated[str, Field(description="why its manifest cannot be read; empty when it can")]


class Checkpoints(Document):
    """The whole checkpoints of a trial, oldest first."""

    items: list[Checkpoint]
