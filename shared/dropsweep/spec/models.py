"""The job file's shape: Azure ML's `type: command` and `type: sweep`, key by key.

Keys, defaults and meanings are those of the CLI v2 reference for the two job types. A key that Dropsweep does not act
on stands here all the same, so that editors know it and `checks` can refuse it or warn.
"""

from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from dropsweep.search import MAX_NUM_TRIALS
from dropsweep.search.space import PARAMETER_MODELS, Parameter, Scalar

MAX_COMMAND_LENGTH: Final = 32_768
"""Characters; Linux bounds one argument of a program to 131,072 bytes, and filling in makes the command longer."""
MAX_SECONDS: Final = 2**31 - 1
DEFAULT_SWEEP_TIMEOUT_S: Final = 5_184_000
DEFAULT_MAX_TOTAL_TRIALS: Final = 1000


class Shape(BaseModel):
    """A mapping of the file: no other keys, no conversion between types, no NaN."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, populate_by_name=False)


Seconds = Annotated[int, Field(ge=1, le=MAX_SECONDS)]
Count = Annotated[int, Field(ge=1, le=MAX_NUM_TRIALS)]
Anything: TypeAlias = Any


class Environment(Shape):
    """An inline environment; its image chooses the cluster, or must be one that the cluster serves."""

    schema_: Anything = Field(default=None, alias="$schema", description="For editors; not looked at.")
    image: str | None = Field(default=None, description="An image that a cluster serves.")
    name: str | None = None
    version: str | int | None = None
    description: str | None = None
    tags: dict[str, Scalar] | None = None
    conda_file: Anything = Field(default=None, description="Not supported: install packages in the cluster's image.")
    build: Anything = Field(default=None, description="Not supported: build the cluster's image instead.")
    inference_config: Anything = None
    os_type: str | None = None


def _text_or_object(value: Any) -> str:
    return "object" if isinstance(value, dict | BaseModel) else "text"


EnvironmentField = Annotated[
    Annotated[str, Tag("text")] | Annotated[Environment, Tag("object")], Discriminator(_text_or_object)
]


class Resources(Shape):
    """What a job asks of a node; the cluster decides, so only nodes and shared memory are looked at."""

    instance_count: int = Field(default=1, ge=1, description="Nodes for one trial.")
    max_instance_count: int | None = Field(default=None, ge=1)
    instance_type: Anything = None
    shm_size: str | None = Field(default=None, description="Told where the cluster's /dev/shm has less.")
    docker_args: Anything = None
    locations: Anything = None
    properties: Anything = None


class Mpi(Shape):
    """MPI processes; validated, and refused as not yet supported."""

    type: Literal["mpi"]
    process_count_per_instance: int = Field(ge=1)


class PyTorch(Shape):
    """PyTorch processes; validated, and refused as not yet supported."""

    type: Literal["pytorch"]
    process_count_per_instance: int = Field(default=1, ge=1)


class TensorFlow(Shape):
    """TensorFlow processes; validated, and refused as not yet supported."""

    type: Literal["tensorflow"]
    worker_count: int | None = Field(default=None, ge=1)
    parameter_server_count: int = Field(default=0, ge=0)


class Ray(Shape):
    """A Ray cluster; validated, and refused as not yet supported."""

    type: Literal["ray"]
    address: str | None = None
    port: int | None = None
    dashboard_port: int | None = None
    include_dashboard: bool | None = None
    head_node_additional_args: str | None = None
    worker_node_additional_args: str | None = None


Distribution = Annotated[Mpi | PyTorch | TensorFlow | Ray, Field(discriminator="type")]


class DataInput(Shape):
    """A file or folder in storage that is brought to the trial, read-only."""

    type: Literal["uri_file", "uri_folder"] = "uri_folder"
    path: str = Field(min_length=1, description="{container}/{path}, or azureml://datastores/{container}/paths/{path}.")
    mode: Literal["ro_mount", "download"] = Field(default="ro_mount", description="Both bring a read-only copy.")
    description: str | None = None


InputField = Annotated[
    Annotated[Scalar, Tag("text")] | Annotated[DataInput, Tag("object")], Discriminator(_text_or_object)
]


class Output(Shape):
    """A folder that the trial fills and that is kept with it."""

    type: Literal["uri_folder"] = "uri_folder"
    mode: Literal["rw_mount", "upload"] = Field(default="rw_mount", description="Both are uploaded at the end.")
    description: str | None = None
    path: Anything = Field(default=None, description="Not supported: outputs are kept with their trial.")
    name: Anything = Field(default=None, description="Has no effect: no asset is registered.")
    version: Anything = Field(default=None, description="Has no effect: no asset is registered.")


def _output_tag(value: Any) -> str:
    return "empty" if value is None else "object"


OutputField = Annotated[Annotated[None, Tag("empty")] | Annotated[Output, Tag("object")], Discriminator(_output_tag)]


class Trial(Shape):
    """What each trial runs."""

    command: str = Field(min_length=1, max_length=MAX_COMMAND_LENGTH, description="A shell command, filled in.")
    code: str | None = Field(default=None, description="A folder in the container `code`; the command runs in a copy.")
    environment: EnvironmentField | None = None
    environment_variables: dict[str, Scalar] | None = None
    distribution: Distribution | None = None
    resources: Resources | None = None


class RandomSampling(Shape):
    """Independent points, or Sobol's evenly spread ones."""

    type: Literal["random"]
    rule: Literal["random", "sobol"] = "random"
    seed: int | None = Field(default=None, description="Equal seeds give equal trials.")
    logbase: Anything = Field(default=None, description="Not supported: use loguniform.")


