"""What the state machine drops, sends and asks for."""

import json
from typing import Any, Final

from tests.chaos.serving import METRIC

MAX_WINDOW: Final = 3
_LONG_S: Final = 5_000_000
JUNK: Final = ("not JSON", json.dumps({"version": 1, "job": "w/e/gone-0123456789", "trial": 0}))
PASSES_S: Final = (1, 60, 604, 700, 4000)
LIMITS: Final[tuple[dict[str, int], ...]] = (
    {"max_total_trials": 1},
    {"max_total_trials": 5},
    {"max_concurrent_trials": 1},
    {"max_concurrent_trials": 5},
    {"timeout_s": 1},
    {"timeout_s": _LONG_S},
)


def _sweep(num_trials: int, num_at_once: int, *, timeout_s: int = _LONG_S, **more: Any) -> dict[str, Any]:
    return {
        "type": "sweep",
        "trial": {"command": "true"},
        "search_space": {"x": {"type": "choice", "values": [0, 1, 2, 3, 4]}},
        "sampling_algorithm": "grid",
        "objective": {"goal": "maximize", "primary_metric": METRIC},
        "limits": {"max_total_trials": num_trials, "max_concurrent_trials": num_at_once, "timeout": timeout_s},
        **more,
    }


FILES: Final[tuple[dict[str, Any], ...]] = (
    _sweep(1, 1),
    _sweep(3, 2),
    _sweep(4, 4, retry_settings={"max_retries": 1}),
    {"type": "command", "command": "true"},
    _sweep(2, 1, timeout_s=3000),
    {"type": "sweep"},
)
