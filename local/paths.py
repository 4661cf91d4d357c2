"""Where things lie in the checkout that this package runs from."""

from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
"""The checkout: function_app.py, host.json and the packages lie here."""

STATE: Final = ROOT / ".dropsweep"
"""What runs on this machine leave behind; `make clean` removes it."""


def shown(path: Path) -> str:
    """Returns a path as a person in the checkout would type it."""
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)
