"""Runs a module and tells where its processor time goes, by package and by the project's own part; Linux only.

    python -m bench.sampled OUT MODULE [ARGUMENT ...]

A thread looks at the others two hundred times a second. What a thread has used since the last look, which the kernel
counts to the nanosecond, goes to the line of code that it is at. A C profiler would be finer; this one needs nothing
and slows the process by a few per cent.
"""

import json
import runpy
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Final

_EACH_S: Final = 0.005
_OWN: Final = ("dropsweep_trainer", "dropsweep", "functions", "local")
_NOBODY: Final = "the interpreter"


class Sampler:
    """Counts processor nanoseconds of all other threads, as long as the block lasts.

    Attributes:
        packages: by the package whose code ran.
        parts: by the innermost module of the project's own that was on the stack.
    """

    def __init__(self) -> None:
        """Counts nothing yet."""
        self.packages: Counter[str] = Counter()
        self.parts: Counter[str] = Counter()
        self._seen: dict[int, int] = {}
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, name="sampler", daemon=True)

    def __enter__(self) -> "Sampler":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._done.wait(_EACH_S):
            frames = sys._current_frames()
            for thread in threading.enumerate():
                frame = frames.get(thread.ident or 0)
                if thread is self._thread or frame is None or thread.native_id is None:
                    continue
                used_ns = _used_ns(thread.native_id)
                fresh_ns = used_ns - self._seen.get(thread.native_id, 0)
                self._seen[thread.native_id] = used_ns
                if fresh_ns > 0:
                    names = list(_names(frame))
                    self.packages[package_of(names[0])] += fresh_ns
                    self.parts[next((name for name in names if name.partition(".")[0] in _OWN), _NOBODY)] += fresh_ns


def package_of(module: str) -> str:
    """Returns what a module belongs to: two words of those that share a first one, else the first word."""
    first, _, rest = module.partition(".")
    return f"{first}.{rest.partition('.')[0]}" if first in ("azure", *_OWN) and rest else first


def _names(frame: FrameType | None) -> Iterator[str]:
    """The modules on a stack, innermost first."""
    while frame is not None:
        yield frame.f_globals.get("__name__", _NOBODY)
        frame = frame.f_back


def _used_ns(thread: int) -> int:
    try:
        return int(Path(f"/proc/self/task/{thread}/schedstat").read_text(encoding="ascii").split()[0])
    except OSError:
        return 0  # it has ended


def main() -> None:
    """Runs the module that the command line names, and writes the counts when it has ended, however it ends."""
    out, module = Path(sys.argv[1]), sys.argv[2]
    sys.argv = [module, *sys.argv[3:]]
    sampler = Sampler()
    try:
        with sampler:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        out.write_text(json.dumps({"packages": sampler.packages, "parts": sampler.parts}), encoding="utf-8")


if __name__ == "__main__":
    main()
