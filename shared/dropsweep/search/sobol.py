"""Sobol sampling: points that fill the space evenly, shifted by the seed."""

import threading
from functools import lru_cache
from typing import Final

from pydantic import JsonValue

from dropsweep.search import quantile, rand
from dropsweep.search.space import Space, leaves

NUM_POINT_BITS: Final = 30
MAX_NUM_TRIALS: Final = 2**NUM_POINT_BITS
"""The sequence has this many different points."""
MAX_NUM_DIMENSIONS: Final = 21201
"""Direction numbers are known for this many dimensions (Joe and Kuo 2008)."""


class _Engine:
    """The unshifted sequence in `num_dimensions`, fast for the point after the last one asked for."""

    def __init__(self, num_dimensions: int) -> None:
        # scipy takes most of a second to import: only sweeps that sample by Sobol pay for it.
        from scipy.stats import qmc

        self._sobol = qmc.Sobol(num_dimensions, scramble=False, bits=NUM_POINT_BITS)
        self._next = 0
        self._lock = threading.Lock()

    def point(self, k: int) -> list[int]:
        """Returns point k, a whole number of 30 bits for each dimension; a jump costs about 3 ns a skipped point."""
        with self._lock:
            if k < self._next:
                self._sobol.reset()
                self._next = 0
            if k > self._next:
                self._sobol.fast_forward(k - self._next)
            self._next = k + 1
            # The coordinates are multiples of 2^-30, so the product is exact.
            return [int(x * 2**NUM_POINT_BITS) for x in self._sobol.random(1)[0]]


_engine = lru_cache(maxsize=16)(_Engine)


def parameters(space: Space, seed: int, k: int) -> dict[str, JsonValue]:
    """Returns trial k's parameters: point k of the Sobol sequence, one dimension a parameter, shifted by the seed.

    Dimensions are dealt in the order of the file, a parameter inside a choice having its own; one added at the end
    changes no other. Of the first 2^m values of a parameter exactly one falls into each of the 2^m equal parts of its
    range of probability: the shift only exchanges those parts.

    Args:
        space: the search space, of at most `MAX_NUM_DIMENSIONS` parameters.
        seed: any whole number.
        k: in [0, 2^30).

    Source:
        I. M. Sobol' (1967) with the direction numbers of S. Joe and F. Y. Kuo (2008), from scipy; the digital shift
        x XOR s with uniform s: P. L'Ecuyer and C. Lemieux, Recent advances in randomized quasi-Monte Carlo methods
        (2002).
    """
    paths = [path for path, _ in leaves(space)]
    coordinates = dict(zip(paths, _engine(len(paths)).point(k), strict=True))
    num_low_bits = quantile.NUM_BITS - NUM_POINT_BITS

    def bits_of(path: str) -> int:
        return (coordinates[path] << num_low_bits) ^ rand.bits(seed, -1, path)

    return rand.assemble(space, bits_of)
