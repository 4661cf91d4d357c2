"""Each kind of parameter against its definition, at a fixed seed."""

import math
from collections import Counter
from collections.abc import Callable
from statistics import NormalDist
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from scipy import stats

from dropsweep.search import Algorithm, Parameter, Sampling, parameters
from dropsweep.search.quantile import draw, rounded, standard_normal, unit

PARAMETER: TypeAdapter[Parameter] = TypeAdapter(Parameter)
NUM_DRAWS = 4000
LEVEL = 1e-3  # the seed is fixed, so the test cannot fail by chance from one run to the next


def draws(definition: dict[str, Any], num: int = NUM_DRAWS) -> list[Any]:
    space = {"x": PARAMETER.validate_python(definition)}
    sampling = Sampling(algorithm=Algorithm.RANDOM, seed=7)
    return [parameters(space, sampling, k)["x"] for k in range(num)]


@pytest.mark.parametrize(
    ("definition", "reference"),
    [
        ({"type": "uniform", "min_value": -2, "max_value": 5}, stats.uniform(-2, 7)),
        ({"type": "loguniform", "min_value": -9, "max_value": -2}, stats.loguniform(math.exp(-9), math.exp(-2))),
        ({"type": "normal", "mu": 3, "sigma": 0.5}, stats.norm(3, 0.5)),
        ({"type": "lognormal", "mu": 1, "sigma": 0.7}, stats.lognorm(0.7, scale=math.exp(1))),
    ],
)
def test_continuous_parameters_follow_their_definition(definition: dict[str, Any], reference: Any) -> None:
    assert stats.kstest(draws(definition), reference.cdf).pvalue > LEVEL


@pytest.mark.parametrize(
    ("definition", "cdf"),
    [
        ({"type": "quniform", "min_value": 1, "max_value": 40, "q": 4}, stats.uniform(1, 39).cdf),
        (
            {"type": "qloguniform", "min_value": 1, "max_value": 5, "q": 10},
            stats.loguniform(math.exp(1), math.exp(5)).cdf,
        ),
        ({"type": "qnormal", "mu": 10, "sigma": 6, "q": 3}, stats.norm(10, 6).cdf),
        ({"type": "qlognormal", "mu": 2, "sigma": 0.5, "q": 2}, stats.lognorm(0.5, scale=math.exp(2)).cdf),
    ],
)
def test_q_forms_round_to_multiples_of_q(definition: dict[str, Any], cdf: Callable[[float], float]) -> None:
    q = definition["q"]
    values = draws(definition)
    assert all(isinstance(value, int) and value % q == 0 for value in values)
    counts = Counter(values)
    # value v stands for the underlying draws in (v - q/2, v + q/2); rare values are put together
    cells = {value: float(cdf(value + q / 2) - cdf(value - q / 2)) * NUM_DRAWS for value in sorted(counts)}
    common = [value for value in cells if cells[value] >= 10]
    observed = [counts[value] for value in common]
    expected = [cells[value] for value in common]
    observed.append(NUM_DRAWS - sum(observed))
    expected.append(NUM_DRAWS - sum(expected))
    if expected[-1] < 1:
        observed[-2:] = [sum(observed[-2:])]
        expected[-2:] = [sum(expected[-2:])]
    assert stats.chisquare(observed, expected).pvalue > LEVEL


def test_a_fractional_q_gives_fractions() -> None:
    values = set(draws({"type": "quniform", "min_value": 0, "max_value": 1, "q": 0.1}))
    assert values == {0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0}


def test_randint_gives_every_whole_number_below_upper_equally_often() -> None:
    counts = Counter(draws({"type": "randint", "upper": 7}))
    assert set(counts) == set(range(7))
    assert stats.chisquare([counts[value] for value in range(7)]).pvalue > LEVEL


def test_choice_gives_every_value_equally_often_and_keeps_its_type() -> None:
    values = [1, 1.0, True, None, "one"]
    seen = [(type(value), value) for value in draws({"type": "choice", "values": values})]
    counts = Counter(seen)
    assert set(counts) == {(type(value), value) for value in values}
    assert stats.chisquare(list(counts.values())).pvalue > LEVEL


@settings(deadline=None)
@given(st.floats(min_value=2**-53, max_value=1 - 2**-53))
def test_the_inverse_of_the_normal_distribution_agrees_with_the_standard_library(p: float) -> None:
    assert standard_normal(p) == pytest.approx(NormalDist().inv_cdf(p), rel=1e-14, abs=1e-15)


@settings(deadline=None)
@given(st.integers(min_value=0, max_value=2**64 - 1))
def test_the_unit_interval_is_open(bits: int) -> None:
    assert 0.0 < unit(bits) < 1.0


@settings(deadline=None)
@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_values_rise_with_the_bits(first: int, second: int) -> None:
    low, high = sorted([first, second])
    for definition in (
        {"type": "loguniform", "min_value": -9, "max_value": -2},
        {"type": "qnormal", "mu": 0, "sigma": 10, "q": 2},
        {"type": "randint", "upper": 1000},
    ):
        parameter = PARAMETER.validate_python(definition)
        assert draw(parameter, low) <= draw(parameter, high)


@settings(deadline=None)
@given(
    st.floats(-1e6, 1e6),
    st.floats(-1e6, 1e6),
    st.sampled_from([0, 2**64 - 1, 2**63]),
)
def test_uniform_stays_within_its_bounds(first: float, second: float, bits: int) -> None:
    low, high = sorted([first, second])
    if low == high:
        return
    parameter = PARAMETER.validate_python({"type": "uniform", "min_value": low, "max_value": high})
    assert low <= draw(parameter, bits) <= high


@settings(deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_values_have_at_most_twelve_significant_digits(value: float) -> None:
    assert float(f"{rounded(value):.12g}") == rounded(value)


@pytest.mark.parametrize(
    "definition",
    [
        {"type": "uniform", "min_value": 1, "max_value": 1},
        {"type": "loguniform", "min_value": 1, "max_value": 1000},
        {"type": "quniform", "min_value": 0, "max_value": 1, "q": 0},
        {"type": "quniform", "min_value": 0, "max_value": 1e300, "q": 1},
        {"type": "qloguniform", "min_value": 0, "max_value": 100, "q": 1},
        {"type": "normal", "mu": 0, "sigma": -1},
        {"type": "lognormal", "mu": 690, "sigma": 10},
        {"type": "qnormal", "mu": 0, "sigma": 1e300, "q": 1},
        {"type": "qlognormal", "mu": 30, "sigma": 10, "q": 1},
        {"type": "randint", "upper": 0},
        {"type": "randint", "upper": True},
        {"type": "randint", "upper": 3.0},
        {"type": "choice", "values": []},
        {"type": "choice", "values": [[1]]},
        {"type": "choice", "values": [{"type": "uniform", "min_value": 0, "max_value": 1}]},
        {"type": "uniform", "min_value": 0, "max_value": float("inf")},
    ],
)
def test_senseless_parameters_are_refused(definition: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        PARAMETER.validate_python(definition)
