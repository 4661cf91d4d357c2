"""A few tasks at a time, on threads that last no longer than the call."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, TypeVar

NUM_PARALLEL: Final = 4
"""Requests of one transfer at a time: more bring little, for the SDK's own work is done by one thread at a time."""
_LOOK_S: Final = 0.2
_T = TypeVar("_T")


def in_order(tasks: Iterable[Callable[[], _T]], check: Callable[[], None] | None = None) -> Iterator[_T]:
    """Runs tasks on `NUM_PARALLEL` threads and yields their results in the order of the tasks.

    One task more than there are threads is taken from `tasks`, which may prepare it meanwhile in the caller's thread,
    before a result is waited for: whatever a task holds, there are `NUM_PARALLEL` + 1 of them in memory at most.

    Args:
        tasks: what to do; its own errors end it all.
        check: called several times a second while a result is waited for; what it raises ends it all.

    Raises:
        Whatever a task raises: the error of the first one in order. In every case the tasks that had begun have ended
        before, and no other begins.
    """
    pending: deque[Future[_T]] = deque()
    with ThreadPoolExecutor(NUM_PARALLEL, thread_name_prefix="transfer") as pool:
        try:
            for task in tasks:
                pending.append(pool.submit(task))
                if len(pending) > NUM_PARALLEL:
                    yield _result(pending.popleft(), check)
            while pending:
                yield _result(pending.popleft(), check)
        finally:
            for one in pending:
                one.cancel()


def _result(task: Future[_T], check: Callable[[], None] | None) -> _T:
    while check is not None and futures.wait([task], _LOOK_S).not_done:
        check()
    return task.result()
