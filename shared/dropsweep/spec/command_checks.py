"""What can be wrong with a command and its `${{…}}`."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from dropsweep.errors import Problem, Severity
from dropsweep.search.space import Choice, Parameter
from dropsweep.spec.expressions import ROOTS, Context, Expression, scan
from dropsweep.spec.launch import variable_of
from dropsweep.spec.models import MAX_COMMAND_LENGTH
from dropsweep.spec.problems import error, join, listed, nearest, warning

_INNER_PROGRAM: Final = re.compile(
    r"(?:^|[\s;&|(])(eval|let|declare|typeset|xargs|ssh|(?:ba|da|k|z)?sh\s+-\w*c|python[\d.]*\s+-c|perl\s+-\w*e)(?=\s)"
)

_MAX_NUM_DIFFERENT: Final = 500


@dataclass(frozen=True, slots=True)
class Names:
    """What expressions may name.

    Attributes:
        search_space: the parameters that could be read, and None for those that could not; None for a command job.
        inputs: names of the inputs.
        outputs: names of the outputs.
    """

    search_space: Mapping[str, Parameter | None] | None
    inputs: Sequence[str]
    outputs: Sequence[str]


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
    inner = _INNER_PROGRAM.search(command)
    filled = [expression for expression in found.expressions if expression.context is not Context.COMMENT]
    if inner and filled:
        rule = f"`{' '.join(inner[1].split())}` may run its text as a program, so a filled-in value may run too"
        remedy = f'Write "${variable_of("name")}" in that text in place of ${{{{search_space.name}}}}'
        yield warning(path, command, rule, remedy)
    used = {expression.name for expression in filled if expression.root == "search_space"}
    for name in names.search_space or {}:
        if name not in used:
            rule = "is not used in the command; the script gets it only by its environment"
            remedy = f"Add ${{{{search_space.{name}}}}}, or read {variable_of(name)}"
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
        other = (
            f'"${variable_of(name)}"' if root == "search_space" else 'X=${{…}} at the start of the command, then "$X"'
        )
        yield error(path, text, f"no value can be written there safely: {expression.reason}", f"Use {other}")
    if root == "search_space" and names.search_space is None:
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
