"""What can be wrong with a search space beyond the shape of each parameter."""

from collections.abc import Iterator, Mapping
from typing import Final

from dropsweep.errors import Problem, Severity
from dropsweep.names import NAME_RULE, is_name
from dropsweep.search import MAX_NUM_TRIALS, grid, sobol
from dropsweep.search.space import Choice, LogUniform, Parameter, QLogUniform, Space, leaves
from dropsweep.spec.launch import variable_of
from dropsweep.spec.problems import error, join, missing, shown, warning

MAX_NUM_PARAMETERS: Final = 1000
"""Parameters of one search space, those inside choices included."""
_ROOT: Final = "search_space"


def check_space(space: Mapping[str, Parameter | None], algorithm: str) -> Iterator[Problem]:
    """Yields what is wrong with the parameters that could be read.

    Args:
        space: every name of the file, with None where the parameter has the wrong shape.
        algorithm: `random`, `sobol`, `grid`, or anything else where the file's is wrong.
    """
    yield from _check_names(space)
    read = {name: parameter for name, parameter in space.items() if parameter is not None}
    num_parameters = 0
    for path, parameter in leaves(read):
        num_parameters += 1
        yield from _check_parameter(path, parameter)
    if num_parameters > MAX_NUM_PARAMETERS:
        rule = f"a search space has at most {MAX_NUM_PARAMETERS} parameters, those inside choices included"
        yield missing(_ROOT, rule, f"Leave out {num_parameters - MAX_NUM_PARAMETERS} of them")
    if algorithm == "grid":
        for path, parameter in grid.continuous(read):
            rule = f"a grid cannot walk through `{parameter.type}`: only choice and randint have a list of values"
            remedy = "Write `type: choice` with the values to try, or sample with `random`"
            yield missing(_choice_path(path), rule, remedy)


def check_size(space: Space, algorithm: str, max_total_trials: int | None) -> Iterator[Problem]:
    """Yields a problem when a sweep over a sound search space would have too many trials to number."""
    where = "limits.max_total_trials"
    if algorithm == "grid" and max_total_trials is None and not any(grid.continuous(space)):
        if grid.num_points(space) > MAX_NUM_TRIALS:
            rule = f"a sweep has at most {MAX_NUM_TRIALS} trials, and this grid has more points"
            yield missing(where, rule, "Set it, or leave out values")
    elif algorithm == "sobol" and max_total_trials is not None and max_total_trials > sobol.MAX_NUM_TRIALS:
        rule = f"must be at most {sobol.MAX_NUM_TRIALS} with `rule: sobol`"
        yield error(where, max_total_trials, rule, "Write a smaller number, or `rule: random`")


def _check_names(space: Mapping[str, Parameter | None]) -> Iterator[Problem]:
    variables: dict[str, str] = {}
    for name in space:
        path = join(_ROOT, name)
        if not is_name(name):
            yield error(path, name, f"a parameter's name has {NAME_RULE}", "Rename it")
            continue
        other = variables.setdefault(variable_of(name), name)
        if other != name:
            rule = f"`{other}` and `{name}` would both be {variable_of(name)} in the script's environment"
            yield missing(path, rule, "Rename one of them")


def _check_parameter(leaf: str, parameter: Parameter) -> Iterator[Problem]:
    path = _choice_path(leaf)
    if isinstance(parameter, Choice):
        seen: set[str] = set()
        for index, item in enumerate(parameter.values):
            place = f"{path}.values[{index}]"
            if isinstance(item, dict):
                for key in item:
                    if not is_name(key):
                        yield error(join(place, key), key, f"a parameter's name has {NAME_RULE}", "Rename it")
            elif (text := f"{type(item).__name__} {item}") in seen:
                rule = "stands twice in the list, and so is taken twice as often"
                yield warning(place, item, rule, "Remove one of them, if that is not meant")
            else:
                seen.add(text)
    elif isinstance(parameter, LogUniform | QLogUniform) and 0 < parameter.min_value < parameter.max_value <= 1:
        low, high = parameter.min_value, parameter.max_value
        rule = "bounds are exponents of e: these give values between 1 and 2.72"
        remedy = "If you mean the bounds themselves, write their natural logarithms"
        yield Problem(path, f"{shown(low)} to {shown(high)}", rule, remedy, Severity.WARNING)


def _choice_path(leaf: str) -> str:
    """Returns where in the file a parameter stands, from its path in the space: `a[1].b` is `a.values[1].b` there."""
    return join(_ROOT, leaf.replace("[", ".values["))
