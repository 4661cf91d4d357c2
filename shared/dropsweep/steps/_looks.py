"""What one process remembers of its passes over jobs, so that hints that come in crowds cost one pass together."""

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from dropsweep.messages import AdvanceMessage
from dropsweep.names import JobKey
from dropsweep.nodes import Budgets, Spent
from dropsweep.records import JobRecord
from dropsweep.settings import Settings
from dropsweep.steps._policies import Policies
from dropsweep.storage import Clock, Store

_REST: Final = 49.0
"""Length of the rest after a pass, in lengths of that pass: those that a job does not wait for take a fiftieth of the
time, or what is more where the longest rest is over sooner."""
_LONGEST_REST_S: Final = 2.0
_MOST_RESTING: Final = 2
"""Hints that rest at once in one process, each on a thread that other functions need: it may have no more than five."""


@dataclass(slots=True)
class _Visits:
    """The passes of this process over one job.

    Attributes:
        lock: held by the one pass that is under way, or about to be.
        awaited: trials of the hint that waits for the next pass to begin, and of all that rely on it; None: none does.
        num_urgent: hints that wait for the lock and take no rest.
        hurry: set when whoever rests is to rest no longer.
        job: the record as the last pass that took effect left it; None before the first.
        finals: trials that the last pass saw final, without those of closed shards.
        out: trials of which that pass expected to hear; at most those of the window.
        told: those of them of which hints have told since.
        ended_s: when the last pass ended, by the clock. cost_s: how long it took.
    """

    lock: threading.Lock = field(default_factory=threading.Lock)
    awaited: set[int] | None = None
    num_urgent: int = 0
    hurry: threading.Event = field(default_factory=threading.Event)
    job: JobRecord | None = None
    finals: frozenset[int] = frozenset()
    out: frozenset[int] = frozenset()
    told: set[int] = field(default_factory=set)
    ended_s: float = float("-inf")
    cost_s: float = 0.0

    @property
    def is_idle(self) -> bool:
        return not self.lock.locked() and self.awaited is None and not self.num_urgent

    @property
    def is_due(self) -> bool:
        """True when the next pass shall not rest: an urgent hint waits, or hints have told of all that was out.

        Of half of it, where there is more to dispatch: the other half keeps the workers busy meanwhile.
        """
        if self.num_urgent or self.job is None or len(self.told) >= len(self.out):
            return True
        return self.job.next_trial < self.job.num_trials and 2 * len(self.told) >= len(self.out)

    def has_seen(self, trial: int) -> bool:
        return trial in self.finals or (self.job is not None and self.job.is_summed_up(trial))


