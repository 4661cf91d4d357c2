"""What is made of measured numbers."""

import pytest

from bench.results import quantile


@pytest.mark.parametrize(("share", "expected"), [(0.0, 1.0), (0.5, 2.5), (1.0, 4.0), (0.25, 1.75), (0.95, 3.85)])
def test_a_quantile_lies_between_its_neighbours_whatever_the_order(share: float, expected: float) -> None:
    assert quantile([3.0, 1.0, 4.0, 2.0], share) == pytest.approx(expected)


def test_every_quantile_of_one_value_is_that_value() -> None:
    assert [quantile([7.0], share) for share in (0.0, 0.5, 1.0)] == [7.0, 7.0, 7.0]
