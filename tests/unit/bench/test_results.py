"""What is made of measured numbers."""

import io

import pytest
from rich.console import Console

from bench.results import Breakdown, Measured, quantile, show, to_json


@pytest.mark.parametrize(("share", "expected"), [(0.0, 1.0), (0.5, 2.5), (1.0, 4.0), (0.25, 1.75), (0.95, 3.85)])
def test_a_quantile_lies_between_its_neighbours_whatever_the_order(share: float, expected: float) -> None:
    assert quantile([3.0, 1.0, 4.0, 2.0], share) == pytest.approx(expected)


def test_every_quantile_of_one_value_is_that_value() -> None:
    assert [quantile([7.0], share) for share in (0.0, 0.5, 1.0)] == [7.0, 7.0, 7.0]


def test_small_parts_are_told_together_after_the_others_and_none_is_lost() -> None:
    parts = {f"{number}": 0.01 for number in range(40)} | {"large": 5.0, "larger": 6.0, "just large enough": 0.2}
    folded = Breakdown("of a trial", "operations", parts).folded()
    assert [name for name, _ in folded] == ["larger", "large", "just large enough", "40 others together"]
    assert sum(value for _, value in folded) == pytest.approx(sum(parts.values()))


def test_one_small_part_keeps_its_name() -> None:
    assert Breakdown("of a trial", "ms", {"small": 0.0, "large": 5.0}).folded() == [("large", 5.0), ("small", 0.0)]


def test_the_terminal_folds_as_a_page_does_and_the_json_holds_every_part() -> None:
    parts = {"large": 10.0, "small": 0.01, "tiny": 0.0}
    measured = {"no-op": Measured((), (Breakdown("Where it goes", "ms", parts),))}
    terminal = io.StringIO()
    show(Console(file=terminal, width=80), measured)
    assert "2 others together" in terminal.getvalue()
    assert "small" not in terminal.getvalue()
    assert to_json(measured)["breakdowns"][0]["parts"] == parts
