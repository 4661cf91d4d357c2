"""What a job looks like in a notebook: gathers what `page.inline` draws, with a bound on how much is read."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Final

from dropsweep.client.progress import Progress
from dropsweep.client.results import BestTrial, top_trials
from dropsweep.client.table import steps_of
from dropsweep.errors import DropsweepError
from dropsweep.metrics import Point
from dropsweep.names import JobKey
from dropsweep.page.data import Curve, ReportData, TrialRow
from dropsweep.page.inline import JobLine, inline_best, inline_job, inline_jobs, inline_note
from dropsweep.records import JobRecord, JobSummary, TrialRecord, TrialSummary
from dropsweep.states import JobState, TrialState

if TYPE_CHECKING:
    from dropsweep.client.base import BaseClient

_NUM_LEADERS: Final = 10
_NUM_RUNNING: Final = 4
_MAX_LISTED: Final = 5000
"""Of a larger sweep the leaderboard and the curves are drawn, but no chart of all trials."""
_MAX_JOBS: Final = 100
_READERS: Final = 8


@dataclass
class Picture:
    """The picture of one job, drawn as often as asked; what cannot change any more is read once.

    Drawing costs one look at the job, one list call for a thousand trials, and a record and the metrics of each of the
    ten best trials and of up to four that run.
    """

    client: "BaseClient"
    key: JobKey
    _records: dict[tuple[int, int], TrialRecord] = field(default_factory=dict)
    _points: dict[tuple[int, int], list[Point]] = field(default_factory=dict)

    def html(self, progress: Progress | None = None) -> str:
        """Returns the picture as HTML; never raises an error of ours, but draws it.

        Args:
            progress: a look at the job, if there is one already.
        """
        try:
            return self._draw(progress or self.client.progress(self.key))
        except DropsweepError as error:
            return inline_note(str(error))

    def _draw(self, progress: Progress) -> str:
        record = progress.record
        if record.state is JobState.REJECTED:
            problems = tuple(str(problem) for problem in self.client.problems(self.key))
            return inline_job(_report(record, progress, (), (), 0, warnings=problems))
        listed = list(islice(self.client.trials(self.key), _MAX_LISTED + 1))
        if len(listed) > _MAX_LISTED:
            leaders = [_summary(trial) for trial in self.client.leaderboard(self.key, _NUM_LEADERS)]
            listed = [*leaders, *progress.running[:_NUM_RUNNING]]
        else:
            leaders = top_trials(listed, record.goal, _NUM_LEADERS)
        running = [trial for trial in listed if trial.state is TrialState.RUNNING][:_NUM_RUNNING]
        shown = [*leaders, *running]
        with ThreadPoolExecutor(_READERS, thread_name_prefix="picture") as pool:
            records = {trial.trial: found for trial, found in zip(shown, pool.map(self._record, shown), strict=True)}
            points = {trial.trial: found for trial, found in zip(shown, pool.map(self._curve, shown), strict=True)}
        rows = [_row(trial, records.get(trial.trial)) for trial in listed]
        curves = [curve for trial, found in points.items() for curve in _curves(record, trial, found)]
        num_left_out = max(0, sum(progress.counts.values()) - progress.counts.get(TrialState.QUEUED, 0) - len(rows))
        return inline_job(_report(record, progress, rows, curves, num_left_out, warnings=record.warnings))

    def _record(self, trial: TrialSummary) -> TrialRecord:
        known = self._records.get((trial.trial, trial.attempt))
        if known is not None and known.state is trial.state:
            return known
        return self._records.setdefault((trial.trial, trial.attempt), self.client.trial(self.key, trial.trial))

    def _curve(self, trial: TrialSummary) -> list[Point]:
        if not trial.state.is_final:
            return self.client.metrics(self.key, trial.trial)
        at = (trial.trial, trial.attempt)
        if at not in self._points:
            self._points[at] = self.client.metrics(self.key, trial.trial)
        return self._points[at]


def html_of_jobs(jobs: Sequence[JobSummary]) -> str:
    """Returns a list of jobs as HTML, the first hundred of them."""
    lines = [
        JobLine(
            path=job.key.path,
            state=str(job.state),
            kind=job.kind,
            num_final=job.num_final,
            num_trials=job.num_trials,
            best=(job.best.metric, job.best.trial) if job.best else None,
            created=job.created,
        )
        for job in jobs[:_MAX_JOBS]
    ]
    return inline_jobs(lines, num_left_out=max(0, len(jobs) - _MAX_JOBS))


def html_of_best(best: BestTrial) -> str:
    """Returns the best trial as HTML."""
    row = TrialRow(
        trial=best.trial,
        state="completed",
        attempt=best.attempt,
        parameters=best.parameters,
        metric=best.metric,
        metrics=best.metrics,
    )
    data = ReportData(
        title=best.job.job,
        path=best.job.path,
        kind="command" if best.primary_metric is None else "sweep",
        state="completed",
        goal="maximize" if best.goal == "maximize" else "minimize" if best.goal == "minimize" else None,
        primary_metric=best.primary_metric,
        rows=(row,),
        best=best.trial,
        files=best.files,
    )
    return inline_best(data)


def _summary(record: TrialRecord) -> TrialSummary:
    return TrialSummary.from_metadata(record.trial, record.to_metadata())


def _row(trial: TrialSummary, record: TrialRecord | None) -> TrialRow:
    return TrialRow(
        trial=trial.trial,
        state=trial.state,
        reason=trial.message or str(trial.reason),
        attempt=trial.attempt,
        parameters=record.parameters if record else {},
        metric=trial.metric,
        metrics=trial.metrics,
        started=trial.started,
        finished=trial.finished,
        ran_s=trial.ran_s,
    )


def _curves(record: JobRecord, trial: int, points: list[Point]) -> Iterator[Curve]:
    shown = [record.primary_metric] if record.primary_metric else sorted({name for p in points for name in p.values})
    for name in shown:
        pairs = [(step, point.values[name]) for step, point in steps_of(points) if name in point.values]
        if pairs:
            yield Curve(trial, name, tuple(step for step, _ in pairs), tuple(value for _, value in pairs))


def _report(
    record: JobRecord,
    progress: Progress,
    rows: Sequence[TrialRow],
    curves: Sequence[Curve],
    num_left_out: int,
    *,
    warnings: Sequence[str],
) -> ReportData:
    counts = {str(state): count for state, count in progress.counts.items()}
    num_to_come = record.num_trials - sum(counts.values())
    if num_to_come > 0 and not record.state.is_final:
        counts["to come"] = num_to_come
    return ReportData(
        title=record.display_name or record.name,
        path=record.key.path,
        kind=record.kind,
        state=record.state,
        reason="" if record.state is JobState.REJECTED else record.message,  # each problem is shown
        goal="maximize" if record.goal == "maximize" else "minimize" if record.goal == "minimize" else None,
        primary_metric=record.primary_metric,
        created=record.created,
        started=record.started,
        finished=record.finished,
        counts=counts,
        num_trials=record.num_trials,
        rows=rows,
        rows_left_out=num_left_out,
        best=progress.best.trial if progress.best else None,
        curves=curves,
        warnings=warnings,
    )
