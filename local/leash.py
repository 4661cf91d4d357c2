"""Runs a command that cannot outlive its parent.

    python -I leash.py GRACE_S COMMAND [ARGUMENT ...]

The parent holds the other end of this process's standard input and never writes to it. When that end closes (the
parent ended, however it ended) or when SIGTERM or SIGINT comes, the command gets SIGTERM, then `GRACE_S` seconds, then
everything that descends from it gets SIGKILL. The exit status is the command's own, or 128 + n after signal n.

It runs as a file of its own with nothing but the standard library, so that it starts in a few hundredths of a second.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
from types import FrameType

_PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """Makes descendants whose parent died children of this process, so that they can be found; Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def descendants(root: int) -> list[int]:
    """Returns the ids of all processes below `root`, parents before children; empty when they cannot be listed."""
    parents: dict[int, int] = {}
    if os.path.isdir("/proc/self"):
        for entry in os.listdir("/proc"):
            # A process may end between the listing and the reading.
            with contextlib.suppress(OSError, ValueError):
                if entry.isdigit():
                    with open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as stat:
                        # The name in brackets may hold spaces and brackets: the fields start after the last one.
                        parents[int(entry)] = int(stat.read().rpartition(")")[2].split()[1])
    else:
        listing = subprocess.run(["ps", "-A", "-o", "pid=", "-o", "ppid="], capture_output=True, text=True, check=False)
        parents = {int(line.split()[0]): int(line.split()[1]) for line in listing.stdout.splitlines()}
    found = [root]
    for process in found:
        found.extend(child for child, parent in parents.items() if parent == process)
    return found[1:]


def kill_descendants() -> None:
    """Sends SIGKILL to everything below this process, until nothing is left that was not already told."""
    told: set[int] = set()
    while fresh := set(descendants(os.getpid())) - told:
        for process in fresh:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        told |= fresh


def main(arguments: list[str]) -> int:
    """Runs the command to its end; returns its exit status."""
    grace_s, command = float(arguments[0]), arguments[1:]
    stopping = threading.Event()
    ended = threading.Event()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        stopping.set()

    # Before the command starts: a signal in between must not leave it without its leash.
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    adopt_orphans()
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)

    def watch_parent() -> None:
        while os.read(0, 4096):
            pass
        stopping.set()

    def end_child() -> None:
        stopping.wait()
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGTERM)
        if not ended.wait(grace_s):
            kill_descendants()

    threading.Thread(target=watch_parent, daemon=True).start()
    threading.Thread(target=end_child, daemon=True).start()
    status = child.wait()
    ended.set()
    kill_descendants()
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.stdout.flush()
    # Not sys.exit: the thread that reads standard input may never return.
    os._exit(main(sys.argv[1:]))
