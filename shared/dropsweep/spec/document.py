"""From the bytes of a job file to a tree of plain values, or to the reasons why not; safe for any bytes.

YAML is read with the meaning of YAML 1.2's core schema: only `true`, `false`, `null` and numbers are not text. Where
YAML 1.1, which other tools still read, would have made something else of a value, a warning says so. Nothing
recurses, and the number of values is counted before aliases are expanded.
"""

import json
import math
from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

import yaml

from dropsweep.errors import Problem
from dropsweep.spec.problems import error, join, missing
from dropsweep.spec.yaml_tree import Refused, compose

MAX_JOB_FILE_BYTES: Final = 1024 * 1024
MAX_NUM_NODES: Final = 100_000
"""Values in one file, with each alias counted as all that it stands for."""
MAX_DEPTH: Final = 40
MAX_INTEGER: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Document:
    """What a file holds.

    Attributes:
        data: its mapping; None when there is none to speak of.
        problems: what is wrong with it as YAML or JSON.
    """

    data: dict[str, Any] | None
    problems: tuple[Problem, ...]


class _Duplicates(dict[str, Any]):
    """A JSON object in which keys stood twice."""

    keys_twice: tuple[str, ...] = ()


def read_document(body: bytes, *, file_name: str) -> Document:
    """Reads YAML, or JSON when the name ends in `.json`; returns problems and raises nothing, whatever the bytes."""
    if len(body) > MAX_JOB_FILE_BYTES:
        size = f"{len(body)} bytes"
        rule = f"a job file holds at most {MAX_JOB_FILE_BYTES} bytes"
        return Document(None, (Problem("", size, rule, "Put data and code into storage and name their paths"),))
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as failure:
        what = f"byte 0x{body[failure.start]:02x} at position {failure.start}"
        rule = f"a job file is text in UTF-8, which {what} is not"
        return Document(None, (missing("", rule, "Save the file with encoding UTF-8"),))
    is_json = file_name.lower().endswith(".json")
    data, problems = _read_json(text) if is_json else _read_yaml(text)
    if any(problem.path == "" for problem in problems):
        return Document(None, tuple(problems))
    if not isinstance(data, dict):
        if data is None:
            return Document(None, (missing("", "the file is empty", "Write a job, beginning with `type: sweep`"),))
        rule = "a job file is a mapping of keys to values"
        return Document(None, (error("", data, rule, "Begin with a line such as `type: sweep`"),))
    return Document(data, (*problems, *_check_values(data)))


def _read_json(text: str) -> tuple[Any, list[Problem]]:
    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        found = _Duplicates(items)
        if len(found) < len(items):
            counts = Counter(key for key, _ in items)
            found.keys_twice = tuple(key for key, count in counts.items() if count > 1)
        return found

    try:
        return json.loads(text, object_pairs_hook=pairs), []
    except RecursionError:
        return None, [_too_deep()]
    except json.JSONDecodeError as failure:
        where = f"line {failure.lineno}, column {failure.colno}"
        return None, [missing("", f"the file is not JSON at {where}: {failure.msg}", "Mend the file at that place")]
    except ValueError:  # a whole number of more digits than Python converts
        rule = "the file holds a number of thousands of digits"
        return None, [missing("", rule, "Write numbers with at most 18 digits")]


def _read_yaml(text: str) -> tuple[Any, list[Problem]]:
    try:
        return compose(text, max_num_nodes=MAX_NUM_NODES, max_depth=MAX_DEPTH)
    except Refused as refused:
        return None, [refused.problem]
    except yaml.MarkedYAMLError as failure:
        mark = failure.problem_mark or failure.context_mark
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        what = " ".join(part for part in (failure.context, failure.problem) if part)
        is_tab = mark is not None and mark.index < len(text) and text[mark.index] == "\t"
        remedy = "Indent with blanks, for YAML allows no tabs there" if is_tab else "Mend the file at that place"
        return None, [missing("", f"the file is not YAML{where}: {what}", remedy)]
    except yaml.YAMLError as failure:
        what = " ".join(str(failure).split())[:200]
        return None, [missing("", f"the file is not YAML: {what}", "Save it as plain text in UTF-8")]


def _too_deep() -> Problem:
    return missing("", f"values may be nested {MAX_DEPTH} deep at most", "Write the file with fewer levels")


def _check_values(data: dict[str, Any]) -> list[Problem]:
    """Checks what YAML and JSON allow and no job can use: NaN, infinities, huge whole numbers, NUL, half characters."""
    problems: list[Problem] = []
    num_nodes = 0
    pending: list[tuple[str, int, Any]] = [("", 1, data)]
    while pending:
        path, depth, value = pending.pop()
        num_nodes += 1
        if num_nodes > MAX_NUM_NODES:
            rule = f"a job file holds at most {MAX_NUM_NODES} values"
            return [missing("", rule, "Write a distribution such as `randint` in place of a long list")]
        if depth > MAX_DEPTH:
            return [_too_deep()]
        match value:
            case dict():
                for key in getattr(value, "keys_twice", ()):
                    rule = "a key stands once in a mapping"
                    problems.append(missing(join(path, key), rule, "Remove all but one"))
                for key in value:
                    if (reason := _unfit_text(key)) is not None:
                        problems.append(error(path, key, f"a key {reason}", "Use letters, digits and _"))
                pending.extend((join(path, key), depth + 1, child) for key, child in reversed(value.items()))
            case list():
                pending.extend((join(path, index), depth + 1, child) for index, child in reversed([*enumerate(value)]))
            case float() if not math.isfinite(value):
                rule = "a number must be finite"
                problems.append(error(path, value, rule, "Write a number within ±1e308, or put the word in quotes"))
            case int() if abs(value) > MAX_INTEGER:
                rule = f"a whole number must lie within ±{MAX_INTEGER}"
                problems.append(error(path, value, rule, "Write a smaller number, or one with a decimal point"))
            case str() if (reason := _unfit_text(value)) is not None:
                problems.append(error(path, value, f"text {reason}", "Remove that character"))
    return problems


def _unfit_text(text: str) -> str | None:
    if "\0" in text:
        return "cannot hold the character NUL, which ends a command line"
    if any("\ud800" <= character <= "\udfff" for character in text):
        return "cannot hold half a surrogate pair, which UTF-8 cannot store"
    return None
