"""A workspace's policy file: what it is for, how much may run at once, and how long finished jobs are kept.

It lies at `{workspace}.yaml` in the container `workspaces`; `_default.yaml` holds for every workspace without a file.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from pydantic import BaseModel, Field, ValidationError

from dropsweep.errors import Problem, Severity
from dropsweep.records.ledger import QuotaLimits
from dropsweep.search import MAX_NUM_TRIALS
from dropsweep.search.space import Scalar
from dropsweep.spec.complaints import to_problems
from dropsweep.spec.document import Document, read_document
from dropsweep.spec.expressions import to_text
from dropsweep.spec.models import Anything, Shape
from dropsweep.spec.problems import missing, tidy

_MAX_NUM_JOBS: Final = 1_000_000
_MAX_DAYS: Final = 36_500
_EXAMPLE: Final = "Write keys such as `limits: {max_concurrent_trials: 8}`"


class WorkspaceLimits(Shape):
    """How much may run at once in the workspace; what is beyond it waits."""

    max_concurrent_jobs: int | None = Field(
        default=None, ge=0, le=_MAX_NUM_JOBS, description="Jobs with a trial out at once; 0: none begins."
    )
    max_concurrent_trials: int | None = Field(
        default=None, ge=0, le=MAX_NUM_TRIALS, description="Trials of all jobs out at once; 0: none begins."
    )


class WorkspaceRetention(Shape):
    """When finished jobs are deleted; without it they stay."""

    delete_after_days: int | None = Field(
        default=None, ge=1, le=_MAX_DAYS, description="Days after its end until a job is deleted."
    )
    keep_last: int | None = Field(
        default=None,
        ge=0,
        le=_MAX_NUM_JOBS,
        description="So many of the jobs of each experiment that finished last stay, however old. Default: 0.",
    )


class WorkspaceFile(Shape):
    """The policy file's keys."""

    schema_: Anything = Field(default=None, alias="$schema", description="For editors; not looked at.")
    description: str | None = None
    tags: dict[str, Scalar] | None = None
    limits: WorkspaceLimits | None = Field(default=None, description="Default: no bound.")
    retention: WorkspaceRetention | None = Field(default=None, description="Default: nothing is deleted.")


_SECTIONS: Final[Mapping[str, type[BaseModel]]] = {"limits": WorkspaceLimits, "retention": WorkspaceRetention}


@dataclass(frozen=True, slots=True)
class Retention:
    """When finished jobs are deleted.

    Attributes:
        delete_after_days: days after its end until a job is deleted; None: never.
        keep_last: how many of the jobs of each experiment that finished last stay, however old.
    """

    delete_after_days: int | None = None
    keep_last: int = 0


@dataclass(frozen=True, slots=True)
class WorkspacePolicy:
    """What a policy file says; one without any key says nothing and bounds nothing."""

    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    limits: QuotaLimits = field(default_factory=QuotaLimits)
    retention: Retention = field(default_factory=Retention)


@dataclass(frozen=True, slots=True)
class WorkspaceReading:
    """What came of a policy file.

    Attributes:
        policy: what it says; None when there is an error among the problems.
        problems: errors first, then warnings.
    """

    policy: WorkspacePolicy | None
    problems: tuple[Problem, ...]


def read_workspace(body: bytes, *, file_name: str) -> WorkspaceReading:
    """Reads a policy file; pure, and never raises, whatever the bytes.

    Args:
        body: the file; one without any key is a policy that bounds nothing.
        file_name: its name or path: `.json` is read as JSON, anything else as YAML.

    Returns:
        The policy with its warnings, or every problem that could be found in one read.
    """
    document = Document({}, ()) if not body.strip() else read_document(body, file_name=file_name)
    problems = [_in_words_of_policies(problem) for problem in document.problems]
    if document.data is None:
        return WorkspaceReading(None, tidy(problems))
    told = {problem.path for problem in problems if problem.value and problem.severity is Severity.ERROR}
    found = tidy([*problems, *_shape_problems(document.data, told), *_sense_problems(document.data)])
    if any(problem.severity is Severity.ERROR for problem in found):
        return WorkspaceReading(None, found)
    return WorkspaceReading(_policy(WorkspaceFile.model_validate(document.data)), found)


def _in_words_of_policies(problem: Problem) -> Problem:
    """Returns a problem of YAML or JSON, which tells of job files, as one of policy files."""
    remedy = _EXAMPLE if "type: sweep" in problem.remedy else problem.remedy
    return replace(problem, rule=problem.rule.replace("a job file", "a policy file"), remedy=remedy)


def _shape_problems(data: Mapping[str, Any], told: set[str]) -> list[Problem]:
    """Returns what is wrong with the shape, each section looked at by itself, so that remedies name its own keys."""
    sections = {key: data[key] for key in _SECTIONS if isinstance(data.get(key), Mapping)}
    problems = _complaints(WorkspaceFile, {key: value for key, value in data.items() if key not in sections}, told, "")
    for key, section in sections.items():
        problems += _complaints(_SECTIONS[key], section, told, key)
    return problems


def _complaints(model: type[BaseModel], data: Mapping[str, Any], told: set[str], place: str) -> list[Problem]:
    try:
        model.model_validate(data)
    except ValidationError as failure:
        within = {path.removeprefix(f"{place}.") for path in told} if place else told
        found = to_problems(failure, model, data, told=within)
        return [replace(problem, path=f"{place}.{problem.path}") for problem in found] if place else found
    return []


def _sense_problems(data: Mapping[str, Any]) -> list[Problem]:
    retention = data.get("retention")
    if not isinstance(retention, Mapping) or retention.get("keep_last") is None:
        return []
    if retention.get("delete_after_days") is not None:
        return []
    rule = "is required beside `keep_last`, which only says what stays of the jobs that are old enough"
    return [missing("retention.delete_after_days", rule, "Add it, such as `delete_after_days: 90`")]


def _policy(shape: WorkspaceFile) -> WorkspacePolicy:
    limits, retention = shape.limits or WorkspaceLimits(), shape.retention or WorkspaceRetention()
    return WorkspacePolicy(
        description=shape.description or "",
        tags={key: to_text(value) for key, value in (shape.tags or {}).items()},
        limits=QuotaLimits(limits.max_concurrent_jobs, limits.max_concurrent_trials),
        retention=Retention(retention.delete_after_days, retention.keep_last or 0),
    )
