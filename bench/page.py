"""Tables of measured numbers within a page of the documentation, between two comments that it has for them."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from bench.results import Breakdown, Measured, Row, number


def replace(page: Path, name: str, text: str) -> bool:
    """Puts text between a page's comments `begin NAME` and `end NAME`, and returns whether it has them."""
    begin, end = f"<!-- begin {name} -->\n", f"<!-- end {name} -->"
    before, found, rest = page.read_text(encoding="utf-8").partition(begin)
    _, has_end, after = rest.partition(end)
    if not found or not has_end:
        return False
    page.write_text(f"{before}{begin}\n{text.strip()}\n\n{end}{after}", encoding="utf-8")
    return True


def tables(measured: Measured) -> str:
    """Returns a measure's rows and breakdowns as tables in Markdown."""
    parts = [_rows(measured.rows)] if measured.rows else []
    return "\n\n".join([*parts, *map(_breakdown, measured.breakdowns)])


def table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Returns a table in Markdown whose first column is text and whose others are numbers."""
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *lines))


def _rows(rows: Iterable[Row]) -> str:
    return table(
        ("what", "measured", "at most"),
        [
            (row.name, f"{number(row.value)} {row.unit}".strip(), "" if row.bar is None else number(row.bar))
            for row in rows
        ],
    )


def _breakdown(breakdown: Breakdown) -> str:
    lines = [(name, number(value)) for name, value in breakdown.folded()]
    return f"**{breakdown.title}**\n\n{table(('what', breakdown.unit), lines)}"
