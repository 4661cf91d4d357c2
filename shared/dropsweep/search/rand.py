"""Random sampling without a generator's state: trial k's bits are a hash of the seed, k and the parameter's path."""

import hashlib
from collections.abc import Callable

from pydantic import JsonValue

from dropsweep.search import quantile
from dropsweep.search.space import Choice, Parameter, ParameterBase, Space, nested_path


def bits(seed: int, k: int, path: str) -> int:
    """Returns 64 bits, the same on every machine and independent between any two (seed, k, path).

    Because they are keyed by the path, adding, removing or moving one parameter changes no other.

    Source:
        Counter-based generation as in Salmon et al., Parallel random numbers: as easy as 1, 2, 3 (SC 2011), with
        BLAKE2b (RFC 7693) as the mixing function.
    """
    key = f"{seed}/{k}/{path}".encode()
    return int.from_bytes(hashlib.blake2b(key, digest_size=quantile.NUM_BITS // 8).digest(), "big")


def assemble(space: Space, bits_of: Callable[[str], int]) -> dict[str, JsonValue]:
    """Returns a value for each parameter, in the order of the space.

    Args:
        space: the search space.
        bits_of: gives 64 bits for a parameter's path; asked only for the parameters that count, so not for those
            inside values of a choice that are not chosen.
    """
    return {name: _value(parameter, name, bits_of) for name, parameter in space.items()}


def _value(parameter: Parameter, path: str, bits_of: Callable[[str], int]) -> JsonValue:
    if not isinstance(parameter, Choice):
        return quantile.draw(parameter, bits_of(path))
    chosen = quantile.index(bits_of(path), len(parameter.values))
    item = parameter.values[chosen]
    if not isinstance(item, dict):
        return item
    return {
        key: _value(nested, nested_path(path, chosen, key), bits_of) if isinstance(nested, ParameterBase) else nested
        for key, nested in item.items()
    }


def parameters(space: Space, seed: int, k: int) -> dict[str, JsonValue]:
    """Returns trial k's parameters under random sampling; pure, in time and memory that do not grow with k."""
    return assemble(space, lambda path: bits(seed, k, path))
