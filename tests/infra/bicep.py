"""Says what a Bicep template would deploy: parameters, loops, conditions, modules and functions are worked out.

A template that uses more than is known here is refused. What only Azure knows (a resource's properties, its keys)
becomes a `Runtime` value, and every look at a resource is written down, so that a test can ask whether there is such a
thing.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.infra.syntax import BicepError, Declaration, Node, Template, read

Scope = dict[str, Any]
Content = Callable[[Path], str]


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
    body: Mapping[str, Any]
    parent: "Resource | None"
    exists_already: bool
    place: str

    @property
    def name(self) -> str:
        return str(self.body["name"])

    @property
    def id(self) -> str:
        above = f"{self.parent.id}/{self.type.rpartition('/')[2]}" if self.parent else f"/{self.type}"
        return f"{above}/{self.name}"


class Properties(Runtime):
    """A resource's properties, which are known once it is there."""

    resource: Resource
    path: tuple[str, ...]
    looks: list[tuple[str, tuple[str, ...]]]

    @classmethod
    def of(cls, resource: Resource, path: tuple[str, ...], looks: list[tuple[str, tuple[str, ...]]]) -> "Properties":
        made = cls(f"<{resource.id} {'.'.join(path)}>")
        made.resource, made.path, made.looks = resource, path, looks
        looks.append((resource.type, path))
        return made

    def at(self, key: str) -> "Properties":
        return Properties.of(self.resource, (*self.path, key), self.looks)


@dataclass
class Deployment:
    """What a template comes to, with everything that its modules deploy."""

    resources: list[Resource] = field(default_factory=list)
    outputs: dict[str, Any] = field(default_factory=dict)
    looks: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    """Type and path of every property of a resource that was read."""

    def of_type(self, type_: str) -> list[Resource]:
        """What is made, less what is only looked at."""
        return [found for found in self.resources if found.type == type_ and not found.exists_already]


def content_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def evaluate(path: Path, params: Mapping[str, Any], content: Content = content_of) -> Deployment:
    """Returns what deploying the file with these parameters would make; `content` reads it and what it takes in."""
    deployment = Deployment()
    deployment.outputs = _Run(path.resolve(), params, deployment, content).outputs()
    return deployment


