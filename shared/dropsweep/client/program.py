"""How a person on this machine calls the command line: hints are for pasting."""

import os
import shutil
import sys
from pathlib import Path
from typing import Final

USUAL: Final = "dropsweep"


def program() -> str:
    """Returns what to type for the command line.

    It is `dropsweep` when the search path leads to the program that runs now, or to the one that belongs to this
    Python; else where that lies, as seen from the working directory if it is below it.
    """
    called = Path(sys.argv[0])
    script = called if called.stem == USUAL else Path(sys.executable).with_name(USUAL)
    script = Path(os.path.abspath(script))  # not resolved: an environment's own path is the one to type
    found = shutil.which(USUAL)
    if not script.is_file() or (found and os.path.samefile(found, script)):
        return USUAL
    here = Path.cwd()
    return str(script.relative_to(here) if script.is_relative_to(here) else script)
