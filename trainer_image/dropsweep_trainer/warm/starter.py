"""How a trial's process is started: as a copy of the node's template where that is the same, else by a shell."""

import contextlib
import logging
import math
import os
import shutil
import stat
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dropsweep.clusters import DEFAULT_PRELOAD
from dropsweep_trainer.processes.command import Process
from dropsweep_trainer.processes.running import Running
from dropsweep_trainer.processes.users import User, acting_as
from dropsweep_trainer.sharing.cores import pinned
from dropsweep_trainer.warm.plain import script_words
from dropsweep_trainer.warm.rules import ruling_out, shadowed
from dropsweep_trainer.warm.template import Options, Standing, Template

_log = logging.getLogger(__name__)
IS_POSSIBLE: Final = sys.platform == "linux" and hasattr(os, "memfd_create") and hasattr(os, "pidfd_open")
_MAX_FAILURES: Final = 3
"""After so many templates in a row that did not become ready, a worker waits with the next one."""
_REST_S: Final = 300.0
"""For so long: what was missing, memory or processes, may be there again."""
_MAX_MISSES: Final = 3
"""After so many copies in a row that did not say that they are there, their template is of no use any more."""
_MAX_REASON: Final = 300
WARM: Final = "warm"
"""How a copy of the template is said to have begun; others are `cold: ` and why."""
_USER_PACKAGES: Final = os.path.join(".local", "lib")
"""Where an interpreter looks for packages in its user's home folder. Source: PEP 370."""
_INIT: Final = "__init__."


@dataclass(frozen=True, slots=True)
class Start:
    """What is to be started.

    Attributes:
        command: in the shell's language.
        folder: its working directory; absolute.
        environment: all that it sees of variables.
        given: those of them that the node gives each of its trials.
        stdout: what it prints is appended there.
        stderr: likewise, for its standard error.
        user: whom it runs as; None: the worker's own user.
        max_processes: how many processes and threads its user may have; None: as many as there may be.
        cores: the logical CPUs that it may run on; none: those that the worker may.
        may_be_warm: its job has nothing against a warm start.
    """

    command: str
    folder: Path
    environment: Mapping[str, str]
    given: Mapping[str, str]
    stdout: Path
    stderr: Path
    user: User | None = None
    max_processes: int | None = None
    cores: Sequence[int] = ()
    may_be_warm: bool = True


class _Cold(Exception):
    """Why a trial is started the ordinary way."""


