"""Ends a random party every few seconds: the function host, a worker, a trial's process, the storage."""

import contextlib
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Final

from local.child import Child
from local.leash import descendants
from local.soak.ledger import Ledger, Work
from local.stack import Stack

_LOOK_S: Final = 0.1
_SPREAD: Final = (0.5, 1.5)
"""The pause before a strike is the mean pause times something between these."""


class Strike(StrEnum):
    """What is done to whom."""

    HOST_KILLED = "host SIGKILL"
    WORKER_KILLED = "worker SIGKILL"
    WORKER_STOPPED = "worker SIGTERM"
    WORKER_FROZEN = "worker SIGSTOP and SIGCONT"
    TRIAL_KILLED = "trial SIGKILL"
    STORAGE_STOPPED = "storage SIGTERM"
    """Not SIGKILL: the emulator would lose seconds of writes that it had acknowledged, which the real service never
    does."""

    @property
    def party(self) -> str:
        """Whom it is done to: host, worker, trial or storage."""
        return self.partition(" ")[0]


PARTIES: Final = tuple(dict.fromkeys(strike.party for strike in Strike))


class Deck:
    """The order of strikes: each kind once, shuffled, then all again, so that a short soak has every kind too."""

    def __init__(self, seed: int, strikes: Collection[Strike], mean_pause_s: float) -> None:
        """The same seed gives the same order, pauses and choices."""
        self._dice = random.Random(f"{seed} strikes")
        self._strikes = [strike for strike in Strike if strike in strikes]
        self._mean_pause_s = mean_pause_s
        self._left: list[Strike] = []

    def draw(self) -> tuple[float, Strike, float]:
        """Returns the pause in seconds before the next strike, its kind, and a number in [0, 1) that picks whom."""
        if not self._left:
            self._left = self._dice.sample(self._strikes, len(self._strikes))
        return self._mean_pause_s * self._dice.uniform(*_SPREAD), self._left.pop(), self._dice.random()


class Killer:
    """Strikes from a thread of its own until it is stopped. A context manager.

    Attributes:
        counts: strikes that hit somebody, by kind.
        killed: the trials whose process was ended.
    """

    def __init__(self, stack: Stack, deck: Deck, ledger: Path, *, frozen_s: float, say: Callable[[str], None]) -> None:
        """Describes a killer; entering starts it.

        Args:
            stack: whose processes are struck. Who starts them again is somebody else's business.
            deck: the strikes.
            ledger: what the trials wrote down, by which their processes are known.
            frozen_s: seconds between SIGSTOP and SIGCONT.
            say: gets a line for each strike, on the killer's thread.
        """
        self.counts: Counter[Strike] = Counter()
        self.killed: set[Work] = set()
        self._stack = stack
        self._deck = deck
        self._ledger = ledger
        self._frozen_s = frozen_s
        self._say = say
        self._frozen: tuple[Child, int, float] | None = None
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="killer", daemon=True)

    def __enter__(self) -> "Killer":
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        """Ends it; a worker that is frozen goes on first."""
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._done.is_set():
            pause_s, strike, pick = self._deck.draw()
            self._wait(pause_s)
            if not self._done.is_set() and (whom := self._strike(strike, pick)):
                self.counts[strike] += 1
                self._say(f"{strike}: {whom}")
        self._thaw()

    def _wait(self, pause_s: float) -> None:
        until = time.monotonic() + pause_s
        while time.monotonic() < until and not self._done.wait(_LOOK_S):
            if self._frozen and time.monotonic() >= self._frozen[2]:
                self._thaw()

    def _strike(self, strike: Strike, pick: float) -> str | None:
        """Strikes; returns whom, or None when there is nobody to strike now."""
        match strike:
            case Strike.HOST_KILLED:
                return self._signal(self._alive("host"), pick, signal.SIGKILL)
            case Strike.WORKER_KILLED:
                return self._signal(self._alive("trainer"), pick, signal.SIGKILL)
            case Strike.WORKER_STOPPED:
                return self._signal(self._alive("trainer"), pick, signal.SIGTERM)
            case Strike.WORKER_FROZEN:
                # One at a time, or nobody might be left to take the trials over; and one that has trials.
                busy = [(child, worker) for child, worker in self._alive("trainer") if descendants(worker)]
                return None if self._frozen else self._freeze(busy, pick)
            case Strike.TRIAL_KILLED:
                return self._kill_trial(pick)
            case Strike.STORAGE_STOPPED:
                return self._signal(self._alive("azurite"), pick, signal.SIGTERM)

    def _alive(self, name: str) -> list[tuple[Child, int]]:
        """The children whose names begin so, with the ids of their commands' processes; none that is frozen.

        A frozen worker is spared, or few would wake up to find their trials taken over.
        """
        frozen = self._frozen[0] if self._frozen else None
        alive = [
            child
            for child in self._stack.children
            if child.name.startswith(name) and child.exit_status is None and child is not frozen
        ]
        # The leash's first descendant is its command: what it adopts comes later.
        return [(child, below[0]) for child in alive if (below := descendants(child.pid))]

    def _signal(self, parties: Sequence[tuple[Child, int]], pick: float, number: signal.Signals) -> str | None:
        if not parties:
            return None
        child, process = parties[int(pick * len(parties))]
        return f"{child.name} (process {process})" if _send(process, number) else None

    def _freeze(self, parties: Sequence[tuple[Child, int]], pick: float) -> str | None:
        told = self._signal(parties, pick, signal.SIGSTOP)
        if told:
            child, process = parties[int(pick * len(parties))]
            self._frozen = (child, process, time.monotonic() + self._frozen_s)
        return told

    def _thaw(self) -> None:
        if self._frozen:
            child, process, _ = self._frozen
            # Something else may have ended it meanwhile, and its id may be somebody else's.
            if child.exit_status is None and _send(process, signal.SIGCONT):
                self._say(f"{child.name} (process {process}) goes on")
            self._frozen = None

    def _kill_trial(self, pick: float) -> str | None:
        ledger = Ledger.read(self._ledger)
        found = [
            (process, ledger.by_pid[process])
            for _, worker in self._alive("trainer")
            for process in descendants(worker)
            if process in ledger.by_pid and _leads_its_group(process)
        ]
        if not found:
            return None
        process, work = found[int(pick * len(found))]
        # Noted first: from the signal on the trial may end as killed.
        self.killed.add(work)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process, signal.SIGKILL)
        return f"{work.job} trial {work.trial} (process {process})"


def _send(process: int, number: signal.Signals) -> bool:
    try:
        os.kill(process, number)
    except ProcessLookupError:
        return False
    return True


def _leads_its_group(process: int) -> bool:
    """True for the first process of a trial, which has a group of its own."""
    try:
        return os.getpgid(process) == process
    except ProcessLookupError:
        return False
