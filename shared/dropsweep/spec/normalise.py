"""From a sound job file to its normalised spec: every default filled in, every value in one form."""

from collections.abc import Mapping
from typing import Any

from dropsweep import search
from dropsweep.search.space import Algorithm, Rule, Sampling
from dropsweep.spec.checks import Semantics
from dropsweep.spec.expressions import to_text
from dropsweep.spec.job import Goal, JobSpec, Limits, Objective, Retry, StoredInput
from dropsweep.spec.models import (
    DEFAULT_MAX_TOTAL_TRIALS,
    DEFAULT_SWEEP_TIMEOUT_S,
    CommandJob,
    DataInput,
    Environment,
    RandomSampling,
    RetrySettings,
    SweepJob,
    SweepLimits,
    Trial,
)


def normalise(job: SweepJob | CommandJob, *, semantics: Semantics, seed: int) -> JobSpec:
    """Returns the spec of a file in which no error was found.

    Args:
        job: the file's shape.
        semantics: what the checks found, without errors.
        seed: for sampling when the file gives none.
    """
    trial: Trial = job.trial if isinstance(job, SweepJob) else job
    places = {reference.path: reference for reference in semantics.references}
    code = places.get("trial.code" if isinstance(job, SweepJob) else "code")
    inputs: dict[str, Any] = {}
    for name, given in (job.inputs or {}).items():
        if isinstance(given, DataInput):
            place = places[f"inputs.{name}.path"]
            inputs[name] = StoredInput(type=given.type, container=place.container, blob=place.blob)
        else:
            inputs[name] = given
    common: dict[str, Any] = {
        "type": job.type,
        "name": semantics.name,
        "display_name": job.display_name or semantics.name,
        "description": job.description or "",
        "tags": _texts(job.tags),
        "command": trial.command,
        "code": code.blob if code else None,
        "environment": _environment(trial.environment),
        "environment_variables": _texts(trial.environment_variables),
        "inputs": inputs,
        "outputs": tuple(job.outputs or ()),
        "cluster": semantics.cluster,
        "priority": semantics.priority,
        "retry": _retry(job.retry_settings),
        "warm_start": job.warm_start is not False,
    }
    if isinstance(job, CommandJob):
        timeout_s = job.limits.timeout if job.limits else None
        limits = Limits(max_total_trials=1, max_concurrent_trials=1, timeout_s=timeout_s, trial_timeout_s=None)
        return JobSpec(**common, limits=limits, num_trials=1)
    sampling = _sampling(job, seed)
    limits, num_trials = _limits(job, sampling)
    objective = Objective(goal=Goal(job.objective.goal), primary_metric=job.objective.primary_metric)
    return JobSpec(
        **common,
        search_space=job.search_space,
        sampling=sampling,
        objective=objective,
        limits=limits,
        num_trials=num_trials,
    )


def _retry(given: RetrySettings | None) -> Retry | None:
    if given is None or not given.max_retries:
        return None
    return Retry(max_retries=given.max_retries, exit_codes=tuple(sorted(set(given.exit_codes or ()))))


def _texts(values: Mapping[str, Any] | None) -> dict[str, str]:
    return {name: to_text(value) for name, value in (values or {}).items()}


def _environment(given: str | Environment | None) -> str | None:
    return given.image or given.name if isinstance(given, Environment) else given


def _sampling(job: SweepJob, seed: int) -> Sampling:
    given = job.sampling_algorithm
    if isinstance(given, RandomSampling):
        own = seed if given.seed is None else given.seed
        return Sampling(algorithm=Algorithm.RANDOM, rule=Rule(given.rule), seed=own)
    return Sampling(algorithm=Algorithm(given if isinstance(given, str) else given.type), seed=seed)


def _limits(job: SweepJob, sampling: Sampling) -> tuple[Limits, int]:
    given = job.limits or SweepLimits()
    if sampling.algorithm is Algorithm.GRID:
        num_points = search.num_grid_points(job.search_space)
        total = given.max_total_trials or num_points
        num_trials = min(num_points, total)
    else:
        num_trials = total = given.max_total_trials or DEFAULT_MAX_TOTAL_TRIALS
    limits = Limits(
        max_total_trials=total,
        max_concurrent_trials=min(given.max_concurrent_trials or total, total),
        timeout_s=given.timeout or DEFAULT_SWEEP_TIMEOUT_S,
        trial_timeout_s=given.trial_timeout,
    )
    return limits, num_trials
