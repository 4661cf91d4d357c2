"""What the template does before it is ready: imports, first uses, order in memory, and a look if copies are sound."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import glob
import importlib
import importlib.util
import os
import re
import sys
import warnings
import weakref
from collections.abc import Iterator, Sequence
from typing import Any

_USUAL = (
    *("argparse", "collections", "contextlib", "copy", "csv", "dataclasses", "datetime", "enum", "errno", "functools"),
    "glob",
    *("hashlib", "inspect", "itertools", "json", "logging", "math", "operator", "os", "pathlib", "pickle", "random"),
    *("re", "shutil", "signal", "string", "subprocess", "sys", "tempfile", "textwrap", "threading", "time"),
    *("traceback", "types", "typing", "warnings", "weakref"),
)
"""What nearly every script imports: parts of the standard library, which PyTorch imports as well."""
_OURS = "dropsweep"
"""What a script reports with, where it is installed."""
_OPENMP = re.compile(r"lib(gomp|iomp5|omp)\b[^/]*\.so[^/]*$")
_OWN_AREA = re.compile(r"^(\w+)-(\w+) rw-p \w+ \S+ 0 *(?:\[heap\])?$", re.MULTILINE)
"""Memory in /proc/self/maps that may be written to and is no file's and no stack."""
_HUGE_PAGE_BYTES = 2 << 20
_MADV_HUGEPAGE = 14
_MADV_COLLAPSE = 25
_LARGE_BYTES = 16 << 20


class Unsound(Exception):
    """Copies of this process would not be as good as processes of their own; the message says why."""


def preload(names: Sequence[str]) -> tuple[set[str], list[str]]:
    """Imports those modules that are installed, and what most scripts need, and uses PyTorch once if it is there then.

    Returns:
        The variables that they looked for meanwhile, and those of the names that are not installed.

    Raises:
        Unsound: one of them cannot be imported.
    """
    with _noting_reads() as read:
        for name in _USUAL:
            importlib.import_module(name)
        _import_ours()
        missing = _import(names)
        if "torch" in sys.modules:
            _use_torch(sys.modules["torch"])
    # What is to be done at an interpreter's end for objects that stay in the template is not the copies' to do: one
    # would remove a temporary folder of all, and PyTorch takes 40 ms to undo what ends with the process.
    for finalizer in getattr(weakref.finalize, "_registry", {}).values():
        finalizer.atexit = False
    # OpenBLAS ends its threads before a fork, and a process starts them again when it needs them.
    if (copy := os.fork()) == 0:
        os._exit(0)
    os.waitpid(copy, 0)
    gc.collect()
    # Never looked at by a collection again: to count references in it would copy every page in every copy.
    gc.freeze()
    with contextlib.suppress(OSError):
        _order_memory()
    return read, missing


def _import_ours() -> None:
    """Imports what a script reports with; where that fails, it is as if nobody had tried, for nobody asked for it."""
    try:
        _import((_OURS,))
    except Unsound:
        for name in [name for name in sys.modules if name.partition(".")[0] == _OURS]:
            del sys.modules[name]


def _import(names: Sequence[str]) -> list[str]:
    """Imports modules, and returns the names of those that are not installed."""
    missing = []
    for name in names:
        try:
            if importlib.util.find_spec(name) is not None:
                importlib.import_module(name)
            else:
                missing.append(name)
        except ModuleNotFoundError as error:
            # The package that it would be in is not installed; if it is another one that is missing, it is broken.
            if error.name is None or not f"{name}.".startswith(f"{error.name}."):
                raise Unsound(f"{name} cannot be imported: {error}") from error
            missing.append(name)
        except Exception as error:
            raise Unsound(f"{name} cannot be imported: {type(error).__name__}: {error}") from error
    return missing


@contextlib.contextmanager
def _noting_reads() -> Iterator[set[str]]:
    """Notes the names of the variables that are looked for in `os.environ` meanwhile, there or not."""
    kind: Any = type(os.environ)
    look_up = kind.__getitem__
    names: set[str] = set()

    def note(environ: Any, name: Any) -> Any:
        names.add(name)
        return look_up(environ, name)

    kind.__getitem__ = note
    try:
        yield names
    finally:
        kind.__getitem__ = look_up


def check(own: Sequence[int]) -> None:
    """Looks whether this process can be copied.

    Args:
        own: the files beside 0, 1 and 2 that it has open itself.

    Raises:
        Unsound: it cannot.
    """
    torch: Any = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        raise Unsound("CUDA is in use, which no copy could use then")
    if (num := len(os.listdir("/proc/self/task"))) != 1:
        raise Unsound(f"{num} threads run in it, and a copy has only one: it would wait for the others for ever")
    if others := sorted(set(_open_files()) - {0, 1, 2, *own}):
        raise Unsound(f"a module has opened files, which all copies would share: {', '.join(map(_describe, others))}")


