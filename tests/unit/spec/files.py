"""Good job files to begin with, and what reading one tells."""

import copy
import json
from typing import Any

from dropsweep.clusters import Cluster
from dropsweep.errors import Severity
from dropsweep.spec import JobSpec, Reading, read_job

SWEEP: dict[str, Any] = {
    "type": "sweep",
    "trial": {"code": "digits", "command": "python train.py --lr ${{search_space.lr}} --data ${{inputs.data}}"},
    "inputs": {"data": {"type": "uri_folder", "path": "data/digits"}},
    "sampling_algorithm": "random",
    "search_space": {"lr": {"type": "loguniform", "min_value": -9, "max_value": -2}},
    "objective": {"goal": "maximize", "primary_metric": "accuracy"},
    "limits": {"max_total_trials": 16},
}
COMMAND: dict[str, Any] = {"type": "command", "command": "sh run.sh"}


def read(data: Any, file_name: str = "my-job.yaml") -> Reading:
    body = data if isinstance(data, bytes) else json.dumps(data).encode()
    return read_job(body, file_name=file_name, clusters=[Cluster("cpu"), Cluster("gpu")], seed=11, experiment="digits")


def changed(base: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Returns the file with values set, or removed by `...`; `trial__code` reaches inside."""
    data = copy.deepcopy(base)
    for key, value in changes.items():
        *parents, last = key.split("__")
        place = data
        for parent in parents:
            place = place.setdefault(parent, {})
        if value is ...:
            del place[last]
        else:
            place[last] = value
    return data


def spec_of(data: dict[str, Any]) -> JobSpec:
    reading = read(data)
    assert reading.spec is not None, reading.problems
    return reading.spec


def told(reading: Reading, severity: Severity = Severity.ERROR) -> dict[str, str]:
    return {problem.path: str(problem) for problem in reading.problems if problem.severity is severity}
