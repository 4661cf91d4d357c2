"""Reads the Bicep that this repository uses, and says what it would deploy.

tree-sitter's grammar gives the tree. What is beyond it, the meaning, is here: parameters, variables, loops, conditions,
lambdas, modules with their outputs, and the functions in `FUNCTIONS`. A template that uses anything else is refused. What
only Azure knows (a resource's properties, its keys) becomes a `Runtime` value, and every such look is written down.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import tree_sitter
import tree_sitter_bicep
from tree_sitter import Node

Scope = dict[str, Any]


class BicepError(Exception):
    """The template is not Bicep, or not of the part that is read here."""


class Runtime(str):
    """A value that only a deployment knows; its text says where from."""

    def at(self, key: str) -> "Runtime":
        return Runtime(f"{self[:-1]}.{key}>")


@dataclass(frozen=True)
class Resource:
    """One resource that a template deploys, or looks at when it is there already."""

    symbol: str
    type: str
    api_version: str
    body: dict[str, Any]
    parent: "Resource | None"
    exists_already: bool
    place: str

    @property
    def name(self) -> str:
        """The name within its parent, or with the parent's before it where the body has it so."""
        return str(self.body["name"])

    @property
    def id(self) -> str:
        above = f"{self.parent.id}/{self.type.rpartition('/')[2]}" if self.parent else f"/{self.type}"
        return f"{above}/{self.name}"


@dataclass
class Deployment:
    """What a template comes to, with everything that its modules deploy."""

    resources: list[Resource] = field(default_factory=list)
    outputs: dict[str, Any] = field(default_factory=dict)
    looks: list[tuple[str, str, tuple[str, ...]]] = field(default_factory=list)
    """Type, API version and path of every property of a resource that was read."""

    def of_type(self, type_: str) -> list[Resource]:
        return [found for found in self.resources if found.type == type_ and not found.exists_already]


@dataclass(frozen=True)
class Declaration:
    """One `param`, `var`, `output`, `resource` or `module`."""

    kind: str
    name: str
    node: Node
    value: Node | None
    type: str = ""
    decorators: Mapping[str, list[Any]] = field(default_factory=dict)
    target: str = ""
    """A resource's type and version, or a module's path."""
    exists_already: bool = False


@dataclass(frozen=True)
class Template:
    """A file, taken apart."""

    path: Path
    target_scope: str
    declarations: tuple[Declaration, ...]
    comments: tuple[str, ...]

    def of(self, kind: str) -> dict[str, Declaration]:
        return {found.name: found for found in self.declarations if found.kind == kind}


@cache
def _parser() -> tree_sitter.Parser:
    return tree_sitter.Parser(tree_sitter.Language(tree_sitter_bicep.language()))


def text(node: Node) -> str:
    return (node.text or b"").decode()


def named(node: Node) -> list[Node]:
    return [child for child in node.children if child.is_named and child.type != "comment"]


