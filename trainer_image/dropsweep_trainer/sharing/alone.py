"""A worker's gate: trials go through it beside each other, or one goes through it alone."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

_LOOK_S: Final = 0.1


class Pass:
    """What a trial has while it is past the gate.

    Attributes:
        is_alone: no other has one meanwhile.
        had_company: another one had one at the same time, at some time.
    """

    def __init__(self, *, is_alone: bool) -> None:
        self.is_alone = is_alone
        self.had_company = False


class Gate:
    """Lets trials run beside each other, or one of them alone.

    In the order in which they came: who wants to be alone waits for those before it, and whoever comes later waits for
    it, so that neither kind starves the other. A trial that gave its turn back, to be taken by an idle node, could be
    passed over for as long as the cluster is busy; so it stays, however long those before it go on. Safe to use from
    many threads.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[Pass] = deque()
        self._inside: set[Pass] = set()

    @property
    def is_closed(self) -> bool:
        """True while a trial runs alone or waits to: one that came now would have to wait."""
        with self._changed:
            return any(held.is_alone for held in (*self._inside, *self._waiting))

    @contextmanager
    def passing(self, *, is_alone: bool, check: Callable[[], None] = lambda: None) -> Iterator[Pass]:
        """Waits until the trial may go on; it is past the gate until the block ends, or `leave` is called.

        Args:
            is_alone: it goes on only when no other is past the gate, and none passes meanwhile.
            check: called several times a second while it waits; what it raises ends the waiting.

        Raises:
            Whatever `check` raises; nobody waits for this trial then.
        """
        ticket = Pass(is_alone=is_alone)
        with self._changed:
            self._waiting.append(ticket)
        try:
            while not self._may_pass(ticket):
                check()
            yield ticket
        finally:
            self.leave(ticket)

    def leave(self, ticket: Pass) -> None:
        """The trial is past no more, and waits no more; harmless when it was neither."""
        with self._changed:
            self._inside.discard(ticket)
            if ticket in self._waiting:
                self._waiting.remove(ticket)
            self._changed.notify_all()

    def _may_pass(self, ticket: Pass) -> bool:
        """Lets it pass if its turn has come, after a short wait."""
        with self._changed:
            if not self._is_next(ticket):
                self._changed.wait(_LOOK_S)
            if not self._is_next(ticket):
                return False
            self._waiting.popleft()
            for other in self._inside:
                other.had_company = ticket.had_company = True
            self._inside.add(ticket)
            self._changed.notify_all()
            return True

    def _is_next(self, ticket: Pass) -> bool:
        if self._waiting[0] is not ticket:
            return False
        return not self._inside if ticket.is_alone else not any(held.is_alone for held in self._inside)