class GridSampling(Shape):
    """Every combination, the last parameter running fastest."""

    type: Literal["grid"]


class BayesianSampling(Shape):
    """Validated, and refused as not yet supported."""

    type: Literal["bayesian"]


SamplingObject = Annotated[RandomSampling | GridSampling | BayesianSampling, Field(discriminator="type")]
SamplingName = Literal["random", "grid", "bayesian"]
SamplingField = Annotated[
    Annotated[SamplingName, Tag("text")] | Annotated[SamplingObject, Tag("object")], Discriminator(_text_or_object)
]


class Objective(Shape):
    """What makes one trial better than another."""

    goal: Literal["maximize", "minimize"]
    primary_metric: str = Field(
        min_length=1,
        description="Name of the metric that trials report.",
        json_schema_extra={"maxLength": 200},  # `checks` tells the whole rule, of which the length is a part
    )


class Bandit(Shape):
    """Validated, and refused as not yet supported."""

    type: Literal["bandit"]
    slack_factor: float | None = Field(default=None, ge=0)
    slack_amount: float | None = Field(default=None, ge=0)
    evaluation_interval: int = Field(default=1, ge=1)
    delay_evaluation: int = Field(default=0, ge=0)


class MedianStopping(Shape):
    """Validated, and refused as not yet supported."""

    type: Literal["median_stopping"]
    evaluation_interval: int = Field(default=1, ge=1)
    delay_evaluation: int = Field(default=0, ge=0)


class TruncationSelection(Shape):
    """Validated, and refused as not yet supported."""

    type: Literal["truncation_selection"]
    truncation_percentage: int = Field(ge=1, le=99)
    evaluation_interval: int = Field(default=1, ge=1)
    delay_evaluation: int = Field(default=0, ge=0)


EarlyTermination = Annotated[Bandit | MedianStopping | TruncationSelection, Field(discriminator="type")]


class CommandLimits(Shape):
    """Bounds of a command job."""

    timeout: Seconds | None = Field(default=None, description="Seconds that the job may take.")


class SweepLimits(Shape):
    """Bounds of a sweep."""

    max_total_trials: Count | None = Field(default=None, description="Default: 1000, or all points of a grid.")
    max_concurrent_trials: Count | None = Field(default=None, description="Default: max_total_trials.")
    timeout: Seconds | None = Field(default=DEFAULT_SWEEP_TIMEOUT_S, description="Seconds that the sweep may take.")
    trial_timeout: Seconds | None = Field(default=None, description="Seconds that one trial may take.")


