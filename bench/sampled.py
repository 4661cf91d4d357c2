"""Runs a module and writes down, for each 10 ms of processor time, what the thread that used it was doing; Linux only.

    python -m bench.sampled OUT MODULE [ARGUMENT ...]

The kernel counts the processor time of all threads together and sends its signal to the one that runs when 10 ms are
full, and `faulthandler` writes that thread's stack from within the signal's handler, in C: no thread has to give up the
interpreter's lock for it, and one that waits is never seen. So the samples lie where the processor time goes. What a
function of C uses counts for the line of Python that called it. It slows the process by about a per cent.
"""

import faulthandler
import re
import runpy
import signal
import sys
import sysconfig
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from local.paths import ROOT

_EACH_S: Final = 0.01
_OWN: Final = ("dropsweep_trainer", "dropsweep", "functions", "function_app", "local")
_NOBODY: Final = "the interpreter and its libraries by themselves"
_HEAD: Final = "Stack (most recent call first):\n"
_LINE: Final = re.compile(r'  File "(.*)", line (?:\d+|\?\?\?) in (.*)')
_CUT: Final = "  ..."
_ROOTS: Final = tuple(
    f"{root}/"
    for root in (
        sysconfig.get_path("purelib"),
        sysconfig.get_path("platlib"),
        sysconfig.get_path("stdlib"),
        ROOT / "shared",
        ROOT / "trainer_image",
        ROOT,
    )
)

Stack = tuple[str, ...]
"""Functions as `module:name`, the innermost first."""


def stacks(text: str) -> list[Stack]:
    """Reads what was written; a stack that another thread wrote into at the same time, or that was cut, is left out."""
    found = []
    for part in text.split(_HEAD)[1:]:
        lines = [line for line in part.splitlines() if line != _CUT]
        matches = [match for line in lines if (match := _LINE.fullmatch(line))]
        if lines and len(matches) == len(lines):
            found.append(tuple(f"{module_of(match[1])}:{match[2]}" for match in matches))
    return found


def module_of(file: str) -> str:
    """Returns the module of a source file as it is imported; of one that lies elsewhere, its last part."""
    if file.startswith("<frozen "):
        return file.removeprefix("<frozen ").removesuffix(">")
    root = max((root for root in _ROOTS if file.startswith(root)), key=len, default=None)
    path = file.removeprefix(root) if root else Path(file).name
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def by_package(found: Iterable[Stack]) -> Counter[str]:
    """Counts samples by the package of the function that ran itself."""
    return Counter(package_of(stack[0].partition(":")[0]) for stack in found)


def package_of(module: str) -> str:
    """Returns what a module belongs to.

    It is three words of the storage SDK's names, two of Azure's other ones and of the project's own, else one.
    """
    words = module.split(".")
    num_words = 3 if words[:2] == ["azure", "storage"] else 2 if words[0] in ("azure", *_OWN) else 1
    return ".".join(words[:num_words])


def by_own_function(found: Iterable[Stack]) -> Counter[str]:
    """Counts samples by the innermost function of the project's own, with what it called of others."""
    return Counter(next((name for name in stack if _is_own(name)), _NOBODY) for stack in found)


def _is_own(function: str) -> bool:
    return re.split(r"[.:]", function, maxsplit=1)[0] in _OWN


def main() -> None:
    """Runs the module that the command line names, to its end."""
    out, module = Path(sys.argv[1]), sys.argv[2]
    sys.argv = [module, *sys.argv[3:]]
    with out.open("wb", buffering=0) as file:
        faulthandler.register(signal.SIGPROF, file, all_threads=False)
        signal.setitimer(signal.ITIMER_PROF, _EACH_S, _EACH_S)
        try:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)


if __name__ == "__main__":
    main()
