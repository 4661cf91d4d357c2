"""What the shape of a file cannot say: names, clusters, paths, and whether its parts agree.

Each check reads the file's own tree and passes over what has the wrong shape, so that one mistake hides no other.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from dropsweep.clusters import Cluster
from dropsweep.errors import Problem
from dropsweep.names import NAME_RULE, Priority, is_name, to_name
from dropsweep.script import METRIC_RULE
from dropsweep.search.space import Parameter
from dropsweep.spec.command_checks import Names, check_command
from dropsweep.spec.key_checks import check_keys
from dropsweep.spec.launch import RESERVED_PREFIX
from dropsweep.spec.placement import check_placement
from dropsweep.spec.problems import error, join, warning
from dropsweep.spec.space_checks import check_size, check_space
from dropsweep.spec.storage_paths import Reference, code_reference, input_reference

_METRIC: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./ -]{0,199}(?<! )")
"""What `METRIC_RULE` says in words; the script's own pattern is not for others, and a test holds the two together."""
_LINES_OWN: Final = ("step", "time")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PARAMETER: Final[TypeAdapter[Parameter]] = TypeAdapter(Parameter)
_LITERAL_TYPES: Final = ("number", "integer", "boolean", "string")


@dataclass(frozen=True, slots=True)
class Semantics:
    """What the checks found.

    Attributes:
        problems: in the order of the checks.
        references: everything that the file points at in storage, as far as it could be read.
        name: the job's name.
        cluster: whose queue the trials go to; empty when there is a problem with it.
        priority: which of its queues.
    """

    problems: tuple[Problem, ...]
    references: tuple[Reference, ...]
    name: str
    cluster: str
    priority: Priority


def check_semantics(
    raw: Mapping[str, Any], *, clusters: Sequence[Cluster], experiment: str, file_name: str
) -> Semantics:
    """Checks all of a file whose `type` is `command` or `sweep`; never raises.

    Args:
        raw: the file.
        clusters: the clusters that are served, the default one first.
        experiment: the experiment that the job belongs to.
        file_name: name or path of the file.
    """
    is_sweep = raw["type"] == "sweep"
    trial = _mapping(raw.get("trial")) if is_sweep else raw
    prefix = "trial" if is_sweep else ""
    problems: list[Problem] = []
    name, found = _name(raw, file_name)
    problems += found
    placement = check_placement(raw, trial, prefix, clusters)
    references, found = _references(raw, trial, prefix)
    problems += found
    space = _space(raw.get("search_space")) if is_sweep else None
    if isinstance(command := trial.get("command"), str):
        names = Names(space, list(_mapping(raw.get("inputs"))), list(_mapping(raw.get("outputs"))), is_sweep=is_sweep)
        problems += check_command(command, join(prefix, "command"), names)
    if space is not None:
        algorithm = _algorithm(raw.get("sampling_algorithm"))
        problems += check_space(space, algorithm)
        sound = {key: parameter for key, parameter in space.items() if parameter is not None}
        max_total_trials = _mapping(raw.get("limits")).get("max_total_trials")
        if len(sound) == len(space):
            problems += check_size(sound, algorithm, max_total_trials if isinstance(max_total_trials, int) else None)
    if is_sweep:
        problems += _check_metric(_mapping(raw.get("objective")).get("primary_metric"))
    problems += _check_experiment(raw.get("experiment_name"), experiment)
    problems += _check_names(raw)
    problems += _check_variables(trial.get("environment_variables"), join(prefix, "environment_variables"))
    problems += _check_limits(_mapping(raw.get("limits")))
    problems += check_keys(raw, trial, prefix)
    problems += placement.problems
    return Semantics(tuple(problems), references, name, placement.cluster, placement.priority)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _name(raw: Mapping[str, Any], file_name: str) -> tuple[str, list[Problem]]:
    given = raw.get("name")
    if isinstance(given, str) and not is_name(given):
        return "", [error("name", given, f"a job's name has {NAME_RULE}", f"Write `{to_name(given)}`")]
    file = file_name.rpartition("/")[2]
    return given if isinstance(given, str) else to_name(file.rpartition(".")[0] or file), []


