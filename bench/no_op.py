"""What the system itself costs: trials that do nothing, how fast they go and what they ask of storage."""

import time
from collections import Counter
from typing import Final

from bench.requests import split
from bench.results import Breakdown, Measured, Row
from bench.system import NUM_TRAINERS, System, no_op_sweep
from local.stack import CLUSTER

_NUM_TRIALS: Final = 200
"""Also when quick: what a job costs as a whole (about forty operations) is shared by its trials."""
_TIMEOUT_S: Final = 300.0
_REST_S: Final = 3.0
"""Until every poller of an idle stack is at its slowest."""
_IDLE_S: Final = 20.0
_IDLE_QUICK_S: Final = 8.0
_BAR_OPERATIONS: Final = 8.0


def measure(*, is_quick: bool) -> Measured:
    """Runs one sweep of no-op trials, then looks at the idle stack for a while.

    The rate is over the time from the first claim to the job's final record. Storage operations are counted by the
    storage emulator, whoever asked: the host and both trainers. What this process asks is not in it: it follows the
    sweep in the log alone, and the one write of the job file is left out.
    """
    idle_s = _IDLE_QUICK_S if is_quick else _IDLE_S
    with System() as system:
        run = system.run(no_op_sweep(_NUM_TRIALS), timeout_s=_TIMEOUT_S)
        time.sleep(_REST_S)
        system.requests.fresh()
        before = time.monotonic()
        time.sleep(idle_s)
        at_rest = Counter(request.kind for request in system.requests.fresh())
        rested_s = time.monotonic() - before
    work, polling = split(run.requests, CLUSTER)
    seconds = run.ended - run.claimed
    return Measured(
        (
            Row(f"no-op trials a second, {NUM_TRAINERS} trainers", _NUM_TRIALS / seconds, "1/s"),
            Row("storage operations a trial, without polling", work.total() / _NUM_TRIALS, "", _BAR_OPERATIONS),
            Row("storage operations a trial, polling only", polling.total() / _NUM_TRIALS, ""),
            Row("storage operations a second, idle stack", at_rest.total() / rested_s, "1/s"),
        ),
        (
            Breakdown(
                f"Storage operations of {_NUM_TRIALS} no-op trials, without polling",
                "a trial",
                {kind: count / _NUM_TRIALS for kind, count in work.items()},
            ),
            Breakdown(
                "Storage operations of an idle stack",
                "a second",
                {kind: count / rested_s for kind, count in at_rest.items()},
            ),
        ),
    )
