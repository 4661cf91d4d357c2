"""Pictures for a notebook: inert, escaped, and without effect on the page around them."""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest

from dropsweep.page import ReportData
from dropsweep.page.inline import JobLine, inline_best, inline_job, inline_jobs, inline_note
from dropsweep.page.scope import SCOPED_CSS

Make = Callable[..., ReportData]
NASTY = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'&"
BEGAN = datetime(2026, 3, 1, 14, tzinfo=UTC)


class Tags(HTMLParser):
    """Every element with its attributes; fails on ends that do not fit."""

    VOID = frozenset({"meta", "br", "circle", "line", "path", "rect"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def pieces(make: Make) -> list[str]:
    data = make(12, title=NASTY, reason=NASTY, warnings=(NASTY,), primary_metric=NASTY, files={NASTY: NASTY})
    rows = [replace(row, reason=NASTY, parameters={NASTY: NASTY, "n": row.trial}) for row in data.rows]
    line = JobLine(NASTY, NASTY, NASTY, 1, 2, (0.5, 1), BEGAN)
    whole = replace(data, rows=rows)
    best = replace(whole, rows=[row for row in rows if row.trial == data.best])
    rejected = replace(whole, state="rejected")
    return [inline_job(whole), inline_job(rejected), inline_best(best), inline_jobs([line]), inline_note(NASTY)]


def test_nothing_in_a_picture_runs_or_is_fetched_whatever_users_wrote(make_sweep: Make) -> None:
    for piece in pieces(make_sweep):
        tags = Tags(piece).found
        assert {name for name, _ in tags} & {"script", "img", "iframe", "link", "object", "a", "base", "form"} == set()
        for _, attributes in tags:
            assert [name for name in attributes if name.startswith("on") or name in ("src", "href", "style")] == []
    assert "url(" not in SCOPED_CSS
    assert "@import" not in SCOPED_CSS


def test_a_picture_is_one_element_with_its_own_style(make_sweep: Make) -> None:
    for piece in pieces(make_sweep):
        assert piece.startswith('<div class="dropsweep"><style>')
        assert piece.count("<style>") == 1


def test_the_style_reaches_nothing_outside_the_picture() -> None:
    assert SCOPED_CSS.startswith(".dropsweep.dropsweep.dropsweep {\n")
    depth, tops = 0, []
    for line in SCOPED_CSS.splitlines():
        if depth == 0 and line.strip():
            tops.append(line)
        depth += line.count("{") - line.count("}")
        assert depth >= 0
    assert depth == 0
    assert tops == [".dropsweep.dropsweep.dropsweep {"]  # all else is nested in it
    assert not re.search(r":root|\bbody \{", SCOPED_CSS)


def test_the_notebook_s_own_word_for_day_or_night_goes_before_the_system_s() -> None:
    by_system = SCOPED_CSS[SCOPED_CSS.index("@media (prefers-color-scheme: dark)") :]
    assert ':not([data-jp-theme-light="true"])' in by_system.split("{")[1]
    assert '[data-jp-theme-light="false"] &' in SCOPED_CSS
    assert ".vscode-dark &" in SCOPED_CSS


def test_the_picture_of_a_sweep_has_all_its_parts(make_sweep: Make) -> None:
    picture = inline_job(make_sweep(12))
    for part in (
        "Digits",
        "highest accuracy",
        "Learning curves",
        "Best so far",
        "Leaderboard",
        "Failures",
        "11 completed",
    ):
        assert part in picture


def test_rows_without_parameters_are_drawn_but_stand_on_no_leaderboard(make_sweep: Make) -> None:
    data = make_sweep(12)
    known = {data.best, 0, 1}
    rows = [row if row.trial in known else replace(row, parameters={}) for row in data.rows]
    picture = inline_job(replace(data, rows=rows))
    assert "Best value after 11 finished trials" in picture
    board = picture[picture.index("Leaderboard") : picture.index("Failures")]
    assert board.count("<tr") == 1 + len(known)
    assert "seed" not in board  # the same in all rows that have parameters


def test_the_picture_of_a_rejected_job_is_its_problems_alone(make_sweep: Make) -> None:
    picture = inline_job(make_sweep(0, state="rejected", warnings=("limits.timeout is -1: must be positive",)))
    assert "limits.timeout is -1" in picture
    assert "accepted" not in picture


def test_drawings_of_two_jobs_on_one_page_have_no_id_in_common(make_sweep: Make) -> None:
    def ids(piece: str) -> set[str]:
        return set(re.findall(r' id="([^"]+)"', piece))

    one, other = inline_job(make_sweep(12)), inline_job(make_sweep(12, path="vision/digits/other-0123456789"))
    assert ids(one)
    assert ids(one) & ids(other) == set()
    for piece in (one, other):
        assert set(" ".join(re.findall(r'aria-labelledby="([^"]+)"', piece)).split()) <= ids(piece)


def test_a_list_of_jobs_says_how_many_more_there_are() -> None:
    line = JobLine("a/b/c", "running", "sweep", 3, 16, (0.97, 3), BEGAN)
    assert "1,200 more." in inline_jobs([line], num_left_out=1200)
    assert "3 of 16" in inline_jobs([line])
    assert "There is no job" in inline_jobs([])


@pytest.mark.parametrize("kind", ["sweep", "command"])
def test_a_best_trial_shows_its_metrics_and_files(make_sweep: Make, kind: str) -> None:
    data = make_sweep(3, kind=kind, primary_metric="accuracy" if kind == "sweep" else None)
    picture = inline_best(replace(data, rows=[row for row in data.rows if row.trial == data.best]))
    assert "loss" in picture
    assert "results.csv" in picture
