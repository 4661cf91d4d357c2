"""Tells whether data folders are free; `make clean` asks it.

    python -I local/idle.py FOLDER/lock ...

The exit status is 1 if a stack uses one of them. It runs as a file of its own with nothing but the standard library,
under a Python 3 that may be older than the project's: the environment may be missing.
"""

import fcntl
import os
import sys


def in_use(lock: str) -> bool:
    """True when a running stack holds this lock file."""
    try:
        file = os.open(lock, os.O_RDWR)
    except OSError:
        return False  # nobody ran there, or the file cannot be ours
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(file)
    return False


if __name__ == "__main__":
    used = [os.path.dirname(lock) for lock in sys.argv[1:] if in_use(lock)]
    if used:
        print(
            f"{', '.join(used)}: a stack that runs uses this folder, so nothing was removed. "
            "Stop it first: Ctrl-C where `make up` or `make demo` runs",
            file=sys.stderr,
        )
        sys.exit(1)
