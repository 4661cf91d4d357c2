"""`${{…}}` in a command, filled in so that a value stays one word and runs nothing.

Each place that `scanner` tells apart has its own way to write a value literally. Where the shell has no such way, the
expression is refused.
"""

import json
import re
from collections.abc import Callable, Sequence

from pydantic import JsonValue

from dropsweep.spec.scan_types import Context, Expression
from dropsweep.spec.scanner import scan

__all__ = ["Context", "Expression", "fill", "look_up", "quoted", "scan", "to_text"]


def fill(command: str, value_of: Callable[[Expression], str]) -> str:
    """Returns the command with each expression replaced, so that the shell reads exactly the value.

    An expression in a comment stays as it is written.

    Args:
        command: the template.
        value_of: gives the text for an expression; it must not hold the character NUL.

    Raises:
        ValueError: when a value cannot be written where its expression stands; validation refuses such commands.
    """
    pieces: list[str] = []
    end = 0
    for expression in scan(command).expressions:
        if expression.context is Context.COMMENT:
            continue
        if expression.context is None:
            raise ValueError(f"${{{{{expression.text}}}}} cannot be filled in: {expression.reason}")
        pieces += [command[end : expression.start], quoted(value_of(expression), expression.context)]
        end = expression.end
    return "".join([*pieces, command[end:]])


def quoted(value: str, context: Context) -> str:
    """Returns `value` written so that a shell reads it literally in that context.

    Outside quotes the value is always put into single quotes, also when it looks harmless: `2` before `>` and `A=b`
    at the start of a command would otherwise mean something else.

    Raises:
        ValueError: when the value holds NUL, which no command line can.
    """
    if "\0" in value:
        raise ValueError("a value with the character NUL cannot stand in a command line")
    match context:
        case Context.BARE:
            return "'" + value.replace("'", "'\\''") + "'"
        case Context.SINGLE:
            return value.replace("'", "'\\''")
        case Context.DOUBLE:
            return re.sub(r'([\\"$`])', r"\\\1", value)
        case Context.COMMENT:
            return ""


def to_text(value: JsonValue) -> str:
    """Returns a value as commands and environment variables hold it.

    Text stays as it is; numbers are written as Python and JSON write them (`1e-05`, `0.1`, `16`); true and false in
    lower case; null as nothing; mappings and lists as JSON without spaces.
    """
    match value:
        case str():
            return value
        case None:
            return ""
        case _:
            return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def look_up(value: JsonValue, parts: Sequence[str]) -> JsonValue:
    """Returns what lies at `parts` inside nested mappings; None (so the empty text) where the chosen value lacks it."""
    for part in parts:
        value = value.get(part) if isinstance(value, dict) else None
    return value
