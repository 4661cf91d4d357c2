"""A child process with a name, a log file and an end."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from local import leash
from local.paths import shown

_LEASH: Final = str(Path(leash.__file__))
_THIS_MACHINE: Final = ("127.0.0.1", "localhost")
_LEASH_GRACE_S: Final = 2.0
"""What the leash itself gets, beyond the command's own grace, before its whole process group is killed."""


class Child:
    """One process of the stack, in a session of its own, that ends when this process ends, however it ends.

    Attributes:
        name: how people are told of it.
        log: the file that its standard output and error are appended to.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str],
        cwd: Path,
        grace_s: float,
        keeps_open: Sequence[int] = (),
    ) -> None:
        """Starts the command.

        Args:
            name: how people are told of it.
            command: program and arguments; no shell.
            log: appended to; its folder exists.
            env: the whole environment.
            cwd: the working directory.
            grace_s: seconds between SIGTERM and SIGKILL when it is stopped.
            keeps_open: file descriptors that stay open until the command and all that descends from it have ended.

        Raises:
            OSError: when this Python or the log file cannot be opened. A command that cannot be run is seen as a child
                that ended with status 1 and said so in its log.
        """
        self.name = name
        self.log = log
        self._grace_s = grace_s
        with log.open("ab") as out:
            self._log_start = out.tell()
            # A session of its own: Ctrl-C in the terminal reaches this process only, which ends its children in order.
            self._process = subprocess.Popen(
                [sys.executable, "-I", _LEASH, str(grace_s), *command],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=dict(env),
                cwd=cwd,
                start_new_session=True,
                pass_fds=keeps_open,
            )

    @property
    def pid(self) -> int:
        """The id of the leash, which leads the process group."""
        return self._process.pid

    @property
    def exit_status(self) -> int | None:
        """The command's exit status (128 + n after signal n), or None while it runs."""
        return self._process.poll()

    def ask_to_stop(self) -> None:
        """Starts the end of it: SIGTERM, and SIGKILL after its grace; returns at once. Harmless when it has ended."""
        if self._process.stdin and not self._process.stdin.closed:
            self._process.stdin.close()

    def stop(self) -> int:
        """Ends it and waits; returns its exit status. At the latest after its grace and two seconds nothing is left."""
        self.ask_to_stop()
        try:
            return self._process.wait(self._grace_s + _LEASH_GRACE_S)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            return self._process.wait()

    @property
    def obituary(self) -> str:
        """How it ended, with the end of its log, for a person to read."""
        return f"{self.name} ended with status {self.exit_status}. {shown(self.log)} ends with:\n{self.last_lines()}"

    def said(self) -> str:
        """Returns what it has logged itself, without what stood in its log before."""
        with self.log.open("rb") as file:
            file.seek(self._log_start)
            return file.read().decode(errors="replace")

    def last_lines(self, num_lines: int = 15) -> str:
        """Returns the end of its log, for a person to read."""
        with self.log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 16_384))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-num_lines:])


def around_proxy(env: Mapping[str, str]) -> dict[str, str]:
    """Returns an environment in which addresses of this machine are reached without the proxy that it may name."""
    before = env.get("no_proxy") or env.get("NO_PROXY") or ""
    named = [part.strip() for part in before.split(",")]
    hosts = [] if named == ["*"] else [host for host in _THIS_MACHINE if host not in named]
    after = ",".join([*([before] if before else []), *hosts])
    # Programs differ in which of the two they read.
    return {**env, "no_proxy": after, "NO_PROXY": after}


def stop_all(children: Sequence[Child]) -> None:
    """Ends several children side by side and waits for all of them."""
    for child in children:
        child.ask_to_stop()
    for child in children:
        child.stop()
