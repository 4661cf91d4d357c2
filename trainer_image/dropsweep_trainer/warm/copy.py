"""One copy of a template: a trial's process that the worker did not start itself."""

import contextlib
import math
import os
import socket
import struct
import time
from typing import Final

from dropsweep_trainer.processes.running import REPORT_S, Running, is_readable, open_pidfd

HELLO_S: Final = 5.0
"""For so long a copy may take to say that it is there; later ones are not wanted any more."""
_STATUS: Final = struct.Struct("<i")
_MESSAGE_BYTES: Final = 64
_LEAST: Final = -64
_MOST: Final = 255


class Copy(Running):
    """A command that a copy of the template runs."""

    def __init__(self, pid: int, pidfd: int, line: socket.socket, end: int) -> None:
        """Takes over what leads to a copy that has said that it is there.

        Args:
            pid: its process id.
            pidfd: a file that becomes readable when it ends.
            line: the worker's end of its own line.
            end: a file in which the template tells how it has ended.
        """
        self._pid = pid
        self._pidfd = pidfd
        self._line = line
        self._end = end
        self._exit_code: int | None = None
        self._ended_at: float | None = None
        self._is_orphan = False

    @property
    def pid(self) -> int:
        """Its process id, and that of its session and process group."""
        return self._pid

    def wait(self, timeout_s: float) -> int | None:
        """Returns the exit code (negative: the signal), or None when it still runs after `timeout_s`.

        Raises:
            ChildProcessError: it has ended, and so had the template before, which alone is told of signals.
        """
        if self._exit_code is not None:
            return self._exit_code
        until = time.monotonic() + timeout_s
        if not self._is_orphan:
            if self._ended_at is None and not is_readable([self._end, self._pidfd], timeout_s):
                return None
            if not is_readable([self._end], self._patience_s(until)):
                # It has ended, and the template is held up, or nobody may know of the end: somebody traces it.
                return None if self._patience_s(math.inf) > 0 else self._let_go(self._own_words())
            told = os.read(self._end, _STATUS.size)
            if len(told) == _STATUS.size:
                return self._let_go(_STATUS.unpack(told)[0])
            self._is_orphan = True  # the template is gone, which does the copy no harm
        if not is_readable([self._pidfd], until - time.monotonic()):
            return None
        return self._let_go(self._own_words())

    def _patience_s(self, until: float) -> float:
        """For how long to wait for the template's word yet: till `until`, or some time after the end."""
        if self._ended_at is None:
            self._ended_at = time.monotonic()
        return min(until, self._ended_at + REPORT_S) - time.monotonic()

    def _own_words(self) -> int:
        """What it said itself at its end; a signal of ours if it could not, for that is what it will have ended by."""
        with contextlib.suppress(OSError, ValueError):
            # The script could have written there, and no process ends with other numbers.
            return min(max(int(self._line.recv(_MESSAGE_BYTES, socket.MSG_DONTWAIT)), _LEAST), _MOST)
        if self._last_signal is not None:
            return -self._last_signal
        self._close()
        raise ChildProcessError(
            f"process {self._pid} has ended, and what it was copied from had before: nobody knows how"
        )

    def _let_go(self, exit_code: int) -> int:
        self._exit_code = exit_code
        self._close()
        return exit_code

    def _close(self) -> None:
        self._line.close()
        for file in (self._pidfd, self._end):
            with contextlib.suppress(OSError):
                os.close(file)


def meet(line: socket.socket, end: int) -> Copy | None:
    """Waits for a copy to say that it is there, and gives it leave to begin.

    Without a word in time it never begins: what it waits on is shut. So a trial is started once, whatever gets lost.

    Args:
        line: the worker's end of its own line; taken over.
        end: a file in which the template tells how it has ended; taken over.

    Returns:
        The copy; None when there is none.
    """
    pidfd = None
    if is_readable([line.fileno()], HELLO_S):
        with contextlib.suppress(OSError, ValueError):
            pid = int(line.recv(_MESSAGE_BYTES))
            # It waits for leave, so its id is its own.
            pidfd = open_pidfd(pid)
            if pidfd is not None:
                line.send(b"+")
                return Copy(pid, pidfd, line, end)
    line.close()
    for file in (end, pidfd):
        if file is not None:
            os.close(file)
    return None
