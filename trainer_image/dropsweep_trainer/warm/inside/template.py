"""The template: a process that has imported what scripts need, and copies itself for each trial that it is asked for.

`python template.py SOCKET OPTIONS`: the number of a file, a socket of messages to the worker, and in JSON which modules
to import, and when it is to say that it is old. It has one thread, for only that one goes on in a copy. It knows
nothing of storage and of trials: a request is read by the copy that it is for, so nothing of one trial is in this
process when the next one's is copied. When the socket is shut, for the worker is gone, it ends its copies and itself.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import json
import os
import select
import signal
import socket
import struct
import sys
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from dropsweep_trainer.warm.inside import becoming, ending, preloading
else:

    def _beside(name: str) -> Any:
        """Imports a file from beside this one under a name that no script uses."""
        path = os.path.join(os.path.dirname(os.path.abspath(__file__)), f"{name}.py")
        spec = importlib.util.spec_from_file_location(f"_dropsweep_{name}", path)
        module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    becoming, ending, preloading = map(_beside, ("becoming", "ending", "preloading"))

_OLDEST = 0x030A0000
"""3.10, as `sys.hexversion` has it."""
_NUM_FILES = 5
_RETRY_MS = 100
_MESSAGE_BYTES = 64
_PR_SET_DUMPABLE = 4
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4


class Template:
    """What this process does once it is ready."""

    def __init__(self, worker: socket.socket, max_copies: int, max_growth_bytes: int) -> None:
        """Begins to serve; the memory that it has now is what it had when it was ready."""
        self._worker = worker
        self._max_copies = max_copies
        self._max_growth_bytes = max_growth_bytes
        self._poll = select.poll()
        self._poll.register(worker, select.POLLIN)
        self._copies: dict[int, tuple[int, int]] = {}
        self._held: list[int] = []
        self._num_copies = 0
        self._first_bytes = _own_bytes()
        self._is_old = False
        self._is_retired = False

    def serve(self) -> list[int]:
        """Copies this process for each request; returns in a copy alone, with the files of its request."""
        while True:
            for file in [file for file in self._held if self._bury(file)]:
                self._held.remove(file)
            for file, _ in self._poll.poll(_RETRY_MS if self._held else None):
                if file != self._worker.fileno():
                    self._poll.unregister(file)
                    if not self._bury(file):
                        self._held.append(file)
                elif (files := self._receive()) is not None:
                    return files
            if self._is_retired and not self._copies:
                os._exit(0)

    def _receive(self) -> list[int] | None:
        message, files, _, _ = socket.recv_fds(self._worker, _MESSAGE_BYTES, _NUM_FILES)
        if not message:
            self._end_all()
        if message == b"retire":
            # The worker says nothing more, and its end is told of all the same.
            self._is_retired = True
            self._poll.modify(self._worker, 0)
        elif message == b"start" and len(files) == _NUM_FILES:
            return self._copy(files)
        for file in files:
            os.close(file)
        return None

    def _copy(self, files: list[int]) -> list[int] | None:
        """Copies this process; returns the files in the copy, else nothing: they are closed, but for its end's."""
        end = files[1]
        copy = -1
        # Without a copy its line is shut, and the worker knows at once.
        with contextlib.suppress(OSError):
            copy = os.fork()
        if copy == 0:
            return files
        for file in files:
            if file != end or copy < 0:
                os.close(file)
        if copy > 0:
            self._watch(copy, end)
        return None

    def _watch(self, copy: int, end: int) -> None:
        try:
            ended = os.pidfd_open(copy)
        except OSError:
            os.kill(copy, signal.SIGKILL)
            os.waitpid(copy, 0)
            os.close(end)
            return
        self._copies[ended] = copy, end
        self._poll.register(ended, select.POLLIN)
        self._num_copies += 1
        has_grown = _own_bytes() - self._first_bytes > self._max_growth_bytes
        if not self._is_old and (has_grown or self._num_copies >= self._max_copies):
            self._is_old = True
            with contextlib.suppress(OSError):
                self._worker.send(b"old", socket.MSG_DONTWAIT)

    def _bury(self, ended: int) -> bool:
        """Tells the worker how a copy has ended; False while that cannot be known, for somebody else traces it.

        A copy's own descendant can do that, and would hold up all others if this were waited for.
        """
        copy, end = self._copies[ended]
        buried, status = os.waitpid(copy, os.WNOHANG)
        if not buried:
            return False
        del self._copies[ended]
        os.close(ended)
        with contextlib.suppress(OSError):
            os.write(end, struct.pack("<i", os.waitstatus_to_exitcode(status)))
        os.close(end)
        return True

    def _end_all(self) -> NoReturn:
        for copy, _ in self._copies.values():
            for kill in (os.killpg, os.kill):  # it may not lead its group yet
                with contextlib.suppress(OSError):
                    kill(copy, signal.SIGKILL)
        os._exit(0)


