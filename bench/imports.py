"""How long things take to load, each in an interpreter of its own."""

import os
import statistics
import subprocess
import sys
import time
from typing import Final

from bench.results import Measured, Row
from local.paths import ROOT

_NUM_STARTS: Final = 7
_TIMED_IMPORT: Final = "import time; began = time.perf_counter(); import {module}; print(time.perf_counter() - began)"
_BAR_LIBRARY_MS: Final = 30.0
_BAR_APP_S: Final = 1.0
_BAR_HELP_S: Final = 0.4


def measure(*, is_quick: bool) -> Measured:
    """Takes the median of seven fresh interpreters each; quick makes no difference.

    Imports are timed within the interpreter, without its own start; the command line's help is timed from outside, as
    the person waits who typed it.
    """
    return Measured(
        (
            Row("import dropsweep", 1000 * _import_s("dropsweep"), "ms", _BAR_LIBRARY_MS),
            Row("import function_app", _import_s("function_app"), "s", _BAR_APP_S),
            Row("dropsweep --help", _help_s(), "s", _BAR_HELP_S),
        )
    )


def _import_s(module: str) -> float:
    code = _TIMED_IMPORT.format(module=module)
    # The checkout is where function_app lies, and the host puts it on the path too.
    return statistics.median(float(_python(["-c", code])) for _ in range(_NUM_STARTS))


def _help_s() -> float:
    seconds = []
    for _ in range(_NUM_STARTS):
        began = time.monotonic()
        _python(["-c", "import sys; sys.argv = ['dropsweep', '--help']; from dropsweep.cli import main; main()"])
        seconds.append(time.monotonic() - began)
    return statistics.median(seconds)


def _python(arguments: list[str]) -> str:
    answer = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "100"},
        capture_output=True,
        text=True,
        check=True,
    )
    return answer.stdout
