"""What can be wrong with a command and its `${{…}}`."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from dropsweep.errors import Problem, Severity
from dropsweep.search.space import Choice, Parameter
from dropsweep.spec.launch import variable_of
from dropsweep.spec.models import MAX_COMMAND_LENGTH
from dropsweep.spec.problems import error, join, listed, nearest, warning
from dropsweep.spec.scan_types import ROOTS, Context, Expression
from dropsweep.spec.scanner import scan
from dropsweep.spec.shell_words import Danger, Interpreter

_MAX_NUM_DIFFERENT: Final = 500


@dataclass(frozen=True, slots=True)
class Names:
    """What expressions may name.

    Attributes:
        search_space: the parameters that could be read, and None for those that could not; None where there is none.
        inputs: names of the inputs.
        outputs: names of the outputs.
        is_sweep: whether the job has a search space; without a `search_space`, its own is told elsewhere.
    """

    search_space: Mapping[str, Parameter | None] | None
    inputs: Sequence[str]
    outputs: Sequence[str]
    is_sweep: bool = True


def check_command(command: str, path: str, names: Names) -> Iterator[Problem]:
    """Yields what is wrong with a command.

    Args:
        command: the template.
        path: where in the file it stands.
        names: what expressions may name.
    """
    if not command.strip():
        yield error(path, command, "must not be empty", "Write the command that trains, such as `python train.py`")
        return
    if len(command) > MAX_COMMAND_LENGTH:
        return  # told with the shape of the file; reading it as a shell would take long
    found = scan(command)
    if found.unclosed:
        rule = f"the shell would wait for the end of {found.unclosed}, which the command does not close"
        yield error(path, command, rule, "Close the quotation mark or bracket")
    if "$[[" in command:
        yield error(path, command, "`$[[…]]` belongs to components and is not read", "Write the argument without it")
    braces = command.count("${{")
    if braces != len(found.expressions):
        yield error(path, command, "each `${{` needs its `}}`", "Close it, as in `${{search_space.lr}}`")
    different = {(expression.text, expression.reason): expression for expression in found.expressions}
    if len(different) > _MAX_NUM_DIFFERENT:
        rule = f"a command has at most {_MAX_NUM_DIFFERENT} different `${{{{…}}}}`"
        yield error(path, command, rule, "Read the parameters from DROPSWEEP_PARAMS in the script")
    for expression in [*different.values()][:_MAX_NUM_DIFFERENT]:
        yield from _check_expression(expression, path, names)
    filled = [expression for expression in found.expressions if expression.context is not Context.COMMENT]
    interpreters = dict.fromkeys(expression.interpreter for expression in filled if expression.context is not None)
    yield from (_about(path, command, interpreter) for interpreter in interpreters if interpreter is not None)
    used = {expression.name for expression in filled if expression.root == "search_space"}
    for name in names.search_space or {}:
        if name not in used:
            rule = "is not used in the command, so the script must ask for it"
            remedy = (
                f"Add ${{{{search_space.{name}}}}}, or read dropsweep.params() or {variable_of(name)} in the script"
            )
            yield Problem(join("search_space", name), "", rule, remedy, Severity.WARNING)


def _check_expression(expression: Expression, path: str, names: Names) -> Iterator[Problem]:
    text = "${{" + expression.text + "}}"
    root, name = expression.root, expression.name
    if not root:
        head = re.match(r"\w*", expression.text)
        close = nearest(head[0], ROOTS) if head else None
        rest = expression.text.partition(".")[2] or "name"
        remedy = f"Write ${{{{{close}.{rest}}}}}" if close else f"Begin it with one of {listed([*ROOTS])}"
        yield error(path, text, "names nothing that can be filled in", remedy)
        return
    if expression.context is None:
        rule = f"no value can be written there safely: {expression.reason}"
        yield error(path, text, rule, expression.remedy or _instead(expression))
    if root == "search_space" and names.search_space is None:
        if names.is_sweep:
            return
        yield error(path, text, "a command job has no search space", "Write `type: sweep`, or the value itself")
        return
    known = {"search_space": names.search_space or {}, "inputs": names.inputs, "outputs": names.outputs}[root]
    if name not in known:
        close = nearest(name, known)
        remedy = f"Did you mean ${{{{{root}.{close}}}}}" if close else f"Add `{name}` under `{root}`"
        yield error(path, text, f"there is no `{name}` under `{root}`", remedy)
        return
    parts = expression.parts[1:]
    if parts and root != "search_space":
        yield error(path, text, f"{root} have no parts", f"Write ${{{{{root}.{name}}}}}")
    elif parts and (parameter := (names.search_space or {}).get(name)) is not None:
        num_with, num_all = _num_branches(parameter, parts)
        if num_with == 0:
            yield error(path, text, "no value of the choice has that part", "Correct the name after the last dot")
        elif num_with < num_all:
            rule = "is the empty text for the values of the choice that lack it"
            yield warning(path, text, rule, "Give every value of the choice that key")


def _instead(expression: Expression) -> str:
    """Returns the remedy for an expression in a place where no value can be written."""
    is_parameter = expression.root == "search_space"
    variable = variable_of(expression.name) if is_parameter else "X"
    setting = "" if is_parameter else "Write X=${{…}} at the start of the command. "
    if not expression.is_computed:
        return f'{setting}Use "${variable}"'
    inside = f'compute in the script, or compare with `[ "${variable}" -eq 1 ]`'
    return f'{setting}Inside it {inside}, as the shell would run what a variable holds; after it use "${variable}"'


def _about(path: str, command: str, interpreter: Interpreter) -> Problem:
    """Returns the warning that a value goes to a command that may do more with it than to take it as text."""
    if interpreter.danger is Danger.NAMES:
        remedy = 'Assign with `x=${{…}}`, and compute and compare in the script or with `[ "$x" -eq 1 ]`'
    else:
        remedy = f'Put that text in single quotes, and in it read the variable {variable_of("name")}, or "$1"'
    return warning(path, command, f"`{interpreter.text}` {interpreter.danger}, so a filled-in value may run", remedy)


def _num_branches(parameter: Any, parts: Sequence[str]) -> tuple[int, int]:
    """Returns in how many of a parameter's alternatives `parts` lead somewhere, and how many there are."""
    if not parts:
        return 1, 1
    if not isinstance(parameter, Choice):
        return 0, 1
    num_with = num_all = 0
    for item in parameter.values:
        inner = item.get(parts[0], _NOTHING) if isinstance(item, dict) else _NOTHING
        found = (0, 1) if inner is _NOTHING else _num_branches(inner, parts[1:])
        num_with, num_all = num_with + found[0], num_all + found[1]
    return num_with, num_all


_NOTHING: Final = object()