class _Run:
    """One run of one template with its parameters."""

    def __init__(self, path: Path, params: Mapping[str, Any], deployment: Deployment, content: Content) -> None:
        self._template: Template = read(path, content(path))
        self._deployment, self._content = deployment, content
        template = self._template
        self._known: Scope = {}
        for name, declared in template.of("param").items():
            if name not in params and declared.value is None:
                raise BicepError(f"{template.path.name}: the parameter {name} is required and not given")
            value = params[name] if name in params else self._value(declared.value, {})
            self._known[name] = self._checked(declared, value)
        for name in params:
            if name not in template.of("param"):
                raise BicepError(f"{template.path.name} has no parameter {name}")
        kinds = ("var", "resource", "module")
        self._pending = {each.name: each for each in template.declarations if each.kind in kinds}
        for name in list(self._pending):
            self._lookup(name, 0)

    def outputs(self) -> dict[str, Any]:
        return {name: self._value(declared.value, {}) for name, declared in self._template.of("output").items()}

    def _fail(self, line: int, what: str) -> BicepError:
        return BicepError(f"{self._template.path.name}:{line}: {what}")

    def _checked(self, declared: Declaration, value: Any) -> Any:
        kinds: dict[str, type] = {"string": str, "int": int, "bool": bool, "array": list, "object": dict}
        wanted = kinds.get(declared.type)
        if wanted is None:
            raise self._fail(declared.line, f"the type {declared.type} is not read here")
        if not isinstance(value, wanted | Runtime) or (isinstance(value, bool) and wanted is int):
            raise self._fail(declared.line, f"{declared.name} is {value!r}, not {declared.type}")
        rules = {name: self._value(rule, {}) for name, rule in declared.decorators.items() if rule}
        given: Any = value
        size = given if isinstance(given, int) else len(given)
        broken = [
            name
            for name, is_kept in (
                ("allowed", lambda rule: value in rule),
                ("minValue", lambda rule: size >= rule),
                ("maxValue", lambda rule: size <= rule),
                ("minLength", lambda rule: size >= rule),
                ("maxLength", lambda rule: size <= rule),
            )
            if name in rules and not is_kept(rules[name])
        ]
        if broken:
            raise self._fail(declared.line, f"{declared.name} is {value!r}, against its {broken[0]} {rules[broken[0]]}")
        return value

    def _lookup(self, name: str, line: int) -> Any:
        if name not in self._known:
            if name not in self._pending:
                raise self._fail(line, f"{name} is declared nowhere, or needs itself")
            declared = self._pending.pop(name)
            self._known[name] = self._made(declared)
        return self._known[name]

    def _made(self, declared: Declaration) -> Any:
        assert declared.value is not None
        if declared.kind == "var":
            return self._value(declared.value, {})
        if declared.value.kind == "loop":
            return [self._one(declared, body, scope) for body, scope in self._loop(declared.value, {})]
        return self._one(declared, declared.value, {})

    def _one(self, declared: Declaration, node: Node, scope: Scope) -> Any:
        if node.kind == "if":
            condition, node = node.parts
            if not self._value(condition, scope):
                return None
        body = self._value(node, scope)
        if declared.kind == "module":
            path = (self._template.path.parent / declared.target).resolve()
            inner = _Run(path, body.get("params", {}), self._deployment, self._content)
            return {"name": body["name"], "outputs": inner.outputs()}
        type_, _, version = declared.target.partition("@")
        parent = body.pop("parent", None)
        where = f"{self._template.path.name}:{declared.line}"
        made = Resource(declared.name, type_, version, body, parent, declared.exists_already, where)
        self._deployment.resources.append(made)
        return made

    def _loop(self, node: Node, scope: Scope) -> list[tuple[Node, Scope]]:
        names, over, body = node.parts
        items = list(enumerate(self._value(over, scope)))
        if any(isinstance(part, Runtime) for _, item in items for part in _parts(item)):
            raise self._fail(node.line, "a loop goes over what is known only later, which Bicep does not allow")
        return [(body, {**scope, **dict(zip(names, (item, index), strict=False))}) for index, item in items]

    def _value(self, node: Node | None, scope: Scope) -> Any:
        assert node is not None
        match node.kind, node.parts:
            case "constant", (value,):
                return value
            case "text", pieces:
                return "".join(
                    self._shown(self._value(part, scope) if isinstance(part, Node) else part) for part in pieces
                )
            case "name", (name,):
                return scope[name] if name in scope else self._lookup(name, node.line)
            case "list", items:
                return [self._value(item, scope) for item in items]
            case "object", members:
                made: Scope = {}
                for key, value in members:
                    name = self._value(key, scope)
                    if name in made:
                        raise self._fail(key.line, f"{name} stands there twice")
                    made[name] = self._value(value, scope)
                return made
            case "loop", _:
                return [self._value(body, inner) for body, inner in self._loop(node, scope)]
            case "choose", (condition, yes, no):
                return self._value(yes if self._value(condition, scope) else no, scope)
            case "unary", (sign, of):
                return not self._value(of, scope) if sign == "!" else -self._value(of, scope)
            case "binary", (sign, left, right):
                return self._binary(sign, self._value(left, scope), lambda: self._value(right, scope))
            case "member", (of, name, is_optional):
                return self._member(node, self._value(of, scope), name, is_optional=is_optional)
            case "index", (of, at):
                return self._member(node, self._value(of, scope), self._value(at, scope), is_optional=False)
            case "lambda", (name, body):
                return lambda item: self._value(body, {**scope, name: item})
            case "call", (name, arguments):
                return self._call(node, name, [self._value(argument, scope) for argument in arguments])
        raise self._fail(node.line, f"{node.kind} is not read here")

    @staticmethod
    def _shown(value: Any) -> str:
        return str(value).lower() if isinstance(value, bool) else str(value)

    @staticmethod
    def _binary(sign: str, left: Any, right: Callable[[], Any]) -> Any:
        match sign:
            case "&&":
                return left and right()
            case "||":
                return left or right()
            case "??":
                return right() if left is None else left
            case "==" | "!=":
                return (left == right()) is (sign == "==")
            case "<" | "<=":
                return left < right() or (sign == "<=" and left == right())
            case ">" | ">=":
                return left > right() or (sign == ">=" and left == right())
            case "%":
                return left % right()
            case "/":
                return left // right()
        raise BicepError(f"{sign} is not read here")

    def _member(self, node: Node, of: Any, key: Any, *, is_optional: bool) -> Any:
        if isinstance(of, Runtime):
            return of.at(str(key))
        if isinstance(of, Resource):
            if key in ("id", "name"):
                return getattr(of, key)
            return Properties.of(of, (str(key),), self._deployment.looks)
        if of is None and is_optional:
            return None
        try:
            return of[key]
        except (KeyError, IndexError, TypeError) as error:
            if is_optional and isinstance(error, KeyError):
                return None
            raise self._fail(node.line, f"there is no {key} in {of!r:.120}") from error

    def _call(self, node: Node, name: str, arguments: list[Any]) -> Any:
        if name == "loadJsonContent":
            return json.loads(self._content(self._template.path.parent / arguments[0]))
        if name not in FUNCTIONS:
            raise self._fail(node.line, f"the function {name} is not read here")
        try:
            return FUNCTIONS[name](*arguments)
        except (TypeError, KeyError, ValueError) as error:
            raise self._fail(node.line, f"{name}: {error}") from error


