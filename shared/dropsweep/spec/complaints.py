"""pydantic's errors made into problems: where in the file, what stands there, the rule and the remedy."""

from collections.abc import Collection, Mapping
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from dropsweep.errors import Problem
from dropsweep.search.space import CUSTOM_ERROR, number_text
from dropsweep.spec.models import CommandJob, SweepJob, Trial, keys_of, model_at
from dropsweep.spec.problems import error, join, listed, missing, nearest, shown

_KINDS: Final = {
    "string_type": ("must be text", "Put the value in quotes"),
    "int_type": ("must be a whole number", "Write digits without quotes or a decimal point"),
    "int_from_float": ("must be a whole number", "Write digits without a decimal point"),
    "float_type": ("must be a number", "Write a number without quotes"),
    "bool_type": ("must be true or false", "Write true or false without quotes"),
    "dict_type": ("must be a mapping", "Write `key: value` lines under it"),
    "model_type": ("must be a mapping", "Write `key: value` lines under it"),
    "model_attributes_type": ("must be a mapping", "Write `key: value` lines under it"),
    "tuple_type": ("must be a list", "Write [first, second] or lines beginning with `- `"),
    "list_type": ("must be a list", "Write [first, second] or lines beginning with `- `"),
    "int_parsing_size": ("must be a smaller number", "Write fewer digits"),
    "none_required": ("must be empty", "Remove the value"),
}
_MAX_NUM_TRANSLATED: Final = 1000
"""Errors beyond it would only be counted, and each costs a search for the nearest key."""
_BOUNDS: Final = {
    "greater_than": ("gt", "must be greater than"),
    "greater_than_equal": ("ge", "must be at least"),
    "less_than": ("lt", "must be less than"),
    "less_than_equal": ("le", "must be at most"),
}
_EXAMPLES: Final = {
    "command": "such as `command: python train.py`",
    "trial": "with `command` under it",
    "search_space": "with a parameter under it, such as `lr: {type: uniform, min_value: 0, max_value: 1}`",
    "sampling_algorithm": "such as `sampling_algorithm: random`",
    "objective": "with `goal` and `primary_metric` under it",
    "goal": "as `goal: maximize` or `goal: minimize`",
    "primary_metric": "with the name of a metric that the script reports",
    "values": "with a list, such as `values: [16, 32]`",
    "path": "such as `path: data/digits` for a folder `digits` in the container `data`",
}


def to_problems(
    failure: ValidationError, root: type[BaseModel], data: Mapping[str, Any], *, told: Collection[str] = ()
) -> list[Problem]:
    """Translates what pydantic found, keeping the order.

    Args:
        failure: from validating `data`.
        root: the model that `data` was validated against.
        data: the file's mapping.
        told: places whose values are refused already; of these, only an unknown key is told.
    """
    found = []
    failures = failure.errors(include_url=False)[:_MAX_NUM_TRANSLATED]
    not_numbers = {path_of(details["loc"], data) for details in failures if details["type"] == "float_type"}
    for details in failures:
        path = path_of(details["loc"], data)
        if path in told and details["type"] != "extra_forbidden":
            continue
        if path in not_numbers and details["type"].startswith("int_"):
            continue  # a whole number is one of the two kinds that may stand there
        problem = _translate(details, root, data)
        if problem is not None:
            found.append(problem)
    return found


def path_of(loc: tuple[int | str, ...], data: Any, *, is_missing: bool = False) -> str:
    """Returns where in the file pydantic's `loc` lies, without the names of union members, which stand in no file.

    Args:
        loc: from the root of `data`.
        data: the file's mapping.
        is_missing: whether the last part of `loc` is a key that is not there.
    """
    path = ""
    for number, part in enumerate(loc):
        if isinstance(data, Mapping) and isinstance(part, str):
            if part in data or (is_missing and number == len(loc) - 1):
                path, data = join(path, part), data.get(part)
        elif isinstance(data, list | tuple) and isinstance(part, int) and part < len(data):
            path, data = join(path, part), data[part]
    return path


def _translate(details: ErrorDetails, root: type[BaseModel], data: Mapping[str, Any]) -> Problem | None:
    kind, value, loc = details["type"], details["input"], details["loc"]
    context = details.get("ctx", {})
    if kind == "missing":
        path = path_of(loc, data, is_missing=True)
        key = str(loc[-1])
        return missing(path, "is required", f"Add `{key}`, {_EXAMPLES[key]}" if key in _EXAMPLES else f"Add `{key}`")
    path = path_of(loc, data)
    match kind:
        case "extra_forbidden":
            return _unknown_key(str(loc[-1]), path, value, root, model_at(root, loc[:-1]))
        case _ if kind == CUSTOM_ERROR:
            return error(path, value, context["rule"], context["remedy"])
        case _ if kind in _KINDS:
            return error(path, value, *_KINDS[kind])
        case _ if kind in _BOUNDS:
            key, words = _BOUNDS[kind]
            return error(path, value, f"{words} {number_text(context[key])}", "Correct the number")
        case "literal_error":
            return _one_of(path, value, context["expected"])
        case "union_tag_invalid":
            return _one_of(join(path, "type"), context["tag"], context["expected_tags"])
        case "union_tag_not_found" if isinstance(value, dict):
            return missing(join(path, "type"), "is required", "Add `type`, which says what kind of thing this is")
        case "union_tag_not_found":
            return error(path, value, *_KINDS["dict_type"])
        case "finite_number":
            return None  # told for the whole file where it is read, as the YAML or JSON that it is
        case "too_short" if value:
            return None  # counted without the members that are wrong in themselves
        case "too_short" | "string_too_short":
            return error(path, value, "must not be empty", "Write at least one")
        case "string_too_long":
            rule = f"must have at most {context['max_length']} characters"
            return error(path, value, rule, "Put the text in a file of the code folder")
        case _:
            return Problem(path, shown(value), details["msg"][:200], "Correct the value")


def _one_of(path: str, value: Any, expected: str) -> Problem:
    words = [word.strip(" '") for word in expected.replace(" or ", ", ").split(",")]
    close = nearest(value, words) if isinstance(value, str) else None
    rule = f"must be {listed(words)}" if len(words) == 1 else f"must be one of {listed(words)}"
    return error(path, value, rule, f"Did you mean `{close}`" if close else "Write one of these")


def _unknown_key(key: str, path: str, value: Any, root: type[BaseModel], model: type[BaseModel]) -> Problem:
    known = keys_of(model)
    close = nearest(key, known)
    if close:
        remedy = f"Did you mean `{close}`"
    elif root is SweepJob and model is SweepJob and key in keys_of(Trial):
        remedy = "Move it under `trial`"
    elif model is not root and key in keys_of(root):
        remedy = "Move it to the top of the file"
    elif model is CommandJob and key in keys_of(SweepJob):
        remedy = "Write `type: sweep`, or remove it"
    else:
        remedy = f"Remove it; known here are {listed(known)}"
    return error(path, value, "is not a key that is known here", remedy)
