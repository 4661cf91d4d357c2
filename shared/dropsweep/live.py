"""A job on the screen while it runs, and its summary when it has ended.

On a terminal the view is drawn anew about once a second; elsewhere it is one plain line for each change. What users
wrote is shown as it stands: no markup, no control characters.
"""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from dropsweep.client import BaseClient, BestTrial, Progress
from dropsweep.client.program import program
from dropsweep.errors import NotFoundError, StorageUnavailable
from dropsweep.names import RUNS, JobKey
from dropsweep.page import flatten
from dropsweep.page.words import duration, figure, plural, value_text
from dropsweep.records import JobRecord, TrialRecord, TrialSummary
from dropsweep.states import JobState, TrialState

_STYLES: Mapping[JobState | TrialState, str] = {
    JobState.QUEUED: "yellow",
    JobState.RUNNING: "cyan",
    JobState.PAUSED: "blue",
    JobState.CANCELLING: "yellow",
    JobState.COMPLETED: "green",
    JobState.FAILED: "red",
    JobState.CANCELLED: "magenta",
    JobState.REJECTED: "red",
}
_MAX_ROWS = 20
_LEADERS = 10
_REASONS_SHOWN = 5
_LINES_AROUND = 10


def watch(
    client: BaseClient, key: JobKey, console: Console, *, appear_s: float = 60.0, interval_s: float = 1.0
) -> JobRecord:
    """Shows a job until it is final and returns its record.

    Args:
        client: the account.
        key: the job, which may be so new that it has no record.
        console: where to draw; a live view on a terminal, else a line for each change.
        appear_s: how many seconds to wait for its record.
        interval_s: seconds between two looks.

    Raises:
        NotFoundError: there was no record after `appear_s`.
        StorageError: as the storage does.
    """
    updates = client.updates(key, interval_s=interval_s, appear_s=appear_s)
    if console.is_terminal and not console.is_dumb_terminal:
        last = _draw(client, key, console, updates)
    else:
        last = _tell(key, console, updates)
    if last is None:
        raise NotFoundError(f"{key.path}: there is no such job")
    return last.record


def summary(client: BaseClient, key: JobKey, console: Console, copy: Path | None = None) -> None:
    """Prints how a job ended, or stands: leaderboard, best trial, failures, and where its files lie.

    Args:
        client: the account.
        key: the job.
        console: where to print.
        copy: a folder with what `Client.download` brought of the job, its best trial included, as a person would type
            it: the files' paths are given there, and nothing is said that needs the account. None: paths in it.

    Raises:
        NotFoundError: there is no such job.
        StorageError: as the storage does.
    """
    progress = client.progress(key)
    record = progress.record
    console.print(headline(record), soft_wrap=True)
    if record.state is JobState.REJECTED:
        for problem in client.problems(key):
            console.print(literal(f"  {problem.severity}: {problem}"), soft_wrap=True)
        return
    for warning in record.warnings:
        console.print(literal(f"  warning: {warning}"), soft_wrap=True)
    if record.kind == "sweep":
        leaders = client.leaderboard(key, _LEADERS)
        if leaders:
            console.print()
            console.print(leaderboard(record, leaders))
    if progress.num_failed:
        console.print()
        _print_failures(client, key, console, has_account=copy is None)
    best = client.best(key)
    if best is not None:
        console.print()
        console.print(best_trial(best, copy), soft_wrap=True)
    if record.state.is_final:
        console.print()
        console.print(literal(f"report       {_place(f'{RUNS}/{key.report}', key, copy)}"), soft_wrap=True)
        if copy is None:
            download = f"{program()} download {key.path}" + (" --best" if best else "")
            console.print(literal(f"all results  {download}"), soft_wrap=True)
        else:
            console.print(literal(f"copied to    {copy}/"), soft_wrap=True)


def literal(text: str, style: str = "") -> Text:
    """Returns text that is shown as it stands: markup is not read, and control characters are spelled out."""
    shown = "".join(
        character if character.isprintable() or character == "\n" else repr(character)[1:-1] for character in text
    )
    return Text(shown, style=style)


def headline(record: JobRecord) -> Text:
    """Returns one line: what the job is called, its state and why; a rejected job's problems are told apart from it."""
    line = Text().append_text(literal(record.key.path, "bold")).append("  ").append(record.state, _STYLES[record.state])
    if record.state is JobState.REJECTED:
        return line
    return line.append_text(literal(f"  {record.message}")) if record.message else line


