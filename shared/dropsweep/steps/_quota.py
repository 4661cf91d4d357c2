"""One pass's dealings with the ledger of its job's workspace; `quotas` says why in this order."""

import logging
import random
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from dropsweep.decisions import Decision, Standing, num_out
from dropsweep.errors import StorageUnavailable
from dropsweep.names import RUNS, JobKey, quota_ledger
from dropsweep.nodes import BUDGET
from dropsweep.quotas import WAITS, grant, why_waiting
from dropsweep.records import JobRecord
from dropsweep.records.ledger import Ledger
from dropsweep.steps._ledgers import MAX_TRIES, has_ended, hint_next, limits_of, opened
from dropsweep.steps._policies import Policies
from dropsweep.storage import Store

_log = logging.getLogger(__name__)
_PAUSE_S: Final = 0.02
_MAX_PAUSE_S: Final = 1.0


class Share:
    """What a job has of its workspace's quota, during one look at the job."""

    def __init__(self, store: Store, ledger: Ledger, etag: str) -> None:
        """Takes the ledger as `read_share` read it, before job.json was read."""
        self._store = store
        self._ledger = ledger
        self._etag = etag
        self._asked = ledger
        self._is_as_read = True
        self._key: JobKey | None = None

    def claim(self, job: JobRecord, free: Decision, narrowed: Callable[[int], Decision]) -> Decision:
        """Has the ledger grant what a decision takes, before job.json says so.

        Args:
            job: the record that job.json holds.
            free: what would be decided without a quota.
            narrowed: what is decided when so many trials may be out.

        Returns:
            The decision that the ledger covers.

        Raises:
            StorageUnavailable: other jobs changed the ledger each time.
        """
        self._key = key = job.key
        if free.is_ended:
            return free
        num_free = num_wanted = num_out(free.record) + len(free.requeue)
        num_used = num_wanted - len(free.dispatch) - len(free.requeue)
        # Another pass may be queueing these anew right now: what was granted for them is not given back.
        num_kept = num_used + len(free.trials(Standing.REQUEUE))
        for num_lost in range(1, MAX_TRIES + 1):
            most = self._ledger.limits.max_concurrent_trials
            if most is not None:
                num_wanted = max(num_used, min(num_wanted, most))
            before = self._ledger.entries.get(key)
            num_granted = before.granted if before else 0
            self._asked = grant(self._ledger, job, max(num_used, min(num_granted, num_kept)), num_wanted)
            entry = self._asked.entries[key]
            decision = free if entry.granted >= num_free else narrowed(entry.granted)
            num_claimed = num_out(decision.record) + len(decision.requeue)
            is_covered = entry.granted <= num_granted and num_claimed <= num_out(job)
            if is_covered and (before is not None or not entry.wanted):
                return decision
            # Given back is only after job.json was written.
            if self._write(self._asked.having(key, replace(entry, granted=max(entry.granted, num_granted)))):
                return decision
            # Of many that change one blob at once each is to get its turn.
            time.sleep(random.uniform(0, min(_MAX_PAUSE_S, _PAUSE_S * 2**num_lost)))
            self._read_again()
        raise StorageUnavailable(
            f"{job.key.path}: other jobs changed its workspace's ledger {MAX_TRIES} times. The hint will be delivered "
            "again"
        )

    @property
    def gives_back(self) -> bool:
        """True when `give_back` has something to do, for which job.json has to be written first, changed or not."""
        if not self._is_as_read or self._key is None:
            return False
        before, after = self._ledger.entries.get(self._key), self._asked.entries.get(self._key)
        is_counted = self._ledger.limits.max_concurrent_trials is not None or (after is not None and not after.granted)
        return before is not None and before != after and is_counted

    def give_back(self) -> bool:
        """Gives back what the job does not use and hints at those who wait for it; False when the ledger changed."""
        if not self._write(self._asked):
            return False
        hint_next(self._store, self._ledger, self._key)
        return True

    def message(self, record: JobRecord) -> str:
        """Returns the record's message with why the job waits, or without it once it does not."""
        return message_with(record, why_waiting(self._asked, record.key))

    def forget(self, key: JobKey, *, is_known_to_have_ended: bool) -> None:
        """Removes the entry of a job that has ended, and hints at those who wait for what it had.

        Args:
            key: the job.
            is_known_to_have_ended: its final job.json was read or written after the ledger had been read.
        """
        for _ in range(MAX_TRIES):
            if key not in self._ledger.entries:
                return
            if not is_known_to_have_ended and not has_ended(self._store, key):
                return  # retried meanwhile
            if self._write(self._ledger.lacking(key)):
                hint_next(self._store, self._ledger, self._key)
                return
            self._read_again()
            is_known_to_have_ended = False
        _log.warning("quotas: the entry of %s is left to the timer's pass", key.path)

    def _write(self, ledger: Ledger) -> bool:
        """Writes the ledger if it is as this look knows it."""
        written = self._store.blobs.replace(RUNS, quota_ledger(ledger.workspace), ledger.to_json(), self._etag)
        if written is None:
            return False
        self._ledger, self._etag = ledger, written.etag
        return True

    def _read_again(self) -> None:
        self._is_as_read = False
        limits = self._ledger.limits
        blob = self._store.blobs.read(RUNS, quota_ledger(self._ledger.workspace))
        ledger, etag = opened(self._store, self._ledger.workspace, limits, blob)
        self._ledger, self._etag = replace(ledger, limits=limits), etag


def read_share(store: Store, policies: Policies, workspace: str) -> Share | None:
    """Reads the ledger of a workspace; None when nothing bounds it, which costs no request but a look for policies.

    To be called before job.json is read.

    Raises:
        StorageError: as the storage does.
    """
    limits = limits_of(store, policies, workspace)
    if not limits.is_bounded:
        return None
    ledger, etag = opened(store, workspace, limits, store.blobs.read(RUNS, quota_ledger(workspace)))
    return Share(store, replace(ledger, limits=limits), etag)


def unwaiting(record: JobRecord) -> str:
    """Returns the message of a job that waits neither for its workspace nor for its cluster (any more)."""
    return message_with(record, "")


def message_with(record: JobRecord, why: str) -> str:
    """Returns the record's message with why the job waits, or without it when that is empty."""
    if why:
        return why
    return "" if record.message.startswith((WAITS, BUDGET)) else record.message
