"""From values to positions on an axis: linear, logarithmic and categorical scales with their ticks."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from dropsweep.page.data import Goal, JsonValue, finite
from dropsweep.page.words import figure, power_of_ten, value_text

LOG_DECADES: Final = 2.0
"""Positive values that span more decades than this get a logarithmic axis."""
MAX_CATEGORIES: Final = 12
_FEW: Final = 6
_CROWDED: Final = 0.8
_LARGEST: Final = 1e300
_LEAST_STEP: Final = 1e-300
"""Below it powers of ten lose their digits, and at last become 0."""
_MISSING: Final = "(none)"
_OTHERS: Final = "(others)"


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on an axis: where (0 to 1) and what it says."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Scale:
    """One axis.

    Attributes:
        kind: how values become positions.
        low: the value at position 0; its logarithm to base 10 for `log`.
        high: the value at position 1; its logarithm for `log`.
        labels: the categories' texts in order, for `category`.
    """

    kind: Literal["linear", "log", "category"]
    low: float = 0.0
    high: float = 1.0
    labels: tuple[str, ...] = ()

    def place(self, value: JsonValue) -> float | None:
        """Returns where `value` lies, 0 to 1; a value beyond the axis lies at its edge; None when it has no place."""
        if self.kind == "category":
            label = _label(value)
            if label not in self.labels:
                label = _OTHERS
            return (self.labels.index(label) + 0.5) / len(self.labels) if label in self.labels else None
        number = finite(value)
        if number is None or (self.kind == "log" and number <= 0):
            return None
        number = math.log10(number) if self.kind == "log" else max(-_LARGEST, min(_LARGEST, number))
        return max(0.0, min(1.0, (number - self.low) / (self.high - self.low)))

    def ticks(self, num: int = 5) -> list[Tick]:
        """Returns about `num` ticks at round values, in order."""
        if self.kind == "category":
            return [Tick((index + 0.5) / len(self.labels), label) for index, label in enumerate(self.labels)]
        if self.kind == "log" and self.high - self.low >= 1.5:
            return self._decades(num)
        if self.kind == "log":
            low, high = 10**self.low, 10**self.high
            return [
                Tick((math.log10(v) - self.low) / (self.high - self.low), t) for v, t in _round(low, high, num) if v > 0
            ]
        return [Tick((v - self.low) / (self.high - self.low), t) for v, t in _round(self.low, self.high, num)]

    def _decades(self, num: int) -> list[Tick]:
        first, last = math.ceil(self.low - 1e-9), math.floor(self.high + 1e-9)
        step = max(1, math.ceil((last - first + 1) / (num + 1)))
        return [
            Tick((exponent - self.low) / (self.high - self.low), power_of_ten(exponent))
            for exponent in range(first, last + 1, step)
        ]


def numeric(values: Iterable[JsonValue], goal: Goal | None = None, *, pad: float = 0.04) -> Scale:
    """Returns a linear axis, or a logarithmic one where positive values need it.

    They need it when they span more than `LOG_DECADES` decades and their median does not lie at the top of them: many
    values of a uniform parameter span decades too, but crowd at the upper end of a logarithmic axis.

    Args:
        values: what will be placed; whatever is not a finite number is passed over.
        goal: given for a metric: far outliers on its bad side then lie at the edge of the axis, so that one diverged
            trial does not flatten all others.
        pad: room beyond the outermost values, as a part of the axis.

    Source:
        Outliers as in J. W. Tukey, Exploratory Data Analysis (1977), 2D: beyond the outer fence, three times the
        distance of the quartiles from the nearer quartile.
    """
    numbers = sorted(number for value in values if (number := finite(value)) is not None)
    numbers = [max(-_LARGEST, min(_LARGEST, number)) for number in numbers] or [0.0, 1.0]
    is_log = _needs_log(numbers)
    placed = [math.log10(number) for number in numbers] if is_log else numbers
    low, high = _fenced(placed, goal) if goal else (placed[0], placed[-1])
    is_point = high - low <= 1e-9 * max(abs(low), abs(high))
    room = (abs(low) * 0.05 or 0.5) if is_point else (high - low) * pad
    return Scale("log" if is_log else "linear", low - room, high + room)


def _needs_log(ordered: Sequence[float]) -> bool:
    if ordered[0] <= 0:
        return False
    low, high = math.log10(ordered[0]), math.log10(ordered[-1])
    middle = (math.log10(ordered[(len(ordered) - 1) // 2]) + math.log10(ordered[len(ordered) // 2])) / 2
    return high - low > LOG_DECADES and middle - low < _CROWDED * (high - low)


def of_parameter(values: Sequence[JsonValue]) -> Scale:
    """Returns the axis of a parameter: numeric, or categorical for texts, mixtures, gaps and a few repeated numbers."""
    numbers = [number for value in values if (number := finite(value)) is not None]
    distinct = set(numbers)
    is_few = 0 < len(distinct) <= _FEW and len(values) >= 2 * len(distinct)
    if len(numbers) == len(values) and numbers and not is_few:
        return numeric(values)
    return _categorical(values)


def _categorical(values: Sequence[JsonValue]) -> Scale:
    """Numbers first and ascending, then texts; beyond `MAX_CATEGORIES` the rarest share one place."""
    counts = Counter(_label(value) for value in values)
    weight = {_label(value): _weight(value) for value in values}
    if len(counts) <= MAX_CATEGORIES:
        return Scale("category", labels=tuple(sorted(counts, key=weight.__getitem__)) or (_MISSING,))
    common = sorted(counts, key=lambda label: (-counts[label], weight[label]))[: MAX_CATEGORIES - 1]
    return Scale("category", labels=(*sorted(common, key=weight.__getitem__), _OTHERS))


def _weight(value: JsonValue) -> tuple[int, float, str]:
    number = finite(value)
    rank = 2 if value is None else int(number is None)
    return rank, number or 0.0, _label(value)


def _label(value: JsonValue) -> str:
    return _MISSING if value is None else value_text(value, 40)


def _fenced(numbers: Sequence[float], goal: Goal) -> tuple[float, float]:
    low, high = numbers[0], numbers[-1]
    if len(numbers) < 8:
        return low, high
    lower, upper = numbers[len(numbers) // 4], numbers[(3 * len(numbers)) // 4]
    reach = 3 * (upper - lower)
    if reach <= 0:
        return low, high
    if goal == "minimize":
        return low, max(number for number in numbers if number <= upper + reach)
    return min(number for number in numbers if number >= lower - reach), high


def _round(low: float, high: float, num: int) -> list[tuple[float, str]]:
    """Multiples of 1, 2 or 5 times a power of ten between the ends, with labels that share their decimals."""
    rough = (high - low) / max(1, num)
    if rough < _LEAST_STEP or not math.isfinite(rough):
        return [(low, figure(low, 4))]
    power = 10.0 ** math.floor(math.log10(rough))
    step = power * next(factor for factor in (1, 2, 5, 10) if rough <= factor * power * (1 + 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    values = [index * step for index in range(first, min(last, first + 3 * num) + 1)]
    return list(zip(values, labels_of(values, step), strict=True))


def labels_of(values: Sequence[float], step: float) -> list[str]:
    """Returns the texts of ticks `step` apart: the same number of decimals, powers of ten only where they must be."""
    largest = max((abs(value) for value in values), default=0.0)
    if largest >= 1e6 or step < 1e-5:
        return [figure(value, 4) if value else "0" for value in values]
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return [f"{value:,.{decimals}f}".replace("-", "−") for value in values]