class LastLooks:
    """What this process saw in its last pass over each job. Safe to use from many threads; keep one a process.

    A trial once seen final stays final, so a hint that names only such trials need not be acted on. Of those that tell
    more, one waits for the next pass to begin, and the others rely on it: they are told of by records that are written,
    and it has yet to read them. Should it die, its message comes again. All this is memory of one process and only ever
    saves work: a process that knows nothing looks.

    Attributes:
        policies: the policy files of workspaces, as of a few seconds ago.
        budgets: which clusters have used their node-hours, as of half a minute ago.
    """

    def __init__(
        self,
        max_jobs: int = 64,
        policies: Policies | None = None,
        budgets: Budgets | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Begins without knowing any job; what it knows of the one visited longest ago goes when there are more."""
        self.policies = policies or Policies()
        self.budgets = budgets or Budgets()
        self._max_jobs = max_jobs
        self._clock = clock or Clock()
        self._guard = threading.Lock()
        self._places_to_rest = threading.BoundedSemaphore(_MOST_RESTING)
        self._visits: OrderedDict[JobKey, _Visits] = OrderedDict()

    @property
    def num_kept(self) -> int:
        """How many numbers of trials it holds, of all jobs: of each, those of its window and of its open shards."""
        with self._guard:
            return sum(len(known.finals) + len(known.out) for known in self._visits.values())

    def spent(self, store: Store, settings: Settings, job: JobRecord) -> Spent | None:
        """Returns whether a job's cluster has used its node-hours; None: it has not, has no cap, or is not known.

        Raises:
            StorageError: as the storage does.
        """
        cluster = settings.cluster(job.cluster)
        return self.budgets.spent(store, cluster) if cluster else None

    @contextmanager
    def turn(self, hint: AdvanceMessage, *, is_repeat: bool) -> Iterator[bool]:
        """Waits for a hint's turn to pass over its job, which no other pass of this process does meanwhile.

        A hint that tells of trials, and came for the first time, rests after the last pass, for 49 times as long as
        that took and for 2 s at most, unless the job waits for it: when all trials that were out have been told of, or
        half of them and there are more to dispatch. Any other hint takes its turn at once, and so does each that comes
        while two rest already, of whatever jobs: it costs a pass more, where resting would keep a thread from others.
        It still waits for a pass over its job that is under way.

        Yields:
            False when there is nothing to do for it: the last pass saw every trial of it final, or one that has yet to
            begin was asked for by another hint of this kind.
        """
        is_plain = bool(hint.trials) and not is_repeat and not hint.is_alarm
        with self._guard:
            visits = self._of(hint.job)
            relies = is_plain and (visits.awaited is not None or all(map(visits.has_seen, hint.trials)))
            self._hear(visits, hint, is_plain=is_plain, relies=relies)
        if relies:
            yield False
            return
        is_waiting = True
        try:
            with visits.lock:
                if is_plain:
                    self._rest(visits)
                with self._guard:
                    is_waiting = False
                    is_needed = self._begin(visits, is_plain=is_plain)
                began_s = self._clock.now_s()
                try:
                    yield is_needed
                finally:
                    if is_needed:
                        visits.ended_s = self._clock.now_s()
                        visits.cost_s = visits.ended_s - began_s
        finally:
            if is_waiting:
                with self._guard:
                    self._begin(visits, is_plain=is_plain)

    def has_seen(self, hint: AdvanceMessage) -> bool:
        """True when the last pass that took effect saw every trial of the hint final."""
        with self._guard:
            visits = self._visits.get(hint.job)
            return visits is not None and bool(hint.trials) and all(map(visits.has_seen, hint.trials))

    def remember(self, job: JobRecord, finals: frozenset[int], out: frozenset[int] = frozenset()) -> None:
        """Keeps what a pass saw whose writes all took effect.

        Args:
            job: the record as it left it.
            finals: trials that it saw final, without those of closed shards.
            out: trials that have a message or a worker now.
        """
        with self._guard:
            visits = self._of(job.key)
            visits.job, visits.finals, visits.out = job, finals, out
            visits.told &= out

    def _of(self, key: JobKey) -> _Visits:
        """Returns what is known of a job; to be called under the guard."""
        visits = self._visits.get(key)
        if visits is None:
            visits = self._visits[key] = _Visits()
            for other in [name for name, known in self._visits.items() if known.is_idle and known is not visits]:
                if len(self._visits) <= self._max_jobs:
                    break
                del self._visits[other]
        self._visits.move_to_end(key)
        return visits

    def _hear(self, visits: _Visits, hint: AdvanceMessage, *, is_plain: bool, relies: bool) -> None:
        """Notes what a hint tells and whether it waits; to be called under the guard."""
        visits.told.update(visits.out.intersection(hint.trials))
        if not is_plain:
            visits.num_urgent += 1
        elif visits.awaited is not None:
            visits.awaited.update(hint.trials)
        elif not relies:
            visits.awaited = set(hint.trials)
        if visits.is_due:
            visits.hurry.set()

    def _begin(self, visits: _Visits, *, is_plain: bool) -> bool:
        """Ends a hint's waiting, under the guard; False when the last pass has seen all that it waited for.

        From here on nobody relies on it any more, for its pass may read too soon what they tell of.
        """
        if not is_plain:
            visits.num_urgent -= 1
            return True
        awaited, visits.awaited = visits.awaited or set(), None
        return not all(map(visits.has_seen, awaited))

    def _rest(self, visits: _Visits) -> None:
        with self._guard:
            rest_s = 0.0 if visits.is_due else min(_LONGEST_REST_S, _REST * visits.cost_s)
            rest_s -= self._clock.now_s() - visits.ended_s
            visits.hurry.clear()
        if rest_s > 0 and self._places_to_rest.acquire(blocking=False):
            try:
                self._clock.wait(rest_s, visits.hurry)
            finally:
                self._places_to_rest.release()