def _references(
    raw: Mapping[str, Any], trial: Mapping[str, Any], prefix: str
) -> tuple[tuple[Reference, ...], list[Problem]]:
    references: list[Reference | None] = []
    problems: list[Problem] = []
    if isinstance(code := trial.get("code"), str):
        reference, found = code_reference(join(prefix, "code"), code)
        references.append(reference)
        problems += found
    for name, given in _mapping(raw.get("inputs")).items():
        path = join("inputs", name)
        if not isinstance(given, Mapping):
            continue
        if given.get("type") in _LITERAL_TYPES:
            rule = "a literal input is written as the value itself"
            problems.append(error(path, given, rule, f"Write `{name[:80]}: value`"))
        elif isinstance(value := given.get("path"), str) and value:
            is_folder = given.get("type") != "uri_file"
            reference, found = input_reference(join(path, "path"), value, is_folder=is_folder)
            references.append(reference)
            problems += found
    return tuple(reference for reference in references if reference is not None), problems


def _space(raw: Any) -> dict[str, Parameter | None] | None:
    """Returns every parameter that has the right shape, and None for the others; None when there is no mapping."""
    if not isinstance(raw, Mapping):
        return None
    space: dict[str, Parameter | None] = {}
    for name, value in raw.items():
        try:
            space[name] = _PARAMETER.validate_python(value)
        except ValidationError:
            space[name] = None  # told where the whole file is validated
    return space


def _algorithm(sampling: Any) -> str:
    kind = sampling.get("type") if isinstance(sampling, Mapping) else sampling
    rule = sampling.get("rule") if isinstance(sampling, Mapping) else None
    return "sobol" if kind == "random" and rule == "sobol" else str(kind)[:20]


def _check_experiment(given: Any, experiment: str) -> Iterator[Problem]:
    if isinstance(given, str) and given != experiment:
        rule = f"the job belongs to the experiment `{experiment}`, in whose folder the file lies"
        yield warning("experiment_name", given, rule, "Drop the file into that experiment's folder, or remove the key")


def _check_metric(given: Any) -> Iterator[Problem]:
    path = "objective.primary_metric"
    if not isinstance(given, str) or not given:
        return  # told with the shape of the file
    if given in _LINES_OWN:
        rule = f"`{given}` is a key of each line of metrics, and so never a metric"
        yield error(path, given, rule, f"Name a metric that the script reports; `{given}s` could be one")
    elif not _METRIC.fullmatch(given):
        yield error(path, given, f"a metric's name must be {METRIC_RULE}", "Rename the metric, here and in the script")


def _check_names(raw: Mapping[str, Any]) -> Iterator[Problem]:
    for section in ("inputs", "outputs"):
        for name in _mapping(raw.get(section)):
            if not is_name(name):
                yield error(join(section, name), name, f"a name here has {NAME_RULE}", f"Write `{to_name(name)}`")


def _check_variables(variables: Any, path: str) -> Iterator[Problem]:
    for name, value in _mapping(variables).items():
        place = join(path, name)
        if not _VARIABLE.fullmatch(name):
            rule = "a variable's name has letters, digits and _, and starts with no digit"
            yield error(place, name, rule, "Rename it")
        elif name.upper().startswith(RESERVED_PREFIX):
            rule = f"names that start with {RESERVED_PREFIX} are set for the script and not by it"
            yield error(place, name, rule, "Rename it")
        if isinstance(value, str) and "${{" in value:
            rule = "`${{…}}` is filled in only in the command"
            yield error(place, value, rule, f"Set it there: `{name[:80]}=${{{{…}}}} python train.py`")


def _check_limits(limits: Mapping[str, Any]) -> Iterator[Problem]:
    total, concurrent = limits.get("max_total_trials"), limits.get("max_concurrent_trials")
    if isinstance(total, int) and isinstance(concurrent, int) and concurrent > total >= 1:
        rule = f"is more than max_total_trials ({total}), so {total} is the limit"
        yield warning("limits.max_concurrent_trials", concurrent, rule, "Write at most max_total_trials")
