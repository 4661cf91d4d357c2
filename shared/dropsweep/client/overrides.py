"""Values set over those of a job file (`limits.max_total_trials=20`), with the file's comments kept where they can be.

In a YAML file the value is exchanged, or the key added, in its place. Whether the new text says what it shall is seen
by reading it again; where it does not, as anchors repeat the place elsewhere, say, the whole file is written anew.
"""

import json
import re
from collections.abc import Collection, Iterable
from typing import Any, Final

import yaml

from dropsweep.errors import DropsweepError, Problem, Severity, SpecError
from dropsweep.names import Priority

_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_PART: Final = re.compile(r'(?:^|\.)(?:"([^"]+)"|([^.\[\]"=\s]+))|\[(\d{1,6})\]')
_PRIORITY_KEYS: Final = (("queue_settings", "priority"), ("schedulingPriority",))
_PLAIN_KEY: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_NO_PLAIN_KEY: Final = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})
# JSON leaves them as they are, and YAML takes them for ends of lines, or not at all.
_BREAKS: Final = re.compile("[\x7f-\x9f\u2028\u2029\ufeff]")

# Between two tokens there are only blanks, ends of lines and comments.
_COMMENT: Final = re.compile("#[^\r\n]*")

Path = tuple[str | int, ...]


def read_assignments(texts: Iterable[str]) -> dict[str, Any]:
    """Reads `path=value` as a person types it; of one path twice the last counts.

    The value is read as YAML, so `20` is a number, `[1, 2]` a list, `"20"` a text, and nothing at all is null. A
    comment in it is refused: nobody comments what he types, so the rest of a text would be lost in silence.

    Raises:
        DropsweepError: a text has no `=`.
        SpecError: a value is not YAML, or has a comment.
    """
    # Imported here: it brings pydantic with it.
    from dropsweep.spec.yaml_tree import Refused, compose

    found: dict[str, Any] = {}
    for text in texts:
        path, equals, value = text.partition("=")
        if not equals:
            raise DropsweepError(f"{text!r} sets nothing: it must be path=value. Write it as limits.timeout=600")
        try:
            found[path.strip()], problems = compose(value, max_num_nodes=10_000, max_depth=20)
            comment = _comment_in(value)
        except (Refused, yaml.YAMLError) as error:
            why = error.problem.rule if isinstance(error, Refused) else " ".join(str(error).split())[:160]
            rule = f"a value is read as YAML: {why}"
            raise SpecError((Problem(path[:80], value[:80], rule, "Put the value in quotes"),)) from error
        if any(problem.severity is Severity.ERROR for problem in problems):
            raise SpecError(tuple(problems))
        if comment:
            rule = f"a value is read as YAML, where {comment[:80]} is a comment and would be left out"
            raise SpecError((Problem(path[:80], value[:80], rule, "Put the value in quotes"),))
    return found


def placed(keys: Collection[tuple[str, ...]], cluster: str | None, priority: Priority | None) -> dict[str, str]:
    """Returns what to set in a job file so that it goes to a cluster, with a priority.

    Args:
        keys: of the file's text values: a priority is set wherever it says one, for two that differ are refused.
        cluster: the cluster's name; None: as the file says.
        priority: None: as the file says.
    """
    found = {} if cluster is None else {"compute": f"azureml:{cluster.removeprefix('azureml:')}"}
    if priority is not None:
        said = [".".join(key) for key in _PRIORITY_KEYS if key in keys]
        found |= dict.fromkeys(said or [".".join(_PRIORITY_KEYS[0])], str(priority))
    return found


def path_of(text: str) -> Path:
    """Reads `a.b[0].c`; a key with a dot in it stands in double quotes, as in `tags."a.b"`.

    Raises:
        SpecError: it is no such path.
    """
    parts: list[str | int] = []
    at = 0
    while at < len(text) and (match := _PART.match(text, at)):
        quoted, plain, index = match.groups()
        parts.append(int(index) if index is not None else quoted or plain)
        at = match.end()
    told = text.encode(errors="backslashreplace").decode()
    if at < len(text) or not parts or isinstance(parts[0], int) or told != text:
        rule = "a path is keys joined by dots, with indexes in brackets, as in search_space.lr.max_value or a[0]"
        raise SpecError((Problem(told[:80], "", rule, "Correct it"),))
    return tuple(parts)


def with_value(data: Any, path: Path, value: Any) -> Any:
    """Returns `data` with one value set; mappings on the way that are not there are made, and nothing is changed.

    Raises:
        SpecError: the path leads through a text or a number, or to an entry that a list does not have.
    """
    return _set(data, path, value, ())


def edited(text: str, path: Path, value: Any) -> str | None:
    """Returns a YAML text with one value set in its place; None where that cannot be done in place.

    The result may say something else where the text has anchors: whoever calls reads it again.
    """
    node: Any = yaml.compose(text, Loader=_LOADER)
    for depth, part in enumerate(path):
        child = _child(node, part)
        if child is None:
            return _added(text, node, path[depth:], value)
        node = child
    return _exchanged(text, node, value)


