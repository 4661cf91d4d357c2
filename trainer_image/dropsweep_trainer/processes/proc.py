"""The processes that there are, as Linux shows them in /proc; elsewhere there is nothing to see."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
IS_THERE: Final = Path("/proc/self/stat").is_file()
"""False where the system has no such folder."""
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Seen:
    """A process that runs, or is stopped; one that only waits to be reaped is none.

    Attributes:
        pid: its id.
        parent: its parent's id.
        group: its process group.
        session: its session.
        num_threads: its threads, at least one.
        rss_bytes: memory that it has mapped and that is there (RSS); what it shares counts in full.
    """

    pid: int
    parent: int
    group: int
    session: int
    num_threads: int
    rss_bytes: int


def seen() -> Iterator[Seen]:
    """Yields every process that this one can see. Source: proc(5), /proc/[pid]/stat."""
    # Listed and not globbed: that looks at each once more, and fails as a whole when one ends meanwhile.
    for name in filter(str.isdigit, os.listdir(_PROC)) if IS_THERE else ():
        with contextlib.suppress(OSError, ValueError, IndexError):
            fields = _fields(_PROC / name)
            num_threads, rss_pages = int(fields[17]), int(fields[21])
            if fields[0] in "ZX":
                # One whose main thread has ended looks the same, but goes on in others; they tell its memory.
                if num_threads < 2:
                    continue
                rss_pages = max(int(_fields(thread)[21]) for thread in (_PROC / name / "task").iterdir())
            yield Seen(
                pid=int(name),
                parent=int(fields[1]),
                group=int(fields[2]),
                session=int(fields[3]),
                num_threads=num_threads,
                rss_bytes=rss_pages * _PAGE_BYTES,
            )


def _fields(folder: Path) -> list[str]:
    """Returns the fields after the program's name, which may hold anything."""
    return (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()


def uid_of(pid: int) -> int | None:
    """Returns the real user id of a process; None when it is gone.

    Not the owner of its folder: that is root's, when the process does not want to be looked at.
    """
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in (_PROC / str(pid) / "status").read_text(errors="replace").splitlines():
            if line.startswith("Uid:"):
                return int(line.split()[1])
    return None


def share_bytes(pid: int) -> int | None:
    """Returns a process's memory with its share of what it has in common with others (PSS).

    None when it is gone or may not be asked: only its own user may, and root.

    Source: proc(5), /proc/[pid]/smaps_rollup, in KiB.
    """
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in (_PROC / str(pid) / "smaps_rollup").read_text(errors="replace").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return None
