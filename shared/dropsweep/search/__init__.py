"""Sampling the search space: the parameters of trial k are a pure function of (space, sampling, k).

Nothing is drawn in advance and nothing is kept: no list of trials exists anywhere, so a sweep of 2^30 trials costs no
more to hold than one of ten.
"""

from typing import Final, assert_never

from pydantic import JsonValue

from dropsweep.search import grid, rand, sobol
from dropsweep.search.space import Algorithm, Parameter, Rule, Sampling, Space

__all__ = ["Algorithm", "Parameter", "Rule", "Sampling", "Space", "max_num_trials", "num_grid_points", "parameters"]

MAX_NUM_TRIALS: Final = 2**53
"""Largest number of trials that JSON readers in other languages keep exact."""


def parameters(space: Space, sampling: Sampling, k: int) -> dict[str, JsonValue]:
    """Returns the parameters of trial k, in the order of the space; the same on every machine, at any time.

    Args:
        space: the search space.
        sampling: algorithm, rule and seed; a grid ignores the last two.
        k: from 0; below `num_grid_points(space)` for a grid, below 2^30 for Sobol.

    Raises:
        ValueError: when k is out of range, or a grid meets a parameter without a list of values.
    """
    match sampling.algorithm:
        case Algorithm.GRID:
            _check_range(k, num_grid_points(space))
            return grid.parameters(space, k)
        case Algorithm.RANDOM if sampling.rule is Rule.SOBOL:
            _check_range(k, sobol.MAX_NUM_TRIALS)
            return sobol.parameters(space, sampling.seed, k)
        case Algorithm.RANDOM:
            _check_range(k, None)
            return rand.parameters(space, sampling.seed, k)
        case _ as never:
            assert_never(never)


def num_grid_points(space: Space) -> int:
    """Returns the number of points of the grid, exactly, however large.

    Raises:
        ValueError: when a parameter is neither a choice nor a randint.
    """
    return grid.num_points(space)


def max_num_trials(space: Space, sampling: Sampling) -> int:
    """Returns how many trials there are parameters for.

    Raises:
        ValueError: when a grid meets a parameter without a list of values.
    """
    match sampling.algorithm:
        case Algorithm.GRID:
            return num_grid_points(space)
        case Algorithm.RANDOM:
            return sobol.MAX_NUM_TRIALS if sampling.rule is Rule.SOBOL else MAX_NUM_TRIALS
        case _ as never:
            assert_never(never)


def _check_range(k: int, size: int | None) -> None:
    if k < 0 or (size is not None and k >= size):
        raise ValueError(f"trial {k} does not exist: trials are numbered from 0 to {'…' if size is None else size - 1}")
