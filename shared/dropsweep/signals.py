"""Signals that ask a process to end, heard by a thread of its own."""

import os
import signal
import threading
from collections.abc import Callable, Collection


def set_on(event: threading.Event, numbers: Collection[signal.Signals], tell: Callable[[signal.Signals], None]) -> None:
    """Sets an event when one of these signals comes; for the main thread, once in a process.

    A handler in Python runs between two steps of the main thread, and may find it within the event: in `set` when two
    signals come at once, or in `wait`. An event's lock is not one that its holder may take again, so the process would
    hang for good. Here the handler does nothing, and a thread reads the numbers that the interpreter writes to a pipe.

    Args:
        event: what is set.
        numbers: after which signals.
        tell: called with each signal, before the event is set, in that thread.

    Source: signal.set_wakeup_fd in Python's documentation.
    """
    heard, told = os.pipe()
    os.set_blocking(told, False)
    for number in numbers:
        signal.signal(number, _do_nothing)
    signal.set_wakeup_fd(told, warn_on_full_buffer=False)
    threading.Thread(target=_listen, args=(heard, event, frozenset(numbers), tell), name="signals", daemon=True).start()


def _listen(
    heard: int, event: threading.Event, numbers: frozenset[signal.Signals], tell: Callable[[signal.Signals], None]
) -> None:
    while received := os.read(heard, 1):
        if received[0] in numbers:
            tell(signal.Signals(received[0]))
            event.set()


def _do_nothing(_number: int, _frame: object) -> None:
    """Stands for the default, which would end the process."""
