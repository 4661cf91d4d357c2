"""How a copy of the template ends: as an interpreter does, but for what the template has imported.

An interpreter takes all its modules apart at its end. Those of the template are left as they are: that would take
longer than many a trial, and copy all their memory.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import gc
import io
import itertools
import os
import signal
import sys
import threading
import traceback
import weakref
from collections.abc import Callable
from types import ModuleType, TracebackType
from typing import Any

_EXIT_FAILED = 1
_EXIT_UNFLUSHED = 120
_BUILT_IN = (
    *(io.TextIOWrapper, io.BufferedWriter, io.BufferedReader, io.BufferedRandom, io.BufferedRWPair),
    *(io.FileIO, io.BytesIO, io.StringIO),
)
_ANY_FILE: Any = io.IOBase.__base__
"""What all files are, in C. `io.IOBase` itself is abstract, and notes for each type that it is asked for whether it is
one: at the type, so in a page of memory that is the copy's own from then on."""
_INTERRUPTED = -int(signal.SIGINT)


def tell(error: BaseException) -> int:
    """Tells of what ended the script; the traceback begins in the script.

    Returns:
        The exit status; negative: the signal that the process is to end by, as after Ctrl-C.

    Source: CPython, Python/pythonrun.c: handle_system_exit and _PyErr_PrintEx.
    """
    if isinstance(error, SystemExit):
        return _exit_status(error)
    shown = error.__traceback__.tb_next if error.__traceback__ is not None else None
    error.__traceback__ = shown
    sys.last_type, sys.last_value, sys.last_traceback = type(error), error, shown
    if sys.version_info >= (3, 12):
        sys.last_exc = error
    try:
        sys.excepthook(type(error), error, shown)
    except SystemExit as left:
        return _exit_status(left)
    except BaseException as failure:  # noqa: BLE001 - a hook of the script's; it is told, as the interpreter does
        _flush_or_not()
        sys.stderr.write("Error in sys.excepthook:\n")
        _show(failure, failure.__traceback__.tb_next if failure.__traceback__ is not None else None)
        sys.stderr.write("\nOriginal exception was:\n")
        _show(error, shown)
    return _INTERRUPTED if isinstance(error, KeyboardInterrupt) else _EXIT_FAILED


def forget_file(main: ModuleType) -> None:
    """Takes out of the script's module what it knows of its file, as an interpreter does when it was not exited.

    Source: CPython, Python/pythonrun.c: _PyRun_SimpleFile.
    """
    for name in ("__file__", "__cached__"):
        vars(main).pop(name, None)


def finish(last_kept: str, status: int) -> int:
    """Does what is left to do at an interpreter's end, in its order, and returns the exit status.

    Args:
        last_kept: the module that was imported last of those that were there before the script.
        status: the exit status as it is so far.

    Source: CPython, Python/pylifecycle.c: Py_FinalizeEx and finalize_modules.
    """
    shut_down: Any = getattr(threading, "_shutdown", None)
    try:
        if shut_down is not None:
            shut_down()
    except BaseException:  # noqa: BLE001 - such as a second Ctrl-C
        traceback.print_exc()
    atexit._run_exitfuncs()
    is_flushed = _flush()
    # A thread that nobody waits for would find its variables gone; an interpreter stops it first.
    _flush_files()
    if threading.active_count() == 1:
        _take_apart(last_kept)
        _flush_files()
    sys.stdin, sys.stdout, sys.stderr = sys.__stdin__, sys.__stdout__, sys.__stderr__
    is_flushed = _flush() and is_flushed
    ctypes.CDLL(None).fflush(None)
    return status if is_flushed else _EXIT_UNFLUSHED


def leave(status: int) -> None:
    """Ends this process with a status as `tell` and `finish` return it."""
    if status < 0:
        signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status)


def _exit_status(error: SystemExit) -> int:
    code = error.code
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF if -(1 << 63) <= code < 1 << 63 else 0xFF
    _flush_or_not()
    with contextlib.suppress(Exception):
        sys.stderr.write(f"{code}\n")
        sys.stderr.flush()
    return _EXIT_FAILED


def _show(error: BaseException, shown: TracebackType | None) -> None:
    sys.stderr.write("".join(traceback.format_exception(type(error), error, shown)))


def _take_apart(last_kept: str) -> None:
    """Lets go of what the script has made and imported, so that what it opened is closed and `__del__` is called."""
    sys.last_type = sys.last_value = sys.last_traceback = None
    if sys.version_info >= (3, 12):
        sys.last_exc = None
    # The script may have put anything there, or nothing.
    known = sys.modules.get("__main__")
    main = weakref.ref(known) if known is not None and issubclass(type(known), ModuleType) else lambda: None
    del known
    # From the end, for to look at all names would copy the memory that they are in.
    for name in list(itertools.takewhile(lambda name: name != last_kept, reversed(sys.modules))):
        del sys.modules[name]
    sys.modules.pop("__main__", None)
    gc.collect()
    # What only dies when its variables do: somebody holds the module.
    if (left := main()) is not None:
        variables = vars(left)
        for is_private in (True, False):
            for name in list(variables):
                if name != "__builtins__" and (name.startswith("_") and not name.startswith("__")) is is_private:
                    variables[name] = None
        gc.collect()


def _flush_files() -> None:
    """Writes out what open files hold back, texts first: what is not closed in their order loses it.

    With threads that nobody waits for, those of Python's own making, such as archives, are closed for it: they cannot
    be let go of.
    """
    # By their type: to ask a thing whether it is an instance may run the code of the thing.
    files = [file for file in gc.get_objects() if issubclass(type(file), _ANY_FILE)]
    for file in files:
        if issubclass(type(file), io.TextIOWrapper):
            _write_out(file.flush)
    if threading.active_count() > 1:
        threading.excepthook = lambda *_: None  # an interpreter would not let them notice
        for file in files:
            if not issubclass(type(file), _BUILT_IN):
                _write_out(file.close)
    for file in files:
        if issubclass(type(file), (io.BufferedWriter, io.BufferedRandom)):
            _write_out(file.flush)


def _write_out(act: Callable[[], None]) -> None:
    with contextlib.suppress(Exception):
        act()


def _flush() -> bool:
    """Writes out what was printed; False when standard output cannot take it."""
    try:
        if sys.stdout is not None and not sys.stdout.closed:
            sys.stdout.flush()
        is_flushed = True
    except Exception as error:  # noqa: BLE001 - sys.stdout may be anything of the script's
        _unraisable(error, sys.stdout)
        is_flushed = False
    with contextlib.suppress(Exception):
        if sys.stderr is not None and not sys.stderr.closed:
            sys.stderr.flush()
    return is_flushed


def _flush_or_not() -> None:
    with contextlib.suppress(Exception):
        sys.stdout.flush()


def _unraisable(error: Exception, thing: object) -> None:
    with contextlib.suppress(Exception):
        sys.stderr.write(f"Exception ignored in: {thing!r}\n")
        sys.stderr.write("".join(traceback.format_exception_only(type(error), error)))
