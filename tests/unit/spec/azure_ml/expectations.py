"""What reading a file must tell, in a form in which an expectation can be written by hand."""

from dataclasses import dataclass, field
from typing import Any, Final

IMAGE_IS_THE_CLUSTER_S: Final = (
    "has no effect: a trial runs in its cluster's image. "
    "Make sure that the cluster's image holds what the command needs."
)
OPENMPI_IS_THE_CLUSTER_S: Final = (
    'environment.image is "mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu22.04": has no effect: the job runs on `cpu`, '
    "which states no image, in whatever its nodes run. "
    "Make sure that the cluster's image holds what the command needs."
)
TIER_IS_THE_CLUSTER_S: Final = "has no effect: the cluster's `tier` says how its nodes are provided. Remove the key."
NOT_BUILT: Final = "environments are not built: a trial runs in its cluster's image."
OWN_IDENTITY: Final = (
    "identity is a mapping of 1: has no effect: the trainer's own identity reads inputs and writes results. "
    "Remove the key."
)
NOT_DISTRIBUTED: Final = "distributed training is not supported yet. Remove the key, and train in one process."
NOT_STOPPED_EARLY: Final = "early termination is not supported yet. Remove the key, and set limits.trial_timeout."
FILE_OR_FOLDER: Final = "must be one of `uri_file` and `uri_folder`."
MOUNT_OR_DOWNLOAD: Final = "must be one of `ro_mount` and `download`."
ONE_OF_THESE: Final = "Write one of these."
UPLOAD: Final = "Upload the data into a container of the account, and write {container}/{path}."
OUTPUT_STAYS: Final = (
    "an output is kept with its trial and written nowhere else. "
    "Remove the key; `dropsweep download` and the inputs of other jobs find it in the trial's folder."
)
NO_ASSET: Final = "has no effect: no asset is registered. Remove the key."

COMMAND_DEFAULTS: Final[dict[str, Any]] = {
    "version": 1,
    "type": "command",
    "description": "",
    "tags": {},
    "command": "python train.py",
    "code": None,
    "environment": None,
    "environment_variables": {},
    "inputs": {},
    "outputs": [],
    "cluster": "cpu",
    "priority": "normal",
    "search_space": {},
    "sampling": None,
    "objective": None,
    "limits": {"max_total_trials": 1, "max_concurrent_trials": 1, "timeout_s": None, "trial_timeout_s": None},
    "retry": None,
    "warm_start": True,
    "num_trials": 1,
}
"""Of the files here that say nothing else; `name` and `display_name` are the file's name without its ending."""
SWEEP_DEFAULTS: Final[dict[str, Any]] = COMMAND_DEFAULTS | {
    "type": "sweep",
    "command": "python train.py ${{search_space.lr}}",
    "search_space": {"lr": {"type": "uniform", "min_value": 0.001, "max_value": 0.1}},
    "sampling": {"algorithm": "random", "rule": "random", "seed": 11},
    "objective": {"goal": "maximize", "primary_metric": "accuracy"},
    "limits": {
        "max_total_trials": 1000,
        "max_concurrent_trials": 1000,
        "timeout_s": 5_184_000,
        "trial_timeout_s": None,
    },
    "num_trials": 1000,
}


@dataclass(frozen=True)
class Expected:
    """Either what the spec has beside the defaults and the warnings, or the errors (and warnings) of a refusal."""

    spec: dict[str, Any] | None = None
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def accepted(*warnings: str, **spec: Any) -> Expected:
    return Expected(spec=spec, warnings=list(warnings))


def refused(*errors: str, warnings: tuple[str, ...] = ()) -> Expected:
    return Expected(errors=list(errors), warnings=list(warnings))
