"""Trial k's parameters are a function of (space, sampling, k)."""

import tracemalloc
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue, TypeAdapter

from dropsweep.search import Algorithm, Parameter, Rule, Sampling, num_grid_points, parameters

SPACE: TypeAdapter[dict[str, Parameter]] = TypeAdapter(dict[str, Parameter])
RANDOM = Sampling(algorithm=Algorithm.RANDOM, seed=42)
SOBOL = Sampling(algorithm=Algorithm.RANDOM, rule=Rule.SOBOL, seed=42)
GRID = Sampling(algorithm=Algorithm.GRID, seed=0)
FILE: dict[str, Any] = {
    "lr": {"type": "loguniform", "min_value": -9.21, "max_value": -2.3},
    "momentum": {"type": "uniform", "min_value": 0, "max_value": 1},
    "width": {"type": "quniform", "min_value": 16, "max_value": 256, "q": 16},
    "decay": {"type": "lognormal", "mu": -5, "sigma": 2},
    "noise": {"type": "normal", "mu": 0, "sigma": 1},
    "layers": {"type": "randint", "upper": 5},
    "optimizer": {
        "type": "choice",
        "values": ["sgd", {"name": "adam", "beta": {"type": "uniform", "min_value": 0.8, "max_value": 1}}],
    },
}


def space_of(definition: dict[str, Any]) -> dict[str, Parameter]:
    return SPACE.validate_python(definition)


GOLDEN: dict[tuple[str, int], dict[str, JsonValue]] = {
    ("random", 0): {
        "lr": 0.00400879151522,
        "momentum": 0.289365457447,
        "width": 64,
        "decay": 0.0229112550847,
        "noise": 1.01242767997,
        "layers": 0,
        "optimizer": "sgd",
    },
    ("random", 1): {
        "lr": 0.00026582279085,
        "momentum": 0.954645132935,
        "width": 160,
        "decay": 0.00333765742021,
        "noise": -0.214064436574,
        "layers": 1,
        "optimizer": "sgd",
    },
    ("random", 1099511627776): {
        "lr": 0.0452396509414,
        "momentum": 0.358298720273,
        "width": 160,
        "decay": 0.00520839300844,
        "noise": 0.990644776504,
        "layers": 4,
        "optimizer": "sgd",
    },
    ("sobol", 0): {
        "lr": 0.00135305032963,
        "momentum": 0.131993086999,
        "width": 128,
        "decay": 0.0105844649779,
        "noise": 1.66964223708,
        "layers": 3,
        "optimizer": {"name": "adam", "beta": 0.852070326529},
    },
    ("sobol", 1): {
        "lr": 0.0428352579371,
        "momentum": 0.631993086999,
        "width": 256,
        "decay": 0.000457463900809,
        "noise": -0.119335156656,
        "layers": 1,
        "optimizer": "sgd",
    },
    ("sobol", 1000): {
        "lr": 0.0010829361397,
        "momentum": 0.222813399499,
        "width": 256,
        "decay": 0.00156671484384,
        "noise": 0.534440155057,
        "layers": 1,
        "optimizer": {"name": "adam", "beta": 0.928828139029},
    },
}


@pytest.mark.parametrize(
    ("sampling", "k"), [(RANDOM, 0), (RANDOM, 1), (RANDOM, 2**40), (SOBOL, 0), (SOBOL, 1), (SOBOL, 1000)]
)
def test_parameters_are_the_same_on_every_machine(sampling: Sampling, k: int) -> None:
    assert parameters(space_of(FILE), sampling, k) == GOLDEN[sampling.rule.value, k]


def test_another_seed_gives_other_parameters() -> None:
    space = space_of(FILE)
    for sampling in (RANDOM, SOBOL):
        other = sampling.model_copy(update={"seed": 43})
        assert parameters(space, sampling, 3)["lr"] != parameters(space, other, 3)["lr"]


@settings(deadline=None)
@given(st.sets(st.sampled_from(sorted(FILE))), st.integers(0, 10**9), st.randoms(use_true_random=False))
def test_other_parameters_change_nothing_for_random_sampling(removed: set[str], k: int, random: Any) -> None:
    names = [name for name in FILE if name not in removed]
    random.shuffle(names)
    whole = parameters(space_of(FILE), RANDOM, k)
    assert parameters(space_of({name: FILE[name] for name in names}), RANDOM, k) == {
        name: whole[name] for name in names
    }


