"""How problems show what stands in a file: paths and shortened values."""

import difflib
import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, Final

from dropsweep.errors import Problem, Severity

MAX_NUM_PROBLEMS: Final = 100
"""A file with more is told the number of the rest."""
_MAX_SHOWN: Final = 80
_MAX_SENTENCE: Final = 500
"""Characters; only the names that a user chose make a sentence as long."""
_MAX_NUM_COMPARED: Final = 200


def shown(value: Any) -> str:
    """Returns what stands in the file, as JSON and in at most 80 characters; large things by their size alone."""
    match value:
        case dict():
            return f"a mapping of {len(value)}"
        case list() | tuple():
            return f"a list of {len(value)}"
        case int() if abs(value) >= 10**_MAX_SHOWN:
            return "a very large number"  # Python refuses to write out thousands of digits
        case str():
            text = json.dumps(value[: _MAX_SHOWN + 1], ensure_ascii=False)
            text = text.encode(errors="backslashreplace").decode()
        case float():
            text = repr(value)
        case _:
            text = json.dumps(value, default=str)
    return text if len(text) <= _MAX_SHOWN else f"{text[: _MAX_SHOWN - 1]}…"


def join(path: str, key: str | int) -> str:
    """Returns `path.key`, or `path[key]` for an index in a list."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    if not key:
        key = '""'
    short = key if len(key) <= _MAX_SHOWN else f"{key[: _MAX_SHOWN - 1]}…"
    short = short.encode(errors="backslashreplace").decode()
    return f"{path}.{short}" if path else short


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Returns the known word most like `word`, if any is like it."""
    words = list(islice(known, _MAX_NUM_COMPARED))
    short = word[:100].lower()
    matches = difflib.get_close_matches(short, words, n=1, cutoff=0.6)
    if not matches and len(short) >= 3:  # `min` for `min_value`
        matches = [other for other in words if other.startswith(short)]
    return matches[0] if matches else None


def listed(words: Sequence[str]) -> str:
    """Returns `a`, `b` and `c` as text, the first dozen of them."""
    quoted = [f"`{word}`" for word in words[:12]]
    if len(words) > 12:
        return ", ".join(quoted) + " …"
    return quoted[0] if len(quoted) == 1 else " and ".join([", ".join(quoted[:-1]), quoted[-1]]) if quoted else "none"


def warning(path: str, value: Any, rule: str, remedy: str) -> Problem:
    """Returns a problem that only rides along on the job."""
    return Problem(path, shown(value), rule, remedy, Severity.WARNING)


def error(path: str, value: Any, rule: str, remedy: str) -> Problem:
    """Returns a problem that refuses the file."""
    return Problem(path, shown(value), rule, remedy)


def missing(path: str, rule: str, remedy: str) -> Problem:
    """Returns a problem that refuses the file because nothing stands at `path`."""
    return Problem(path, "", rule, remedy)


def tidy(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Returns at most `MAX_NUM_PROBLEMS` problems, none twice, errors before warnings, and one that counts the rest.

    Each is short, and can be stored and printed, whatever the names in the file.
    """
    unique = sorted(dict.fromkeys(map(_printable, problems)), key=lambda problem: problem.severity is Severity.WARNING)
    if len(unique) <= MAX_NUM_PROBLEMS:
        return tuple(unique)
    rest = len(unique) - MAX_NUM_PROBLEMS
    last = Problem("", "", f"at least {rest} more problems were found", "Mend the ones above first", unique[0].severity)
    return (*unique[:MAX_NUM_PROBLEMS], last)


def _printable(problem: Problem) -> Problem:
    return replace(
        problem,
        path=_clipped(problem.path),
        value=_clipped(problem.value),
        rule=_clipped(problem.rule),
        remedy=_clipped(problem.remedy),
    )


def _clipped(text: str) -> str:
    """Returns the text without half characters, which UTF-8 cannot store, and at most `_MAX_SENTENCE` long."""
    whole = text[: _MAX_SENTENCE + 1].encode(errors="backslashreplace").decode()
    return whole if len(whole) <= _MAX_SENTENCE else f"{whole[: _MAX_SENTENCE - 1]}…"
