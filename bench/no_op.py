"""What the system itself costs: trials that do nothing, how fast they go and what they ask of storage."""

import itertools
import time
from collections import Counter
from typing import Final

from bench.requests import difference, split, work_of
from bench.results import Breakdown, Measured, Row
from bench.system import NUM_TRAINERS, System, no_op_sweep
from dropsweep_trainer.messages.receiving import WAITS_S
from local.stack import CLUSTER

_NUM_TRIALS: Final = 200
"""Also when quick: what a job costs as a whole (about forty operations) is shared by its trials."""
_TIMEOUT_S: Final = 300.0
_REST_S: Final = sum(WAITS_S) + 1.0
"""Until every poller of an idle stack is at its slowest; the trainers' take longest."""
_IDLE_S: Final = 20.0
_IDLE_QUICK_S: Final = 8.0
_BAR_OPERATIONS: Final = 6.0
"""Five that each trial has of its own, and its part of what many share. One that prints has one more."""


def measure(*, is_quick: bool) -> Measured:
    """Runs one sweep of no-op trials, then looks at the idle stack for a while.

    The rate is over the time from the first claim to the job's final record. Storage operations are counted by a
    pipeline policy in each process: the functions, the host that runs them, both trainers, and this one, which follows
    the sweep in the emulator's log; the one write of the job file is left out. What they have together must be what the
    emulator has.
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
    parties = work_of(run.parties, CLUSTER)
    work, polling = split(itertools.chain.from_iterable(run.parties.values()), CLUSTER)
    seconds = run.ended - run.claimed
    return Measured(
        (
            Row(f"no-op trials a second, {NUM_TRAINERS} trainers", _NUM_TRIALS / seconds, "1/s"),
            Row(
                "storage operations a trial that prints nothing, without polling",
                work.total() / _NUM_TRIALS,
                "",
                _BAR_OPERATIONS,
            ),
            Row("storage operations a trial, polling only", polling.total() / _NUM_TRIALS, ""),
            *(
                Row(f"storage operations a trial, of the party {party}", counts.total() / _NUM_TRIALS, "")
                for party, counts in parties.items()
            ),
            Row(
                "storage operations that the parties and the emulator count differently",
                difference(run.requests, run.parties, CLUSTER).total(),
                "",
            ),
            Row("storage operations a second, idle stack", at_rest.total() / rested_s, "1/s"),
        ),
        (
            Breakdown(
                f"Storage operations of {_NUM_TRIALS} no-op trials, without polling",
                "a trial",
                {kind: count / _NUM_TRIALS for kind, count in work.items()},
            ),
            Breakdown(
                f"Storage operations of {_NUM_TRIALS} no-op trials by party, without polling",
                "a trial",
                {
                    f"{party}: {kind}": count / _NUM_TRIALS
                    for party, counts in parties.items()
                    for kind, count in counts.items()
                },
            ),
            Breakdown(
                "Storage operations of an idle stack",
                "a second",
                {kind: count / rested_s for kind, count in at_rest.items()},
            ),
        ),
    )
