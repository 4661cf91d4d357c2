"""Whether an attempt may write now: a worker that was asleep writes nothing before a heartbeat has gone through."""

from collections.abc import Callable

from dropsweep.errors import StorageUnavailable

MayWrite = Callable[[], bool]
"""True while the last heartbeat that got through is younger than the claim timeout: nobody can have taken over yet."""


def always() -> bool:
    """May always write: for those whom nobody can take over from."""
    return True


def check(may_write: MayWrite) -> None:
    """Returns while the attempt may write.

    Raises:
        StorageUnavailable: it may not yet: the next heartbeat gets through, or tells that the claim is lost.
    """
    if not may_write():
        raise StorageUnavailable(
            "the last heartbeat that got through is older than the claim timeout, and until one does another worker "
            "may have the trial: nothing is written. Nothing needs to be done"
        )
