"""Tables of numbers that stand in a page."""

from pathlib import Path

from bench.page import replace, tables
from bench.results import Breakdown, Measured, Row

MEASURED = Measured(
    (Row("drop to first trial", 0.5123, "s", 0.7), Row("rate", 1234.5, "1/s")),
    (Breakdown("Where it goes", "ms", {"small": 1.0, "tiny": 0.1, "large": 20.0, "tinier": 0.05}),),
)
REST = "| 2 others together | 0.15 |"


def test_a_page_keeps_what_stands_around_its_tables(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- begin a -->\nold\n<!-- end a -->\nafter <!-- begin b -->\n")
    assert replace(page, "a", "new")
    assert page.read_text() == "before\n<!-- begin a -->\n\nnew\n\n<!-- end a -->\nafter <!-- begin b -->\n"
    assert replace(page, "a", "newer")
    assert "new\n\n<" not in page.read_text().replace("newer", "")
    assert page.read_text().count("newer") == 1


def test_a_page_without_the_comments_stays_as_it_is(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- begin b -->\n")
    assert not replace(page, "a", "new")
    assert not replace(page, "b", "new")
    assert page.read_text() == "<!-- begin b -->\n"


def test_a_measure_is_a_table_of_its_rows_and_one_for_each_breakdown_with_the_largest_part_first() -> None:
    rows, title, parts = tables(MEASURED).split("\n\n")
    assert rows.splitlines()[2:] == ["| drop to first trial | 0.512 s | 0.7 |", "| rate | 1234 1/s |  |"]
    assert title == "**Where it goes**"
    assert parts.splitlines() == ["| what | ms |", "| --- | ---: |", "| large | 20 |", "| small | 1 |", REST]
