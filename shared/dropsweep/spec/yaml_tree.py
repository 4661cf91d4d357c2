"""YAML's events made into a tree, step by step and under limits."""

import re
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import yaml

from dropsweep.errors import Problem
from dropsweep.spec.problems import error, join, missing, warning

_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml where the wheel has it: 20 times as fast

# YAML 1.2.2, section 10.3.2: the core schema's implicit types of plain scalars.
_NULL: Final = re.compile(r"null|Null|NULL|~|")
_BOOL: Final = re.compile(r"true|True|TRUE|false|False|FALSE")
_INT: Final = re.compile(r"[-+]?[0-9]+")
_OCTAL: Final = re.compile(r"0o[0-7]+")
_HEX: Final = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INFINITE: Final = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_MAX_DIGITS: Final = 400
MAX_NUM_CHARACTERS: Final = 1024 * 1024

# What YAML 1.1 reads as something other than text, or as another number.
_OLD_BOOL: Final = re.compile(r"yes|Yes|YES|no|No|NO|on|On|ON|off|Off|OFF")
_OLD_OTHER: Final = re.compile(
    r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?|[-+]?[0-9][0-9_]*_[0-9_]*|\d{4}-\d\d?-\d\d?([Tt ].*)?"
)
_OLD_OCTAL: Final = re.compile(r"[-+]?0[0-9]+")
_TAGS: Final = {"tag:yaml.org,2002:str", "!", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"}
_MERGE: Final = "<<"
_HALF_PAIR: Final = re.compile("[\ud800-\udfff]")


class Refused(Exception):
    """The whole file is refused, for one reason."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(str(problem))


class _Size(NamedTuple):
    """How much a value is, with each alias in it counted as all that it stands for."""

    num_nodes: int
    num_characters: int

    def plus(self, other: "_Size") -> "_Size":
        return _Size(self.num_nodes + other.num_nodes, self.num_characters + other.num_characters)


_ONE_NODE: Final = _Size(1, 0)


@dataclass(slots=True)
class _Open:
    """A mapping or list that is being filled."""

    value: dict[str, Any] | list[Any]
    path: str
    anchor: str | None
    size: _Size = _ONE_NODE
    key: str | None = None
    merges: list[Any] = field(default_factory=list)

    def next_path(self) -> str:
        if isinstance(self.value, list):
            return join(self.path, len(self.value))
        return join(self.path, self.key) if self.key is not None else self.path


class _Composer:
    def __init__(self, limit: _Size, max_depth: int) -> None:
        self.problems: list[Problem] = []
        self._limit = limit
        self._max_depth = max_depth
        self._size = _Size(0, 0)
        self._anchors: dict[str, tuple[Any, _Size]] = {}
        self._stack: list[_Open] = []
        self.root: Any = None

    def take(self, event: yaml.Event) -> None:
        match event:
            case yaml.ScalarEvent():
                value, size = self._scalar(event), _Size(1, len(event.value))
                if event.anchor:
                    self._anchors[event.anchor] = (value, size)
                self._add(value, size, is_plain=event.implicit[0])
            case yaml.AliasEvent():
                self._alias(event)
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                self._open(event)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                self._close()

    def _count(self, size: _Size) -> None:
        self._size = self._size.plus(size)
        counted = "each alias counted as all it stands for"
        if self._size.num_nodes > self._limit.num_nodes:
            rule = f"a job file holds at most {self._limit.num_nodes} values, {counted}"
            raise Refused(missing("", rule, "Write a distribution such as `randint` in place of a long list"))
        if self._size.num_characters > self._limit.num_characters:
            rule = f"a job file holds at most {self._limit.num_characters} characters, {counted}"
            raise Refused(missing("", rule, "Put the text that is repeated into a file of the code folder"))

    def _path(self) -> str:
        return self._stack[-1].next_path() if self._stack else ""

    def _open(self, event: Any) -> None:
        self._check_tag(event)
        if len(self._stack) >= self._max_depth:
            raise Refused(
                missing("", f"values may be nested {self._max_depth} deep at most", "Write the file with fewer levels")
            )
        path = self._path()
        if self._awaits_key():
            raise Refused(missing("", f"keys are text, and one at {path or 'the top'} is a list or mapping", "Mend it"))
        self._count(_ONE_NODE)
        self._stack.append(_Open({} if isinstance(event, yaml.MappingStartEvent) else [], path, event.anchor))

    def _close(self) -> None:
        done = self._stack.pop()
        if isinstance(done.value, dict):
            for merged in done.merges:  # keys of the mapping itself win, then those of the first merged mapping
                for key, value in merged.items():
                    done.value.setdefault(key, value)
        if done.anchor:
            self._anchors[done.anchor] = (done.value, done.size)
        self._place(done.value, done.size)

    def _alias(self, event: yaml.AliasEvent) -> None:
        if any(level.anchor == event.anchor for level in self._stack):
            raise Refused(missing("", f"the alias *{event.anchor} stands inside what it names", "Write the value out"))
        if event.anchor not in self._anchors:
            raise Refused(missing("", f"the alias *{event.anchor} names no anchor above it", "Add the anchor"))
        value, size = self._anchors[event.anchor]
        self._add(value, size, is_plain=False)

    def _awaits_key(self) -> bool:
        return bool(self._stack) and isinstance(self._stack[-1].value, dict) and self._stack[-1].key is None

    def _add(self, value: Any, size: _Size, *, is_plain: bool) -> None:
        self._count(size)
        if not self._awaits_key():
            self._place(value, size)
            return
        level = self._stack[-1]
        level.size = level.size.plus(_Size(0, size.num_characters))
        if not isinstance(value, str):
            text = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
            self.problems.append(error(join(level.path, text), value, "a key is text", "Put the key in quotes"))
            value = text
        if value in level.value and not (value == _MERGE and is_plain):
            self.problems.append(
                missing(join(level.path, value), "a key stands once in a mapping", "Remove all but one")
            )
        level.key = value

    def _place(self, value: Any, size: _Size) -> None:
        if not self._stack:
            self.root = value
            return
        level = self._stack[-1]
        level.size = level.size.plus(size)
        if isinstance(level.value, list):
            level.value.append(value)
            return
        key, level.key = level.key, None
        if key == _MERGE:
            parts = value if isinstance(value, list) else [value]
            if all(isinstance(part, dict) for part in parts):
                level.merges.extend(parts)
                return
        level.value[str(key)] = value

    def _check_tag(self, event: Any) -> None:
        if event.tag is not None and event.tag not in _TAGS:
            raise Refused(
                missing("", f"the tag {event.tag[:80]} is not read", "Remove the tag, and write plain values")
            )

    def _scalar(self, event: yaml.ScalarEvent) -> Any:
        self._check_tag(event)
        text = event.value
        if not event.implicit[0] or event.tag is not None:
            return text
        if _NULL.fullmatch(text):
            return None
        if _BOOL.fullmatch(text):
            return text.lower() == "true"
        self._warn_of_old_meaning(text)
        if len(text) > _MAX_DIGITS:
            if any(pattern.fullmatch(text) for pattern in (_INT, _OCTAL, _HEX, _FLOAT)):
                rule = f"a number has at most {_MAX_DIGITS} characters"
                self.problems.append(error(self._path(), text, rule, "Write a smaller number, such as 1e300"))
        else:
            if _INT.fullmatch(text):
                return int(text)
            if _OCTAL.fullmatch(text) or _HEX.fullmatch(text):
                return int(text, base=0)
            if _FLOAT.fullmatch(text):
                return float(text)
        return float(text.lower().replace(".", "")) if _INFINITE.fullmatch(text) else text

    def _warn_of_old_meaning(self, text: str) -> None:
        if self._awaits_key():
            return
        if _OLD_BOOL.fullmatch(text):
            rule, remedy = "is text here (YAML 1.2), not true or false", "Write true or false, or put it in quotes"
        elif _OLD_OTHER.fullmatch(text):
            rule, remedy = "is text here (YAML 1.2), not a number or date", "Put it in quotes, or write a plain number"
        elif _OLD_OCTAL.fullmatch(text):
            rule, remedy = "is a decimal number here (YAML 1.2), not an octal one", "Write it without leading zeros"
        else:
            return
        self.problems.append(warning(self._path(), text, rule, remedy))


def compose(
    text: str, *, max_num_nodes: int, max_depth: int, max_num_characters: int = MAX_NUM_CHARACTERS
) -> tuple[Any, list[Problem]]:
    """Returns the one document in `text` as plain values, with the problems that leave the rest readable.

    Keys are always text. Lists and mappings that aliases repeat are shared, so nothing may change them.

    Args:
        text: YAML.
        max_num_nodes: of values, each alias counted as all that it stands for.
        max_depth: of mappings and lists within each other.
        max_num_characters: of keys and values, each alias counted as all that it stands for: the text that an alias
            repeats is shared here, and written out in full by whoever stores the values.

    Raises:
        Refused: when nothing can be made of the file: limits, tags, aliases, several documents.
        yaml.YAMLError: when the text is not YAML.
    """
    if _HALF_PAIR.search(text):  # a file has none, but what comes from a command line may
        raise Refused(missing("", "text cannot hold half a surrogate pair, or a byte that is not UTF-8", "Remove it"))
    composer = _Composer(_Size(max_num_nodes, max_num_characters), max_depth)
    num_documents = 0
    for event in yaml.parse(text, Loader=_LOADER):
        if isinstance(event, yaml.DocumentStartEvent):
            num_documents += 1
            if num_documents > 1:
                rule = "a job file holds one document, and a second begins after `---`"
                raise Refused(missing("", rule, "Drop one file a job"))
        composer.take(event)
    return composer.root, composer.problems
