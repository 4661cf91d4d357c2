"""How fast checkpoints go up: one rate for a whole worker, shared evenly between its slots."""

import heapq
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

_CREDIT_S: Final = 1.0
"""What was not sent is made up for, as far as a second's worth goes: who may send now is told so a little late."""
_LOOK_S: Final = 0.1


@dataclass(slots=True)
class Turn:
    """Somebody's wish to send some bytes.

    Attributes:
        account: whose wish it is.
        start: when it is its turn, in bytes that each share has been given.
        woken: set when it has become the first of those who wait: there is something to ask for again.
    """

    account: "Account"
    start: float
    num_bytes: int
    woken: threading.Event = field(default_factory=threading.Event)


@dataclass(slots=True)
class Account:
    """What one share was given, in bytes."""

    given: float = 0.0


@dataclass(slots=True)
class Turns:
    """Whose turn it is to send, and when.

    Turns are taken as in start-time fair queueing: a turn of share f starts at S = max(v, F_f) and moves F_f to S plus
    its length, where v is the start of the turn that was taken last; the smallest start is next. So who sends little
    files does not wait for all the large ones of others, and who was silent has saved nothing up.

    Source:
        P. Goyal, H. M. Vin, H. Cheng, "Start-time fair queueing", SIGCOMM 1996; F_f is `Account.given`, S `Turn.start`,
        v `Turns._virtual`.

    Attributes:
        rate_bytes_s: bytes a second, over all shares.
    """

    rate_bytes_s: float
    _waiting: list[tuple[float, int, Turn]] = field(default_factory=list)
    _num_turns: int = 0
    _virtual: float = 0.0
    _due_s: float = float("-inf")

    def enter(self, account: Account, num_bytes: int) -> Turn:
        """Begins to wait for a turn."""
        turn = Turn(account, max(self._virtual, account.given), num_bytes)
        account.given = turn.start + num_bytes
        self._num_turns += 1
        heapq.heappush(self._waiting, (turn.start, self._num_turns, turn))
        return turn

    def left_s(self, turn: Turn, now_s: float) -> float:
        """Returns 0.0 when the turn has come, which ends it; else for how many seconds there is nothing to ask for.

        For one that is not the first of those who wait that is without end: it is woken once it is.
        """
        turn.woken.clear()
        if self._waiting[0][2] is not turn:
            return math.inf
        due_s = max(self._due_s, now_s - _CREDIT_S)
        if due_s > now_s:
            return due_s - now_s
        heapq.heappop(self._waiting)
        self._virtual = turn.start
        self._due_s = due_s + turn.num_bytes / self.rate_bytes_s
        self._wake_first()
        return 0.0

    def leave(self, turn: Turn) -> None:
        """Gives a turn up that has not come."""
        self._waiting = [one for one in self._waiting if one[2] is not turn]
        heapq.heapify(self._waiting)
        self._wake_first()

    def wake(self, account: Account) -> None:
        """Wakes those who wait for a share, wherever they stand."""
        for _, _, turn in self._waiting:
            if turn.account is account:
                turn.woken.set()

    @property
    def num_waiting(self) -> int:
        """How many turns there are that have not come."""
        return len(self._waiting)

    def _wake_first(self) -> None:
        if self._waiting:
            self._waiting[0][2].woken.set()


class Rate:
    """The rate of one worker. Safe to use from many threads."""

    def __init__(self, rate_bytes_s: float | None = None, now_s: Callable[[], float] = time.monotonic) -> None:
        """Nobody sends yet.

        Args:
            rate_bytes_s: bytes a second that all slots together may send; None: as fast as it goes.
            now_s: a clock that never goes back.
        """
        self._turns = None if rate_bytes_s is None else Turns(rate_bytes_s)
        self._now_s = now_s
        self._lock = threading.Lock()

    @property
    def num_waiting(self) -> int:
        """How many wait for their turn."""
        with self._lock:
            return 0 if self._turns is None else self._turns.num_waiting

    def share(self) -> "Share":
        """Returns the part of one trial, beside those of all others that are not over."""
        return Share(self)

    def wait(self, account: Account, num_bytes: int, check: Callable[[], None], lifted: threading.Event) -> None:
        """Waits for the turn to send some bytes; not for it once `lifted` is set.

        Raises:
            Whatever `check` raises, which is called several times a second; the turn is given up then.
        """
        if self._turns is None or lifted.is_set():
            return
        with self._lock:
            turn = self._turns.enter(account, num_bytes)
        has_come = False
        looked_s = time.monotonic()
        try:
            while not has_come:
                with self._lock:
                    left_s = self._turns.left_s(turn, self._now_s())
                has_come = left_s == 0.0
                if has_come or lifted.is_set():  # looked at after `left_s`: what wakes it from then on is not lost
                    return
                turn.woken.wait(min(left_s, _LOOK_S))
                if time.monotonic() - looked_s >= _LOOK_S:
                    check()
                    looked_s = time.monotonic()
        finally:
            if not has_come:
                with self._lock:
                    self._turns.leave(turn)

    def wake(self, account: Account) -> None:
        """Makes those who wait for a share look whether it has been lifted."""
        if self._turns is not None:
            with self._lock:
                self._turns.wake(account)


class Share:
    """One trial's part of a worker's rate."""

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._account = Account()
        self._lifted = threading.Event()

    def wait(self, num_bytes: int, check: Callable[[], None]) -> None:
        """Waits for the turn to send some bytes.

        Raises:
            Whatever `check` raises, which is called several times a second.
        """
        self._rate.wait(self._account, num_bytes, check, self._lifted)

    def lift(self) -> None:
        """From now on it waits for nobody: its trial's command has ended. Other shares are held as before."""
        self._lifted.set()
        self._rate.wake(self._account)
