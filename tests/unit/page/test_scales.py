import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropsweep.page.charts import spearman
from dropsweep.page.scales import MAX_CATEGORIES, numeric, of_parameter
from dropsweep.page.style import VIRIDIS, viridis

finite_floats = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(finite_floats, min_size=1, max_size=30), st.sampled_from(["minimize", "maximize", None]))
def test_every_finite_value_has_a_place_in_order(values, goal) -> None:  # type: ignore[no-untyped-def]
    scale = numeric(values, goal)
    places = [scale.place(value) for value in sorted(values)]
    assert all(place is not None and 0.0 <= place <= 1.0 for place in places)
    assert places == sorted(places, key=lambda place: -1.0 if place is None else place)


@given(st.lists(finite_floats, min_size=1, max_size=30))
def test_ticks_lie_on_the_axis_in_order_and_say_different_things(values: list[float]) -> None:
    ticks = numeric(values).ticks(5)
    assert all(-1e-6 <= tick.at <= 1 + 1e-6 for tick in ticks)
    assert [tick.at for tick in ticks] == sorted(tick.at for tick in ticks)
    assert len(ticks) <= 16


def test_round_ticks_share_their_decimals() -> None:
    assert [tick.label for tick in numeric([0.0, 1.0], pad=0).ticks(5)] == ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]
    assert [tick.label for tick in numeric([-10, 10], pad=0).ticks(4)] == ["−10", "−5", "0", "5", "10"]
    assert [tick.label for tick in numeric([1e-6, 1e-1, 1e-3], pad=0).ticks(6)] == [
        *("10⁻⁶", "10⁻⁵", "10⁻⁴", "0.001", "0.01", "0.1"),
    ]


def test_axis_is_logarithmic_beyond_two_decades_only() -> None:
    assert numeric([0.001, 0.01, 0.2]).kind == "log"
    assert numeric([0.01, 0.1, 0.9]).kind == "linear"
    assert numeric([-0.001, 0.01, 100]).kind == "linear"
    assert numeric([0, 0.01, 100]).kind == "linear"


def test_uniform_values_keep_a_linear_axis_though_they_span_decades() -> None:
    assert numeric([k / 1000 for k in range(1, 1000)]).kind == "linear"
    assert numeric([10 ** (-k / 250) for k in range(1000)]).kind == "log"


def test_diverged_trial_lies_at_the_edge_and_leaves_room_for_the_others() -> None:
    losses = [0.10, 0.11, 0.12, 0.13, 0.14, 0.15, 0.16, 0.17, 0.18, 9.0]
    scale = numeric(losses, "minimize")
    assert scale.place(9.0) == 1.0
    assert (scale.place(0.18) or 0) - (scale.place(0.10) or 0) > 0.8


def test_outlier_on_the_good_side_is_never_cut_off() -> None:
    losses = [0.001, *(1 + k / 100 for k in range(12))]
    assert 0 < (numeric(losses, "minimize").place(0.001) or 0) < 0.1
    assert numeric(losses, "maximize").place(0.001) == 0.0


def test_axis_of_one_value_has_it_in_the_middle() -> None:
    for value in (0.0, 5.0, -3.0, 1e300, 5e-324):
        assert numeric([value]).place(value) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        (["sgd", "adam", "sgd"], ("adam", "sgd")),
        ([64, 16, 32, 16, 32, 64, 16], ("16", "32", "64")),
        ([True, False], ("false", "true")),
        ([None, 3, 1], ("1", "3", "(none)")),
        (["2", 10, 2.5], ("2.5", "10", "2")),
    ],
)
def test_texts_gaps_and_few_repeated_numbers_become_categories(values, labels) -> None:  # type: ignore[no-untyped-def]
    scale = of_parameter(values)
    assert scale.kind == "category"
    assert scale.labels == labels


def test_numbers_that_hardly_repeat_stay_numbers() -> None:
    assert of_parameter([1, 2, 3, 4]).kind == "linear"
    assert of_parameter([k % 10 for k in range(100)]).kind == "linear"


def test_rare_categories_share_one_place() -> None:
    values = [f"name{k}" for k in range(40)] + ["often"] * 5
    scale = of_parameter(values)
    assert len(scale.labels) == MAX_CATEGORIES
    assert scale.labels[-1] == "(others)"
    assert "often" in scale.labels
    assert all(scale.place(value) is not None for value in values)


def test_rank_correlation_agrees_with_scipy() -> None:
    from scipy.stats import spearmanr

    xs = [3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0, 6.0]
    ys = [2.0, 7.0, 1.0, 8.0, 2.0, 8.0, 1.0, 8.0]
    assert math.isclose(spearman(xs, ys), float(spearmanr(xs, ys).statistic))


def test_colours_meet_the_samples_of_viridis() -> None:
    assert [viridis(index / 15) for index in range(16)] == list(VIRIDIS)
    assert viridis(-1) == VIRIDIS[0]
    assert viridis(2) == VIRIDIS[-1]
