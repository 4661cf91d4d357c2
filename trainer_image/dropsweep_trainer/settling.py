"""Settling: after a trial's record is final, tell `advance`, then delete the trial's message.

Hints are what a short trial pays most for, and one hint serves many trials. So the first settles at once, and those
that follow within `INTERVAL_S` settle together at its end; meanwhile their messages are only hidden. A worker that
dies before that leaves messages of final trials, whose next reader settles them.
"""

import logging
import threading
from collections import defaultdict
from typing import Final

from dropsweep.messages import AdvanceMessage
from dropsweep.names import ADVANCE_QUEUE, JobKey
from dropsweep.storage import Message, Store

_log = logging.getLogger(__name__)
INTERVAL_S: Final = 0.25


class Settler:
    """Settles from a thread of its own, while the slots go on with the next trials."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._guard = threading.Condition()
        self._waiting: list[tuple[JobKey, int | None, Message]] = []
        self._is_done = False
        self._pause = threading.Event()
        self._thread = threading.Thread(target=self._run, name="settler", daemon=True)
        self._thread.start()

    def settle(self, job: JobKey, trial: int | None, message: Message) -> None:
        """Takes a trial whose record is written; None in place of its number has advance look in any case."""
        with self._guard:
            self._waiting.append((job, trial, message))
            self._guard.notify()

    def finish(self) -> None:
        """Settles all the rest and ends the thread."""
        with self._guard:
            self._is_done = True
            self._guard.notify()
        self._pause.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._guard:
                self._guard.wait_for(lambda: self._waiting or self._is_done)
                if not self._waiting:
                    return
                batch, self._waiting = self._waiting, []
            try:
                self._settle(batch)
            except Exception:  # noqa: BLE001 - the edge of a thread, which all later trials depend on
                # The messages become visible again, and their next reader settles them.
                _log.exception("settling is left to a later delivery")
            self._pause.wait(INTERVAL_S)

    def _settle(self, batch: list[tuple[JobKey, int | None, Message]]) -> None:
        trials: dict[JobKey, set[int | None]] = defaultdict(set)
        for job, trial, _ in batch:
            trials[job].add(trial)
        for job, finals in trials.items():
            named = () if None in finals else tuple(sorted(trial for trial in finals if trial is not None))
            self._store.queues.send(ADVANCE_QUEUE, AdvanceMessage(job, named).to_text())
        for _, _, message in batch:
            self._store.queues.delete(message)
