"""Jobs to draw, made from a seed."""

import random
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dropsweep.page import Curve, ReportData, TrialRow

START = datetime(2026, 3, 1, 14, 5, 9, tzinfo=UTC)


def _row(trial: int, dice: random.Random) -> TrialRow:
    rate = 10 ** dice.uniform(-4, -1)
    head = {"kind": "linear"} if trial % 2 else {"kind": "mlp", "hidden": dice.choice([32, 64])}
    parameters = {"lr": rate, "optimizer": dice.choice(["sgd", "adam"]), "head": head, "seed": 7}
    start = START + timedelta(seconds=5 + 3 * trial)
    has_failed = trial % 9 == 8
    return TrialRow(
        trial=trial,
        state="failed" if has_failed else "completed",
        reason="exit_code" if has_failed else "succeeded",
        parameters=parameters,
        metric=None if has_failed else 0.9 + dice.random() / 10,
        metrics={"loss": dice.random()},
        started=start,
        finished=start + timedelta(seconds=dice.uniform(2, 12)),
    )


@pytest.fixture
def make_sweep() -> Callable[..., ReportData]:
    """Makes a finished sweep of so many trials; keywords replace fields of the data."""

    def make(num_trials: int, **changes: Any) -> ReportData:
        dice = random.Random(num_trials)
        rows = [_row(trial, dice) for trial in range(num_trials)]
        scored = sorted((row for row in rows if row.metric is not None), key=lambda row: -(row.metric or 0))
        steps = tuple(float(step) for step in range(1, 9))
        fields: dict[str, Any] = {
            "title": "Digits",
            "path": "vision/digits/digits-0123456789",
            "kind": "sweep",
            "state": "completed",
            "reason": "trials_completed",
            "goal": "maximize",
            "primary_metric": "accuracy",
            "created": START,
            "started": START + timedelta(seconds=1),
            "finished": START + timedelta(seconds=30 + 3 * num_trials),
            "counts": Counter(row.state for row in rows),
            "num_trials": num_trials,
            "rows": rows,
            "best": scored[0].trial if scored else None,
            "curves": [
                Curve(row.trial, "accuracy", steps, tuple((row.metric or 0) * (1 - 0.5**step) for step in steps))
                for row in scored[:10]
            ],
            "parameter_names": ["lr", "optimizer", "head", "seed"],
            "tags": {"owner": "mira"},
            "files": {"results": "runs/vision/digits/digits-0123456789/results.csv"},
        }
        return ReportData(**(fields | changes))

    return make