def literal(value: Any) -> str:
    """Returns a value as JSON that YAML reads the same way.

    Raises:
        TypeError, ValueError: JSON has no such value.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return _BREAKS.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def check_value(path: str, value: Any) -> None:
    """Refuses what no job file can hold.

    Raises:
        SpecError: a number that is not finite, or an object that JSON does not have.
    """
    try:
        literal(value).encode()  # half a surrogate pair is no text that UTF-8 could store
    except (TypeError, ValueError) as error:
        rule = "a value is text, a finite number, true, false, null, or a list or mapping of them"
        raise SpecError((Problem(path[:80], ascii(value)[:80], rule, "Set another value"),)) from error


def _comment_in(text: str) -> str:
    """Returns the first comment of a YAML text; empty when it has none."""
    end = 0
    # The loader in Python: libyaml counts differently where a text has other than ASCII characters.
    for token in yaml.scan(text, Loader=yaml.SafeLoader):
        found = _COMMENT.search(text[end : token.start_mark.index])
        if found is None and isinstance(token, yaml.ScalarToken) and token.style in ("|", ">"):
            # A comment may stand behind the sign that begins a block, and is a part of its token.
            header = text[token.start_mark.index : token.end_mark.index].partition("\n")[0]
            found = _COMMENT.search(header)
        if found is not None:
            return found[0]
        end = token.end_mark.index
    return ""


def _set(data: Any, path: Path, value: Any, done: Path) -> Any:
    if not path:
        return value
    part, *rest = path
    if isinstance(part, int):
        if not isinstance(data, list) or part >= len(data):
            there = f"a list of {len(data)}, counted from 0" if isinstance(data, list) else _kind(data)
            rule = f"[{part}] names an entry of a list, and here is {there}"
            raise SpecError((Problem(_shown(done), "", rule, "Set an entry that is there, or the list as a whole"),))
        return [_set(old, tuple(rest), value, (*done, part)) if i == part else old for i, old in enumerate(data)]
    if data is not None and not isinstance(data, dict):
        rule = f"`{part}` names a key of a mapping, and here is {_kind(data)}"
        raise SpecError((Problem(_shown(done), "", rule, "Set the value as a whole, or correct the path"),))
    known = data or {}
    return {**known, part: _set(known.get(part), tuple(rest), value, (*done, part))}


def _kind(data: Any) -> str:
    if isinstance(data, dict | list):
        return "a mapping" if isinstance(data, dict) else "a list"
    return "nothing" if data is None else literal(data)[:60]


def _shown(path: Path) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")[:80]


def _child(node: yaml.Node | None, part: str | int) -> yaml.Node | None:
    if isinstance(node, yaml.MappingNode):
        return next((child for key, child in node.value if key.value == part), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int):
        return node.value[part] if part < len(node.value) else None
    return None


def _exchanged(text: str, node: yaml.Node, value: Any) -> str:
    start, end = node.start_mark.index, _end(node)
    # A value in block style (`>-`) includes the end of its last line; one that is left out follows the colon at once.
    line_end = "\n" if text[start:end].endswith("\n") else ""
    blank = " " if start == end and text[:start].endswith(":") else ""
    return f"{text[:start]}{blank}{literal(value)}{line_end}{text[end:]}"


def _added(text: str, node: yaml.Node | None, path: Path, value: Any) -> str | None:
    for part in reversed(path[1:]):
        value = {part: value}
    if isinstance(node, yaml.ScalarNode):  # a key without a value, which becomes a mapping
        return _exchanged(text, node, {path[0]: value})
    if not isinstance(node, yaml.MappingNode) or not isinstance(path[0], str):
        return None
    entry = f"{_key(path[0])}: {literal(value)}"
    if node.flow_style:
        at = _end(node.value[-1][1]) if node.value else node.start_mark.index + 1
        return f"{text[:at]}{', ' if node.value else ''}{entry}{text[at:]}"
    at = _end(node)
    if not text[:at].endswith("\n"):
        line_end = text.find("\n", at)
        if line_end < 0:
            text, at = f"{text}\n", len(text) + 1
        else:
            at = line_end + 1
    return f"{text[:at]}{' ' * node.value[0][0].start_mark.column}{entry}\n{text[at:]}"


def _end(node: yaml.Node) -> int:
    """Where a value ends. A block of entries ends with its last one, not after the comments that follow it."""
    if isinstance(node, yaml.MappingNode | yaml.SequenceNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(last[1] if isinstance(last, tuple) else last)
    return int(node.end_mark.index)


def _key(key: str) -> str:
    is_plain = _PLAIN_KEY.fullmatch(key) and key.lower() not in _NO_PLAIN_KEY
    return key if is_plain else literal(key)
