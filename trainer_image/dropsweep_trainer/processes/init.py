"""Process 1 of a container: passes signals on to the worker and reaps what trials leave behind.

The kernel makes every orphan of the container a child of process 1, which must take its exit status. The worker cannot:
it would take those of its own trials as well, before they are asked for. So process 1 forks, and the worker is its
child.
"""

import contextlib
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

PASSED_ON: Final = (signal.SIGTERM, signal.SIGINT)


def is_below_process_1() -> bool:
    """True in the child that `run_below_process_1` made: all processes that it can see are its own or its trials'."""
    if os.getppid() != 1:
        return False
    with contextlib.suppress(OSError):
        # Not any other init: a worker that outlived its shell is a child of the machine's.
        command = Path("/proc/1/cmdline").read_bytes().split(b"\0")
        return command[1:-1] == [os.fsencode(argument) for argument in sys.orig_argv[1:]]
    return False


def run_below_process_1(serve: Callable[[], int]) -> int:
    """Runs `serve` in a child process, and everything that is asked of process 1 here.

    Must be called before a thread is started. In the child the signals `PASSED_ON` are held back: `serve` lets them
    through once it has handlers for them.

    Returns:
        In both processes the exit status of the child, as shells give it: 128 and the signal's number if one ended it.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON)
    child = os.fork()
    if child == 0:
        return serve()
    for number in PASSED_ON:
        signal.signal(number, lambda received, _frame: os.kill(child, received))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, PASSED_ON)
    while True:
        process, status = os.wait()
        if process == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code
