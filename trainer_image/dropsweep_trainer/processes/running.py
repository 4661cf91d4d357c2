"""What is the same for every running command, however it was begun: it is waited for, and ended as a group."""

import contextlib
import logging
import math
import os
import select
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Final

from dropsweep_trainer.processes import proc

_log = logging.getLogger(__name__)
_LOOK_S: Final = 0.05
REPORT_S: Final = 5.0
"""After a process's end, for so long it may take until its parent is told: whoever traces it is told first."""
KILL_S: Final = 3 * REPORT_S
"""After SIGKILL, for so long a process may take to end: whoever traces it may hold it back, and so may the kernel."""


class Running(ABC):
    """One running command with everything it starts.

    Attributes:
        start: how it was begun, in words: `warm`, or `cold: ` and why.
    """

    start: str = ""
    _last_signal: signal.Signals | None = None

    @property
    @abstractmethod
    def pid(self) -> int:
        """Id of its first process, and of its session and process group."""

    @abstractmethod
    def wait(self, timeout_s: float) -> int | None:
        """Returns the exit code (negative: the signal), or None when it still runs after `timeout_s`.

        Raises:
            OSError: it has ended, and nobody can tell how.
        """

    @abstractmethod
    def _let_go(self, exit_code: int) -> int:
        """Takes it as ended from now on, and returns the exit code; it is reaped once it can be."""

    def stop(self, grace_s: float) -> int:
        """Sends SIGTERM to the group, and SIGKILL to what is left of it after `grace_s`; returns the exit code.

        The grace is the group's, not its leader's: a shell that waits for its program dies of SIGTERM at once, while
        the program still saves its work.
        """
        self.signal(signal.SIGTERM)
        end = time.monotonic() + grace_s
        while (self.wait(_LOOK_S) is None or self._group_lives()) and time.monotonic() < end:
            time.sleep(_LOOK_S)
        return self.kill()

    def kill(self) -> int:
        """Sends SIGKILL to the group, without grace; returns the exit code.

        What does not end by it is not waited for: it may be held by another process, which is to be ended next.
        """
        self.signal(signal.SIGKILL)
        end = time.monotonic() + KILL_S
        while (exit_code := self.wait(1.0)) is None:
            if time.monotonic() > end:
                _log.warning("process %d does not end by SIGKILL", self.pid)
                return self._let_go(-signal.SIGKILL)
        return exit_code

    def sweep_up(self) -> None:
        """Ends whatever the command left behind in its group after its own end."""
        self.signal(signal.SIGKILL)

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to the group."""
        self._last_signal = number
        # The group outlives its leader as long as it has members; its id is not given to anybody else meanwhile.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def _group_lives(self) -> bool:
        """True while a member of the group runs; one that only waits to be reaped does not."""
        if not proc.IS_THERE:
            try:
                os.killpg(self.pid, 0)
            except (ProcessLookupError, PermissionError):
                return False
            return True
        return any(process.group == self.pid for process in proc.seen())


def open_pidfd(pid: int) -> int | None:
    """Returns a file that becomes readable when a process ends; None where there is no such thing.

    The process must be one that cannot have been reaped yet, or the file might be another's.

    Source: pidfd_open(2), Linux 5.3.
    """
    if not hasattr(os, "pidfd_open"):
        return None
    with contextlib.suppress(OSError):
        return os.pidfd_open(pid)
    return None


def is_readable(files: Iterable[int], timeout_s: float) -> bool:
    """Waits until one of some files can be read from, or is at its end; False when none is after `timeout_s`."""
    poll = select.poll()
    for file in files:
        poll.register(file, select.POLLIN)
    return bool(poll.poll(math.ceil(max(0.0, timeout_s) * 1000)))
