"""Grid sampling: trial k is the k-th point of the product of all values, the last parameter running fastest."""

import math
from collections.abc import Iterator

from pydantic import JsonValue

from dropsweep.search.space import Choice, Nested, Parameter, ParameterBase, RandInt, Space, leaves


def continuous(space: Space) -> Iterator[tuple[str, Parameter]]:
    """Yields the parameters, with their paths, that have no list of values to walk through."""
    return ((path, parameter) for path, parameter in leaves(space) if not isinstance(parameter, Choice | RandInt))


def num_points(space: Space) -> int:
    """Returns the number of points of the grid, exactly, however large.

    A choice counts one for each plain value, and for each mapping the product over what the mapping holds.

    Raises:
        ValueError: when a parameter is neither a choice nor a randint.
    """
    return math.prod(_num_values(parameter) for parameter in space.values())


def parameters(space: Space, k: int) -> dict[str, JsonValue]:
    """Returns point k of the grid; k from 0 to `num_points(space) - 1` gives every point exactly once.

    k is read in a mixed radix: each parameter is a digit, the last one the lowest. Time and memory grow with the text
    of the search space, not with the number of points.

    Raises:
        ValueError: when a parameter is neither a choice nor a randint.
    """
    return _product(dict(space), k)


def _num_values(parameter: Nested) -> int:
    match parameter:
        case RandInt():
            return parameter.upper
        case Choice():
            return sum(_num_of_item(item) for item in parameter.values)
        case ParameterBase():
            raise ValueError(f"a grid cannot walk through {parameter.type!r}: it has no list of values")
        case _:
            return 1


def _num_of_item(item: object) -> int:
    return math.prod(_num_values(nested) for nested in item.values()) if isinstance(item, dict) else 1


def _product(parts: dict[str, Nested], k: int) -> dict[str, JsonValue]:
    values: dict[str, JsonValue] = {}
    for name, part in reversed(parts.items()):
        k, digit = divmod(k, _num_values(part))
        values[name] = _value(part, digit)
    return dict(reversed(values.items()))


def _value(part: Nested, digit: int) -> JsonValue:
    match part:
        case RandInt():
            return digit
        case Choice():
            for item in part.values:
                size = _num_of_item(item)
                if digit < size:
                    return _product(item, digit) if isinstance(item, dict) else item
                digit -= size
            raise ValueError("the digit lies beyond the choice's values")
        case ParameterBase():
            raise ValueError(f"a grid cannot walk through {part.type!r}: it has no list of values")
        case _:
            return part