def test_sobol_points_do_not_depend_on_the_order_in_which_they_are_asked_for() -> None:
    space = space_of(FILE)
    forwards = [parameters(space, SOBOL, k) for k in range(20)]
    backwards = [parameters(space, SOBOL, k) for k in reversed(range(20))]
    assert forwards == backwards[::-1]


def test_a_parameter_added_at_the_end_changes_no_other_for_sobol() -> None:
    space = space_of(FILE)
    longer = space_of({**FILE, "extra": {"type": "randint", "upper": 3}})
    for k in range(10):
        assert {**parameters(longer, SOBOL, k), "extra": None} == {**parameters(space, SOBOL, k), "extra": None}


@settings(deadline=None)
@given(st.integers(1, 9), st.integers(0, 2**63))
def test_each_dyadic_interval_holds_exactly_one_of_the_first_sobol_points(m: int, seed: int) -> None:
    num = 2**m
    space = space_of({name: {"type": "randint", "upper": num} for name in "abc"})
    sampling = Sampling(algorithm=Algorithm.RANDOM, rule=Rule.SOBOL, seed=seed)
    points = [parameters(space, sampling, k) for k in range(num)]
    for name in "abc":
        assert sorted(point[name] for point in points) == list(range(num))  # type: ignore[type-var]


def test_sobol_refuses_more_points_than_it_has() -> None:
    with pytest.raises(ValueError, match="does not exist"):
        parameters(space_of({"a": FILE["lr"]}), SOBOL, 2**30)


def grid_parts(depth: int = 2) -> st.SearchStrategy[dict[str, Any]]:
    randint = st.integers(1, 4).map(lambda upper: {"type": "randint", "upper": upper})
    plain = st.integers(0, 1000)
    items: st.SearchStrategy[Any] = plain
    if depth:
        nested = st.one_of(plain, grid_parts(depth - 1))
        items = st.one_of(plain, st.dictionaries(st.sampled_from("pqr"), nested, max_size=2).map(dict))
    # a running number keeps the values of one choice apart, so that different points give different parameters
    values = st.lists(items, min_size=1, max_size=3).map(
        lambda found: [
            {**item, "at": at} if isinstance(item, dict) else f"{item} at {at}" for at, item in enumerate(found)
        ]
    )
    return st.one_of(randint, values.map(lambda found: {"type": "choice", "values": found}))


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from("abcd"), grid_parts(), min_size=1, max_size=3))
def test_a_grid_gives_every_point_exactly_once(definition: dict[str, Any]) -> None:
    space = space_of(definition)
    num = num_grid_points(space)
    if num > 3000:
        return
    points = Counter(repr(parameters(space, GRID, k)) for k in range(num))
    assert len(points) == num


def test_the_last_parameter_of_a_grid_runs_fastest() -> None:
    space = space_of({"a": {"type": "choice", "values": ["x", "y"]}, "b": {"type": "randint", "upper": 3}})
    points: list[JsonValue] = [list(parameters(space, GRID, k).values()) for k in range(num_grid_points(space))]
    assert points == [["x", 0], ["x", 1], ["x", 2], ["y", 0], ["y", 1], ["y", 2]]


def test_a_choice_of_mappings_counts_the_product_of_what_each_holds() -> None:
    inner = {"u": {"type": "randint", "upper": 4}, "v": {"type": "choice", "values": [1, 2]}, "w": 0}
    assert num_grid_points(space_of({"a": {"type": "choice", "values": [5, inner, {"c": 1}]}})) == 1 + 8 + 1


@pytest.mark.parametrize("k", [-1, 6])
def test_a_grid_has_no_point_outside_its_range(k: int) -> None:
    with pytest.raises(ValueError, match="does not exist"):
        parameters(space_of({"a": {"type": "randint", "upper": 6}}), GRID, k)


def test_a_grid_refuses_continuous_parameters() -> None:
    with pytest.raises(ValueError, match="no list of values"):
        num_grid_points(space_of({"a": FILE["lr"]}))


def test_a_grid_of_two_to_the_thirtieth_points_takes_no_memory() -> None:
    space = space_of({f"p{number}": {"type": "choice", "values": list(range(8))} for number in range(10)})
    tracemalloc.start()
    try:
        assert num_grid_points(space) == 2**30
        last = parameters(space, GRID, 2**30 - 1)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert set(last.values()) == {7}
    assert peak_bytes < 100_000
