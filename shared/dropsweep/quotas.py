"""How the quota of a workspace is shared among its live jobs: no I/O, no clock, no dice.

The oldest job comes first. A job that has begun keeps its place: it gives back only what it does not use, so that
nothing is taken off a machine. What it gives back goes to older jobs before it comes back to itself.

The ledger never grants more than the limits allow, unless jobs had more out when the limits came or were lowered; those
get nothing new until enough has ended. A job's record never stands for more trials than the ledger grants it, which
takes this order of reads and writes (`steps/_quota.py`):

    raise: read job.json → change the ledger (under its ETag) → write job.json (under the ETag of the read)
    lower: read the ledger → read job.json → write job.json (under its ETag) → change the ledger (under its ETag)

Between the two writes of one nothing of the other fits, for one of the four conditions fails.
"""

from collections.abc import Collection, Iterator
from dataclasses import replace
from math import inf
from typing import Final

from dropsweep.names import JobKey
from dropsweep.records import JobRecord
from dropsweep.records.ledger import Entry, Ledger

WAITS: Final = "waits for its turn: "
"""How the message of a job begins that has nothing out because of its workspace's quota."""


def grant(ledger: Ledger, job: JobRecord, num_used: int, num_wanted: int) -> Ledger:
    """Returns the ledger with the entry of a job as it shall be.

    Args:
        ledger: of the job's workspace.
        job: a live job.
        num_used: trials that it has out; it is never granted fewer.
        num_wanted: trials that it would have out without a quota; at least `num_used`.
    """
    before = ledger.entries.get(job.key)
    admitted = _admitted(ledger) - {job.key}
    if num_used or (before and before.granted):
        admitted |= {job.key}
    asked = ledger.having(job.key, Entry(num_used, max(num_used, num_wanted), job.created))
    granted = dict(_dealt(asked, admitted))[job.key]
    return asked.having(job.key, replace(asked.entries[job.key], granted=granted))


def next_up(ledger: Ledger) -> list[JobKey]:
    """Returns the jobs that would be granted more if they asked now, all of them together, the oldest first."""
    return [key for key, granted in _dealt(ledger, _admitted(ledger)) if granted > ledger.entries[key].granted]


def why_waiting(ledger: Ledger, key: JobKey) -> str:
    """Returns in words why a job has nothing out, or nothing when it has or wants none; the same from pass to pass."""
    entry = ledger.entries.get(key)
    if entry is None or entry.granted or not entry.wanted:
        return ""
    limits, workspace = ledger.limits, ledger.workspace
    for limit, what in ((limits.max_concurrent_jobs, "jobs"), (limits.max_concurrent_trials, "trials")):
        if limit == 0:
            return f"{WAITS}workspace {workspace} lets nothing begin, for limits.max_concurrent_{what} is 0"
    if limits.max_concurrent_jobs is not None and len(_admitted(ledger)) >= limits.max_concurrent_jobs:
        most = limits.max_concurrent_jobs
        return f"{WAITS}workspace {workspace} has {most} of its {most} jobs running"
    return f"{WAITS}workspace {workspace} has its {limits.max_concurrent_trials} trials out, or older jobs take them"


def _admitted(ledger: Ledger) -> set[JobKey]:
    """Returns the jobs that have a place among the concurrent ones."""
    return {key for key, entry in ledger.entries.items() if entry.granted}


def _dealt(ledger: Ledger, admitted: Collection[JobKey]) -> Iterator[tuple[JobKey, int]]:
    """Deals what is free to the jobs in their order; yields what each has then, never less than it had.

    A job that waits behind the limit of jobs is dealt nothing, and keeps nothing from those that have a place.
    """
    max_jobs = inf if ledger.limits.max_concurrent_jobs is None else ledger.limits.max_concurrent_jobs
    max_trials = ledger.limits.max_concurrent_trials
    num_free = inf if max_trials is None else max_trials - sum(entry.granted for entry in ledger.entries.values())
    num_older, num_waiting = 0, 0
    for key, entry in sorted(ledger.entries.items(), key=lambda item: (item[1].created, item[0])):
        # Those that have begun come before all that wait. After the limit was lowered the youngest of them run out.
        if key in admitted:
            has_place = num_older < max_jobs
            num_older += 1
        else:
            has_place = len(admitted) + num_waiting < max_jobs
            num_waiting += entry.wanted > 0
        more = int(max(0, min(entry.wanted - entry.granted, num_free))) if has_place else 0
        num_free -= more
        yield key, entry.granted + more
