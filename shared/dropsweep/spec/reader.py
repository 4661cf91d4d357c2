"""A job file, read: its normalised spec or everything that is wrong with it, in one go."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from dropsweep.clusters import Cluster
from dropsweep.errors import Problem, Severity
from dropsweep.names import Drop, is_name
from dropsweep.spec.checks import check_semantics
from dropsweep.spec.complaints import to_problems
from dropsweep.spec.document import Document, read_document
from dropsweep.spec.job import JobSpec
from dropsweep.spec.models import CommandJob, SweepJob
from dropsweep.spec.normalise import normalise
from dropsweep.spec.problems import error, missing, nearest, tidy
from dropsweep.spec.storage_paths import Reference

_SWEEP_KEYS: Final = ("trial", "search_space", "sampling_algorithm", "objective")
_OTHER_TYPES: Final = ("pipeline", "spark", "automl", "import", "parallel", "component", "data_transfer", "fine_tuning")


@dataclass(frozen=True, slots=True)
class Reading:
    """What came of a job file.

    Attributes:
        spec: the job; None when there is an error among the problems.
        problems: errors first, then warnings.
        references: everything that the file points at in storage, as far as it could be read, also without a spec.
    """

    spec: JobSpec | None
    problems: tuple[Problem, ...]
    references: tuple[Reference, ...]

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """The problems that only ride along on the job."""
        return tuple(problem for problem in self.problems if problem.severity is Severity.WARNING)

    @property
    def is_ok(self) -> bool:
        """True when there is a spec to run."""
        return self.spec is not None


def read_job(
    body: bytes | Document, *, file_name: str, clusters: Sequence[Cluster], seed: int, experiment: str
) -> Reading:
    """Reads a job file; pure, and never raises, whatever the bytes.

    Args:
        body: the file, or what `read_document` made of it.
        file_name: its name or path: `.json` is read as JSON, anything else as YAML; the stem is the default name.
        clusters: the clusters that are served, the default one first.
        seed: for sampling when the file gives none; kept in the spec.
        experiment: the experiment that the job belongs to.

    Returns:
        The spec with its warnings, or every problem that could be found in one read.
    """
    document = body if isinstance(body, Document) else read_document(body, file_name=file_name)
    if document.data is None:
        return Reading(None, tidy(document.problems), ())
    problems = list(document.problems)
    raw, type_problems = _with_type(document.data)
    problems += type_problems
    root = SweepJob if raw["type"] == "sweep" else CommandJob
    job: SweepJob | CommandJob | None = None
    try:
        job = root.model_validate(raw)
    except ValidationError as failure:
        told = {problem.path for problem in problems if problem.value and problem.severity is Severity.ERROR}
        problems += to_problems(failure, root, raw, told=told)
    semantics = check_semantics(raw, clusters=clusters, experiment=experiment, file_name=file_name)
    found = tidy([*problems, *semantics.problems])
    if job is None or any(problem.severity is Severity.ERROR for problem in found):
        return Reading(None, found, semantics.references)
    spec = normalise(job, semantics=semantics, seed=seed)
    return Reading(spec, found, semantics.references)


def name_of(body: bytes | Document, file_name: str) -> str:
    """Returns the name from which a file's job gets its id: its `name`, or its stem where that is absent or no name.

    The same for a file that is refused, so that whoever drops it knows the id of what it becomes.
    """
    document = body if isinstance(body, Document) else read_document(body, file_name=file_name)
    given = document.data.get("name") if document.data is not None else None
    return given if isinstance(given, str) and is_name(given) else Drop.parse(file_name).stem


def _with_type(data: Mapping[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """Returns the file with a `type` that is `command` or `sweep`, and what is wrong with the one that stands there."""
    looks_like_sweep = any(key in data for key in _SWEEP_KEYS)
    guess = "sweep" if looks_like_sweep else "command"
    given = data.get("type")
    if given in ("command", "sweep"):
        return dict(data), []
    if given is None:
        problems = [missing("type", "is required for a sweep", "Add `type: sweep`")] if looks_like_sweep else []
    elif isinstance(given, str) and given in _OTHER_TYPES:
        problems = [error("type", given, "is a job type that is not run here", "Write `command` or `sweep`")]
    else:
        close = nearest(given, ("command", "sweep")) if isinstance(given, str) else None
        problems = [error("type", given, "must be `command` or `sweep`", f"Did you mean `{close or guess}`")]
        guess = close or guess
    return {**data, "type": guess}, problems
