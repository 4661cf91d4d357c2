"""What all tables for people have in common."""

from collections.abc import Mapping

from rich.table import Table

from dropsweep.live import literal


def plain_table() -> Table:
    """Returns a table without lines, still without columns."""
    return Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))


def grid(rows: Mapping[str, str]) -> Table:
    """Returns names beside their values; what has no value is left out."""
    made = Table.grid(padding=(0, 2))
    made.add_column(no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in rows.items():
        if value:
            made.add_row(literal(name), literal(value))
    return made
