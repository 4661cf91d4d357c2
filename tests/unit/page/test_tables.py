import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from dropsweep.page import ReportData, TrialRow, render

MakeSweep = Callable[..., ReportData]


def rows_that_say_no_more(data: ReportData) -> list[TrialRow]:
    return [replace(row, state="completed", reason="succeeded", metric=0.5, metrics={}) for row in data.rows]


def test_table_of_all_trials_is_left_out_when_the_leaderboard_says_it_all(make_sweep: MakeSweep) -> None:
    data = make_sweep(16)
    text = render(replace(data, rows=rows_that_say_no_more(data)))
    assert "<details" not in text
    assert text.count('<th scope="row"') == 16


@pytest.mark.parametrize(
    "change", [{"state": "failed"}, {"state": "stopped"}, {"reason": "odd"}, {"metrics": {"loss": 1.0}}]
)
def test_table_of_all_trials_stays_for_what_the_leaderboard_lacks(
    make_sweep: MakeSweep, change: dict[str, Any]
) -> None:
    data = make_sweep(16)
    rows = rows_that_say_no_more(data)
    rows[3] = replace(rows[3], **change)
    assert "<summary>All 16 trials" in render(replace(data, rows=rows))


def test_table_of_all_trials_stays_when_there_are_more_than_leaders(make_sweep: MakeSweep) -> None:
    data = make_sweep(21)
    rows = rows_that_say_no_more(data)
    assert "<summary>All 21 trials</summary>" in render(replace(data, rows=rows))
    assert "<summary>20 trials of 25</summary>" in render(replace(data, rows=rows[:20], rows_left_out=5))


def test_trials_of_several_attempts_are_marked_in_both_tables_and_under_the_timeline(make_sweep: MakeSweep) -> None:
    data = make_sweep(8)
    rows = [replace(row, attempt=3) if row.trial in (2, 5) else row for row in data.rows]
    text = render(replace(data, rows=rows))
    for table in text.split("<table")[1:3]:
        assert table.count('scope="col" class="n">attempt</th>') == 1
        marked = [line for line in table.split("<tr")[1:] if '<td class="n again">3</td>' in line]
        assert {trial for line in marked for trial in re.findall(r'data-t="(\d+)"', line)} == {"2", "5"}
    assert "2 trials needed more than one attempt; their bars begin with the first.</" in text
    assert len(re.findall(r"<title>trial [25]: completed, 3 attempts, ", text)) == 2
    one = render(replace(data, rows=rows[:3]))
    assert "1 trial needed more than one attempt; its bar begins with the first.</" in one


def test_leaderboard_has_no_column_of_attempts_when_one_was_enough(make_sweep: MakeSweep) -> None:
    text = render(make_sweep(8))
    assert ">attempt<" not in text.split("</table>")[0]
    assert "needed more than one attempt" not in text
