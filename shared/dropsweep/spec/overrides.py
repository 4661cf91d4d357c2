"""Keys that replace those of a job file: what is wrong with them, told without that file."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from dropsweep.clusters import Cluster
from dropsweep.errors import Problem
from dropsweep.spec.checks import check_semantics
from dropsweep.spec.complaints import to_problems
from dropsweep.spec.document import Document
from dropsweep.spec.key_checks import BUILDS
from dropsweep.spec.models import CommandJob, SweepJob, keys_of
from dropsweep.spec.problems import tidy
from dropsweep.spec.reader import read_job

_ROOTS: Final[Mapping[str, type[BaseModel]]] = {"command": CommandJob, "sweep": SweepJob}
_OF_THE_WHOLE: Final = ("command", "search_space", "experiment_name")
"""Keys that are right or wrong only with others; and the experiment's name, which is looked at elsewhere."""


def check_overrides(given: Mapping[str, Any], clusters: Sequence[Cluster]) -> tuple[Problem, ...]:
    """Returns what is wrong with keys whatever the rest of the job file holds; pure, and never raises.

    Args:
        given: the keys, each with its whole value. Without `type` it is not known which type of job they are for: only
            what is wrong for both is told.
        clusters: the clusters that are served.
    """
    kind = given.get("type")
    found = [*_of_type(given, clusters)] if kind is not None else []
    kinds = [kind] if isinstance(kind, str) and kind in _ROOTS else _kinds(given)
    by_kind = [_of_kind(given, kind, clusters) for kind in kinds]
    for one in by_kind[0]:
        if all(any(other.path == one.path for other in others) for others in by_kind[1:]):
            found.append(one)
    return tidy(found)


def _kinds(given: Mapping[str, Any]) -> list[str]:
    """The types of job that have the keys, as far as any has them."""
    known = {kind: set(keys_of(root)) for kind, root in _ROOTS.items()}
    anywhere = set().union(*known.values())
    return [kind for kind, keys in known.items() if {*given} & anywhere <= keys] or [*known]


def _of_type(given: Mapping[str, Any], clusters: Sequence[Cluster]) -> Iterator[Problem]:
    reading = read_job(Document(dict(given), ()), file_name="job.yaml", clusters=clusters, seed=0, experiment="")
    return (one for one in reading.problems if one.path == "type")


def _of_kind(given: Mapping[str, Any], kind: str, clusters: Sequence[Cluster]) -> list[Problem]:
    raw = {**given, "type": kind}
    problems: list[Problem] = []
    try:
        _ROOTS[kind].model_validate(raw)
    except ValidationError as failure:
        problems += to_problems(failure, _ROOTS[kind], raw)
    alone = {key: value for key, value in raw.items() if key not in _OF_THE_WHOLE}
    if isinstance(trial := given.get("trial"), Mapping):
        alone["trial"] = {key: value for key, value in trial.items() if key != "command"}
    if "compute" not in given:
        alone = _free_of_cluster(alone)
    problems += check_semantics(alone, clusters=clusters, experiment="", file_name="job.yaml").problems
    # What is required and absent may stand in the file; that a replaced key lacks something is told.
    return [one for one in problems if (top := _top(one.path)) in given and top != "experiment_name"]


def _free_of_cluster(given: Mapping[str, Any]) -> dict[str, Any]:
    """Returns keys without image and size of /dev/shm: which cluster they must fit to, the file may say."""
    left = dict(given)
    if isinstance(trial := left.get("trial"), Mapping):
        left["trial"] = _free_of_cluster(trial)
    if isinstance(resources := left.get("resources"), Mapping):
        left["resources"] = {key: value for key, value in resources.items() if key != "shm_size"}
    if isinstance(environment := left.get("environment"), Mapping) and environment.get("image"):
        left["environment"] = {key: value for key, value in environment.items() if key in BUILDS} or None
    return left


def _top(path: str) -> str:
    return re.split(r"[.\[]", path, maxsplit=1)[0]
