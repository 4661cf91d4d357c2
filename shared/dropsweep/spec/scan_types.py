"""What a `${{…}}` of a command is: what it names, and how its value is written where it stands."""

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from dropsweep.spec.shell_words import Interpreter

ROOTS: Final = ("search_space", "inputs", "outputs")
_EXPRESSION: Final = re.compile(r"\$\{\{([^{}]*)\}\}")
_PART: Final = r"[A-Za-z0-9_-]+"
_NAME: Final = re.compile(rf"({'|'.join(ROOTS)})((?:\.{_PART})+)")


class Context(StrEnum):
    """Where in the command an expression stands."""

    BARE = "outside quotes"
    DOUBLE = "inside double quotes"
    SINGLE = "inside single quotes"
    COMMENT = "in a comment"


@dataclass(frozen=True, slots=True)
class Expression:
    """One `${{…}}` of a command.

    Attributes:
        start: offset of its `$`.
        end: offset after its last brace.
        text: what stands between the braces, without spaces around it.
        root: `search_space`, `inputs` or `outputs`; empty when the text is none of these.
        parts: the names after the root, at least one when there is a root.
        context: how a value is written there; None where no value can be.
        reason: why not.
        remedy: what to write instead; empty where a variable in double quotes does.
        is_computed: whether the shell computes there, and so would run what a variable's text holds too.
        interpreter: the command that gets the value and may do more than to take it as text.
    """

    start: int
    end: int
    text: str
    root: str
    parts: tuple[str, ...]
    context: Context | None
    reason: str = ""
    remedy: str = ""
    is_computed: bool = False
    interpreter: Interpreter | None = None

    @property
    def name(self) -> str:
        """The parameter, input or output that it names."""
        return self.parts[0] if self.parts else ""


@dataclass(frozen=True, slots=True)
class Scan:
    """What a command holds.

    Attributes:
        expressions: in the order of the text.
        unclosed: the quotation mark or bracket that the command does not close; empty when all is closed.
    """

    expressions: tuple[Expression, ...]
    unclosed: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why no value can be written at a place; see `Expression`."""

    reason: str
    remedy: str = ""
    is_computed: bool = False

    def of(self, expression: Expression) -> Expression:
        """Returns the expression with this refusal; one in a comment as it is, since nothing is filled in there."""
        if expression.context is Context.COMMENT:
            return expression
        reason, remedy = self.reason, self.remedy
        return replace(expression, context=None, reason=reason, remedy=remedy, is_computed=self.is_computed)


def expression_at(text: str, at: int, context: Context) -> Expression | None:
    """Returns the expression that begins at an offset, if one does."""
    match = _EXPRESSION.match(text, at)
    if match is None:
        return None
    inner = match[1].strip()
    named = _NAME.fullmatch(inner)
    root, parts = (named[1], tuple(named[2][1:].split("."))) if named else ("", ())
    return Expression(match.start(), match.end(), inner, root, parts, context)
