"""Plain commands: those that need no shell, for it would do nothing with them but take them apart into words."""

import re
from typing import Final

PYTHONS: Final = ("python", "python3")
"""The first word of a command that may be begun warm."""
_BLANK: Final = " \t"
_LITERAL: Final = re.compile(r"[A-Za-z0-9_\-./,:=+@%]+")
"""Outside of quotes: characters that no shell gives a meaning to."""
_SINGLE: Final = re.compile(r"'([\t\n\x20-\x26\x28-\x7e]*)'")
_DOUBLE: Final = re.compile(r'"([\t\n\x20\x21\x23\x25-\x5b\x5d-\x5f\x61-\x7e]*)"')
"""Inside double quotes there is neither `$`, nor a backquote, nor a backslash."""
_CONTINUED: Final = "\\\n"


def words(command: str) -> tuple[str, ...] | None:
    """Returns the words that a shell makes of a command; None when it might do anything else with it.

    Only ASCII is plain: how a shell reads other characters depends on its locale.

    Source: POSIX, Shell Command Language, 2.2 Quoting and 2.3 Token Recognition; bash's manual, Brace Expansion.
    """
    found: list[str] = []
    word: str | None = None
    place = 0
    text = command.strip(" \t\n")
    while place < len(text):
        if text.startswith(_CONTINUED, place):
            place += len(_CONTINUED)
        elif text[place] in _BLANK:
            if word is not None:
                found.append(word)
            word = None
            place += 1
        elif match := _LITERAL.match(text, place):
            word = (word or "") + match[0]
            place = match.end()
        elif match := (_SINGLE.match(text, place) or _DOUBLE.match(text, place)):
            word = (word or "") + match[1]
            place = match.end()
        else:
            return None
    return tuple(found) if word is None else (*found, word)


def script_words(command: str) -> tuple[str, ...] | None:
    """Returns the words of a command of the form `python script.py arguments…`; None when it has another."""
    found = words(command)
    if found is None or len(found) < 2 or found[0] not in PYTHONS or not found[1] or found[1].startswith("-"):
        return None
    return found
