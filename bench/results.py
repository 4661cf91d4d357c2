"""What a measure yields: rows with their bars, and breakdowns behind them."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from rich.console import Console
from rich.table import Table


class Verdict(StrEnum):
    """How a value stands to its bar."""

    OK = "ok"
    OVER = "OVER"
    NO_BAR = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One measured number.

    Attributes:
        name: what was measured, for people.
        value: in `unit`.
        unit: of the value and the bar.
        bar: the most that the value should be; None where nothing is promised.
    """

    name: str
    value: float
    unit: str
    bar: float | None = None

    @property
    def verdict(self) -> Verdict:
        """Whether the value keeps its bar; a value equal to it does."""
        if self.bar is None:
            return Verdict.NO_BAR
        return Verdict.OK if self.value <= self.bar else Verdict.OVER


@dataclass(frozen=True, slots=True)
class Breakdown:
    """What a number consists of, largest part first.

    Attributes:
        title: what is taken apart.
        unit: of the values.
        parts: value of each part.
    """

    title: str
    unit: str
    parts: Mapping[str, float]

    def folded(self) -> list[tuple[str, float]]:
        """Returns the parts for people, the largest first: those below a hundredth of all are told as one, the last."""
        least = sum(self.parts.values()) / 100
        ordered = sorted(self.parts.items(), key=lambda part: -part[1])
        small = [value for _, value in ordered if value < least]
        if len(small) < 2:
            return ordered
        return [*ordered[: -len(small)], (f"{len(small)} others together", sum(small))]


@dataclass(frozen=True, slots=True)
class Measured:
    """All that one measure found.

    Attributes:
        notes: what a person should know of it, such as why it has no rows here.
    """

    rows: tuple[Row, ...]
    breakdowns: tuple[Breakdown, ...] = field(default=())
    notes: tuple[str, ...] = field(default=())


def quantile(values: Iterable[float], share: float) -> float:
    """Returns the quantile of some values, linear between neighbours (Hyndman and Fan's type 7).

    Args:
        values: at least one, in any order.
        share: of the values that shall lie below, from 0 to 1.
    """
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def to_json(measured: Mapping[str, Measured]) -> dict[str, Any]:
    """Returns rows and breakdowns as lists of flat objects, each with the name of its measure."""
    return {
        "rows": [
            {"measure": name, **asdict(row), "verdict": row.verdict}
            for name, one in measured.items()
            for row in one.rows
        ],
        "breakdowns": [
            {"measure": name, **asdict(breakdown)} for name, one in measured.items() for breakdown in one.breakdowns
        ],
    }


def show(console: Console, measured: Mapping[str, Measured]) -> None:
    """Prints the table of all rows, then each breakdown, whose small parts are told together."""
    table = Table("measure", "what", title="Benchmarks", title_justify="left")
    for heading in ("value", "bar"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("unit", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for name, one in measured.items():
        for index, row in enumerate(one.rows):
            style = "bold red" if row.verdict is Verdict.OVER else "green" if row.verdict is Verdict.OK else ""
            bar = "" if row.bar is None else number(row.bar)
            table.add_row("" if index else name, row.name, number(row.value), bar, row.unit, row.verdict, style=style)
        table.add_section()
    console.print(table)
    for one in measured.values():
        for breakdown in one.breakdowns:
            parts = Table(breakdown.unit, "what", title=breakdown.title, title_justify="left")
            parts.columns[0].justify = "right"
            for part, value in breakdown.folded():
                parts.add_row(number(value), part)
            console.print(parts)
        for note in one.notes:
            console.print(note, markup=False, highlight=False)


def number(value: float) -> str:
    """Returns a number for people: three digits, or all digits before the point."""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