def _use_torch(torch: Any) -> None:
    """Takes two steps with a tiny network, so that what PyTorch puts off until then is done, and leaves no thread.

    The first optimizer imports torch._dynamo, which takes longer than torch itself. Where PyTorch is built for GPUs no
    step is taken: its first backward pass asks the driver for devices, and then no copy could use any.
    """
    state = torch.get_rng_state()
    importlib.import_module("torch._dynamo")
    with warnings.catch_warnings(), _one_openmp_thread(torch):
        warnings.simplefilter("ignore")
        model = torch.nn.Linear(2, 2)
        optimizers = [torch.optim.SGD(model.parameters(), lr=0.1), torch.optim.Adam(model.parameters(), lr=0.1)]
        versions = torch.version
        if not any(getattr(versions, name, None) for name in ("cuda", "hip", "xpu")):
            for optimizer in optimizers:
                for _ in range(2):
                    optimizer.zero_grad()
                    outputs = model(torch.ones(2, 2))
                    torch.nn.functional.cross_entropy(outputs, torch.tensor([0, 1])).backward()
                    optimizer.step()
    torch.set_rng_state(state)


def _order_memory() -> None:
    """Makes memory cheap to copy and to use again, where the system and the C library know how.

    A fork copies an entry for each page, and huge pages are 512 times fewer. glibc learns from the large blocks that it
    is given back to keep memory at hand, twice as much as such a block; a copy that has not seen any yet would hand its
    memory to the system and ask for it again in each step of a training. And the pages that a copy needs for itself
    come to it one by one, thousands of them: a block at the heap's end, which is asked for and not used here, comes in
    huge ones.

    Source: madvise(2), MADV_HUGEPAGE and MADV_COLLAPSE, Linux 6.1; mallopt(3), M_MMAP_THRESHOLD and M_TRIM_THRESHOLD.

    Raises:
        OSError: /proc cannot be read.
    """
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    libc.malloc.argtypes = (ctypes.c_size_t,)
    libc.free.argtypes = (ctypes.c_void_p,)
    libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    libc.free(libc.malloc(_LARGE_BYTES))
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:
        areas = _OWN_AREA.findall(maps.read())
    for first, last in areas:
        _advise(libc, int(first, 16), int(last, 16), _MADV_COLLAPSE)
    # Smaller than what has just been given back, so that glibc takes it from the heap's end, and keeps it.
    num_bytes = _LARGE_BYTES - _HUGE_PAGE_BYTES
    if block := libc.malloc(num_bytes):
        _advise(libc, block, block + num_bytes, _MADV_HUGEPAGE)
        libc.free(block)


def _advise(libc: ctypes.CDLL, first: int, last: int, advice: int) -> None:
    """Gives advice on the huge pages that lie wholly between two addresses; what comes of it, the system decides."""
    start = -(-first // _HUGE_PAGE_BYTES) * _HUGE_PAGE_BYTES
    end = last // _HUGE_PAGE_BYTES * _HUGE_PAGE_BYTES
    if start < end:
        libc.madvise(start, end - start, advice)


@contextlib.contextmanager
def _one_openmp_thread(torch: Any) -> Iterator[None]:
    """Lets OpenMP compute with this thread alone meanwhile.

    Not by torch.set_num_threads: it also turns off for good what MKL decides by itself, and so a copy would compute
    otherwise than a process of its own. A copy of a process in which OpenMP has started threads hangs when it is to
    use two.

    Source: OpenMP, omp_set_num_threads: it changes a value of the calling thread. PyTorch, aten/ParallelOpenMP.cpp.
    """
    torch.get_num_threads()  # has PyTorch set its number first
    libraries = _libraries(_OPENMP)
    before = [library.omp_get_max_threads() for library in libraries]
    for library in libraries:
        library.omp_set_num_threads(1)
    try:
        yield
    finally:
        for library, num in zip(libraries, before, strict=True):
            library.omp_set_num_threads(num)


def _libraries(name: re.Pattern[str]) -> list[ctypes.CDLL]:
    """The shared libraries of a name that are loaded."""
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:
        paths = {line.split(None, 5)[-1].rstrip("\n") for line in maps}
    found = []
    for path in sorted(path for path in paths if path.startswith("/") and name.search(path)):
        with contextlib.suppress(OSError):
            found.append(ctypes.CDLL(path, mode=os.RTLD_NOLOAD | os.RTLD_LAZY))
    return found


def _open_files() -> Iterator[int]:
    for path in glob.glob("/proc/self/fd/*"):
        if os.path.lexists(path):  # the folder itself was open while it was read
            yield int(os.path.basename(path))


def _describe(file: int) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{file}")
    except OSError:
        return str(file)
