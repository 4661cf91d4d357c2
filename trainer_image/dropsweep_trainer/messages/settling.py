"""Settling: after a trial's record is final, tell `advance`, then delete the trial's message.

Hints are what a short trial pays most for, and one hint serves many trials. So the first settles at once, and those
that follow within `INTERVAL_S` settle together at its end; meanwhile their messages are only hidden. As soon as a slot
finds no message they settle too: the last trials of a job are among them then, or those that others wait for. A worker
that dies before that leaves messages of final trials, whose next reader settles them.
"""

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from dropsweep.errors import NotFoundError, StorageError
from dropsweep.messages import AdvanceMessage
from dropsweep.names import ADVANCE_QUEUE, JobKey
from dropsweep.storage import Message, Store

_log = logging.getLogger(__name__)
INTERVAL_S: Final = 2.0
DRY_INTERVAL_S: Final = 0.05
"""While no message waits for a slot: the trials of many slots that end together still settle together."""
_DELETERS: Final = 4


class Settler:
    """Settles from a thread of its own, while the slots go on with the next trials."""

    def __init__(
        self, store: Store, is_dry: Callable[[], bool] = lambda: False, *, interval_s: float = INTERVAL_S
    ) -> None:
        """Starts the thread.

        Args:
            store: the storage account.
            is_dry: True while no message is known to wait for a slot.
            interval_s: seconds from one settling to the next while there are.
        """
        self._store = store
        self._is_dry = is_dry
        self._interval_s = interval_s
        self._guard = threading.Condition()
        self._waiting: list[tuple[JobKey, int | None, Message]] = []
        self._is_done = False
        self._settled_at = float("-inf")
        self._thread = threading.Thread(target=self._run, name="settler", daemon=True)
        self._thread.start()

    def settle(self, job: JobKey, trial: int | None, message: Message) -> None:
        """Takes a trial whose record is written; None in place of its number has advance look in any case."""
        with self._guard:
            self._waiting.append((job, trial, message))
            self._guard.notify()

    def hurry(self) -> None:
        """Has it ask anew whether a message waits."""
        with self._guard:
            self._guard.notify()

    def finish(self) -> None:
        """Settles all the rest and ends the thread."""
        with self._guard:
            self._is_done = True
            self._guard.notify()
        self._thread.join()

    def _run(self) -> None:
        with ThreadPoolExecutor(_DELETERS, thread_name_prefix="settler") as deleters:
            while batch := self._next():
                try:
                    self._settle(batch, deleters)
                except Exception:  # noqa: BLE001 - the edge of a thread, which all later trials depend on
                    # The messages become visible again, and their next reader settles them.
                    _log.exception("settling is left to a later delivery")

    def _next(self) -> list[tuple[JobKey, int | None, Message]]:
        """Waits until something is to be settled, and it is time to; nothing is when it is to end."""
        with self._guard:
            self._guard.wait_for(lambda: self._waiting or self._is_done)
            while not self._is_done and (left_s := self._due_at() - time.monotonic()) > 0:
                self._guard.wait(left_s)
            self._settled_at = time.monotonic()
            batch, self._waiting = self._waiting, []
            return batch

    def _due_at(self) -> float:
        return self._settled_at + (DRY_INTERVAL_S if self._is_dry() else self._interval_s)

    def _settle(self, batch: Sequence[tuple[JobKey, int | None, Message]], deleters: ThreadPoolExecutor) -> None:
        trials: dict[JobKey, set[int | None]] = defaultdict(set)
        for job, trial, _ in batch:
            trials[job].add(trial)
        for job, finals in trials.items():
            named = () if None in finals else tuple(sorted(trial for trial in finals if trial is not None))
            self._store.queues.send(ADVANCE_QUEUE, AdvanceMessage(job, named).to_text())
        list(deleters.map(self._delete, [message for _, _, message in batch]))

    def _delete(self, message: Message) -> None:
        try:
            self._store.queues.delete(message)
        except (StorageError, NotFoundError) as error:
            _log.warning("a message of a final trial is left to its next reader: %s", error)
