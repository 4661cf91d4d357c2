"""Reads metrics.jsonl: flat JSON objects, one a line, as a training script in any language writes them.

    {"step": 3, "accuracy": 0.97, "time": 1764000000.0}

Every key but `step` and `time` is a metric, if it has printable characters only. Values are numbers; as JSON has none
for them, the strings "NaN", "Infinity" and "-Infinity" stand for the other three.
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

_NO_METRICS = ("step", "time")
_SPECIAL = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


@dataclass(frozen=True, slots=True)
class Point:
    """What one line says.

    Attributes:
        step: the step the script gave, or None.
        values: the metrics of the line, by name.
    """

    step: float | None
    values: Mapping[str, float]


def parse_line(line: bytes) -> Point | None:
    """Reads one line; None when it is not a JSON object with at least one number in it."""
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict):
        return None
    step = _number(document.get("step"))
    values = {
        key: value
        for key, raw in document.items()
        if key not in _NO_METRICS and key.isprintable() and (value := _number(raw)) is not None
    }
    return Point(step, values) if values else None


def parse(lines: Iterable[bytes]) -> list[Point]:
    """Reads every line that can be read, in order."""
    return [point for line in lines if (point := parse_line(line)) is not None]


@dataclass(slots=True)
class Latest:
    """The last value of each metric, kept up while lines come in.

    Attributes:
        values: last value by name.
        step: last step seen, if any.
        num_lines: lines read.
        num_unreadable: lines that were not JSON objects with a number in them.
    """

    values: dict[str, float] = field(default_factory=dict)
    step: float | None = None
    num_lines: int = 0
    num_unreadable: int = 0

    def add(self, line: bytes) -> None:
        """Takes one whole line; empty ones do not count."""
        if not line.strip():
            return
        self.num_lines += 1
        point = parse_line(line)
        if point is None:
            self.num_unreadable += 1
            return
        self.values.update(point.values)
        if point.step is not None:
            self.step = point.step


def is_usable(value: float | None) -> bool:
    """True for a number that can be ranked: neither absent nor NaN nor infinite."""
    return value is not None and math.isfinite(value)


def _number(value: object) -> float | None:
    if isinstance(value, bool):
        return float(value)
    if isinstance(value, int | float):
        try:
            return float(value)
        except OverflowError:
            return None
    return _SPECIAL.get(value) if isinstance(value, str) else None
