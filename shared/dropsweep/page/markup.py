"""HTML and SVG as values: text that is not `Markup` is escaped wherever it is put in.

Escaping is a matter of type, not of memory: `tag` takes strings from users as they come, and only what `tag` itself
made passes unchanged.
"""

import html
import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote

_MAX_HREF: Final = 1024
_VOID: Final = frozenset({"meta", "br", "hr", "col", "circle", "line", "path", "rect", "polyline", "use"})
# Characters that XML forbids, and the ones that turn the direction of the text around them.
_UNSAFE: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff\u202a-\u202e\u2066-\u2069]")


class Markup(str):
    """Text that is HTML or SVG already. Only this module makes it, from names of its callers and escaped text."""

    __slots__ = ()


Child = str | Iterable[str | None] | None
Attribute = str | int | float | bool | None


def escape(text: str) -> Markup:
    """Returns `text` for use between tags or in a quoted attribute; `Markup` passes unchanged."""
    if isinstance(text, Markup):
        return text
    return Markup(html.escape(_UNSAFE.sub("\ufffd", text), quote=True))


def raw(text: str) -> Markup:
    """Marks text of this package's own making (a style sheet, a doctype) as markup. Never for a user's text."""
    return Markup(text)


def tag(name: str, /, *children: Child, **attributes: Attribute) -> Markup:
    """Returns one element.

    Args:
        name: the element's name.
        children: text (escaped), markup, iterables of either, or None for nothing.
        attributes: `class_` gives `class`, other underscores become hyphens; None and False leave the attribute out,
            True gives it an empty value (`open=""`); floats are written with at most two decimals.
    """
    opening = name + "".join(_attribute(key, value) for key, value in attributes.items())
    if not children and name in _VOID:
        return Markup(f"<{opening}/>")
    return Markup(f"<{opening}>{join(*children)}</{name}>")


def join(*children: Child) -> Markup:
    """Returns the children one after another, escaped as `tag` does."""
    parts: list[str] = []
    for child in children:
        if isinstance(child, str):
            parts.append(escape(child))
        elif child is not None:
            parts.extend(escape(part) for part in child if part is not None)
    return Markup("".join(parts))


def number(value: float) -> str:
    """Returns a coordinate with at most two decimals and no trailing zeros."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def points(pairs: Iterable[tuple[float, float]]) -> str:
    """Returns the `d` of a path through the points, in absolute coordinates with one decimal."""
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in pairs)


def shorten(text: str, length: int = 60) -> str:
    """Returns `text` on one line with at most `length` characters, the last an ellipsis when some were cut."""
    line = " ".join(text[: 4 * length].split())
    return line if len(line) <= length and len(text) <= 4 * length else line[: length - 1] + "…"


def href_beside(folder: str, path: str) -> str | None:
    """Returns the relative reference to `path` from a page that lies in `folder`; None for what has none that is safe.

    It stays below the folder and can name no scheme and no host: every character but letters, digits, `_.-~` and `/`
    is percent-encoded, the colon too, and empty, `.` and `..` steps are refused. A folder gets none either: blob
    storage has nothing to show for one.

    Args:
        folder: the page's folder within its container, without a slash at the end.
        path: `container/folder/…`.
    """
    inside = path.partition("/")[2]
    below = inside.removeprefix(f"{folder}/")
    if not folder or below == inside or len(below) > _MAX_HREF or not below.isprintable():
        return None
    if any(step in ("", ".", "..") for step in below.split("/")):
        return None
    return quote(below, safe="/")


def _attribute(key: str, value: Attribute) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    if value is True:
        return f' {name}=""'
    text = number(value) if isinstance(value, float) else str(value)
    return f' {name}="{escape(text)}"'
