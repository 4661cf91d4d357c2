"""The processor time of a process and of everything that descends from it."""

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from local.leash import adopt_orphans, descendants

_PROC: Final = Path("/proc")
_TICKS_S: Final = os.sysconf("SC_CLK_TCK")
_END_S: Final = 10.0
_LOOK_S: Final = 0.05


class Meter:
    """Starts one process and counts what it and all its descendants use, on Linux. A context manager.

    A control group of its own (version 2) counts exactly, whatever becomes of the processes. Where none may be made,
    the process tree in /proc is added up; time of processes whose parents ignore their end (as Ray's do) is then lost.

    Attributes:
        is_exact: there is a control group.
    """

    def __init__(self, name: str, *, with_group: bool = True) -> None:
        """Makes the control group, if that is allowed here and wanted."""
        self._process: subprocess.Popen[str] | None = None
        self._reaped_s = os.times().children_user + os.times().children_system
        self._earlier = frozenset(descendants(os.getpid()))
        adopt_orphans()  # daemons stay in the tree
        # Last: an interruption before the block begins leaves no group behind.
        self._group = _make_group(name) if with_group else None
        self.is_exact = self._group is not None

    @property
    def processes(self) -> list[int]:
        """The ids of all that runs: the process and what descends from it."""
        if self._group is not None:
            return [int(line) for line in (self._group / "cgroup.procs").read_text(encoding="ascii").split()]
        return [process for process in descendants(os.getpid()) if process not in self._earlier]

    def __enter__(self) -> Self:
        return self

    def start(self, command: list[str], *, env: dict[str, str], cwd: Path, log: Path) -> "subprocess.Popen[str]":
        """Starts the process, with pipes for its standard input and output, and its error output in a file."""
        group = self._group

        def join() -> None:
            if group is not None:
                (group / "cgroup.procs").write_text("0", encoding="ascii")  # 0: who writes it

        with log.open("wb") as errors:
            self._process = subprocess.Popen(
                command,
                env=env,
                cwd=cwd,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
                preexec_fn=join,
            )
        return self._process

    def seconds(self) -> float:
        """Returns the processor seconds used so far."""
        if self._group is not None:
            facts = dict(line.split() for line in (self._group / "cpu.stat").read_text(encoding="ascii").splitlines())
            return int(facts["usage_usec"]) / 1e6
        now = os.times()
        reaped_s = now.children_user + now.children_system - self._reaped_s
        return reaped_s + sum(_seconds_of(process) for process in self.processes)

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Kills whatever still runs, also when it is interrupted meanwhile."""
        try:
            self._end()
        except KeyboardInterrupt:
            self._end()
            raise

    def _end(self) -> None:
        if self._group is not None and not self._group.exists():
            return  # it was the last thing to do
        until = time.monotonic() + _END_S
        killed: set[int] = set()
        while (left := self.processes) and time.monotonic() < until:
            killed |= set(left)
            for process in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            time.sleep(_LOOK_S)
            self._reap(killed, os.WNOHANG)  # what has ended stays in /proc until then
        self._reap(killed, 0)
        if self._process is not None:
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    pipe.close()
        if self._group is not None:
            self._group.rmdir()

    def _reap(self, processes: set[int], options: int) -> None:
        """Takes note of the ends of orphans that came to this process; with `WNOHANG` of those that have ended."""
        if self._process is not None:
            self._process.poll()
        for process in processes - {self._process.pid if self._process else 0}:
            with contextlib.suppress(ChildProcessError):  # it is no child of this process, or not any more
                os.waitpid(process, options)


def _make_group(name: str) -> Path | None:
    """Makes a control group below this process's own; None where there is none or it may not be made."""
    try:
        mounts = [line.split() for line in (_PROC / "mounts").read_text(encoding="utf-8").splitlines()]
        [root] = [Path(fields[1]) for fields in mounts if fields[2] == "cgroup2"]
        lines = (_PROC / "self/cgroup").read_text(encoding="utf-8").splitlines()
        [own] = [line.removeprefix("0::/") for line in lines if line.startswith("0::")]
        group = root / own / f"{name}-{os.getpid()}"
        group.mkdir()
    except (OSError, ValueError):
        return None
    return group


def _seconds_of(process: int) -> float:
    """A living process's own time and that of the children it has waited for."""
    try:
        fields = (_PROC / f"{process}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(int(field) for field in fields[11:15]) / _TICKS_S
