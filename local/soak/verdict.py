"""Compares how a job ended with how it had to: pure arithmetic on what the storage holds."""

import csv
import io
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from dropsweep.records import Best, JobRecord, TrialSummary
from dropsweep.records.codec import number_out, time_out
from dropsweep.states import JobState, TrialReason, TrialState
from local.soak.plan import JobPlan, TrialPlan


@dataclass(frozen=True, slots=True)
class End:
    """What the storage holds of one job when all is over.

    Attributes:
        record: the job's record; None when there is none.
        trials: what a list of its trials' records says, by trial.
        table: `results.csv` as text; empty when there is none.
        changed: what became of records that had been final before, by trial.
        killed: trials whose process the killer ended.
    """

    record: JobRecord | None
    trials: Mapping[int, TrialSummary]
    table: str
    changed: Mapping[int, str]
    killed: Collection[int] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is not as it had to be, a line for each.

    Attributes:
        lost: trials without a final record, or without a row in the results.
        doubled: trials whose final record changed, or with more than one row.
        wrong: whatever else differs from the plan, or one file from another.
        num_extra_attempts: attempts beyond the first of each trial.
    """

    lost: tuple[str, ...] = ()
    doubled: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()
    num_extra_attempts: int = 0

    def __add__(self, other: "Verdict") -> "Verdict":
        return Verdict(
            self.lost + other.lost,
            self.doubled + other.doubled,
            self.wrong + other.wrong,
            self.num_extra_attempts + other.num_extra_attempts,
        )

    @property
    def is_good(self) -> bool:
        """True when nothing is lost, doubled or wrong."""
        return not (self.lost or self.doubled or self.wrong)


def judge(plan: JobPlan, end: End) -> Verdict:
    """Returns what is wrong with the end of one job."""
    rows: dict[int, list[Mapping[str, str]]] = {}
    for row in csv.DictReader(io.StringIO(end.table, newline="")):
        rows.setdefault(int(row["trial"]), []).append(row)
    lost: list[str] = []
    doubled: list[str] = [f"{plan.name} trial {trial}: {what}" for trial, what in sorted(end.changed.items())]
    wrong: list[str] = [f"{plan.name}: {what}" for what in _of_job(end.record, end.trials.values())]
    for trial in plan.trials:
        name = f"{plan.name} trial {trial.index}"
        found, its_rows = end.trials.get(trial.index), rows.pop(trial.index, [])
        if found is None or not found.state.is_final:
            lost.append(f"{name}: it has no result, it is {found.state if found else 'without a record'}")
            continue
        if not its_rows:
            lost.append(f"{name}: results.csv has no row for it")
        if len(its_rows) > 1:
            doubled.append(f"{name}: results.csv has {len(its_rows)} rows for it")
        wrong += [f"{name}: {what}" for what in _of_trial(plan, trial, found, is_killed=trial.index in end.killed)]
        wrong += [f"{name}: {what}" for row in its_rows for what in _of_row(found, row)]
    extra = sorted({*rows, *end.trials} - {trial.index for trial in plan.trials})
    wrong += [f"{plan.name}: there is a trial {trial}, which was not asked for" for trial in extra]
    num_extra = sum(max(0, found.attempt - 1) for found in end.trials.values())
    return Verdict(tuple(lost), tuple(doubled), tuple(wrong), num_extra)


def _of_job(record: JobRecord | None, trials: Collection[TrialSummary]) -> Iterable[str]:
    if record is None:
        yield "it has no record"
        return
    if record.state is not JobState.COMPLETED:
        yield f"it is {record.state} ({record.reason}), not {JobState.COMPLETED}"
    counts = dict(Counter(trial.state for trial in trials))
    if dict(record.counts) != counts:
        yield f"its record counts {_counts(record.counts)}, and its trials are {_counts(counts)}"
    best = _best(trials)
    if record.best != best:
        yield f"its best is {record.best}, and that of its trials is {best}"


def _of_trial(plan: JobPlan, trial: TrialPlan, found: TrialSummary, *, is_killed: bool) -> Iterable[str]:
    # A process may have been killed just after it had ended, or in an attempt that had lost its claim.
    allowed = {trial.reason, TrialReason.SIGNAL} if is_killed and not plan.is_retried else {trial.reason}
    if found.reason not in allowed:
        yield f"it ended {found.reason} in attempt {found.attempt}, not {' or '.join(sorted(allowed))}: {found.message}"
    elif found.state is TrialState.COMPLETED and found.metric != trial.metric:
        yield f"its metric is {found.metric}, not {trial.metric}, in attempt {found.attempt}"


def _of_row(found: TrialSummary, row: Mapping[str, str]) -> Iterable[str]:
    recorded = {
        "state": found.state,
        "reason": found.reason,
        "attempt": found.attempt,
        "started": time_out(found.started),
        "finished": time_out(found.finished),
        "metric": number_out(found.metric),
        "message": found.message,
    }
    for column, value in recorded.items():
        text = "" if value is None else str(value)
        if row.get(column) != text:
            yield f"its {column} is {text!r} in its record, and {row.get(column)!r} in results.csv"


def _best(trials: Collection[TrialSummary]) -> Best | None:
    """The largest metric; of equals that with the lowest number."""
    completed = [trial for trial in trials if trial.state is TrialState.COMPLETED and trial.metric is not None]
    best = max(completed, key=lambda trial: (trial.metric, -trial.trial), default=None)
    return Best(best.trial, best.metric) if best and best.metric is not None else None


def _counts(counts: Mapping[TrialState, int]) -> str:
    return ", ".join(f"{count} {state}" for state, count in sorted(counts.items())) or "none"
