"""What a report shows, as plain values: nothing here reads storage, a clock or a setting."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Literal, TypeAlias

JsonValue: TypeAlias = "bool | int | float | str | Sequence[JsonValue] | Mapping[str, JsonValue] | None"
"""What JSON can hold; NaN and infinities are let through, because training scripts report them."""

Goal = Literal["minimize", "maximize"]

RANKED_STATES: Final = frozenset({"completed", "stopped"})
"""Trials that take part in the ranking: they ended by themselves or were stopped early, with a metric that stands."""


@dataclass(frozen=True, slots=True)
class Curve:
    """What one trial reported of one metric, in the order of the steps.

    Attributes:
        trial: the trial's index.
        metric: the metric's name.
        steps: where each value was reported, in the script's own unit (epochs, batches).
        values: as many as `steps`; a value that is not finite breaks the line.
    """

    trial: int
    metric: str
    steps: tuple[float, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class TrialRow:
    """One trial as the report shows it.

    Attributes:
        trial: the trial's index, from 0.
        state: one of the trial states.
        reason: why the trial is in that state; empty when there is nothing to say.
        attempt: the number of the latest attempt, from 1; 0 before the first.
        parameters: by name; a nested choice gives a mapping, shown as `outer.inner`.
        metric: the primary metric; None when it was not reported, and possibly not finite.
        metrics: the last value of every metric.
        started: when the first attempt began, UTC.
        finished: when the trial reached a final state, UTC.
        ran_s: seconds that its attempts took, without the waiting between them; 0: not known.
    """

    trial: int
    state: str
    reason: str = ""
    attempt: int = 1
    parameters: Mapping[str, JsonValue] = field(default_factory=dict)
    metric: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    started: datetime | None = None
    finished: datetime | None = None
    ran_s: float = 0.0

    @property
    def value(self) -> float | None:
        """The primary metric where it is a finite number, else None."""
        return finite(self.metric)

    @property
    def duration_s(self) -> float | None:
        """Seconds that the trial took: `ran_s`, else those from its start to its end; None until it ended."""
        if self.started is None or self.finished is None:
            return None
        return self.ran_s or max(0.0, (utc(self.finished) - utc(self.started)).total_seconds())


@dataclass(frozen=True, slots=True)
class ReportData:
    """Everything that a job's report shows.

    Attributes:
        title: the job's display name.
        path: `workspace/experiment/job`.
        kind: `sweep` or `command`.
        state: the job's state.
        reason: why the job is in that state; empty when there is nothing to say.
        goal: which direction of the primary metric is better; None for a job without an objective.
        primary_metric: the objective's metric.
        created: when the job was accepted, UTC.
        started: when its first trial was dispatched, UTC.
        finished: when it reached a final state, UTC.
        counts: the number of trials in each state.
        num_trials: trials that the job may run in all.
        rows: the trials, or the best of many.
        rows_left_out: trials that are not among `rows`.
        best: the index of the best trial; None when no completed trial has a finite metric.
        curves: of the primary metric, for the best trials.
        parameter_names: top-level parameters in the order of the job file.
        tags: the job's tags.
        files: label → path in the storage.
        warnings: what was odd about the job file, as sentences.
        anchor: put before the ids of the drawings, where they are part of another page.
    """

    title: str
    path: str
    kind: str
    state: str
    reason: str = ""
    goal: Goal | None = None
    primary_metric: str | None = None
    created: datetime | None = None
    started: datetime | None = None
    finished: datetime | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    num_trials: int = 0
    rows: Sequence[TrialRow] = ()
    rows_left_out: int = 0
    best: int | None = None
    curves: Sequence[Curve] = ()
    parameter_names: Sequence[str] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    anchor: str = ""


def finite(value: object) -> float | None:
    """Returns `value` as a finite float, or None (a boolean, a text, NaN, an infinity, an integer beyond 1.8e308)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def utc(time: datetime) -> datetime:
    """Returns `time` in UTC; a time without a zone is taken as UTC already."""
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def flatten(parameters: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """Returns the leaves of nested parameters by dotted name; lists become their JSON text.

    >>> flatten({"model": {"kind": "cnn", "width": 8}, "lr": 0.1})
    {'model.kind': 'cnn', 'model.width': 8, 'lr': 0.1}
    """
    return dict(_leaves("", parameters))


def _leaves(prefix: str, value: JsonValue) -> Iterator[tuple[str, JsonValue]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(f"{prefix}.{key}" if prefix else str(key), inner)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        yield prefix, json.dumps(value, default=str)
    else:
        yield prefix, value


@dataclass(frozen=True, slots=True)
class View:
    """A report's data with what several parts of the page need worked out once.

    Attributes:
        data: what was handed in.
        flat: the flattened parameters of each row, by trial.
        varied: dotted names of parameters that differ between rows, in the order of the job file.
        fixed: dotted names of those that do not, with their value.
        ranked: rows with a finite metric in a state that counts, best first; empty without a goal.
        tone: from 0 (worst) to 15 (best) by trial: the colour of what stands for a ranked trial.
    """

    data: ReportData
    flat: Mapping[int, Mapping[str, JsonValue]]
    varied: tuple[str, ...]
    fixed: Mapping[str, JsonValue]
    ranked: tuple[TrialRow, ...]
    tone: Mapping[int, int]

    @property
    def best_row(self) -> TrialRow | None:
        """The best trial's row, where it is among the rows."""
        return next((row for row in self.data.rows if row.trial == self.data.best), None)

    @property
    def top(self) -> int | None:
        """The trial that charts and tables mark: the recorded best one, else the first of the ranking."""
        if any(row.trial == self.data.best for row in self.ranked):
            return self.data.best
        return self.ranked[0].trial if self.ranked else None


def view_of(data: ReportData) -> View:
    """Works out what the parts of the page share; the same data gives the same view."""
    flat = {row.trial: flatten(row.parameters) for row in data.rows}
    order = {name: index for index, name in enumerate(data.parameter_names)}
    seen = dict.fromkeys(name for leaves in flat.values() for name in leaves)
    position = {name: index for index, name in enumerate(seen)}

    def place(name: str) -> tuple[int, int]:
        top = name if name in order else name.split(".", 1)[0]
        return order.get(top, len(order)), position[name]

    names = sorted(seen, key=place)
    distinct = {name: {json.dumps(leaves.get(name), default=str) for leaves in flat.values()} for name in names}
    varied = tuple(name for name in names if len(distinct[name]) > 1)
    fixed = {name: next(iter(flat.values())).get(name) for name in names if len(distinct[name]) == 1}
    ranked = _rank(data)
    return View(data, flat, varied, fixed, ranked, tones([row.trial for row in ranked]))


def _rank(data: ReportData) -> tuple[TrialRow, ...]:
    if data.goal is None:
        return ()
    sign = 1.0 if data.goal == "minimize" else -1.0
    scored = [(sign * row.value, row) for row in data.rows if row.state in RANKED_STATES and row.value is not None]
    # The best trial that was recorded stands first among equals, so that head line and table agree.
    return tuple(
        row for _, row in sorted(scored, key=lambda pair: (pair[0], pair[1].trial != data.best, pair[1].trial))
    )


def tones(trials: Sequence[int]) -> dict[int, int]:
    """Returns 15 for the first of `trials` down to 0 for the last.

    Colours go by rank, not by value: one diverged trial must not make all others look alike.
    """
    last = len(trials) - 1
    return {trial: 15 - (15 * index // last if last else 0) for index, trial in enumerate(trials)}
