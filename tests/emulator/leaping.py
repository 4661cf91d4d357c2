"""An emulator whose clock leaps on command: a test of ages waits for nothing, and bounds may be as wide as it likes."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest

from dropsweep.names import month_of
from local.azurite import Azurite

_PRELOADED: Final = Path(__file__).with_suffix(".cjs")
_BEFORE_TURN: Final = timedelta(minutes=10)


class LeapingClock:
    """The clock of a service: that of this machine, and ahead of it by the leaps that were made."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._ahead = timedelta()
        self.reset()

    def now(self) -> datetime:
        """The service's time."""
        return datetime.now(UTC) + self._ahead

    def leap(self, seconds: float) -> None:
        """Makes all that stands in the account older by so much: at once, and for the next request already."""
        self._set(self._ahead + timedelta(seconds=seconds))

    def pass_turn_of_month(self) -> None:
        """Leaps if a month is about to turn, so that a test which begins now ends in the month in which it began."""
        if month_of(self.now()) != month_of(self.now() + _BEFORE_TURN):
            self.leap(_BEFORE_TURN.total_seconds())

    def reset(self) -> None:
        """Goes back to this machine's time; what was written after a leap lies in the future then."""
        self._set(timedelta())

    def _set(self, ahead: timedelta) -> None:
        written = self._file.with_suffix(".next")
        written.write_text(str(ahead // timedelta(milliseconds=1)))
        os.replace(written, self._file)  # so that nobody reads half of a number
        self._ahead = ahead


class LeapingAzurite(Azurite):
    """A running Azurite that goes by a clock of its own. What it waits for takes as long as it does elsewhere."""

    def __init__(self, folder: Path) -> None:
        """Starts it, with its data and its log in `folder`."""
        leaps = folder / "leaps"
        self.clock = LeapingClock(leaps)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("LEAPS", str(leaps))
            patch.setenv("NODE_OPTIONS", f'--require "{_PRELOADED}"')
            super().__init__(folder / "data", log=folder / "azurite.log")
