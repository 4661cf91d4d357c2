"""Parses Bicep: declarations and expressions, as the language's specification has their precedence.

Two other parsers read the same files in the tests, tree-sitter's grammar and pycep, and must agree on what is declared.
The grammar's tree could not stand in for this one: it takes `each => each.name` for a member of a lambda.

Source: https://learn.microsoft.com/azure/azure-resource-manager/bicep/operators#operator-precedence-and-associativity
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

TOKEN = re.compile(
    r"(?P<space>[ \t]+|//[^\n]*|/\*.*?\*/)|(?P<line>\r?\n)|(?P<number>\d+)|(?P<name>[A-Za-z_]\w*)|(?P<text>')"
    r"|(?P<sign>=>|==|!=|<=|>=|&&|\|\||\?\?|\.\?|[-+*/%<>=?:!.,()\[\]{}@])",
    re.DOTALL,
)
PRECEDENCE = (("??",), ("||",), ("&&",), ("==", "!="), ("<", ">", "<=", ">="), ("+", "-"), ("*", "/", "%"))
ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "'": "'", "\\": "\\", "$": "$"}


class BicepError(Exception):
    """The template is not Bicep, or not of the part that is read here."""


@dataclass(frozen=True)
class Token:
    kind: str
    text: str
    line: int
    pieces: tuple[Any, ...] = ()
    """Of a text: its literal parts, and between them the expressions in `${}`."""


@dataclass(frozen=True)
class Node:
    """An expression: what kind, in which line, and its parts (texts, and further nodes)."""

    kind: str
    line: int
    parts: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Declaration:
    """One `param`, `var`, `output`, `resource` or `module`."""

    kind: str
    name: str
    line: int
    value: Node | None
    type: str = ""
    decorators: Mapping[str, Node | None] = field(default_factory=dict)
    target: str = ""
    """A resource's type and version, or a module's path."""
    exists_already: bool = False


@dataclass(frozen=True)
class Template:
    """A file, taken apart."""

    path: Path
    target_scope: str
    declarations: tuple[Declaration, ...]

    def of(self, kind: str) -> dict[str, Declaration]:
        return {found.name: found for found in self.declarations if found.kind == kind}


def read(path: Path, source: str | None = None) -> Template:
    """Takes a file apart; `source` stands in for what is in it."""
    return _parsed(path, path.read_text(encoding="utf-8") if source is None else source)


@cache
def _parsed(path: Path, source: str) -> Template:
    return _Parser(path, source).file()


def nodes(node: Any) -> Iterator[Node]:
    """The node and everything below it."""
    if isinstance(node, Node):
        yield node
        for part in node.parts:
            yield from nodes(part)
    elif isinstance(node, tuple):
        for part in node:
            yield from nodes(part)


class _Parser:
    def __init__(self, path: Path, source: str, line: int = 1) -> None:
        self._path, self._source, self._line = path, source, line
        self._tokens = list(self._split())
        self._at = 0

    def _fail(self, what: str, line: int | None = None) -> BicepError:
        return BicepError(f"{self._path.name}:{line or self._now.line}: {what}")

    def _split(self) -> Iterator[Token]:
        at, line = 0, self._line
        while at < len(self._source):
            found = TOKEN.match(self._source, at)
            if not found:
                raise self._fail(f"{self._source[at : at + 20]!r} cannot be read", line)
            kind, at = str(found.lastgroup), found.end()
            if kind == "text":
                pieces, at = self._pieces(at, line)
                yield Token("text", "'", line, pieces)
            elif kind != "space":
                yield Token(kind, found[0], line)
            line += found[0].count("\n")
        yield Token("end", "", line)

    def _pieces(self, at: int, line: int) -> tuple[tuple[Any, ...], int]:
        pieces: list[Any] = []
        literal = ""
        while (sign := self._source[at : at + 1]) not in ("'", "\n", ""):
            if sign == "\\":
                literal, at = literal + ESCAPES[self._source[at + 1]], at + 2
            elif self._source.startswith("${", at):
                end = self._end_of_interpolation(at + 2, line)
                inner = _Parser(self._path, self._source[at + 2 : end], line)
                pieces, literal, at = [*pieces, literal, inner.whole_expression()], "", end + 1
            else:
                literal, at = literal + sign, at + 1
        if sign != "'":
            raise self._fail("a text has no end", line)
        return (*pieces, literal), at + 1

    def _end_of_interpolation(self, at: int, line: int) -> int:
        depth = 0
        for index in range(at, len(self._source)):
            sign = self._source[index]
            if sign == "}" and depth == 0:
                return index
            depth += {"{": 1, "}": -1}.get(sign, 0)
        raise self._fail("an interpolation has no end", line)

    @property
    def _now(self) -> Token:
        return self._tokens[self._at]

    def _is(self, *texts: str) -> bool:
        return self._now.kind in ("sign", "name") and self._now.text in texts

    def _take(self, text: str = "", kind: str = "") -> Token:
        token = self._now
        if (text and not self._is(text)) or (kind and token.kind != kind):
            raise self._fail(f"{token.text!r} stands where {text or kind} is expected")
        self._at += 1
        return token

    def _skip_lines(self) -> None:
        while self._now.kind == "line":
            self._at += 1

    def whole_expression(self) -> Node:
        made = self._expression()
        self._take(kind="end")
        return made

    def file(self) -> Template:
        scope, made, decorators = "resourceGroup", [], {}
        self._skip_lines()
        while self._now.kind != "end":
            if self._is("@"):
                self._take("@")
                name = self._take(kind="name").text
                given = self._arguments()
                decorators[name] = given[0] if given else None
            elif self._is("targetScope"):
                self._take()
                self._take("=")
                scope = self._plain_text()
            else:
                made.append(self._declaration(decorators))
                decorators = {}
            self._take(kind="line")
            self._skip_lines()
        doubled = sorted(
            {
                each.name
                for each in made
                if sum(each.name == other.name and "output" not in (each.kind, other.kind) for other in made) > 1
            }
        )
        if doubled:
            raise self._fail(f"{', '.join(doubled)} is declared twice")
        return Template(self._path, scope, tuple(made))

    def _declaration(self, decorators: Mapping[str, Node | None]) -> Declaration:
        line = self._now.line
        kind = self._take(kind="name").text
        if kind not in ("param", "var", "output", "resource", "module"):
            raise self._fail(f"{kind} declares nothing that is read here", line)
        name = self._take(kind="name").text
        type_ = self._take(kind="name").text if kind in ("param", "output") else ""
        target = self._plain_text() if kind in ("resource", "module") else ""
        exists_already = kind == "resource" and self._is("existing") and bool(self._take())
        value = None
        if kind != "param" or self._is("="):
            self._take("=")
            value = self._body()
        return Declaration(kind, name, line, value, type_, decorators, target, exists_already)

    def _plain_text(self) -> str:
        token = self._take(kind="text")
        if len(token.pieces) != 1:
            raise self._fail("a text without ${} is expected", token.line)
        return str(token.pieces[0])

    def _body(self) -> Node:
        if not self._is("if"):
            return self._expression()
        line = self._take("if").line
        self._take("(")
        condition = self._expression()
        self._take(")")
        return Node("if", line, (condition, self._expression()))

    def _expression(self) -> Node:
        condition = self._binary(0)
        if not self._is("?"):
            return condition
        line = self._take("?").line
        yes = self._expression()
        self._take(":")
        return Node("choose", line, (condition, yes, self._expression()))

    def _binary(self, level: int) -> Node:
        if level == len(PRECEDENCE):
            return self._unary()
        left = self._binary(level + 1)
        while self._is(*PRECEDENCE[level]):
            sign = self._take()
            left = Node("binary", sign.line, (sign.text, left, self._binary(level + 1)))
        return left

    def _unary(self) -> Node:
        if self._is("!", "-"):
            sign = self._take()
            return Node("unary", sign.line, (sign.text, self._unary()))
        made = self._primary()
        while self._is(".", ".?", "["):
            sign = self._take()
            if sign.text == "[":
                made = Node("index", sign.line, (made, self._expression()))
                self._take("]")
                continue
            name = self._take(kind="name").text
            made = Node("member", sign.line, (made, name, sign.text == ".?"))
            if self._is("("):
                raise self._fail(f"the method {name} is not read here")
        return made

    def _primary(self) -> Node:
        token = self._now
        if token.kind == "number":
            return Node("constant", self._take().line, (int(token.text),))
        if token.kind == "text":
            return Node("text", self._take().line, token.pieces)
        if self._is("true", "false", "null"):
            return Node("constant", self._take().line, ({"true": True, "false": False, "null": None}[token.text],))
        if self._is("["):
            return self._list()
        if self._is("{"):
            return self._object()
        if self._is("("):
            self._take()
            made = self._expression()
            self._take(")")
            return made
        name = self._take(kind="name")
        if self._is("=>"):
            self._take()
            return Node("lambda", name.line, (name.text, self._expression()))
        if self._is("("):
            return Node("call", name.line, (name.text, tuple(self._arguments())))
        return Node("name", name.line, (name.text,))

    def _arguments(self) -> list[Node]:
        self._take("(")
        given: list[Node] = []
        while not self._is(")"):
            given.append(self._expression())
            if not self._is(")"):
                self._take(",")
        self._take(")")
        return given

    def _list(self) -> Node:
        line = self._take("[").line
        if self._is("for"):
            return self._loop(line)
        items: list[Node] = []
        self._separators()
        while not self._is("]"):
            items.append(self._expression())
            if not self._is("]"):
                self._separators(at_least=1)
        self._take("]")
        return Node("list", line, tuple(items))

    def _loop(self, line: int) -> Node:
        self._take("for")
        names = []
        if self._is("("):
            self._take("(")
            names.append(self._take(kind="name").text)
            self._take(",")
            names.append(self._take(kind="name").text)
            self._take(")")
        else:
            names.append(self._take(kind="name").text)
        self._take("in")
        over = self._expression()
        self._take(":")
        body = self._body()
        self._take("]")
        return Node("loop", line, (tuple(names), over, body))

    def _object(self) -> Node:
        line = self._take("{").line
        members: list[tuple[Node, Node]] = []
        self._separators()
        while not self._is("}"):
            key = self._now
            if key.kind not in ("name", "text"):
                raise self._fail(f"{key.text!r} is no key")
            self._take()
            pieces = key.pieces if key.kind == "text" else (key.text,)
            self._take(":")
            members.append((Node("text", key.line, pieces), self._expression()))
            if not self._is("}"):
                self._separators(at_least=1)
        self._take("}")
        return Node("object", line, tuple(members))

    def _separators(self, at_least: int = 0) -> None:
        num = 0
        while self._now.kind == "line" or self._is(","):
            self._take()
            num += 1
        if num < at_least:
            raise self._fail(f"{self._now.text!r} stands where a new line is expected")
