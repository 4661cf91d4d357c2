"""How a trial's process is started: as a copy of the node's template where that is the same, else by a shell."""

import contextlib
import logging
import os
import shutil
import stat
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dropsweep_trainer.process import Process
from dropsweep_trainer.running import Running
from dropsweep_trainer.sharing.cores import pinned
from dropsweep_trainer.users import User, acting_as
from dropsweep_trainer.warm.plain import script_words
from dropsweep_trainer.warm.rules import ruling_out, shadowed
from dropsweep_trainer.warm.template import Options, Standing, Template

_log = logging.getLogger(__name__)
IS_POSSIBLE: Final = sys.platform == "linux" and hasattr(os, "memfd_create") and hasattr(os, "pidfd_open")
_MAX_FAILURES: Final = 3
"""After so many templates in a row that did not become ready, a worker starts no further one."""
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
        self._is_on = is_on and IS_POSSIBLE
        self._lock = threading.Lock()
        self._serving: Template | None = None
        self._coming: Template | None = None
        self._retired: list[Template] = []
        self._num_failures = 0

    @property
    def template(self) -> Template | None:
        """The template that serves now, if there is one."""
        return self._serving

    def start(self, asked: Start) -> Running:
        """Starts a command.

        Raises:
            OSError: it cannot be started.
        """
        if self._is_on and asked.may_be_warm:
            try:
                return self._copy(asked)
            except (_Cold, OSError) as why:
                _log.debug("an ordinary start: %s", why)
        with pinned(asked.cores):
            return Process(
                asked.command,
                folder=asked.folder,
                environment=asked.environment,
                stdout=asked.stdout,
                stderr=asked.stderr,
                user=asked.user,
                max_processes=asked.max_processes,
            )

    def close(self) -> None:
        """Ends the templates, with every trial of theirs that still runs; nothing may be started afterwards."""
        with self._lock:
            self._is_on = False
            for template in filter(None, (self._serving, self._coming, *self._retired)):
                template.close()
            self._serving = self._coming = None
            self._retired.clear()

    def _copy(self, asked: Start) -> Running:
        """Starts a command as a copy of the template.

        Raises:
            _Cold, OSError: it has not been started, and will not be.
        """
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
            if not stat.S_ISREG(os.stat(script).st_mode):
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
        if copy is None:
            # Gone, or stuck: it makes no further copies, and the next trial starts another one.
            template.retire()
            raise _Cold("the template did not answer")
        return copy

    def _ready(self, python: str, asked: Start) -> Template:
        """Returns a template that is ready.

        Raises:
            _Cold: there is none yet.
        """
        with self._lock:
            self._look()
            is_old = self._serving is not None and self._serving.standing() is Standing.OLD
            if self._is_on and self._coming is None and (self._serving is None or is_old):
                self._start_template(python, asked)
            if self._serving is None:
                raise _Cold("there is no template that is ready")
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
                    self._num_failures = 0
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
            self._give_up(str(error))

    def _note_failure(self, template: Template) -> None:
        template.close()
        self._num_failures += 1
        if template.why_not:
            self._give_up(template.why_not)
        elif self._num_failures >= _MAX_FAILURES:
            self._give_up(template.last_words() or "it ends before it is ready")

    def _give_up(self, why: str) -> None:
        self._is_on = False
        _log.warning("trials are started the ordinary way, for the process that they would be copies of fails: %s", why)


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