def leaderboard(record: JobRecord, leaders: list[TrialRecord]) -> Table:
    """Returns the table of the best trials, best first."""
    table = _table()
    for column in ("rank", "trial", record.primary_metric or "metric", "duration"):
        table.add_column(literal(column), justify="right", no_wrap=True)
    table.add_column("parameters", overflow="fold")
    for rank, trial in enumerate(leaders, 1):
        style = "bold green" if rank == 1 else ""
        cells = (str(rank), str(trial.trial), figure(trial.metric), duration(trial.duration_s))
        table.add_row(*cells, literal(parameters(trial.parameters)), style=style)
    return table


def best_trial(best: BestTrial, copy: Path | None = None) -> Text:
    """Returns the best trial: its parameters, one a line, and where its files lie; print it with `soft_wrap`.

    Args:
        best: the trial.
        copy: the folder in which a copy of its files lies; None: they are in the account.
    """
    head = f"trial {best.trial}"
    if best.primary_metric:
        head = f"{head}, {best.primary_metric} {figure(best.metric)} ({best.goal})"
    rows = [("best trial" if best.primary_metric else "trial", head)]
    rows += [(f"  {name}", value_text(value, 200)) for name, value in flatten(best.parameters).items()]
    if not best.primary_metric:
        rows += [(f"  {name}", figure(number)) for name, number in best.metrics.items()]
    places = {name: _place(path, best.job, copy) for name, path in best.files.items()}
    # What a trial did not write, such as an empty stderr, is in no copy.
    rows += [(name, place) for name, place in places.items() if copy is None or Path(place).exists()]
    width = max(len(name) for name, _ in rows)
    # Not a table: a path that is broken over two lines cannot be copied.
    return Text("\n").join(literal(f"{name:<{width}}  {value}") for name, value in rows)


def _place(path: str, key: JobKey, copy: Path | None) -> str:
    """Where a file of a job lies: `path`, with its container, or in the copy, which is laid out alike."""
    return path if copy is None else f"{copy}/{path.removeprefix(f'{RUNS}/{key.path}/')}"


def parameters(chosen: Mapping[str, Any], length: int = 120) -> str:
    """Returns parameters on one line, `lr=0.013 width=16`, cut to about `length` characters."""
    text = " ".join(f"{name}={value_text(value, 30)}" for name, value in flatten(chosen).items())
    return text if len(text) <= length else f"{text[: length - 1]}…"


def progress_line(progress: Progress) -> str:
    """Returns where a job stands, on one line."""
    record = progress.record
    told = [f"{progress.num_final:,}/{plural(record.num_trials, 'trial')}"]
    if progress.running:
        told.append(f"{len(progress.running)} running")
    if progress.counts.get(TrialState.PAUSED):
        told.append(f"{progress.counts[TrialState.PAUSED]} paused")
    if progress.silent:
        told.append(f"{len(progress.silent)} without a heartbeat")
    if progress.num_retrying:
        told.append(f"{progress.num_retrying} waiting for a retry")
    if progress.num_failed:
        told.append(f"{progress.num_failed} failed")
    if progress.best is not None:
        told.append(f"best {record.primary_metric} {figure(progress.best.metric)} (trial {progress.best.trial})")
    told.append(duration(progress.elapsed_s))
    return ", ".join(told)


def running_trials(progress: Progress, chosen: Mapping[int, str], max_rows: int) -> Table:
    """Returns the table of running trials; `chosen` holds their parameters as far as they are known."""
    record = progress.record
    rows = []
    for trial in progress.running[:max_rows]:
        ran = duration(trial.running_s(progress.served))
        numbers = (str(trial.trial), str(trial.attempt), figure(trial.step), _latest(record, trial), ran)
        rows.append([*map(literal, numbers), _on_one_line(chosen.get(trial.trial, ""))])
    heads = [literal(text) for text in ("trial", "attempt", "step", record.primary_metric or "metrics", "running for")]
    table = _table()
    for index, head in enumerate(heads):
        # A fixed width, since columns without one are made narrower alike when the screen is too narrow.
        width = max(head.cell_len, *(row[index].cell_len for row in rows), 0)
        table.add_column(head, justify="right", no_wrap=True, width=width)
    table.add_column("parameters")  # takes what is left: its cells do not wrap but the column may shrink
    for row in rows:
        table.add_row(*row)
    return table


def _on_one_line(text: str) -> Text:
    cell = literal(text)
    cell.no_wrap, cell.overflow = True, "ellipsis"
    return cell


def _latest(record: JobRecord, trial: TrialSummary) -> str:
    if record.primary_metric:
        return figure(trial.metric if trial.metric is not None else trial.metrics.get(record.primary_metric))
    return " ".join(f"{name}={figure(value)}" for name, value in list(trial.metrics.items())[:3]) or "–"


