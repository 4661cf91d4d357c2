"""A job as a table: a row a trial, or a row a reported value; named as in results.csv, as lists or for pandas."""

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from dropsweep.metrics import Point
from dropsweep.records import TrialRecord, TrialSummary, duration_s
from dropsweep.states import TRIAL_STATE, TrialReason, TrialState

if TYPE_CHECKING:
    import pandas

    from dropsweep.client.base import BaseClient
    from dropsweep.names import JobKey

_READERS: Final = 8
_TEXTS: Final = ("state", "reason", "message")
_TIMES: Final = ("started", "finished")
_NUMBERS: Final = ("duration_s", "metric")


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial as it stands.

    Attributes:
        trial: its number, from 0.
        reason, message: why it is in its state, for programs and for people.
        attempt: number of the latest attempt, from 1.
        parameters: what the search chose for it.
        metric: the primary metric: its last value. metrics: the last value of every metric.
        started: when its first attempt began; finished: when it ended. By the storage service's clock.
        ran_s: as `TrialRecord.ran_s`.
    """

    trial: int
    reason: TrialReason
    attempt: int
    parameters: Mapping[str, Any]
    metric: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    message: str = ""
    started: datetime | None = None
    finished: datetime | None = None
    ran_s: float = 0.0

    @property
    def state(self) -> TrialState:
        """Follows from the reason."""
        return TRIAL_STATE[self.reason]

    @property
    def duration_s(self) -> float | None:
        """Seconds that the trial took, waiting between its attempts left out; None until it ended."""
        return duration_s(self.ran_s, self.started, self.finished)

    @classmethod
    def of(cls, found: TrialSummary | TrialRecord, parameters: Mapping[str, Any]) -> "Trial":
        """Makes it from what a list call or a record tells."""
        return cls(
            found.trial,
            found.reason,
            found.attempt,
            parameters,
            found.metric,
            found.metrics,
            found.message,
            found.started,
            found.finished,
            found.ran_s,
        )

    def row(self) -> dict[str, Any]:
        """Returns its columns as results.csv names them: `param.lr`, `metric.accuracy` beside the fixed ones."""
        # Imported here: it brings the whole report with it.
        from dropsweep.page import flatten

        fixed = {
            "trial": self.trial,
            "state": str(self.state),
            "reason": str(self.reason),
            "attempt": self.attempt,
            "started": self.started,
            "finished": self.finished,
            "duration_s": self.duration_s,
            "metric": self.metric,
        }
        chosen = {f"param.{name}": value for name, value in flatten(self.parameters).items()}
        reported = {f"metric.{name}": value for name, value in self.metrics.items()}
        return fixed | chosen | reported | {"message": self.message}


def trials_of(client: "BaseClient", key: "JobKey") -> Iterator[Trial]:
    """Yields the trials that have begun, lowest number first: one list call for a thousand, and one read of the spec.

    A trial whose metrics did not fit into the list costs a read of its record.
    """
    spec = None
    for found in client.trials(key):
        spec = spec or client.spec(key)
        is_short = found.state is TrialState.COMPLETED and not found.metrics
        yield Trial.of(client.trial(key, found.trial) if is_short else found, spec.parameters(found.trial))


def curve_rows(client: "BaseClient", key: "JobKey", trials: Iterable[int]) -> list[dict[str, Any]]:
    """Returns what trials reported, a row a value (trial, step, metric, value); one read an attempt, eight at a time.

    A point without a step counts by its place from 0.
    """

    def rows(trial: int) -> list[dict[str, Any]]:
        return [
            {"trial": trial, "step": step, "metric": name, "value": value}
            for step, point in steps_of(client.metrics(key, trial))
            for name, value in point.values.items()
        ]

    with ThreadPoolExecutor(_READERS, thread_name_prefix="curves") as pool:
        return [row for found in pool.map(rows, trials) for row in found]


def steps_of(points: Iterable[Point]) -> Iterator[tuple[float, Point]]:
    """Yields points with their step; one that has none counts by its place from 0."""
    for index, point in enumerate(points):
        yield (float(index) if point.step is None else point.step), point


def frame(rows: Iterable[Mapping[str, Any]]) -> "pandas.DataFrame":
    """Returns rows of trials as a pandas.DataFrame whose index is the trial's number.

    Texts are texts, times are in UTC, numbers of one kind are numbers (whole ones with gaps become floats), and
    parameters that are lists stand as JSON. Fixed columns are there even without a trial.

    Raises:
        ImportError: pandas is not installed.
    """
    pandas = _pandas()
    kept = list(rows)
    columns = dict.fromkeys(name for row in kept for name in row)
    fixed = ("trial", "state", "reason", "attempt", *_TIMES, *_NUMBERS)
    ordered = [*fixed, *_sorted_names(columns), "message"]
    table = pandas.DataFrame(kept, columns=ordered)
    table = table.astype({"trial": "int64", "attempt": "int64", **dict.fromkeys(_NUMBERS, "float64")})
    for name in _TIMES:
        table[name] = pandas.to_datetime(table[name], utc=True)
    for name in _TEXTS:
        table[name] = table[name].astype("str")
    for name in ordered:
        if name.startswith("metric."):
            table[name] = table[name].astype("float64")
    return table.set_index("trial")


def curve_frame(rows: Iterable[Mapping[str, Any]]) -> "pandas.DataFrame":
    """Returns rows of `curve_rows` as a pandas.DataFrame.

    Raises:
        ImportError: pandas is not installed.
    """
    table = _pandas().DataFrame(list(rows), columns=["trial", "step", "metric", "value"])
    return table.astype({"trial": "int64", "step": "float64", "metric": "str", "value": "float64"})


def _sorted_names(columns: Iterable[str]) -> list[str]:
    """Parameters, then metrics, each in the order in which trials have them, as in results.csv."""
    return [name for begin in ("param.", "metric.") for name in columns if name.startswith(begin)]


def _pandas() -> Any:
    try:
        import pandas  # an extra, and slow to load
    except ModuleNotFoundError as error:
        remedy = "Install it (`pip install pandas`), or take `results()`, which gives the same rows as a list"
        raise ImportError(f"to_pandas needs the package pandas, which is not installed. {remedy}") from error
    return pandas
