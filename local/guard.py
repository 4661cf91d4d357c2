"""Watches over the processes of a running stack: trainers come back, and without the rest nothing goes on."""

import signal
import threading
from collections.abc import Callable
from typing import Final, Self

from local.stack import Stack

_LOOK_EACH_S: Final = 0.2


class Guard:
    """Starts trainers again that have died, and interrupts the block when the host or the storage has.

    The block then ends without an error. It must be the main thread's, and SIGINT must raise KeyboardInterrupt.

    Attributes:
        verdict: what died, and the end of its log; empty as long as everything goes on.
    """

    def __init__(self, stack: Stack, say: Callable[[str], None]) -> None:
        """Watches the processes of a running stack; `say` gets a line for a person, on a thread of its own."""
        self.verdict = ""
        self._stack = stack
        self._say = say
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="guard", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_exception: object) -> bool:
        self._done.set()
        try:
            self._thread.join()
        except KeyboardInterrupt:
            # The block may have ended by itself just before it was interrupted.
            if not self.verdict:
                raise
        return bool(self.verdict) and kind is KeyboardInterrupt

    def _watch(self) -> None:
        main = threading.main_thread().ident
        assert main is not None
        while not self._done.wait(_LOOK_EACH_S):
            if dead := self._stack.vital_dead():
                self.verdict = "\n".join(f"The stack stops: {child.obituary}" for child in dead)
                # The block may be asleep between two looks, or wait for an answer that will not come.
                signal.pthread_kill(main, signal.SIGINT)
                return
            for line in self._stack.tend():
                self._say(line)