def _own_bytes() -> int:
    """Memory that is this process's own and not a file's, in bytes; what copies have in common with it counts."""
    with open("/proc/self/statm", "rb") as file:
        fields = file.read().split()
    return (int(fields[1]) - int(fields[2])) * os.sysconf("SC_PAGE_SIZE")


def _get_ready(worker: socket.socket, preload: list[str]) -> dict[str, Any]:
    """Imports what is to be imported, and returns what the worker is told of it.

    Raises:
        Unsound: copies of this process would not do.
    """
    if sys.hexversion < _OLDEST or not hasattr(os, "pidfd_open"):
        raise preloading.Unsound("Python 3.10 is the oldest that can do it, on Linux 5.3")
    os.close(os.pidfd_open(os.getpid()))
    read, missing = preloading.preload(preload)
    preloading.check([worker.fileno()])
    for path in [path for path, finder in sys.path_importer_cache.items() if finder is None]:
        del sys.path_importer_cache[path]  # is not there now, and may be when a copy looks for it
    modules = {name.partition(".")[0] for name in sys.modules if not name.startswith(("__main__", "_dropsweep_"))}
    return {
        "python": sys.executable,
        "modules": sorted(modules),
        "read": sorted(filter(str.isidentifier, read)),
        "missing": missing,
    }


def _report(worker: socket.socket, preload: list[str]) -> None:
    """Gets ready and tells the worker of it.

    What it tells is let go of here: a copy would do so in its turn, and for that have a page of its own for each name.
    """
    try:
        told = _get_ready(worker, preload)
    except (preloading.Unsound, OSError) as error:
        told = {"why_not": str(error)}
    worker.send(json.dumps(told).encode())
    if "why_not" in told:
        os._exit(1)


def _close_to_others() -> None:
    """Shuts other processes of this user out of this one's memory, and what it starts out of its rights."""
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)


def _main() -> tuple[Any, dict[str, Any]]:
    """Serves until the worker is gone; returns in a copy alone, with its line to the worker and its request."""
    _close_to_others()
    worker = socket.socket(fileno=int(sys.argv[1]))
    options = json.loads(sys.argv[2])
    if not getattr(sys.flags, "safe_path", False):
        del sys.path[0]
    _report(worker, options["preload"])
    line, _end, out, err, request = Template(worker, options["max_copies"], options["max_growth_bytes"]).serve()
    os.setsid()
    life = becoming.Life(line)
    if not life.may_begin():
        os._exit(0)
    os.dup2(out, 1)
    os.dup2(err, 2)
    asked = becoming.read(request)
    worker.detach()
    life.close_others()
    return life, asked


if __name__ == "__main__":
    _life, _request = _main()
    _last_kept = next(name for name in reversed(sys.modules) if not name.startswith(("__main__", "_dropsweep_")))
    _code = becoming.become(_request, os.path.dirname(os.path.abspath(__file__)))
    _ended: BaseException | None = None
    # The script may take it out of there, or put something else in its place.
    _module = sys.modules["__main__"]
    try:
        # Here, for each function on the way would be one more that the script finds below itself on the stack. After
        # it nothing here holds its variables: they are to be let go of at its end.
        exec(_code, vars(_module))
    except BaseException as _error:  # noqa: BLE001 - whatever ends the script, it is told of as ever
        _ended = _error
    _status = 0 if _ended is None else ending.tell(_ended)
    if not isinstance(_ended, SystemExit):
        ending.forget_file(_module)
    del _code, _ended, _module
    _status = ending.finish(_last_kept, _status)
    _life.end(_status)
    ending.leave(_status)
