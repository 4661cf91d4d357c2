"""The normalised spec of a job, written once as spec.json and never changed."""

from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from dropsweep import search
from dropsweep.errors import Problem, SpecError
from dropsweep.names import Priority
from dropsweep.search.space import Parameter, Sampling, Scalar

_SIGNALLED: Final = 128
"""What shells add to a signal's number to tell of a death by it."""


class Goal(StrEnum):
    """Which way the primary metric is better."""

    MAXIMIZE = "maximize"
    MINIMIZE = "minimize"


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class StoredInput(_Frozen):
    """An input that lies in storage.

    Attributes:
        type: `uri_file` or `uri_folder`.
        container: the container's name.
        blob: the file's path, or the folder's without a slash at the end.
    """

    type: Literal["uri_file", "uri_folder"]
    container: str
    blob: str

    @property
    def is_folder(self) -> bool:
        """True when everything under `{blob}/` is meant."""
        return self.type == "uri_folder"


class Objective(_Frozen):
    """What makes one trial better than another."""

    goal: Goal
    primary_metric: str


class Limits(_Frozen):
    """Bounds of a job; a time is None where there is no bound.

    Attributes:
        max_total_trials: as the file says, or its default; `JobSpec.num_trials` is what there is to run.
        max_concurrent_trials: at most `max_total_trials`.
        timeout_s: of the job, in seconds.
        trial_timeout_s: of one trial, in seconds.
    """

    max_total_trials: int
    max_concurrent_trials: int
    timeout_s: int | None
    trial_timeout_s: int | None


class Retry(_Frozen):
    """When a trial is tried again because its command failed.

    Attributes:
        max_retries: how often.
        exit_codes: after which; empty: after any but 0. A death by signal n counts as 128 + n.
    """

    max_retries: int
    exit_codes: tuple[int, ...] = ()

    def covers(self, exit_code: int) -> bool:
        """True for an exit code (negative: the signal) after which the trial is to be tried again."""
        told = exit_code if exit_code >= 0 else _SIGNALLED - exit_code
        return told != 0 and (not self.exit_codes or told in self.exit_codes)


class JobSpec(_Frozen):
    """All that running a job depends on; every default is filled in.

    Attributes:
        version: of this form.
        type: `command` (one trial, no search space) or `sweep`.
        name: of the job, without the suffix that makes its id.
        display_name: what people see; the name where the file gives none.
        description: free text, may be empty.
        tags: free pairs.
        command: the template as written, `${{…}}` included.
        code: a folder in the container `code`; None when the command needs none.
        environment: the image or environment that the file names; the image has been looked at to choose the cluster.
        environment_variables: for the command, values as text.
        inputs: literal values, and what lies in storage.
        outputs: names of the folders that are kept.
        cluster: whose queue the trials go to.
        priority: which of its queues.
        search_space: in the order of the file; empty for a command.
        sampling: algorithm, rule and seed; None for a command.
        objective: goal and metric; None for a command.
        limits: numbers and times.
        retry: when a trial is tried again; None: never because of its command.
        warm_start: whether its trials may be begun in a process that has modules imported already.
        num_trials: how many trials there are, numbered from 0.
    """

    version: Literal[1] = 1
    type: Literal["command", "sweep"]
    name: str
    display_name: str
    description: str = ""
    tags: dict[str, str] = {}
    command: str
    code: str | None = None
    environment: str | None = None
    environment_variables: dict[str, str] = {}
    inputs: dict[str, Annotated[StoredInput | Scalar, Field(union_mode="left_to_right")]] = {}
    outputs: tuple[str, ...] = ()
    cluster: str
    priority: Priority = Priority.NORMAL
    search_space: dict[str, Parameter] = {}
    sampling: Sampling | None = None
    objective: Objective | None = None
    limits: Limits
    retry: Retry | None = None
    warm_start: bool = True
    num_trials: int

    @property
    def stored_inputs(self) -> dict[str, StoredInput]:
        """The inputs that must be brought to the node."""
        return {name: value for name, value in self.inputs.items() if isinstance(value, StoredInput)}

    @property
    def is_sweep(self) -> bool:
        """True when the job has a search space."""
        return self.type == "sweep"

    @property
    def max_num_trials(self) -> int:
        """How many trials there can be, should `limits.max_total_trials` be raised while the job runs."""
        return search.max_num_trials(self.search_space, self.sampling) if self.sampling else 1

    def parameters(self, k: int) -> dict[str, JsonValue]:
        """Returns the parameters of trial `k`: a pure function of the spec and k.

        Raises:
            ValueError: when `k` is not in [0, max_num_trials).
        """
        if not 0 <= k < self.max_num_trials:
            raise ValueError(f"trial {k} does not exist: trials are numbered from 0 to {self.max_num_trials - 1}")
        return search.parameters(self.search_space, self.sampling, k) if self.sampling else {}

    def to_json(self) -> bytes:
        """Returns the bytes of spec.json; `from_json` of them equals this spec."""
        return self.model_dump_json(indent=2).encode() + b"\n"

    @classmethod
    def from_json(cls, body: bytes) -> "JobSpec":
        """Reads spec.json.

        Raises:
            SpecError: when the bytes are not what `to_json` writes.
        """
        try:
            return cls.model_validate_json(body)
        except ValidationError as failure:
            problems = tuple(
                Problem(
                    ".".join(map(str, details["loc"])), "", details["msg"], "Restore spec.json, or drop the job anew"
                )
                for details in failure.errors(include_url=False, include_input=False)
            )
            raise SpecError(problems) from failure
