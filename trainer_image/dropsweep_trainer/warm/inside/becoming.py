"""How a copy of the template becomes a trial's process: what an ordinary start would have made of it."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import io
import json
import os
import pkgutil
import resource
import site
import sys
import threading
import time
import types
from importlib.machinery import SourceFileLoader
from types import CodeType
from typing import Any

_LOW = 100
"""The one file of ours that stays open has a number above those that a script sees."""
_PR_SET_DUMPABLE = 4
_PR_SET_NAME = 15
_CAPABILITY_VERSION = 0x20080522
_EXIT_UNSTARTED = 126
_OWN = ("_dropsweep_becoming", "_dropsweep_ending", "_dropsweep_preloading")
_NPROC = resource.RLIMIT_NPROC
_libc = ctypes.CDLL(None, use_errno=True)


class Life:
    """A copy's own line to the worker: it says that it is there, waits for leave, and says how it ends."""

    def __init__(self, file: int) -> None:
        """Takes the line over, to a file number out of the way."""
        try:
            self._file = fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, _LOW)
        except OSError:
            self._file = fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, 3)
        os.close(file)
        self._pid = os.getpid()

    def may_begin(self) -> bool:
        """Says that this process is there; False when nobody wants it any more."""
        try:
            os.write(self._file, b"%d" % self._pid)
            return bool(os.read(self._file, 1))
        except OSError:
            return False

    def close_others(self) -> None:
        """Closes all files but 0, 1, 2 and the line."""
        for name in os.listdir("/proc/self/fd"):
            if int(name) not in (0, 1, 2, self._file):
                with contextlib.suppress(OSError):  # the folder itself was open while it was read
                    os.close(int(name))

    def end(self, status: int) -> None:
        """Says with which status it ends, for the case that its parent is gone; a copy of it says nothing."""
        if os.getpid() == self._pid:
            with contextlib.suppress(OSError):
                os.write(self._file, b"%d" % status)


def read(file: int) -> dict[str, Any]:
    """Returns the request that a file holds."""
    with open(file, "rb", closefd=False) as stream:
        found: dict[str, Any] = json.loads(stream.read())
    return found


def become(request: dict[str, Any], own: str) -> CodeType:
    """Makes this process the trial's with a fresh `__main__`, and returns the code of its script.

    It is a single thread, leads its session, has its output in place, and may still switch users. It is replaced by an
    ordinary interpreter where the script is one that only that can tell what to do with; on what an ordinary start
    would end with as well, it ends.

    Args:
        request: what the worker asks for.
        own: the folder of the files that run here.
    """
    folder = os.getcwd()
    try:
        _switch(request)
    except (OSError, ValueError) as error:
        os.write(2, f"dropsweep: the trial cannot be started: {error}\n".encode(errors="backslashreplace"))
        os._exit(_EXIT_UNSTARTED)
    os.environ.clear()
    os.environ.update(request["environment"])
    time.tzset()
    _refresh(request, own, folder)
    words: list[str] = request["words"]
    # As the interpreter does it: joined, and nothing in it made simpler.
    script = words[1] if os.path.isabs(words[1]) else os.path.join(os.getcwd(), words[1])
    sys.argv = words[1:]
    if hasattr(sys, "orig_argv"):
        sys.orig_argv = list(words)
    sys.executable = request["python"]
    if not getattr(sys.flags, "safe_path", False):
        sys.path.insert(0, os.path.dirname(os.path.realpath(script)))
    main = types.ModuleType("__main__")
    sys.modules["__main__"] = main
    code = _compile(script)
    if code is None:
        os.execv(request["python"], words)
    variables = vars(main)
    variables["__loader__"] = SourceFileLoader("__main__", script)
    if sys.version_info < (3, 14):
        variables["__annotations__"] = {}
    variables["__builtins__"] = sys.modules["builtins"]
    variables["__file__"] = script
    variables["__cached__"] = None
    return code


def _switch(request: dict[str, Any]) -> None:
    """Takes on what a process has from its start: processors, user, limits and folder.

    Raises:
        OSError, ValueError: it is not allowed to.
    """
    if request["cores"]:
        with contextlib.suppress(OSError):
            os.sched_setaffinity(0, request["cores"])
    if request["user"] is not None:
        uid, gid = request["user"]
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    if request["user"] is not None or os.geteuid() != 0:
        # Another user than root keeps its rights when it becomes a third one. This one is to have none.
        header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
        if _libc.capset(header, (ctypes.c_uint32 * 6)()) != 0:
            raise OSError(ctypes.get_errno(), "its rights cannot be given up")
    # As after the start of a program: what it reports to is its own user's, such as /proc/self.
    _libc.prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)
    _libc.prctl(_PR_SET_NAME, os.path.basename(request["python"]).encode(), 0, 0, 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):
        first_to_go = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
        os.write(first_to_go, b"1000")
        os.close(first_to_go)
    if request["max_processes"] is not None:
        resource.setrlimit(_NPROC, (request["max_processes"],) * 2)
    os.chdir(request["folder"])


def _refresh(request: dict[str, Any], own: str, folder: str) -> None:
    """Puts right what modules know of the process that they were imported in.

    It looks at no more than it must: with each object that is touched, a page of memory becomes the copy's own.
    """
    for name in _OWN:
        sys.modules.pop(name, None)
    sys.path_importer_cache.pop(own, None)
    _relocate(request["relative_paths"], folder)
    main_thread: Any = threading.main_thread()
    if hasattr(main_thread, "_set_native_id"):
        main_thread._set_native_id()
    if site.ENABLE_USER_SITE:
        site.USER_BASE = site.USER_SITE = None
        site.getusersitepackages()
    loaded: dict[str, Any] = sys.modules
    if module := loaded.get("logging"):
        # What `relativeCreated` counts from; Python 3.13 counts in nanoseconds.
        module._startTime = time.time_ns() if isinstance(module._startTime, int) else time.time()
    if module := loaded.get("tempfile"):
        module.tempdir = None
    if module := loaded.get("multiprocessing.process"):
        module.ORIGINAL_DIR = os.getcwd()
        module.current_process().authkey = os.urandom(32)
    # `random` is seeded anew by the fork itself.
    if module := loaded.get("numpy.random"):
        module.seed()
    if module := loaded.get("torch"):
        module.default_generator.seed()
    if module := loaded.get("torch._dynamo.config"):
        with contextlib.suppress(AttributeError):
            module.debug_dir_root = os.path.join(os.getcwd(), "torch_compile_debug")


def _relocate(paths: list[str], folder: str) -> None:
    """Has those entries of PYTHONPATH that are relative begin at this process's folder, not at the template's."""
    moved = {os.path.abspath(os.path.join(folder, path)): os.path.abspath(path) for path in paths}
    sys.path[:] = [moved.get(path, path) for path in sys.path]


def _compile(script: str) -> CodeType | None:
    """Returns a script's code; None when it is more than a file of source, or wrong: the interpreter tells it best."""
    try:
        if pkgutil.get_importer(script) is not None:
            return None
        with io.open_code(script) as stream:
            source = stream.read()
        # Bytes that are none in UTF-8: a file's are refused in a comment too, which those of a text in memory are not.
        source.decode()
        return compile(source, script, "exec", dont_inherit=True)
    except (OSError, SyntaxError, ValueError, MemoryError, RecursionError, OverflowError):
        return None
    finally:
        sys.path_importer_cache.pop(script, None)
