"""The worker's end of a template: it is started, asked for copies, and retired."""

import contextlib
import json
import logging
import os
import socket
import subprocess
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from dropsweep_trainer.processes.capabilities import start_with_rights
from dropsweep_trainer.warm.copy import Copy, meet

_log = logging.getLogger(__name__)
_PROGRAM: Final = Path(__file__).parent / "inside" / "template.py"
_READY_BYTES: Final = 1 << 17
_END_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Options:
    """What a template does beside copying itself.

    Attributes:
        preload: modules that it imports where they are installed.
        max_copies: after so many it is old.
        max_growth_bytes: likewise, when its own memory has grown by so much: what a library loses is lost for good.
    """

    preload: tuple[str, ...] = ()
    max_copies: int = 1000
    max_growth_bytes: int = 64 << 20


class Standing(StrEnum):
    """How far a template is."""

    STARTING = "starting"
    READY = "ready"
    OLD = "old"
    RETIRED = "retired"
    GONE = "gone"


class Template:
    """A process that copies itself.

    Attributes:
        python: the interpreter that it runs.
        environment: the variables that it was started for.
        modules: those that it has imported, without those inside of packages; empty before it is ready.
        read: the variables that these looked for when they were imported.
        missing: modules that it was to import and that are not installed.
        why_not: why it cannot serve, once it has said so.
    """

    def __init__(
        self, python: str, options: Options, *, environment: Mapping[str, str], folder: Path, needs_rights: bool
    ) -> None:
        """Starts it; it takes as long as its imports until it is ready.

        Args:
            python: the interpreter.
            options: what it imports, and when it is old.
            environment: what the node gives each of its trials of variables.
            folder: its own, which is there.
            needs_rights: it is to copy itself for other users than the worker's own.

        Raises:
            OSError: it cannot be started.
        """
        self.python = python
        self.environment = dict(environment)
        self.modules: frozenset[str] = frozenset()
        self.read: frozenset[str] = frozenset()
        self.missing: tuple[str, ...] = ()
        self.why_not = ""
        self._standing = Standing.STARTING
        self._log_file = folder / "template.txt"
        # A message is whole or not there, and many threads may send on one socket.
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.setblocking(False)
        own = {"HOME": str(folder), "TMPDIR": str(folder)}
        try:
            with theirs, self._log_file.open("ab") as log:
                start = start_with_rights if needs_rights else subprocess.Popen
                self._popen: subprocess.Popen[bytes] = start(
                    [python, str(_PROGRAM), str(theirs.fileno()), json.dumps(asdict(options))],
                    cwd=folder,
                    env={**environment, **own},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,
                )
        except BaseException:
            self._socket.close()
            raise
        self._started = time.monotonic()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._popen.pid

    def standing(self) -> Standing:
        """Returns how far it is, after a look at what it has said; waits for nothing."""
        while self._standing is not Standing.GONE:
            try:
                said = self._socket.recv(_READY_BYTES)
            except BlockingIOError:
                break
            except OSError:
                said = b""
            if not said:
                self._standing = Standing.GONE
            elif said == b"old":
                self._standing = Standing.OLD if self._standing is Standing.READY else self._standing
            elif self._standing is Standing.STARTING:
                self._hear(json.loads(said))
        if self._standing is Standing.GONE:
            self._popen.poll()
        return self._standing

    def copy(self, request: Mapping[str, Any], stdout: int, stderr: int) -> Copy | None:
        """Begins a trial in a copy; None when there is none, and none will begin later.

        Args:
            request: what becomes of the copy, as `inside.becoming` reads it.
            stdout: a file.
            stderr: a file.

        Raises:
            OSError: files or memory of this process run out.
        """
        with contextlib.ExitStack() as opened:
            # A request may be longer than a message.
            asked = os.memfd_create("request", os.MFD_CLOEXEC)
            opened.callback(os.close, asked)
            with open(asked, "wb", closefd=False) as stream:
                stream.write(json.dumps(request).encode())
            os.lseek(asked, 0, os.SEEK_SET)
            line, their_line = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            opened.enter_context(their_line)
            end, their_end = os.pipe()
            opened.callback(os.close, their_end)
            try:
                socket.send_fds(self._socket, [b"start"], [their_line.fileno(), their_end, stdout, stderr, asked])
            except OSError:
                line.close()
                os.close(end)
                return None
        return meet(line, end)

    def retire(self) -> None:
        """Lets it end once its last copy has; it makes no further one."""
        self._standing = Standing.GONE if self._standing is Standing.GONE else Standing.RETIRED
        with contextlib.suppress(OSError):
            self._socket.send(b"retire")

    def close(self) -> None:
        """Ends it, and every copy that still runs."""
        self._socket.close()
        try:
            self._popen.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()

    def last_words(self) -> str:
        """Returns the last line that it printed, for people."""
        with contextlib.suppress(OSError):
            lines = self._log_file.read_text(errors="replace").split("\n")
            return next((line.strip() for line in reversed(lines) if line.strip()), "")
        return ""

    def _hear(self, told: dict[str, Any]) -> None:
        if why_not := told.get("why_not"):
            self.why_not = why_not
            self._standing = Standing.GONE
            return
        self.python = told["python"]
        self.modules = frozenset(told["modules"])
        self.read = frozenset(told["read"])
        self.missing = tuple(told["missing"])
        self._standing = Standing.READY
        _log.debug("template %d is ready after %.1f s", self.pid, time.monotonic() - self._started)
