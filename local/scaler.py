"""Looks at the queues of scaled fleets again and again, as KEDA's azure-queue scaler does."""

import threading
from collections.abc import Sequence
from typing import Final

from dropsweep.errors import DropsweepError
from dropsweep.names import trials_queues
from dropsweep.settings import StorageSettings
from dropsweep.storage import Store
from local.fleet import ScaledFleet

_END_S: Final = 30.0
"""Longer than the requests of one look take that all hang."""


class Scaler:
    """A thread that scales fleets until it is stopped."""

    def __init__(self, storage: StorageSettings, fleets: Sequence[ScaledFleet], *, polling_interval_s: float) -> None:
        """Describes a scaler; `start` makes it run.

        Args:
            storage: the account whose queues are looked at.
            fleets: what is scaled.
            polling_interval_s: seconds between two looks.
        """
        # A look that fails is simply followed by the next one.
        self._queues = Store.connect(storage, patience_s=0.0).queues
        self._fleets = fleets
        self._polling_interval_s = polling_interval_s
        self._failing: set[str] = set()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="scaler", daemon=True)

    def start(self) -> None:
        """Begins with a look at once."""
        self._thread.start()

    def stop(self) -> None:
        """Ends it; returns when no look is under way."""
        self._done.set()
        if self._thread.is_alive():
            self._thread.join(_END_S)

    def _run(self) -> None:
        while not self._done.is_set():
            for fleet in self._fleets:
                self._look(fleet)
            self._done.wait(self._polling_interval_s)

    def _look(self, fleet: ScaledFleet) -> None:
        try:
            lengths = [self._queues.num_visible(queue) for queue in trials_queues(fleet.cluster.name)]
            if not self._done.is_set():
                fleet.scale(lengths)
            self._failing.discard(fleet.cluster.name)
        except (DropsweepError, OSError) as error:
            # Storage may come back, or memory for a process be free: told once, tried at each look.
            if fleet.cluster.name not in self._failing:
                self._failing.add(fleet.cluster.name)
                fleet.tell(f"cluster {fleet.cluster.name} is not scaled: {error}")
