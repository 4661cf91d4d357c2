"""`${{…}}` in a command: finding it, and filling it in so that a value stays one word and runs nothing.

The command is read as a shell reads it, to know for each expression whether it stands outside quotes, inside double
quotes or inside single quotes, and each place has its own way to write a value literally. Where the shell has no such
way, the expression is refused. The rules are those that POSIX sh and bash share (POSIX.1-2017, Shell Command
Language, 2.2 Quoting and 2.6 Word Expansions), so the text means the same in both.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from pydantic import JsonValue

ROOTS: Final = ("search_space", "inputs", "outputs")
_EXPRESSION: Final = re.compile(r"\$\{\{([^{}]*)\}\}")
_PART: Final = r"[A-Za-z0-9_-]+"
_NAME: Final = re.compile(rf"(search_space|inputs|outputs)((?:\.{_PART})+)")
_PLAIN_VARIABLE: Final = re.compile(r"\$\{[^'\"`$\\{}]*\}")
_PLAIN_ARITHMETIC: Final = re.compile(r"\$?\(\([^'\"`$\\{}()<#]*\)\)")
_SUBSCRIPT: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\[[^\]\s]*")
_SPACE: Final = " \t\n"
_BREAKS: Final = _SPACE + ";&|()<>"


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
    """

    start: int
    end: int
    text: str
    root: str
    parts: tuple[str, ...]
    context: Context | None
    reason: str = ""

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