def walk(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from walk(child)


def place(path: Path, node: Node) -> str:
    return f"{path.name}:{node.start_point[0] + 1}"


def read(path: Path, source: str | None = None) -> Template:
    """Takes a file apart; `source` stands in for what is in it."""
    content = path.read_text(encoding="utf-8") if source is None else source
    root = _parser().parse(content.encode()).root_node
    for node in walk(root):
        if node.is_error or node.is_missing:
            raise BicepError(f"{place(path, node)}: cannot be read: {text(node)[:60]!r}")
    scope, declarations, pending = "resourceGroup", [], {}
    for node in root.children:
        if node.type == "target_scope_assignment":
            scope = text(named(node)[0]).strip("'")
        elif node.type == "decorators":
            pending = dict(_decorator(child) for child in named(node))
        elif node.type.endswith("_declaration"):
            declarations.append(_declaration(path, node, pending))
            pending = {}
        elif node.is_named and node.type != "comment":
            raise BicepError(f"{place(path, node)}: {node.type} is not read here")
    comments = tuple(text(node) for node in walk(root) if node.type == "comment")
    return Template(path, scope, tuple(declarations), comments)


def _decorator(node: Node) -> tuple[str, list[Any]]:
    call = named(node)[0]
    name, *rest = named(call)
    arguments = named(rest[0]) if rest else []
    return text(name), [Evaluation.constant(argument) for argument in arguments]


def _declaration(path: Path, node: Node, decorators: Mapping[str, list[Any]]) -> Declaration:
    kind = {"parameter": "param", "variable": "var"}.get(found := node.type.removesuffix("_declaration"), found)
    parts = named(node)
    name, rest = text(parts[0]), parts[1:]
    has_value = any(child.type == "=" for child in node.children)
    value = rest[-1] if has_value else None
    type_ = next((text(part) for part in rest if part.type == "type"), "")
    target = text(rest[0]).strip("'") if kind in ("resource", "module") else ""
    is_there = any(child.type == "existing" for child in node.children)
    if kind not in ("param", "var", "output", "resource", "module"):
        raise BicepError(f"{place(path, node)}: {kind} is not read here")
    return Declaration(kind, name, node, value, type_, decorators, target, is_there)


class Evaluation:
    """One run of one template with its parameters."""

    def __init__(self, template: Template, params: Mapping[str, Any], deployment: Deployment, sources: Sources) -> None:
        self.template, self.deployment, self.sources = template, deployment, sources
        self.scope: Scope = {}
        self._resources: dict[str, Any] = {}
        self._pending: dict[str, Declaration] = {}
        for name, declared in template.of("param").items():
            if name in params:
                self.scope[name] = self._checked(declared, params[name])
            elif declared.value is not None:
                self.scope[name] = self._checked(declared, self.value(declared.value, self.scope))
            else:
                raise BicepError(f"{template.path.name}: the parameter {name} is required and not given")
        for name in params:
            if name not in template.of("param"):
                raise BicepError(f"{template.path.name} has no parameter {name}")
        for declared in template.declarations:
            if declared.kind in ("var", "resource", "module"):
                self._pending[declared.name] = declared
        for declared in template.declarations:
            if declared.kind in ("var", "resource", "module"):
                self._lookup(declared.name, {})

    @staticmethod
    def constant(node: Node) -> Any:
        return _Expressions().value(node, {})

    def outputs(self) -> dict[str, Any]:
        return {
            name: self.value(declared.value, self.scope)
            for name, declared in self.template.of("output").items()
            if declared.value is not None
        }

    def _checked(self, declared: Declaration, value: Any) -> Any:
        kinds = {"string": str, "int": int, "bool": bool, "array": list, "object": dict}
        wanted = kinds.get(declared.type)
        fits = wanted is None or isinstance(value, Runtime) or (type(value) is wanted or (wanted is str and isinstance(value, str)))
        where = f"{self.template.path.name}: the parameter {declared.name}"
        if not fits:
            raise BicepError(f"{where} is {value!r}, not {declared.type}")
        allowed = declared.decorators.get("allowed", [None])[0]
        if allowed and value not in allowed:
            raise BicepError(f"{where} is {value!r}, not one of {allowed}")
        for name, is_right in (("minValue", int.__ge__), ("maxValue", int.__le__)):
            if name in declared.decorators and not is_right(value, declared.decorators[name][0]):
                raise BicepError(f"{where} is {value}, beyond its {name}")
        return value

    def value(self, node: Node, scope: Scope) -> Any:
        return _Expressions(self._lookup, self._look, self.template.path).value(node, scope)

    def _lookup(self, name: str, _scope: Scope) -> Any:
        if name in self.scope:
            return self.scope[name]
        if name in self._pending:
            declared = self._pending.pop(name)
            self.scope[name] = self._made(declared)
            return self.scope[name]
        raise BicepError(f"{self.template.path.name}: {name} is declared nowhere (or needs itself)")

    def _made(self, declared: Declaration) -> Any:
        assert declared.value is not None
        if declared.kind == "var":
            return self.value(declared.value, self.scope)
        make = self._resource if declared.kind == "resource" else self._module
        if declared.value.type == "for_statement":
            bodies = loop(declared.value, self.scope, self.value)
            return [self._one(declared, body, scope, make) for body, scope in bodies]
        return self._one(declared, declared.value, self.scope, make)

    def _one(self, declared: Declaration, node: Node, scope: Scope, make: Callable[..., Any]) -> Any:
        if node.type == "if_statement":
            condition, node = named(node)
            if self.value(condition, scope) is False:
                return None
        return make(declared, node, scope)

    def _resource(self, declared: Declaration, node: Node, scope: Scope) -> Resource:
        type_, _, version = declared.target.partition("@")
        body = self.value(node, scope)
        parent = body.pop("parent", None)
        where = place(self.template.path, declared.node)
        made = Resource(declared.name, type_, version, body, parent, declared.exists_already, where)
        self.deployment.resources.append(made)
        return made

    def _module(self, declared: Declaration, node: Node, scope: Scope) -> dict[str, Any]:
        body = self.value(node, scope)
        path = (self.template.path.parent / declared.target).resolve()
        inner = Evaluation(self.sources(path), body.get("params", {}), self.deployment, self.sources)
        self.deployment.looks += []
        return {"name": body["name"], "outputs": inner.outputs(), "scope": body.get("scope")}

    def _look(self, resource: Resource, path: tuple[str, ...]) -> None:
        self.deployment.looks.append((resource.type, resource.api_version, path))


Sources = Callable[[Path], Template]


def loop(node: Node, scope: Scope, value: Callable[[Node, Scope], Any]) -> list[tuple[Node, Scope]]:
    """The body of a loop once for each item, with the names that it has there."""
    over, *rest = named(node)
    items = value(rest[0], scope)
    if over.type == "for_loop_parameters":
        item, index = (text(child) for child in named(over))
    else:
        item, index = text(over), ""
    return [(rest[1], {**scope, item: each, **({index: k} if index else {})}) for k, each in enumerate(items)]


def evaluate(path: Path, params: Mapping[str, Any], sources: Sources = read) -> Deployment:
    """Returns what deploying the file with these parameters would make."""
    deployment = Deployment()
    run = Evaluation(sources(path), params, deployment, sources)
    deployment.outputs = run.outputs()
    return deployment


class _Expressions:
    """Values of expressions."""

    def __init__(
        self,
        lookup: Callable[[str, Scope], Any] | None = None,
        look: Callable[[Resource, tuple[str, ...]], None] | None = None,
        path: Path = Path("constant"),
    ) -> None:
        self._outer, self._look, self._path = lookup, look, path

    def value(self, node: Node, scope: Scope) -> Any:
        handler = getattr(self, f"_{node.type}", None)
        if handler is None:
            raise BicepError(f"{place(self._path, node)}: {node.type} is not read here")
        return handler(node, scope)

    def _boolean(self, node: Node, _: Scope) -> bool:
        return text(node) == "true"

    def _number(self, node: Node, _: Scope) -> int:
        return int(text(node))

    def _null(self, _node: Node, _: Scope) -> None:
        return None

    def _identifier(self, node: Node, scope: Scope) -> Any:
        name = text(node)
        if name in scope:
            return scope[name]
        if self._outer is None:
            raise BicepError(f"{name} is no constant")
        return self._outer(name, scope)

    def _string(self, node: Node, scope: Scope) -> str:
        parts = []
        for child in named(node):
            if child.type == "interpolation":
                value = self.value(named(child)[0], scope)
                parts.append(str(value).lower() if isinstance(value, bool) else str(value))
            elif child.type == "escape_sequence":
                parts.append({"\\n": "\n", "\\'": "'", "\\\\": "\\", "\\$": "$"}[text(child)])
            else:
                parts.append(text(child))
        return "".join(parts)

    def _parenthesized_expression(self, node: Node, scope: Scope) -> Any:
        return self.value(named(node)[0], scope)

    def _array(self, node: Node, scope: Scope) -> list[Any]:
        return [self.value(child, scope) for child in named(node)]

    def _object(self, node: Node, scope: Scope) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for member in named(node):
            key, value = named(member)
            name = text(key) if key.type == "identifier" else self.value(key, scope)
            if name in made:
                raise BicepError(f"{place(self._path, key)}: {name} stands there twice")
            made[name] = self.value(value, scope)
        return made

    def _for_statement(self, node: Node, scope: Scope) -> list[Any]:
        return [self.value(body, inner) for body, inner in loop(node, scope, self.value)]

    def _ternary_expression(self, node: Node, scope: Scope) -> Any:
        condition, yes, no = named(node)
        return self.value(yes if self.value(condition, scope) else no, scope)

    def _unary_expression(self, node: Node, scope: Scope) -> Any:
        value = self.value(named(node)[0], scope)
        return not value if text(node).startswith("!") else -value

    def _binary_expression(self, node: Node, scope: Scope) -> Any:
        left, right = named(node)
        sign = text(node.children[1])
        first = self.value(left, scope)
        match sign:
            case "&&":
                return first and self.value(right, scope)
            case "||":
                return first or self.value(right, scope)
            case "??":
                return self.value(right, scope) if first is None else first
        second = self.value(right, scope)
        match sign:
            case "==":
                return first == second
            case "!=":
                return first != second
            case ">":
                return first > second
            case "<":
                return first < second
            case "+":
                return first + second
            case "*":
                return first * second
        raise BicepError(f"{place(self._path, node)}: {sign} is not read here")

    def _subscript_expression(self, node: Node, scope: Scope) -> Any:
        of, at = named(node)
        return self._member(node, self.value(of, scope), self.value(at, scope), is_optional=False)

    def _member_expression(self, node: Node, scope: Scope) -> Any:
        of, at = named(node)
        is_optional = any(child.type == ".?" for child in node.children)
        return self._member(node, self.value(of, scope), text(at), is_optional=is_optional)

    def _member(self, node: Node, of: Any, key: Any, *, is_optional: bool) -> Any:
        if isinstance(of, Runtime):
            return of.at(str(key))
        if isinstance(of, Resource):
            if key in ("id", "name", "type"):
                return getattr(of, key)
            return _Properties(of, (str(key),), self._look)
        if isinstance(of, _Properties):
            return of.at(str(key))
        try:
            return of[key]
        except (KeyError, IndexError, TypeError) as error:
            if is_optional:
                return None
            raise BicepError(f"{place(self._path, node)}: {text(node)} is not there: {of!r:.120}") from error

    def _call_expression(self, node: Node, scope: Scope) -> Any:
        name, *rest = named(node)
        if name.type == "member_expression":
            of, method = named(name)
            made = self.value(of, scope)
            if text(method) != "listKeys" or not isinstance(made, Resource):
                raise BicepError(f"{place(self._path, node)}: {text(name)} is not read here")
            return Runtime(f"<keys of {made.id}>")
        arguments = named(rest[0]) if rest else []
        if text(name) == "loadJsonContent":
            return json.loads((self._path.parent / self.value(arguments[0], scope)).read_text(encoding="utf-8"))
        function = FUNCTIONS.get(text(name))
        if function is None:
            raise BicepError(f"{place(self._path, node)}: the function {text(name)} is not read here")
        try:
            return function(*(self.value(argument, scope) for argument in arguments))
        except (TypeError, KeyError, ValueError) as error:
            raise BicepError(f"{place(self._path, node)}: {text(node)[:80]}: {error}") from error

    def _lambda_expression(self, node: Node, scope: Scope) -> Callable[..., Any]:
        *names, body = named(node)
        return lambda *values: self.value(body, {**scope, **dict(zip(map(text, names), values, strict=True))})


class _Properties(Runtime):
    """A resource's properties, which are known once it is there."""

    def __new__(cls, resource: Resource, path: tuple[str, ...], look: Callable[..., None] | None) -> "_Properties":
        made = super().__new__(cls, f"<{resource.id} {'.'.join(path)}>")
        made.resource, made.path, made.look = resource, path, look
        return made

    resource: Resource
    path: tuple[str, ...]
    look: Callable[..., None] | None

    def at(self, key: str) -> "_Properties":
        deeper = _Properties(self.resource, (*self.path, key), self.look)
        if self.look:
            self.look(self.resource, deeper.path)
        return deeper


def _union(*parts: Any) -> Any:
    if all(isinstance(part, dict) for part in parts):
        return {key: value for part in parts for key, value in part.items()}
    if not all(isinstance(part, list) for part in parts):
        raise TypeError(f"union of {parts!r:.80}")
    united: list[Any] = []
    for item in (item for part in parts for item in part):
        if item not in united:
            united.append(item)
    return united


def _string_of(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _token(*parts: Any) -> str:
    return re.sub(r"[^a-z0-9]", "", json.dumps(parts).lower().encode().hex())[-26::2].ljust(13, "x")


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "any": lambda value: value,
    "contains": lambda within, what: what in within,
    "empty": lambda value: value is None or (not isinstance(value, Runtime) and len(value) == 0),
    "environment": lambda: {"suffixes": {"storage": "core.windows.net"}},
    "filter": lambda items, is_wanted: [item for item in items if is_wanted(item)],
    "flatten": lambda lists: [item for part in lists for item in part],
    "guid": lambda *parts: f"guid({'|'.join(map(str, parts))})",
    "items": lambda of: [{"key": key, "value": of[key]} for key in sorted(of)],
    "length": len,
    "listKeys": lambda of, _version: Runtime(f"<keys of {of}>"),
    "map": lambda items, make: [make(item) for item in items],
    "max": max,
    "replace": lambda within, what, by: within.replace(what, by),
    "resourceGroup": lambda name="rg": {"name": name, "id": f"/subscriptions/s/resourceGroups/{name}", "location": "region"},
    "startsWith": lambda whole, start: whole.lower().startswith(start.lower()),
    "string": _string_of,
    "subscription": lambda: {"id": "/subscriptions/s", "subscriptionId": "s", "tenantId": "t"},
    "subscriptionResourceId": lambda type_, name: f"/subscriptions/s/providers/{type_}/{name}",
    "take": lambda whole, num: whole[:num],
    "tenant": lambda: {"tenantId": "t"},
    "toLower": str.lower,
    "union": _union,
    "uniqueString": _token,
}
