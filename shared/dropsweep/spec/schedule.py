"""A schedule file, read: when its jobs are due, and the job file, or everything that is wrong with it, in one go."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from dropsweep.clusters import Cluster
from dropsweep.errors import Problem, Severity
from dropsweep.names import CODE, JOB_FILE_SUFFIXES, JOBS, NAME_RULE, ScheduleKey, is_name, to_name
from dropsweep.schedules import CatchUp, Overlap, Trigger
from dropsweep.spec.document import Document, read_document
from dropsweep.spec.expressions import to_text
from dropsweep.spec.overrides import check_overrides
from dropsweep.spec.problems import error, listed, missing, nearest, shown, tidy, warning
from dropsweep.spec.reader import read_job
from dropsweep.spec.schedule_models import Head
from dropsweep.spec.storage_paths import Reference, input_reference
from dropsweep.spec.triggers import read_trigger, under, validated

_REFERENCE_REMEDY: Final = (
    f"Upload the job file into the container `{CODE}`, and write {CODE}/{{path}}; or write the job here"
)
_TIMES: Final = ("trigger.start_time", "trigger.end_time")


@dataclass(frozen=True, slots=True)
class Schedule:
    """What a sound schedule file says.

    Attributes:
        key: which schedule it is.
        trigger: when its jobs are due.
        given: the trigger as the file writes it; `read_trigger` reads it again.
        words: the trigger in a few words.
        time_zone: IANA name of the trigger's time zone.
        display_name, description, tags: for people.
        is_enabled: whether due times become jobs.
        catch_up: what becomes of missed due times.
        overlap: what happens while an earlier job is live.
        job: the job file; only the keys that replace those of `reference` where there is one.
        job_problems: warnings about it as YAML.
        reference: where in storage the job file lies; None: it is `job`.
    """

    key: ScheduleKey
    trigger: Trigger
    given: Mapping[str, Any]
    words: str
    time_zone: str
    display_name: str
    description: str
    tags: Mapping[str, str]
    is_enabled: bool
    catch_up: CatchUp
    overlap: Overlap
    job: Mapping[str, Any]
    job_problems: tuple[Problem, ...] = ()
    reference: Reference | None = None

    def document(self, referred: Document | None = None) -> Document:
        """Returns the job file of the next due time.

        Args:
            referred: what lies at `reference`; keys of `job` replace its own, each as a whole.
        """
        if referred is None:
            return Document(dict(self.job), self.job_problems)
        if referred.data is None:
            return referred
        return Document({**referred.data, **self.job}, (*referred.problems, *self.job_problems))

    def experiment(self, document: Document) -> str:
        """Returns the experiment of a job: the file's `experiment_name`, or the schedule's name."""
        given = (document.data or {}).get("experiment_name")
        return given if isinstance(given, str) and is_name(given) else self.key.name


@dataclass(frozen=True, slots=True)
class ScheduleReading:
    """What came of a schedule file.

    Attributes:
        schedule: None when there is an error among the problems.
        problems: errors first, then warnings.
    """

    schedule: Schedule | None
    problems: tuple[Problem, ...]


def read_schedule(
    body: bytes, *, file_name: str, key: ScheduleKey, clusters: Sequence[Cluster] | None = None
) -> ScheduleReading:
    """Reads a schedule file; pure, and never raises, whatever the bytes.

    Args:
        body: the file.
        file_name: its name or path: `.json` is read as JSON, anything else as YAML.
        key: which schedule it is, by its path.
        clusters: the clusters that are served; None: they are not known, and a job that stands in the file
            is not checked.
    """
    document = read_document(body, file_name=file_name)
    if document.data is None:
        return ScheduleReading(None, tidy(_as_schedule(one) for one in document.problems))
    raw = {name: _lower(value) if name in ("catch_up", "overlap") else value for name, value in document.data.items()}
    # Times without quotes are meant as the text that they are read as.
    problems = [one for one in document.problems if one.path not in _TIMES or one.severity is Severity.ERROR]
    head, found = validated(Head, raw)
    problems += [problem for problem in found if problem.path not in ("trigger", "create_job")]
    problems += _check_head(raw, key)
    trigger, found = read_trigger(raw.get("trigger"))
    problems += found
    job, reference, found = _create_job(raw.get("create_job"))
    problems += found
    if job is not None and clusters is not None:
        problems += _check_job(job, key, clusters, is_whole=reference is None)
    told = tidy(problems)
    if head is None or trigger is None or job is None or any(one.severity is Severity.ERROR for one in told):
        return ScheduleReading(None, told)
    schedule = Schedule(
        key=key,
        trigger=trigger.trigger,
        given=raw["trigger"],
        words=trigger.words,
        time_zone=trigger.zone,
        display_name=head.display_name or key.name,
        description=head.description or "",
        tags={name: to_text(value) for name, value in (head.tags or {}).items()},
        is_enabled=head.is_enabled,
        catch_up=CatchUp(head.catch_up),
        overlap=Overlap(head.overlap),
        job=job,
        job_problems=tuple(_inside(document.problems, "create_job")),
        reference=reference,
    )
    return ScheduleReading(schedule, told)


def _inside(problems: Sequence[Problem], at: str) -> Iterator[Problem]:
    """Yields the problems of one part of the file, with their paths within it."""
    for one in problems:
        if one.path.startswith(f"{at}."):
            yield replace(one, path=one.path.removeprefix(f"{at}."))


def _as_schedule(one: Problem) -> Problem:
    """Says of a schedule what is said of a job file."""
    remedy = "Write a schedule, with `trigger` and `create_job`" if "`type: " in one.remedy else one.remedy
    return replace(one, rule=one.rule.replace("a job file", "a schedule file"), remedy=remedy)


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _check_head(raw: Mapping[str, Any], key: ScheduleKey) -> Iterator[Problem]:
    given = raw.get("name")
    if isinstance(given, str) and given != key.name:
        rule = f"the schedule is `{key.name}`, as its file is named"
        yield warning("name", given, rule, "Rename the file, or remove the key")
    for name, policy in (("catch_up", CatchUp), ("overlap", Overlap)):
        value = raw.get(name)
        words = [str(word) for word in policy]
        if isinstance(value, str) and value not in words:
            close = nearest(value, words)
            rule = f"must be one of {listed(words)}"
            yield error(name, value, rule, f"Did you mean `{close}`" if close else "Write one of these")
    for name, why in (("version", "a file's latest content counts"), ("properties", "properties are not kept")):
        if raw.get(name) is not None:
            yield warning(name, raw[name], f"has no effect: {why}", "Remove the key")


def _create_job(given: Any) -> tuple[dict[str, Any] | None, Reference | None, list[Problem]]:
    """Reads `create_job`: the job, or the keys that replace those of a file; where that file lies; what is wrong."""
    if given is None:
        remedy = "Add `create_job`, with a job under it or the path of a job file"
        return None, None, [missing("create_job", "is required", remedy)]
    if isinstance(given, str):
        reference, problems = _reference("create_job", given)
        return (None if reference is None else {}), reference, problems
    if not isinstance(given, Mapping):
        rule = "must be a job, or the path of a job file"
        return None, None, [error("create_job", given, rule, "Write `key: value` lines under it")]
    if "job" not in given:
        return {**given}, None, []
    updates = {name: value for name, value in given.items() if name != "job"}
    if not isinstance(given["job"], str):
        rule = "must be the path of a job file"
        return None, None, [error("create_job.job", given["job"], rule, _REFERENCE_REMEDY)]
    reference, problems = _reference("create_job.job", given["job"])
    return (None if reference is None else updates), reference, problems


def _reference(path: str, value: str) -> tuple[Reference | None, list[Problem]]:
    if value.startswith("azureml:") and "://" not in value:
        return None, [error(path, value, "a job that ran before is no job file", _REFERENCE_REMEDY)]
    if re.match(r"\.|/|~|[A-Za-z]:|.*\\", value):
        return None, [error(path, value, "a file on your own machine cannot be read", _REFERENCE_REMEDY)]
    reference, problems = input_reference(path, value, is_folder=False)
    if reference is None:
        return None, [replace(one, remedy=_REFERENCE_REMEDY) for one in problems]
    if not reference.blob.lower().endswith(JOB_FILE_SUFFIXES):
        rule = f"a job file's name ends in {', '.join(JOB_FILE_SUFFIXES)}"
        return None, [*problems, error(path, value, rule, "Rename the file, and write its new name")]
    if reference.container == JOBS:
        rule = "a file there is also a job of its own, each time that it is dropped"
        problems = [*problems, warning(path, value, rule, f"Keep it in the container `{CODE}`")]
    return reference, problems


def _check_job(
    job: Mapping[str, Any], key: ScheduleKey, clusters: Sequence[Cluster], *, is_whole: bool
) -> Iterator[Problem]:
    given = job.get("experiment_name")
    if given is not None and not (isinstance(given, str) and is_name(given)):
        remedy = f"Write `{to_name(given)}`" if isinstance(given, str) else "Put the name in quotes"
        yield Problem("create_job.experiment_name", shown(given), f"an experiment's name has {NAME_RULE}", remedy)
    if not is_whole:
        for one in check_overrides(job, clusters):
            yield replace(one, path=under("create_job", one.path))
        return
    experiment = given if isinstance(given, str) else key.name
    # Its own problems as YAML are told with those of the whole file.
    reading = read_job(
        Document(dict(job), ()), file_name=f"{key.name}.yaml", clusters=clusters, seed=0, experiment=experiment
    )
    for one in reading.problems:
        yield replace(one, path=under("create_job", one.path))
