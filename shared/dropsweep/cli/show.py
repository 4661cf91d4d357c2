"""Tables for people: a list of jobs, one job, one trial."""

from collections.abc import Sequence
from itertools import zip_longest

from rich.table import Table

from dropsweep.cli.layout import fitting, grid, plain_table, width_of
from dropsweep.client import Progress
from dropsweep.client.checkpoints import StoredCheckpoint
from dropsweep.live import literal
from dropsweep.names import JobKey, Priority
from dropsweep.page.words import duration, figure, moment, plural, size_text, value_text
from dropsweep.records import JobRecord, JobSummary, Retried, TrialRecord
from dropsweep.states import TrialState

_MAX_REQUESTS = 12
_LEAST_NAME = 12
"""Columns of a screen below which a name would be too hard to read, and other columns give way."""


def jobs(found: Sequence[JobSummary], unreadable: Sequence[JobKey] = (), *, width: int) -> Table:
    """Returns the table of `dropsweep list`; what cannot be read stands at its end.

    On a screen of `width` columns that leaves too few for the jobs' names, it has no times, then no kinds either; then
    what is in brackets stands on lines of its own, and at last all but the states are left out. For the names fold, and
    so would give way to the other columns, down to nothing.
    """
    names = [key.path for key in (*(job.key for job in found), *unreadable)]
    states = [f"{job.state} (waits)" if job.is_waiting else str(job.state) for job in found]
    columns = {
        "state": [*states, *(["unreadable"] * len(unreadable))],
        "kind": [str(literal(job.kind)) for job in found],
        "trials": [f"{job.num_final:,}/{job.num_trials:,}" for job in found],
        "best": [figure(job.best.metric if job.best else None) for job in found],
        "created": [moment(job.created) for job in found],
    }
    if any(job.retried.num_trials for job in found):
        columns["retried"] = [_retried_in_short(job.retried) for job in found]
    least = min(_LEAST_NAME, max(map(len, names), default=0))
    columns = fitting(columns, width - least, ("created", "kind"))
    if width_of(columns) > width - least:
        columns = {name: [cell.replace(" (", "\n(") for cell in cells] for name, cells in columns.items()}
        columns = fitting(columns, width - least, ("best", "retried", "trials"))
    table = plain_table()
    table.add_column("job", overflow="fold")
    for name in columns:
        table.add_column(name, justify="right" if name in ("trials", "best") else "left", no_wrap=True)
    for row in zip_longest(names, *columns.values(), fillvalue=""):
        table.add_row(*(literal(cell) for cell in row))
    return table


def job(progress: Progress) -> Table:
    """Returns what `dropsweep show JOB` says of a job beside its results."""
    record = progress.record
    taken = (record.finished - record.created).total_seconds() if record.finished else None
    counts = ", ".join(f"{count:,} {state}" for state, count in progress.counts.items())
    rows = {
        "name": record.display_name or record.name,
        "kind": record.kind,
        "cluster": record.cluster
        + ("" if record.priority is Priority.NORMAL else f", with {record.priority} priority"),
        "objective": f"{record.goal} {record.primary_metric}" if record.goal else "",
        "trials": plural(record.num_trials, "trial") + (f": {counts}" if counts else ""),
        "limits": limits(record),
        "asked for": asked_for(record),
        "retrying": f"{plural(progress.num_retrying, 'trial')} waiting for another attempt"
        if progress.num_retrying
        else "",
        "retried": retried(progress.retried),
        "lost": lost(progress),
        "created": moment(record.created),
        "started": moment(record.started),
        "paused": moment(record.paused) if record.paused else "",
        "finished": moment(record.finished) + (f", after {duration(taken)}" if taken is not None else ""),
        "file": record.source,
        "tags": ", ".join(f"{name}={value}" for name, value in record.tags.items()),
    }
    return grid(rows)


def limits(record: JobRecord) -> str:
    """Returns what `dropsweep edit` can change of a job, in words; empty for a rejected one."""
    if not record.num_trials:
        return ""
    told = [f"{plural(record.num_trials, 'trial')}, {record.window:,} at once"] if record.kind == "sweep" else []
    told += [f"timeout {duration(record.timeout_s)}"] if record.timeout_s is not None else []
    told += [f"trial timeout {duration(record.trial_timeout_s)}"] if record.trial_timeout_s is not None else []
    return ", ".join(told)