def _parts(value: Any) -> list[Any]:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [value, *(part for each in inside for part in _parts(each))]


def _union(*parts: Any) -> Any:
    if all(isinstance(part, dict) for part in parts):
        return {key: value for part in parts for key, value in part.items()}
    united: list[Any] = []
    for item in (item for part in parts for item in part):
        if item not in united:
            united.append(item)
    return united


def _group(name: str = "group") -> dict[str, str]:
    return {"name": name, "id": f"/subscriptions/s/resourceGroups/{name}", "location": "region"}


def _is_empty(value: Any) -> bool:
    return value is None or (not isinstance(value, Runtime) and len(value) == 0)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "any": lambda value: value,
    "concat": lambda *lists: [item for part in lists for item in part],
    "empty": _is_empty,
    "endsWith": lambda whole, end: whole.lower().endswith(end.lower()),
    "environment": lambda: {"suffixes": {"storage": "core.windows.net"}},
    "filter": lambda items, is_wanted: [item for item in items if is_wanted(item)],
    "flatten": lambda lists: [item for part in lists for item in part],
    "guid": lambda *parts: f"guid of {' '.join(parts)}",
    "int": int,
    "items": lambda of: [{"key": key, "value": of[key]} for key in sorted(of)],
    "length": len,
    "listKeys": lambda of, _version: Runtime(f"<keys of {of}>"),
    "map": lambda items, make: [make(item) for item in items],
    "max": max,
    "range": lambda first, num: list(range(first, first + num)),
    "replace": str.replace,
    "resourceGroup": _group,
    "startsWith": lambda whole, start: whole.lower().startswith(start.lower()),
    "string": lambda value: value if isinstance(value, str) else json.dumps(value, separators=(",", ":")),
    "subscription": lambda: {"id": "/subscriptions/s"},
    "subscriptionResourceId": lambda type_, name: f"/subscriptions/s/providers/{type_}/{name}",
    "toLower": str.lower,
    "union": _union,
    # Azure's is 13 characters too, but others.
    "uniqueString": lambda *parts: f"{sum(map(ord, ''.join(parts))):013}",
}
"""All functions that templates may call here, with the meaning that Bicep's reference gives them."""