@dataclass(slots=True)
class _Scanner:
    """A walk over the command; `stack` holds what is open: `"`, `$(` and `(`."""

    text: str
    at: int = 0
    stack: list[str] = field(default_factory=list)
    lost: str = ""  # why nothing after this place can be trusted to stand where it seems to
    word_start: int = 0
    in_test: bool = False
    found: list[Expression] = field(default_factory=list)

    def run(self) -> Scan:
        while self.at < len(self.text):
            if self.lost:
                self._skip_lost()
            elif self.stack and self.stack[-1] == '"':
                self._double()
            else:
                self._bare()
        unclosed = "" if self.lost or not self.stack else self.stack[-1]
        return Scan(tuple(self.found), self.lost if self.lost == "'" else unclosed)

    def _take_expression(self, context: Context, reason: str = "") -> bool:
        match = _EXPRESSION.match(self.text, self.at)
        if match is None:
            return False
        inner = match[1].strip()
        named = _NAME.fullmatch(inner)
        root, parts = (named[1], tuple(named[2][1:].split("."))) if named else ("", ())
        kept = None if reason else context
        self.found.append(Expression(match.start(), match.end(), inner, root, parts, kept, reason))
        self.at = match.end()
        return True

    def _skip_lost(self) -> None:
        following = self.text.find("${{", self.at)
        self.at = len(self.text) if following < 0 else following
        if following >= 0 and not self._take_expression(Context.BARE, f"it stands {self.lost}"):
            self.at += 1

    def _lose(self, where: str) -> None:
        self.lost = where

    def _reason_before(self) -> str:
        """Says what is wrong with the characters right before an expression, if anything is."""
        before = self.text[self.at - 1] if self.at else ""
        if before == "$":
            return "it follows a `$`, which would change the meaning of the value's first character"
        return ""

    def _escape(self) -> None:
        """Steps over a backslash and what it escapes."""
        if self.text.startswith("\\\n", self.at):
            following = self.text[self.at + 2 : self.at + 3]
            if self.at and self.text[self.at - 1] not in _SPACE and following not in ("", " ", "\t"):
                self._lose("after a line that is continued in the middle of a word")  # it may join `$` and `(`
                return
            if self.at == self.word_start:
                self.word_start += 2
        self.at += 1
        if not self._take_expression(Context.BARE, "it follows a backslash, which would escape the value's first mark"):
            self.at += 1

    def _dollar(self) -> bool:
        """Steps over what begins with `$`, other than an expression; false when it is only a character."""
        text, at = self.text, self.at
        if plain := _PLAIN_VARIABLE.match(text, at) or _PLAIN_ARITHMETIC.match(text, at):
            self.at = plain.end()
        elif text.startswith("$$", at) and not text.startswith("${{", at + 1):
            self.at += 2
        elif text.startswith("${", at):
            self._lose("inside or after `${…}` with something other than a plain name in it")
        elif text.startswith("$((", at) or text.startswith("$[", at):
            self._lose("inside or after arithmetic")
        elif text.startswith("$(", at):
            self.stack.append("$(")
            self.at += 2
            self.word_start = self.at
        else:
            return False
        return True

    def _double(self) -> None:
        character = self.text[self.at]
        if character == '"':
            self.stack.pop()
            self.at += 1
        elif character == "\\":
            self._escape()
        elif character == "`":
            self._lose("inside or after backticks")
        elif character != "$" or (
            not self._take_expression(Context.DOUBLE, self._reason_before()) and not self._dollar()
        ):
            self.at += 1

    def _single(self) -> None:
        """Steps over text in single quotes, in which nothing but the closing quote has a meaning."""
        self.at += 1
        while self.at < len(self.text) and self.text[self.at] != "'":
            if not self._take_expression(Context.SINGLE):
                self.at += 1
        if self.at >= len(self.text):
            self.lost = "'"
        self.at += 1

    def _comment(self) -> None:
        if "$(" in self.stack:  # shells differ on whether its `)` may stand in a comment
            self._lose("after a comment inside `$(…)`")
            return
        if self.at and self.text[self.at - 1] == ")":  # a comment after `(…)`, not after `$(…)`
            self._lose("after a `#` that follows a bracket")
            return
        while self.at < len(self.text) and self.text[self.at] != "\n":
            if not self._take_expression(Context.COMMENT):
                self.at += 1

    def _bare(self) -> None:
        text, at = self.text, self.at
        character = text[at]
        if character == "\\":
            self._escape()
        elif character == "'":
            self._single()
        elif character == '"':
            self.stack.append('"')
            self.at += 1
        elif character == "`":
            self._lose("inside or after backticks")
        elif text.startswith("$'", at):
            self._lose("inside or after `$'…'`")
        elif character == "$":
            reason = self._reason_before() or self._reason_of_word()
            if not self._take_expression(Context.BARE, reason) and not self._dollar():
                self.at += 1
        elif character == "#" and at == self.word_start:
            self._comment()
        elif text.startswith("<<", at) and not text.startswith("<<<", at):
            self._lose("inside or after a here-document")
        elif character in _BREAKS:
            self._break(character)
        else:
            self.at += 1

    def _reason_of_word(self) -> str:
        if self.in_test:
            return "it stands inside `[[ … ]]`, which may compute with the value"
        if _SUBSCRIPT.fullmatch(self.text, self.word_start, self.at):
            return "it stands in the index of an array, which the shell computes"
        return ""

    def _break(self, character: str) -> None:
        """Ends a word, and steps over the character or operator that ended it."""
        word = self.text[self.word_start : self.at]
        if word == "[[":
            self.in_test = True
        elif word == "]]":
            self.in_test = False
        elif word == "case" and '"' in self.stack:
            self._lose("after `case` inside `$(…)`")
            return
        if character == "(" and word and not self.text.startswith("()", self.at):
            # After a syntax error in `name=(…)` bash goes on with the next line, which may lie inside a value.
            self._lose("inside or after an array or pattern in brackets")
            return
        if plain := _PLAIN_ARITHMETIC.match(self.text, self.at):
            self.at = plain.end()
        elif self.text.startswith("((", self.at):
            self._lose("inside or after `((…))`")
            return
        elif self.text.startswith("<<<", self.at):
            self.at += 3
        else:
            if character == "(":
                self.stack.append("(")
            elif character == ")" and self.stack:
                self.stack.pop()
            self.at += 1
        self.word_start = self.at


def scan(command: str) -> Scan:
    """Finds each expression of a command and how a value must be written there; never raises."""
    return _Scanner(command).run()


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
