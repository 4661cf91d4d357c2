"""A walk over a command as a shell reads it, to know for each `${{…}}` where it stands.

An expression is accepted where it is known to be, or to be part of, a word of a simple command, the value of an
assignment or the file of a redirection, and refused everywhere else: also after anything that this walk cannot follow
to its end. The rules are those that POSIX sh and bash share (POSIX.1-2017, Shell Command Language, 2.2 Quoting, 2.3
Token Recognition and 2.6 Word Expansions), so the text means the same in both.
"""

import re
from dataclasses import dataclass, field, replace
from typing import Final

from dropsweep.spec.scan_types import Context, Expression, Refusal, Scan, expression_at
from dropsweep.spec.shell_words import Interpreter, SimpleCommand, evaluated_variable

_PLAIN_VARIABLE: Final = re.compile(r"\$\{[^'\"`$\\{}]*\}")
_PLAIN_ARITHMETIC: Final = re.compile(r"\$?\(\([^'\"`$\\{}()<#]*\)\)")
_VARIABLE: Final = r"\$(?![({\['\"`])|\$\{\w+\}"
_PLAIN_TEST: Final = re.compile(
    rf"\[\[(?=[ \t])(?:[^'\"`\\#()<>\n${{}}]|{_VARIABLE}|\"(?:[^\"`\\$]|{_VARIABLE})*\")*?[ \t]\]\](?=[\s;&|)]|\Z)"
)
_TEST: Final = re.compile(r"\[\[(?=[\s;&|()<>\\]|\Z)")
_INDEX: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\[")
_WHOLE_INDEX: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\[[^\[\]'\"`\\()\s]*\]")
_REDIRECTION: Final = re.compile(r"&>>|&>|<<<|>>|>&|<&|<>|>\||<|>")
_FUNCTION: Final = re.compile(r"\([ \t]*\)")
_MAX_LOOKED_AT: Final = 300
"""Characters of a word; what a shell tells apart is shorter, and words of words would cost their length squared."""
_MAX_DEPTH: Final = 20
_SPACE: Final = " \t\n"
_BREAKS: Final = _SPACE + ";&|()<>"
_NO_TARGET: Final = "after a redirection without a file"
_BOTH_STREAMS: Final = ("it names the file of `>&`, which bash reads twice", "Write `> file 2>&1`")


@dataclass(slots=True)
class _Scanner:
    """A walk over the command.

    `stack` holds what is open: `"`, `$(`, `(` and `<(`. `commands` holds the simple command being read, below it those
    that it stands in: one more than there are brackets in `stack`.
    """

    text: str
    at: int = 0
    stack: list[str] = field(default_factory=list)
    commands: list[SimpleCommand] = field(default_factory=lambda: [SimpleCommand(0)])
    lost: Refusal | None = None  # why nothing after this place can be trusted to stand where it seems to
    has_case: bool = False
    num_marked: int = 0  # expressions before it have been looked at for what reads them from a pipe
    found: list[Expression] = field(default_factory=list)

    def run(self) -> Scan:
        unclosed = ""
        while self.at < len(self.text):
            if self.lost:
                self._skip_lost()
            elif self.stack and self.stack[-1] == '"':
                self._double()
            elif self._bare():
                unclosed = "'"
        if not self.lost and not self.stack and not unclosed:
            self._end_word()
            self._end_command()
        return Scan(tuple(self.found), unclosed or ("" if self.lost or not self.stack else self.stack[-1]))

    @property
    def _command(self) -> SimpleCommand:
        return self.commands[-1]

    def _word(self, command: SimpleCommand) -> str:
        """How a command's current word begins, less line continuations, which the shell removes first."""
        end = min(self.at, command.word_start + _MAX_LOOKED_AT)
        return self.text[command.word_start : end].replace("\\\n", "")

    def _take_expression(self, context: Context, refusal: Refusal | None = None) -> bool:
        expression = expression_at(self.text, self.at, context)
        if expression is None:
            return False
        if self.lost is None and context is not Context.COMMENT:
            refusal = refusal or self._refusal_here()
            expression = replace(expression, interpreter=self._handed_to())
        if refusal:
            expression = refusal.of(expression)
        self.found.append(expression)
        self.at = expression.end
        return True

    def _refusal_here(self) -> Refusal | None:
        """Says why the current word, or one that it is a part of, may hold no value."""
        for command in self.commands:
            if command.operator in (">&", "<&"):
                return Refusal(*_BOTH_STREAMS)
            word = self._word(command)
            if _INDEX.match(word) and not _WHOLE_INDEX.match(word):
                return Refusal("it stands in the index of an array, which the shell computes", is_computed=True)
            if variable := evaluated_variable(word):
                remedy = "Give it to a variable of another name"
                return Refusal(f"bash evaluates the text of {variable} by itself", remedy)
        if self._command.awaits_name:
            return Refusal("it stands where the shell reads a name of its own")
        return None

    def _handed_to(self) -> Interpreter | None:
        """Returns the command that would get the value and do more with it than to take it as text."""
        brackets = [mark for mark in self.stack if mark != '"']
        for level, command in enumerate(self.commands):
            if level < len(brackets) and brackets[level] == "<(" and command.bare_program:
                return command.bare_program
            if handed := command.handed_to(self._word(command)):
                return handed
        return None

    def _skip_lost(self) -> None:
        following = self.text.find("${{", self.at)
        self.at = len(self.text) if following < 0 else following
        if following >= 0 and not self._take_expression(Context.BARE, self.lost):
            self.at += 1

    def _lose(self, where: str, *, is_computed: bool = False) -> None:
        self.lost = Refusal(f"it stands {where}", is_computed=is_computed)

    def _refusal_before(self) -> Refusal | None:
        """Says what is wrong with the character right before an expression, if anything is."""
        if self.at and self.text[self.at - 1] == "$":
            return Refusal("it follows a `$`, which would change the meaning of the value's first character")
        return None

    def _escape(self) -> None:
        """Steps over a backslash and what it escapes."""
        if self.text.startswith("\\\n", self.at):
            following = self.text[self.at + 2 : self.at + 3]
            if self.at and self.text[self.at - 1] not in _SPACE and following not in ("", " ", "\t"):
                self._lose("after a line that is continued in the middle of a word")  # it may join `$` and `(`
                return
            if self.at == self._command.word_start:
                self._command.word_start += 2
        self.at += 1
        refusal = Refusal("it follows a backslash, which would escape the value's first mark")
        if not self._take_expression(Context.BARE, refusal):
            self.at += 1

    def _dollar(self) -> bool:
        """Steps over what begins with `$`, other than an expression; false when it is only a character."""
        text, at = self.text, self.at
        if plain := _PLAIN_VARIABLE.match(text, at) or _PLAIN_ARITHMETIC.match(text, at):
            self.at = plain.end()
        elif text.startswith("$$", at) and not text.startswith("${{", at + 1):
            self.at += 2
        elif text.startswith("${", at):
            self._lose("inside or after `${…}` with something other than a plain name in it", is_computed=True)
        elif text.startswith("$((", at) or text.startswith("$[", at):
            self._lose("inside or after arithmetic", is_computed=True)
        elif text.startswith("$(", at):
            self._open("$(", 2)
        else:
            return False
        return True

    def _open(self, mark: str, num_characters: int) -> None:
        """Steps into brackets in which commands stand."""
        if len(self.commands) > _MAX_DEPTH:
            self._lose(f"inside or after more than {_MAX_DEPTH} brackets within each other")
            return
        self.stack.append(mark)
        self.at += num_characters
        self.commands.append(SimpleCommand(self.at, len(self.found), len(self.found)))

    def _double(self) -> None:
        character = self.text[self.at]
        if character == '"':
            self.stack.pop()
            self.at += 1
        elif character == "\\":
            self._escape()
        elif character == "`":
            self._lose("inside or after backticks")
        elif character != "$" or (
            not self._take_expression(Context.DOUBLE, self._refusal_before()) and not self._dollar()
        ):
            self.at += 1

    def _single(self) -> bool:
        """Steps over text in single quotes, in which nothing but the closing quote has a meaning; false without one."""
        self.at += 1
        while self.at < len(self.text) and self.text[self.at] != "'":
            if not self._take_expression(Context.SINGLE):
                self.at += 1
        self.at += 1
        return self.at <= len(self.text)

    def _comment(self) -> None:
        if "$(" in self.stack or "<(" in self.stack:  # shells differ on whether its `)` may stand in a comment
            self._lose("after a comment inside `$(…)`")
            return
        if self.at and self.text[self.at - 1] == ")":
            self._lose("after a `#` that follows a bracket")
            return
        while self.at < len(self.text) and self.text[self.at] != "\n":
            if not self._take_expression(Context.COMMENT):
                self.at += 1
        self._command.word_start = self.at

    def _bare(self) -> bool:
        """Steps over what stands outside quotes; true when a single quote there is never closed."""
        text, at = self.text, self.at
        character = text[at]
        if character == "\\":
            self._escape()
        elif character == "'":
            return not self._single()
        elif character == '"':
            self.stack.append('"')
            self.at += 1
        elif character == "`":
            self._lose("inside or after backticks")
        elif text.startswith("$'", at):
            self._lose("inside or after `$'…'`")
        elif character == "$":
            if not self._take_expression(Context.BARE, self._refusal_before()) and not self._dollar():
                self.at += 1
        elif character == "#" and at == self._command.word_start:
            self._comment()
        elif character == "[" and at == self._command.word_start and (test := _TEST.match(text, at)):
            if plain := _PLAIN_TEST.match(text, at):
                self.at = plain.end()
            else:
                self.at = test.end()
                self._lose("inside or after `[[ … ]]`, which may compute with the value", is_computed=True)
        elif text.startswith("<<", at) and not text.startswith("<<<", at):
            self._lose("inside or after a here-document")
        elif character in _BREAKS:
            self._break(character)
        else:
            self.at += 1
        return False

    def _break(self, character: str) -> None:
        """Ends a word, and steps over the character or operator that ended it."""
        text, command = self.text, self._command
        word = self._word(command)
        redirection = _REDIRECTION.match(text, self.at)
        if _INDEX.match(word) and not _WHOLE_INDEX.match(word):
            self._lose("in or after the index of an array, which the shell computes", is_computed=True)
        elif word == "case" and self.stack:
            self._lose("after `case` inside brackets")
        elif redirection:
            self._redirect(redirection[0], word)
        elif character == "(":
            self._bracket()
        else:
            self.has_case = self.has_case or word == "case"
            self._end_word()
            self.at += 2 if text.startswith("|&", self.at) else 1
            if character in " \t":
                command.word_start = self.at
            else:
                self._separate(character)

    def _redirect(self, operator: str, word: str) -> None:
        command = self._command
        if not word.isdigit() or command.operator:
            self._end_word()
        if operator in ("<", ">") and self.text.startswith("(", self.at + 1):
            self._open("<(", 2)
        elif command.operator:
            self._lose(_NO_TARGET)
        else:
            self.at += len(operator)
            command.operator = operator
            command.word_start = self.at

    def _bracket(self) -> None:
        command = self._command
        if plain := _PLAIN_ARITHMETIC.match(self.text, self.at):
            self._end_word()
            self.at = plain.end()
            command.word_start = self.at
        elif self.text.startswith("((", self.at):
            self._lose("inside or after `((…))`", is_computed=True)
        elif function := _FUNCTION.match(self.text, self.at):
            refusal = Refusal("it stands where the shell reads a name of its own")
            self.found[command.first :] = [refusal.of(expression) for expression in self.found[command.first :]]
            self.at = function.end()
            self.commands[-1] = SimpleCommand(self.at, len(self.found), len(self.found))
        else:
            self._end_word()
            if not command.begins or command.operator:
                # After a syntax error in `name=(…)` bash goes on with the next line, which may lie inside a value.
                self._lose("inside or after an array or pattern in brackets")
                return
            self._open("(", 1)

    def _separate(self, character: str) -> None:
        """Ends the simple command at a line's end, `;`, `&`, `|` or `)`, which was stepped over."""
        if self._command.operator:
            self._lose(_NO_TARGET)
            return
        is_pipe = character == "|" and "||" not in self.text[max(0, self.at - 2) : self.at + 1]
        self._end_command()
        if character != ")":
            ended = self._command
            first = (0 if ended.begins else ended.first_of_pipe) if is_pipe else len(self.found)
            self.commands[-1] = SimpleCommand(self.at, len(self.found), first, is_piped=is_pipe)
        elif self.stack:
            self.commands.pop()
            if (mark := self.stack.pop()) != "$(":  # after `$(…)` the word goes on
                self._command.end_word(f"{mark})")
                self._command.word_start = self.at
        elif self.has_case:
            self.commands[-1] = SimpleCommand(self.at, len(self.found), len(self.found))
        else:
            self._lose("after a bracket that nothing opens")

    def _end_word(self) -> None:
        self._command.end_word(self._word(self._command))

    def _end_command(self) -> None:
        """Notes what runs the output of the commands before it in a pipe."""
        command = self._command
        runner = command.runs_its_input if command.is_piped else None
        if runner:
            for number in range(max(command.first_of_pipe, self.num_marked), command.first):
                self.found[number] = replace(self.found[number], interpreter=runner)
            self.num_marked = command.first


def scan(command: str) -> Scan:
    """Finds each expression of a command and how a value must be written there; never raises."""
    return _Scanner(command).run()