class Starter:
    """Starts the trials of one worker, from any of its threads.

    There is no template before the first trial that could use one; that trial, and those that come while the template
    is getting ready, do not wait for it.
    """

    def __init__(self, folder: Path, *, options: Options, is_on: bool = True):
        """Makes a starter; nothing is started.

        Args:
            folder: the templates' own; made when there is one.
            options: what they import, and when they are renewed.
            is_on: the cluster has nothing against warm starts.
        """
        self._folder = folder
        self._options = options
        self._off = ""
        if not IS_POSSIBLE:
            self._off = "it takes Linux 5.3 or later"
        if not is_on:
            self._off = "the cluster has warm_start: false"
        self._lock = threading.Lock()
        self._serving: Template | None = None
        self._coming: Template | None = None
        self._retired: list[Template] = []
        self._num_failures = 0
        self._num_misses = 0
        self._not_before = -math.inf
        self._failure = ""
        self._has_told_missing = False

    @property
    def template(self) -> Template | None:
        """The template that serves now, if there is one."""
        return self._serving

    def start(self, asked: Start) -> Running:
        """Starts a command, and notes in its `start` how.

        Raises:
            OSError: it cannot be started.
        """
        try:
            running = self._copy(asked)
            running.start = WARM
        except _Cold as cold:
            running = self._process(asked, str(cold))
        except OSError as error:
            running = self._process(asked, f"a copy cannot be asked for: {error.strerror or type(error).__name__}")
        return running

    def _process(self, asked: Start, why: str) -> Running:
        with pinned(asked.cores):
            process = Process(
                asked.command,
                folder=asked.folder,
                environment=asked.environment,
                stdout=asked.stdout,
                stderr=asked.stderr,
                user=asked.user,
                max_processes=asked.max_processes,
            )
        # It has what jobs and libraries call things, and records take no more than text.
        shown = "".join(char if char.isprintable() else "?" for char in why)
        process.start = f"cold: {shown[:_MAX_REASON]}"
        return process

    def close(self) -> None:
        """Ends the templates, with every trial of theirs that still runs; nothing may be started afterwards."""
        with self._lock:
            self._off = "the worker ends"
            for template in filter(None, (self._serving, self._coming, *self._retired)):
                template.close()
            self._serving = self._coming = None
            self._retired.clear()

    def _copy(self, asked: Start) -> Running:
        """Starts a command as a copy of the template.

        Raises:
            _Cold, OSError: it has not been started, and will not be.
        """
        if not asked.may_be_warm:
            raise _Cold("the job has warm_start: false")
        if self._off:
            raise _Cold(self._off)
        words = script_words(asked.command)
        if words is None:
            raise _Cold("the command is more than a script with arguments")
        paths = _relative_paths(asked.environment.get("PYTHONPATH", ""))
        with acting_as(asked.user):
            # The node's own, for the template runs it as the worker's user: never what a job's PATH leads to.
            python = _found(words[0], asked.given.get("PATH", ""))
            if _found(words[0], asked.environment.get("PATH", "")) != python:
                raise _Cold(f"the job's PATH has another {words[0]}")
            script = os.path.realpath(asked.folder / words[1])
            if not os.path.isfile(script):
                raise _Cold(f"{words[1]} is no file")
            if os.path.lexists(os.path.join(asked.environment.get("HOME") or "~", _USER_PACKAGES)):
                raise _Cold("its home folder has packages of its own")
        template = self._ready(python, asked)
        if not _is_same(python, template.python):
            raise _Cold(f"{words[0]} is {python}, and the template's is {template.python}")
        if name := ruling_out(asked.environment, template.environment, self._options.preload, template.read):
            raise _Cold(f"the variable {name} must be there before the interpreter starts")
        for folder in (os.path.dirname(script), *(str(asked.folder / path) for path in paths)):
            if name := _shadowed(folder, asked.user, template.modules):
                raise _Cold(f"the script has a module {name} of its own")
        request = {
            "words": words,
            "python": python,
            "folder": str(asked.folder),
            "environment": _passed(asked, python),
            "relative_paths": paths,
            "user": None if asked.user is None else [asked.user.uid, asked.user.gid],
            "max_processes": asked.max_processes,
            "cores": list(asked.cores),
        }
        return self._begin(template, request, asked)

    def _begin(self, template: Template, request: Mapping[str, Any], asked: Start) -> Running:
        with acting_as(asked.user):
            out, err = asked.stdout.open("ab"), asked.stderr.open("ab")
        with out, err:
            copy = template.copy(request, out.fileno(), err.fileno())
        with self._lock:
            if copy is not None:
                self._num_misses = 0
                return copy
            self._num_misses += 1
            if self._num_misses >= _MAX_MISSES:
                # Stuck: it makes no further copies, and the next trial starts another one.
                self._num_misses = 0
                template.retire()
        raise _Cold("the template did not answer")

    def _ready(self, python: str, asked: Start) -> Template:
        """Returns a template that is ready.

        Raises:
            _Cold: there is none yet.
        """
        with self._lock:
            self._look()
            is_old = self._serving is not None and self._serving.standing() is Standing.OLD
            is_wanted = self._coming is None and (self._serving is None or is_old)
            if not self._off and is_wanted and time.monotonic() >= self._not_before:
                self._start_template(python, asked)
            if self._serving is None:
                raise _Cold(self._off or ("the template was getting ready" if self._coming else self._failure))
            return self._serving

    def _look(self) -> None:
        """Hears what the templates have said, and takes out those that are of no use any more."""
        if self._serving is not None and self._serving.standing() in (Standing.GONE, Standing.RETIRED):
            self._retired.append(self._serving)
            self._serving = None
        if self._coming is not None:
            match self._coming.standing():
                case Standing.GONE:
                    self._note_failure(self._coming)
                    self._coming = None
                case Standing.STARTING:
                    pass
                case _:
                    if self._serving is not None:
                        self._serving.retire()
                        self._retired.append(self._serving)
                    self._serving, self._coming = self._coming, None
                    self._num_failures = self._num_misses = 0
                    self._tell_missing(self._serving)
        for template in [template for template in self._retired if template.standing() is Standing.GONE]:
            template.close()
            self._retired.remove(template)

    def _start_template(self, python: str, asked: Start) -> None:
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            self._coming = Template(
                python,
                self._options,
                environment=asked.given,
                folder=self._folder,
                needs_rights=asked.user is not None,
            )
        except (OSError, RuntimeError) as error:  # RuntimeError: no thread can be started
            self._rest(str(error))

    def _note_failure(self, template: Template) -> None:
        template.close()
        self._num_failures += 1
        if template.why_not:
            # It would say the same again.
            self._off = f"no template can be copied here: {template.why_not}"
            _log.warning("trials are started the ordinary way, for they cannot be copies: %s", template.why_not)
        elif self._num_failures >= _MAX_FAILURES:
            self._rest(template.last_words() or "it ends before it is ready")

    def _rest(self, why: str) -> None:
        self._not_before = time.monotonic() + _REST_S
        self._failure = f"the template fails, and is tried again after some minutes: {why}"
        _log.warning(
            "trials are started the ordinary way for %.0f min, for the process that they would be copies of fails: %s",
            _REST_S / 60,
            why,
        )

    def _tell_missing(self, template: Template) -> None:
        """Warns, once for a worker, of modules that are not there, unless they are those that no cluster file names."""
        if template.missing and not self._has_told_missing and self._options.preload != DEFAULT_PRELOAD:
            self._has_told_missing = True
            _log.warning(
                "preload names %s, which %s has not installed: trials start without it. Install it in the image, or "
                "mend the name in the cluster file",
                " and ".join(template.missing),
                template.python,
            )


