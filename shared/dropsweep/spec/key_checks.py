"""Keys that Azure ML knows and Dropsweep does not act on: refused where they change results, else a warning."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from dropsweep.errors import Problem
from dropsweep.spec.problems import error, join, warning

_NO_EFFECT: Final = {
    "identity": "the trainer's own identity reads inputs and writes results",
    "services": "no interactive service is started",
    "properties": "properties are not kept",
}
_NO_EFFECT_OF_RESOURCES: Final = {
    "instance_type": "the cluster's machine is used",
    "docker_args": "no container is started for a trial",
    "locations": "the cluster's region is used",
    "properties": "properties are not kept",
}
BUILDS: Final = ("conda_file", "build", "inference_config")
"""Keys of an environment that say how to make its image."""
_REMOVE: Final = "Remove the key"


def check_keys(raw: Mapping[str, Any], trial: Mapping[str, Any], prefix: str) -> Iterator[Problem]:
    """Yields a problem for each key that has no effect or is not supported yet.

    Args:
        raw: the file.
        trial: the mapping that holds `command`: the file itself, or what stands under `trial`.
        prefix: its path, empty for the file itself.
    """
    for key, reason in _NO_EFFECT.items():
        if raw.get(key) is not None:
            yield warning(key, raw[key], f"has no effect: {reason}", _REMOVE)
    if raw is not trial:
        yield from _check_resources(raw.get("resources"), "resources")
    yield from _check_resources(trial.get("resources"), join(prefix, "resources"))
    yield from _check_environment(trial.get("environment"), join(prefix, "environment"))
    yield from _check_outputs(raw.get("outputs"))
    if trial.get("distribution") is not None:
        rule = "distributed training is not supported yet"
        yield error(
            join(prefix, "distribution"), trial["distribution"], rule, "Remove the key, and train in one process"
        )
    if raw.get("early_termination") is not None:
        rule = "early termination is not supported yet"
        yield error("early_termination", raw["early_termination"], rule, "Remove the key, and set limits.trial_timeout")
    yield from _check_sampling(raw.get("sampling_algorithm"))


def _check_sampling(sampling: Any) -> Iterator[Problem]:
    kind = sampling.get("type") if isinstance(sampling, Mapping) else sampling
    if kind == "bayesian":
        rule = "bayesian sampling is not supported yet"
        yield error("sampling_algorithm", kind, rule, "Write `random`, or `{type: random, rule: sobol}`")
    if isinstance(sampling, Mapping) and sampling.get("logbase") is not None:
        rule = "is not supported: sampling on a logarithmic scale is a parameter's own property"
        yield error("sampling_algorithm.logbase", sampling["logbase"], rule, "Remove the key, and write `loguniform`")


def _check_resources(resources: Any, path: str) -> Iterator[Problem]:
    if not isinstance(resources, Mapping):
        return
    for key, reason in _NO_EFFECT_OF_RESOURCES.items():
        if resources.get(key) is not None:
            yield warning(join(path, key), resources[key], f"has no effect: {reason}", _REMOVE)
    for key in ("instance_count", "max_instance_count"):
        count = resources.get(key)
        if isinstance(count, int) and count > 1:
            yield error(join(path, key), count, "more than one node for a trial is not supported yet", "Write 1")


def _check_outputs(outputs: Any) -> Iterator[Problem]:
    for name, output in outputs.items() if isinstance(outputs, Mapping) else ():
        if not isinstance(output, Mapping):
            continue
        place = join("outputs", name)
        if output.get("path") is not None:
            rule = "an output is kept with its trial and written nowhere else"
            remedy = "Remove the key; `dropsweep download` and the inputs of other jobs find it in the trial's folder"
            yield error(join(place, "path"), output["path"], rule, remedy)
        for key in ("name", "version"):
            if output.get(key) is not None:
                yield warning(join(place, key), output[key], "has no effect: no asset is registered", _REMOVE)


def _check_environment(environment: Any, path: str) -> Iterator[Problem]:
    if isinstance(environment, Mapping):
        for key in BUILDS:
            if environment.get(key) is not None:
                rule = "environments are not built: a trial runs in its cluster's image"
                remedy = f"Install the packages in that image or in the command, and remove `{key}`"
                yield error(join(path, key), environment[key], rule, remedy)