def _draw(client: BaseClient, key: JobKey, console: Console, updates: Iterator[Progress | None]) -> Progress | None:
    chosen: dict[int, str] = {}
    last: Progress | None = None
    began = time.monotonic()
    with Live(console=console, auto_refresh=False, transient=True) as live:
        for last in updates:
            if last is None:
                waited = duration(time.monotonic() - began)
                live.update(literal(f"{key.path}: waiting for its file to be taken up, {waited}"), refresh=True)
                continue
            max_rows = max(1, min(_MAX_ROWS, console.height - _LINES_AROUND))
            shown = last.running[:max_rows]
            for trial in shown:
                if trial.trial in chosen:
                    continue
                try:
                    chosen[trial.trial] = parameters(client.parameters(key, trial.trial))
                except StorageUnavailable:
                    break  # the cells stay empty until the next look; how long that may go on is `updates`' matter
            chosen = {trial.trial: chosen[trial.trial] for trial in shown if trial.trial in chosen}
            live.update(_view(last, chosen, max_rows), refresh=True)
    return last


def _view(progress: Progress, chosen: Mapping[int, str], max_rows: int) -> Group:
    record = progress.record
    share = progress.num_final / record.num_trials if record.num_trials else 1.0
    bar = Table.grid()  # a bar alone does not end its line
    bar.add_row(ProgressBar(total=1.0, completed=share, width=60))
    parts: list[RenderableType] = [headline(record), bar, literal(progress_line(progress))]
    if record.state is JobState.PAUSED:
        parts.append(_way_on(record))
    if progress.running:
        parts.append(running_trials(progress, chosen, max_rows))
    left_out = len(progress.running) - max_rows
    if left_out > 0:
        parts.append(Text(f"and {left_out:,} more"))
    return Group(*parts)


def _tell(key: JobKey, console: Console, updates: Iterator[Progress | None]) -> Progress | None:
    last: Progress | None = None
    known: dict[int, TrialSummary] = {}
    has_waited = False
    for now in updates:
        if now is None:
            if not has_waited:
                console.print(literal(f"{key.path}: waiting for its file to be taken up"), soft_wrap=True)
            has_waited = True
            continue
        if last is None or now.record.state is not last.record.state:
            console.print(headline(now.record), soft_wrap=True)
            if now.record.state is JobState.PAUSED:
                console.print(_way_on(now.record), soft_wrap=True)
        num_never_begun = 0
        for trial in now.trials:
            before = known.get(trial.trial)
            if before is not None and (before.reason, before.attempt) == (trial.reason, trial.attempt):
                continue
            if trial.state is TrialState.CANCELLED and not trial.attempt:
                num_never_begun += 1
                continue
            console.print(literal(_told(now, trial)), soft_wrap=True)
        if num_never_begun:
            told = f"{plural(num_never_begun, 'trial')} cancelled before starting"
            console.print(literal(f"{told}  [{now.num_final:,}/{now.record.num_trials:,}]"), soft_wrap=True)
        known = {trial.trial: trial for trial in now.trials}
        last = now
    return last


def _way_on(record: JobRecord) -> Text:
    return literal(f"to let it go on: {program()} resume {record.key.path}")


def _told(progress: Progress, trial: TrialSummary) -> str:
    name = progress.record.primary_metric
    metric = f", {name} {figure(trial.metric)}" if name and trial.state is TrialState.COMPLETED else ""
    is_plain = trial.state in (TrialState.RUNNING, TrialState.COMPLETED)
    why = "" if is_plain else f": {trial.message or trial.reason.replace('_', ' ')}"
    again = f" (attempt {trial.attempt})" if trial.attempt > 1 else ""
    done = f"  [{progress.num_final:,}/{progress.record.num_trials:,}]" if trial.state.is_final else ""
    return f"trial {trial.trial} {trial.state}{again}{metric}{why}{done}"


def _print_failures(client: BaseClient, key: JobKey, console: Console, *, has_account: bool) -> None:
    """Names the first failed trials with their reasons; a sweep that has many is not read to its end."""
    shown = 0
    for trial in client.trials(key):
        if trial.state is not TrialState.FAILED:
            continue
        if shown == _REASONS_SHOWN:
            console.print("  … and more: results.csv has every trial's reason")
            return
        shown += 1
        console.print(literal(f"trial {trial.trial} failed: {trial.message or trial.reason}", "red"))
        if has_account:
            console.print(literal(f"  {program()} logs {key.path} {trial.trial} --stderr"), soft_wrap=True)


def _table() -> Table:
    return Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