def _found(program: str, path: str) -> str:
    """Returns where a shell finds a program that runs with the rights that this thread has to files.

    Raises:
        _Cold: it depends on the folder that it looks from, or the program is nowhere.
    """
    for folder in path.split(os.pathsep):
        if not os.path.isabs(folder):
            raise _Cold("PATH has an entry that is not absolute")
        found = os.path.join(folder, program)
        with contextlib.suppress(OSError):
            mode = os.stat(found).st_mode
            if stat.S_ISREG(mode) and mode & 0o111:
                return found
    raise _Cold(f"{program} is not on PATH")


def _relative_paths(python_path: str) -> list[str]:
    """Returns the entries of PYTHONPATH that begin at the trial's own folder.

    Raises:
        _Cold: an entry is empty, which means that folder itself.
    """
    entries = python_path.split(os.pathsep) if python_path else []
    if "" in entries:
        raise _Cold("PYTHONPATH has an empty entry")
    return [entry for entry in entries if not os.path.isabs(entry)]


def _is_same(python: str, others: str) -> bool:
    """True when two paths are of one interpreter: in a virtual environment it is known by the link's own folder."""
    return os.path.dirname(python) == os.path.dirname(others) and os.path.realpath(python) == os.path.realpath(others)


def _shadowed(folder: str, user: User | None, imported: frozenset[str]) -> str | None:
    """Returns a module in a folder that the template has imported from elsewhere; None when there is none."""
    files: list[str] = []
    packages: list[str] = []
    with acting_as(user):
        try:
            names = sorted(os.listdir(folder))
        except FileNotFoundError:
            return None
        for name in names:
            if name in imported and os.path.isdir(os.path.join(folder, name)):
                within = os.listdir(os.path.join(folder, name))
                packages += [name] if any(file.startswith(_INIT) for file in within) else []
            else:
                files.append(name)
    return shadowed(files, packages, imported)


def _passed(asked: Start, python: str) -> dict[str, str]:
    """Returns the variables that a command would see at its start by a shell.

    Raises:
        _Cold: one of them cannot be passed on, which the ordinary way tells in its own words.
    """
    for name, value in asked.environment.items():
        if not name or "=" in name or "\0" in name or "\0" in value:
            raise _Cold(f"{name!r} cannot be a variable")
    by_shell = {"PWD": str(asked.folder)}
    if shutil.which("bash"):
        by_shell |= {"SHLVL": "0", "_": python}
    return {**asked.environment, **by_shell}
