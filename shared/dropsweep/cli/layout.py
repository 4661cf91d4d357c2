"""What all tables for people have in common."""

from collections.abc import Mapping, Sequence
from typing import Final

from rich.cells import cell_len
from rich.table import Table

from dropsweep.live import literal

_GAP: Final = 2
"""Columns of a screen between two of a table."""


def plain_table() -> Table:
    """Returns a table without lines, still without columns."""
    return Table(box=None, header_style="bold", pad_edge=False, padding=(0, _GAP, 0, 0))


def grid(rows: Mapping[str, str]) -> Table:
    """Returns names beside their values; what has no value is left out."""
    made = Table.grid(padding=(0, 2))
    made.add_column(no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in rows.items():
        if value:
            made.add_row(literal(name), literal(value))
    return made


def width_of(columns: Mapping[str, Sequence[str]]) -> int:
    """Returns how many columns of a screen those of a table take, with what separates each from a neighbour.

    Args:
        columns: the cells of each, by its heading.
    """
    lines = ([line for cell in (name, *cells) for line in cell.split("\n")] for name, cells in columns.items())
    return sum(_GAP + max(map(cell_len, found)) for found in lines)


def fitting(columns: Mapping[str, list[str]], width: int, optional: Sequence[str]) -> dict[str, list[str]]:
    """Returns columns of a table without as many as it takes for the others to fit.

    Args:
        columns: the cells of each, by its heading.
        width: what they may take.
        optional: headings of those that may be left out, the first one first.
    """
    kept = dict(columns)
    for name in optional:
        if width_of(kept) <= width:
            break
        kept.pop(name, None)
    return kept
