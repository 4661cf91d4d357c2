"""A job as a table: the columns of results.csv, with types that can be worked with."""

import builtins
import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dropsweep.client.table import Trial, curve_frame, frame
from dropsweep.states import TrialReason

pandas = pytest.importorskip("pandas")
BEGAN = datetime(2026, 3, 1, 14, tzinfo=UTC)


def trial(number: int, **changes: Any) -> Trial:
    fields: dict[str, Any] = {
        "trial": number,
        "reason": TrialReason.SUCCEEDED,
        "attempt": 1,
        "parameters": {"lr": 0.1 * number, "width": 8, "model": {"kind": "cnn"}, "sizes": [1, 2]},
        "metric": 0.5,
        "metrics": {"accuracy": 0.5, "loss": math.nan},
        "started": BEGAN,
        "finished": BEGAN + timedelta(seconds=2.5),
    }
    return Trial(**(fields | changes))


FAILED = trial(1, reason=TrialReason.EXIT_CODE, parameters={"lr": 0.2}, metric=None, metrics={}, message="exit code 1")
RUNNING = trial(2, reason=TrialReason.CLAIMED, metric=None, metrics={}, finished=None)


def test_a_row_has_the_fixed_columns_then_parameters_then_metrics_then_the_message() -> None:
    row = trial(0).row()
    assert list(row) == [
        *("trial", "state", "reason", "attempt", "started", "finished", "duration_s", "metric"),
        *("param.lr", "param.width", "param.model.kind", "param.sizes", "metric.accuracy", "metric.loss", "message"),
    ]
    assert (row["state"], row["duration_s"], row["param.sizes"]) == ("completed", 2.5, "[1, 2]")


def test_a_table_has_a_row_a_trial_and_types_that_can_be_worked_with() -> None:
    table = frame(found.row() for found in (trial(0), FAILED, RUNNING))
    assert table.index.name == "trial"
    assert list(table.index) == [0, 1, 2]
    kinds = {name: kind.kind for name, kind in table.dtypes.items() if hasattr(kind, "kind")}
    assert [kinds[name] for name in ("attempt", "duration_s", "metric", "param.lr", "metric.loss")] == list("iffff")
    assert str(table.dtypes["started"]).endswith("UTC]")
    assert str(table.dtypes["finished"]).endswith("UTC]")
    assert table.loc[0, "finished"] - table.loc[0, "started"] == timedelta(seconds=2.5)
    assert list(table["state"]) == ["completed", "failed", "running"]
    assert table["metric"].isna().tolist() == [False, True, True]
    assert table.loc[1, "message"] == "exit code 1"
    assert pandas.isna(table.loc[1, "param.model.kind"])


def test_a_table_without_a_trial_has_the_fixed_columns() -> None:
    table = frame([])
    assert list(table.columns) == [
        *("state", "reason", "attempt", "started", "finished", "duration_s", "metric", "message"),
    ]
    assert len(table) == 0
    assert str(table.dtypes["started"]).endswith("UTC]")


def test_curves_are_a_row_a_value() -> None:
    table = curve_frame([{"trial": 3, "step": 1.0, "metric": "loss", "value": 0.5}])
    assert table.to_dict("records") == [{"trial": 3, "step": 1.0, "metric": "loss", "value": 0.5}]
    assert list(curve_frame([]).columns) == ["trial", "step", "metric", "value"]


def test_a_trial_that_ended_before_it_began_by_the_clock_took_no_time() -> None:
    assert trial(0, finished=BEGAN - timedelta(seconds=1)).duration_s == 0
    assert RUNNING.duration_s is None


def test_without_pandas_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    load = builtins.__import__

    def without_pandas(name: str, *rest: Any, **named: Any) -> Any:
        if name == "pandas":
            raise ModuleNotFoundError("No module named 'pandas'", name="pandas")
        return load(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without_pandas)
    with pytest.raises(ImportError, match=r"pip install pandas.*results\(\)"):
        frame([])
