"""What a shell is about to do with the words of a command: which program they go to, and whether that runs them.

The walk over the text (`scanner`) hands in the words of each simple command in order. What is kept here is only what
decides about the next word, so a command of any length costs its length.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

RESERVED: Final = frozenset(
    ("!", "{", "}", "if", "then", "elif", "else", "fi", "while", "until", "do", "done", "esac", "time")
)
"""Words after which a command still begins (POSIX.1-2017, Shell Command Language, 2.4 Reserved Words)."""
_NAMING: Final = frozenset(("for", "select", "function", "coproc"))
_ASSIGNMENT: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)\+?=")
_PREFIXES: Final = frozenset(("command", "builtin", "exec"))
_EVALUATED: Final = frozenset(
    ("BASH_ENV", "ENV", "PROMPT_COMMAND", "PS0", "PS1", "PS2", "PS4", "HISTCMD", "LINENO", "OPTIND")
) | {"RANDOM", "SECONDS", "SRANDOM"}
"""Variables whose text bash computes or runs by itself."""

_CODE_BUILTINS: Final = frozenset(("eval", "trap", "source", ".", "alias", "make", "parallel", "watch"))
_NAME_BUILTINS: Final = frozenset(
    ("let", "declare", "typeset", "local", "readonly", "read", "mapfile", "readarray", "getopts", "unset")
)
_PROGRAMS: Final = frozenset(("xargs", "ssh", "awk", "gawk", "mawk", "sed"))
_SHELLS: Final = ("sh", "bash", "dash", "ksh", "zsh", "ash")
_CODE_OPTIONS: Final = {
    **{shell: re.compile(r"-\w*c") for shell in _SHELLS},
    **{program: re.compile(r"-\w*[eE]") for program in ("perl", "ruby", "Rscript", "R", "julia", "lua")},
    "node": re.compile(r"-\w*[ep]|--eval|--print"),
    "php": re.compile(r"-r"),
    "python": re.compile(r"-\w*c"),
    "su": re.compile(r"-\w*c|--command"),
    "env": re.compile(r"-\w*S|--split-string"),
    "printf": re.compile(r"-v"),
    "test": re.compile(r"-[vR]"),
    "[": re.compile(r"-[vR]"),
}
_NAME_OPTIONS: Final = frozenset(("printf", "test", "["))
_ANY_PLACE: Final = frozenset(("su", "printf", "test", "["))
"""Commands whose option may follow other arguments; the others' first argument is a script with options of its own."""
_READS_PROGRAM: Final = frozenset((*_SHELLS, "perl", "python", "ruby", "node"))
"""Programs that, without a script, run what comes on their standard input."""
_WITH_ARGUMENT: Final = re.compile(r"\w*sh ([-+]\w*[oO]|--rcfile|--init-file)|python -[WX]")


class Danger(StrEnum):
    """What a command may do with the text of its arguments."""

    CODE = "may run its text as a program"
    NAMES = "may compute with its text, or take it for a variable's name, and both can run it"


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A command that does more with a word than to take it as text.

    Attributes:
        text: the command, with the option that makes it so, such as `bash -c`.
        danger: what it does.
    """

    text: str
    danger: Danger


@dataclass(slots=True)
class SimpleCommand:
    """A command whose words are being read.

    Attributes:
        word_start: offset of the word that is being read.
        first: how many expressions stood before the command.
        first_of_pipe: how many stood before the first command of its pipe.
        is_piped: whether it reads another command's output.
        operator: the redirection whose file is still to come; empty when none is.
        head: its first word other than reserved words and assignments.
        has_words: whether any word was read.
        interpreter: what its later words are handed to.
    """

    word_start: int
    first: int = 0
    first_of_pipe: int = 0
    is_piped: bool = False
    operator: str = ""
    head: str = ""
    has_words: bool = False
    interpreter: Interpreter | None = None
    _waiting: str = ""  # a program that an option may yet make an interpreter
    _has_argument: bool = False
    _is_argument: bool = False  # whether the next word is the argument of the option before it

    @property
    def begins(self) -> bool:
        """True while only reserved words were read, so that a command may stand in brackets."""
        return not self.head and not self.has_words

    @property
    def awaits_name(self) -> bool:
        """True where the next word is a name of the shell's own: a function's, or a loop's variable."""
        return self.head in _NAMING and not self._has_argument and not self.operator

    @property
    def bare_program(self) -> Interpreter | None:
        """A program that would run its standard input, since it was given no script."""
        return Interpreter(self._waiting, Danger.CODE) if self._waiting in _READS_PROGRAM else None

    @property
    def runs_its_input(self) -> Interpreter | None:
        """What runs the text that the command reads from a pipe."""
        if self.interpreter and self.interpreter.text in ("xargs", "ssh", "parallel"):
            return self.interpreter
        return self.bare_program

    def end_word(self, raw: str) -> None:
        """Takes in a whole word, as it is written less line continuations; an empty one is none."""
        if not raw:
            return
        if self.operator:
            self.operator = ""
            self.has_words = True
            return
        word = _unquoted(raw)
        if self._is_argument:
            self._is_argument = False
        elif self.head:
            self._has_argument = True
            self._argument(word)
        elif raw in RESERVED:
            return
        elif _ASSIGNMENT.match(raw) or word in _PREFIXES or word.startswith("-"):
            self.has_words = True
        else:
            self._begin(word)

    def handed_to(self, prefix: str) -> Interpreter | None:
        """Returns what an expression is handed to that stands after `prefix` in the current word."""
        if self.operator == "<<<":
            return self.bare_program
        if self.operator:
            return None
        pattern = _CODE_OPTIONS.get(self._waiting)
        if pattern and (option := pattern.match(_unquoted(prefix))):
            return _interpreter(self._waiting, option[0])
        return self.interpreter

    def _begin(self, word: str) -> None:
        self.head = word
        self.has_words = True
        name = word.rpartition("/")[2]
        if name in _CODE_BUILTINS or word == ".":
            self.interpreter = Interpreter(word, Danger.CODE)
        elif name in _NAME_BUILTINS:
            self.interpreter = Interpreter(word, Danger.NAMES)
        else:
            self._program(word)

    def _argument(self, word: str) -> None:
        if self._waiting:
            if option := _CODE_OPTIONS[self._waiting].match(word):
                self.interpreter = self.interpreter or _interpreter(self._waiting, option[0])
                self._waiting = ""
            elif _WITH_ARGUMENT.fullmatch(f"{self._waiting} {word}"):
                self._is_argument = True
            elif not word.startswith(("-", "+")) and self._waiting not in _ANY_PLACE:
                self._waiting = ""
        if not self._waiting:
            self._program(word)

    def _program(self, word: str) -> None:
        name = re.sub(r"(?<=python)[\d.]+$", "", word.rpartition("/")[2])
        if self.interpreter:
            return
        if name in _PROGRAMS:
            self.interpreter = Interpreter(name, Danger.CODE)
        elif name in _CODE_OPTIONS and (word == self.head or name not in _NAME_OPTIONS):
            self._waiting = name


def evaluated_variable(prefix: str) -> str:
    """Returns the name of the variable to which a word that begins with `prefix` would assign, if bash evaluates it."""
    named = _ASSIGNMENT.match(_unquoted(prefix))
    return named[1] if named and named[1] in _EVALUATED else ""


def _interpreter(program: str, option: str) -> Interpreter:
    return Interpreter(f"{program} {option}", Danger.NAMES if program in _NAME_OPTIONS else Danger.CODE)


def _unquoted(raw: str) -> str:
    return re.sub(r"[\"'\\]|\$(?=[\"'])", "", raw)