def retried(found: Retried) -> str:
    """Returns how many trials were tried again, in words; empty when none was."""
    if not found.num_trials:
        return ""
    alone = f", {found.num_alone:,} of them alone on a node for want of memory" if found.num_alone else ""
    return f"{plural(found.num_trials, 'trial')} tried again after a failed attempt{alone}"


def _retried_in_short(found: Retried) -> str:
    alone = f" ({found.num_alone:,} alone)" if found.num_alone else ""
    return f"{found.num_trials:,}{alone}" if found.num_trials else ""


def lost(progress: Progress) -> str:
    """Returns which running trials have a silent worker, in words; empty when none has."""
    if not progress.silent:
        return ""
    numbers = ", ".join(str(trial.trial) for trial, _ in progress.silent[:_MAX_REQUESTS])
    left_out = len(progress.silent) - _MAX_REQUESTS
    more = f" and {left_out:,} more" if left_out > 0 else ""
    longest_s = max(age_s for _, age_s in progress.silent)
    told = f"no heartbeat of trial {numbers}{more} for {duration(longest_s)}"
    return f"{told}; another trainer takes over by itself, if one runs"


def asked_for(record: JobRecord) -> str:
    """Returns what people have asked for single trials of a job that is not met yet, or holds on."""
    if record.state.is_final:
        return ""
    asked = [(number, str(wish)) for number, wish in sorted(record.requests.items())]
    asked += [(number, "retry") for number in sorted(record.retries.trials)]
    told = ", ".join(f"{what} trial {number}" for number, what in asked[:_MAX_REQUESTS])
    left_out = len(asked) - _MAX_REQUESTS
    return f"{told} and {left_out:,} more" if left_out > 0 else told


def trial(record: TrialRecord) -> Table:
    """Returns what `dropsweep show JOB TRIAL` says of a trial."""
    took = "" if record.duration_s is None else f", after {duration(record.duration_s)}"
    if took and record.attempt > 1:  # they may have waited in between
        took = f"; its {record.attempt:,} attempts took {duration(record.duration_s)}"
    rows = {
        "trial": f"{record.trial} of {record.job.path}",
        "state": f"{record.state} ({record.reason})",
        "message": record.message,
        "attempt": str(record.attempt),
        "retries": _count(record.num_retries),
        "pre-empted": _count(record.num_preempted),
        "workers lost": _count(record.num_lost),
        "alone on its node": "since it ran out of memory, or may have" if record.runs_alone else "",
        "metric": figure(record.metric) if record.metric is not None else "",
        **{f"parameter {name}": value_text(value, 200) for name, value in record.parameters.items()},
        **{f"metric {name}": figure(value) for name, value in record.metrics.items()},
        "exit code": "" if record.exit_code is None else str(record.exit_code),
        "worker": record.worker,
        "resumed from": record.resumed_from,
        "start": record.start,
        "started": moment(record.started),
        "finished": moment(record.finished) + took,
    }
    return grid(rows)


def checkpoints(found: Sequence[StoredCheckpoint], record: TrialRecord, *, width: int) -> Table:
    """Returns the table of a trial's checkpoints, and of each what the next attempt would do with it.

    On a screen of `width` columns that leaves too few for the labels, it has no times, and then no numbers of files.
    """
    columns = {
        "step": ["–" if one.step is None else str(one.step) for one in found],
        "size": ["–" if one.problem else size_text(one.size_bytes) for one in found],
        "files": ["–" if one.problem else f"{one.num_files:,}" for one in found],
        "made": [moment(one.made) for one in found],
    }
    # The labels and the words after all the others fold, and share what is left: as much each as a name needs.
    columns = fitting(columns, width - 2 * _LEAST_NAME, ("made", "files"))
    table = plain_table()
    table.add_column("checkpoint", overflow="fold")
    for name in columns:
        table.add_column(name, justify="left" if name == "made" else "right", no_wrap=True)
    table.add_column("", overflow="fold")
    for one, *cells in zip(found, *columns.values(), strict=True):
        table.add_row(literal(one.label), *cells, literal(_use_of(one, record)))
    return table


def _use_of(one: StoredCheckpoint, record: TrialRecord) -> str:
    if one.problem:
        return f"unreadable, so nothing resumes from it: {one.problem}"
    if not one.is_next:
        return ""
    if record.state in (TrialState.COMPLETED, TrialState.STOPPED, TrialState.CANCELLED):
        return "the last one"
    return "a retry would resume from it" if record.state is TrialState.FAILED else "the next attempt resumes from it"


def _count(number: int) -> str:
    return f"{number:,}" if number else ""