class RetrySettings(Shape):
    """When a trial is tried again because its command failed; a key of Azure ML's parallel jobs, extended."""

    max_retries: int = Field(ge=0, le=100, description="How often one trial is tried again.")
    exit_codes: list[Annotated[int, Field(ge=1, le=255)]] | None = Field(
        default=None, min_length=1, description="After which exit codes; default: any but 0. 137 is a death by SIGKILL."
    )


class QueueSettings(Shape):
    """How soon a job's trials are begun, of all that wait for its cluster."""

    job_tier: Anything = Field(default=None, description="Has no effect: the cluster's tier counts.")
    priority: Literal["low", "medium", "normal", "high"] | None = Field(
        default=None, description="Default: medium, which normal means as well."
    )


class Job(Shape):
    """The keys that both types of job have."""

    schema_: Anything = Field(default=None, alias="$schema", description="For editors; not looked at.")
    name: str | None = Field(default=None, description="Default: the file's name without its ending.")
    display_name: str | None = None
    experiment_name: str | None = Field(default=None, description="The folder's name; another one is warned about.")
    description: str | None = None
    tags: dict[str, Scalar] | None = None
    compute: str | None = Field(
        default=None, description="azureml:{cluster}; default: the first that serves the image, or the first."
    )
    inputs: dict[str, InputField] | None = None
    outputs: dict[str, OutputField] | None = None
    retry_settings: RetrySettings | None = Field(default=None, description="Default: no retry.")
    warm_start: bool | None = Field(
        default=None, description="False: each trial is begun in an interpreter of its own. Default: as the cluster."
    )
    identity: Anything = Field(default=None, description="Has no effect: the trainer's identity is used.")
    services: Anything = Field(default=None, description="Has no effect.")
    queue_settings: QueueSettings | None = Field(default=None, description="How soon the job's trials are begun.")
    scheduling_priority: Literal["low", "normal", "high"] | None = Field(
        default=None, alias="schedulingPriority", description="Batch AI's key; as queue_settings.priority."
    )
    properties: Anything = Field(default=None, description="Has no effect.")


class CommandJob(Job, Trial):
    """`type: command`: one trial."""

    type: Literal["command"] = "command"
    limits: CommandLimits | None = None


class SweepJob(Job):
    """`type: sweep`: many trials of one command over a search space."""

    type: Literal["sweep"]
    trial: Trial
    search_space: dict[str, Parameter] = Field(min_length=1)
    sampling_algorithm: SamplingField
    objective: Objective
    early_termination: EarlyTermination | None = None
    limits: SweepLimits | None = None
    resources: Resources | None = None


MODELS_BY_PLACE: Final[dict[str, type[BaseModel]]] = {
    **PARAMETER_MODELS,
    "trial": Trial,
    "retry_settings": RetrySettings,
    "queue_settings": QueueSettings,
    "resources": Resources,
    "objective": Objective,
    "bandit": Bandit,
    "median_stopping": MedianStopping,
    "truncation_selection": TruncationSelection,
    "mpi": Mpi,
    "pytorch": PyTorch,
    "tensorflow": TensorFlow,
    "ray": Ray,
    "random": RandomSampling,
    "grid": GridSampling,
    "bayesian": BayesianSampling,
}
"""The model of the mapping under a key, or of the kind that its `type` names, where that is one model."""


def model_at(root: type[BaseModel], place: tuple[str | int, ...]) -> type[BaseModel]:
    """Returns the model of the mapping at a place, as pydantic's `loc` gives places.

    Args:
        root: CommandJob or SweepJob.
        place: the loc of the mapping, so without the key that is asked about.
    """
    if not place:
        return root
    last = str(place[-1])
    if last == "limits":
        return CommandLimits if root is CommandJob else SweepLimits
    if last == "object":
        objects: dict[str, type[BaseModel]] = {"inputs": DataInput, "outputs": Output}
        return objects.get(str(place[0]), Environment)
    return MODELS_BY_PLACE.get(last, root)


def keys_of(model: type[BaseModel]) -> list[str]:
    """Returns the keys that a mapping of this model may have, as the file writes them."""
    return [field.alias or name for name, field in model.model_fields.items()]
