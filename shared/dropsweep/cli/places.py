"""Tables of workspaces, experiments and comparisons, for people."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from rich.table import Table

from dropsweep.cli.layout import grid, plain_table
from dropsweep.client.compare import ComparedJob, Comparison
from dropsweep.client.experiments import Champion, ExperimentSummary
from dropsweep.client.workspaces import WorkspaceSummary, WorkspaceView
from dropsweep.live import literal
from dropsweep.page.words import duration, figure, moment, plural, value_text
from dropsweep.states import JobState

if TYPE_CHECKING:
    from dropsweep.steps.retain import Finished

_ABSENT: Final = "–"


def workspaces(found: Sequence[WorkspaceSummary]) -> Table:
    """Returns the table of `dropsweep workspace list`."""
    table = _table("workspace", experiments="right", jobs="right", states="left", policy="left")
    table.add_column("last activity", no_wrap=True)
    for one in found:
        table.add_row(
            literal(one.name),
            f"{one.num_experiments:,}",
            f"{one.num_jobs:,}",
            counts(one.counts),
            ("its own (broken)" if one.is_policy_broken else "its own") if one.has_policy else "",
            moment(one.last_activity),
        )
    return table


def experiments(found: Sequence[ExperimentSummary], *, with_workspace: bool) -> Table:
    """Returns the table of `dropsweep experiment list`."""
    table = _table("experiment", jobs="right", states="left")
    table.add_column("last activity", no_wrap=True)
    for one in found:
        name = f"{one.workspace}/{one.name}" if with_workspace else one.name
        table.add_row(literal(name), f"{one.num_jobs:,}", counts(one.counts), moment(one.last_activity))
    return table


def workspace(view: WorkspaceView) -> Table:
    """Returns what `dropsweep workspace show` says of a workspace beside its experiments."""
    policy: Mapping[str, Any] = view.policy or {}
    limits, retention = policy.get("limits", {}), policy.get("retention", {})
    rows = {
        "workspace": view.summary.name,
        "description": policy.get("description", ""),
        "tags": ", ".join(f"{name}={value}" for name, value in policy.get("tags", {}).items()),
        "jobs": plural(view.summary.num_jobs, "job") + (f": {counts(view.summary.counts)}" if view.experiments else ""),
        "last activity": moment(view.summary.last_activity),
        "policy file": (f"workspaces/{view.file}" + (" (broken)" if view.policy is None else "")) if view.file else "",
        "quota": _quota(view, limits),
        "retention": _retention(retention),
    }
    return grid(rows)


def champions(found: Sequence[Champion]) -> Table:
    """Returns the best job for each objective of an experiment."""
    table = _table("best job", trial="right", metric="right", objective="left")
    for one in found:
        table.add_row(
            literal(one.job.job), str(one.trial), figure(one.metric), literal(f"{one.goal} {one.primary_metric}")
        )
    return table


def comparison(found: Comparison, *, with_place: bool) -> Table:
    """Returns jobs side by side; what a job does not have is a dash."""
    has_objectives = len(found.objectives) > 1
    table = _table("job", state="left", **({"objective": "left"} if has_objectives else {}))
    metrics = {row.primary_metric for row in found.rows if row.primary_metric}
    metric = next(iter(metrics)) if len(metrics) == 1 else "metric"
    for name in (metric, "trial", *found.parameters, "duration"):
        table.add_column(literal(name), justify="right", no_wrap=True)
    for row in found.rows:
        parameters = [
            value_text(row.parameters[name]) if name in row.parameters else _ABSENT for name in found.parameters
        ]
        table.add_row(
            literal(row.job.path if with_place else row.job.job),
            row.state,
            *([literal(row.objective or _ABSENT)] if has_objectives else []),
            figure(row.metric),
            _ABSENT if row.trial is None else str(row.trial),
            *(literal(cell) for cell in parameters),
            duration(row.duration_s),
        )
    return table


def has_places(rows: Sequence[ComparedJob]) -> bool:
    """True when the jobs are not all of one experiment."""
    return len({(row.job.workspace, row.job.experiment) for row in rows}) > 1


def due(found: "Sequence[Finished]") -> Table:
    """Returns the jobs that a policy wants deleted."""
    table = _table("job", state="left")
    for name in ("best", "ended"):
        table.add_column(name, justify="right" if name == "best" else "left", no_wrap=True)
    for one in found:
        best = one.job.best.metric if one.job.best else None
        table.add_row(literal(one.job.key.path), one.job.state, figure(best), moment(one.finished))
    return table


def counts(found: Mapping[JobState, int]) -> str:
    """Returns jobs by state in words."""
    return ", ".join(f"{count:,} {state}" for state, count in found.items())


def _quota(view: WorkspaceView, limits: Mapping[str, Any]) -> str:
    if view.use is None:
        bounds = {what: limits.get(f"max_concurrent_{what}") for what in ("jobs", "trials")}
        return ", ".join(f"{most:,} {what} at once" for what, most in bounds.items() if most is not None)
    use = view.use
    told = [
        f"{number:,}" + (f" of {most:,}" if most is not None else "") + f" {what} at once"
        for what, number, most in (("jobs", use.num_jobs, use.max_jobs), ("trials", use.num_trials, use.max_trials))
    ]
    waiting = f", {plural(use.num_waiting, 'job')} waiting" if use.num_waiting else ""
    return ", ".join(told) + waiting


def _retention(retention: Mapping[str, Any]) -> str:
    days = retention.get("delete_after_days")
    if days is None:
        return ""
    last = retention.get("keep_last") or 0
    kept = f", but the last {last:,} of each experiment stay" if last else ""
    return f"deleted {plural(days, 'day')} after the end{kept}"


def _table(first: str, **columns: str) -> Table:
    table = plain_table()
    table.add_column(first, overflow="fold")
    for name, side in columns.items():
        table.add_column(name, justify="right" if side == "right" else "left", no_wrap=name != "states")
    return table
