"""One run of all jobs on a stack of its own, with or without a killer."""

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dropsweep.client import Client
from dropsweep.errors import ConfigError
from dropsweep.names import RUNS, JobKey
from dropsweep.records import JobRecord
from dropsweep.settings import REPAIR_SCHEDULE, StorageSettings
from dropsweep.storage import Store
from local.soak.diagnosis import diagnose, queues
from local.soak.killer import Deck, Killer, Strike
from local.soak.ledger import Ledger, Work
from local.soak.plan import WORKSPACE, JobPlan
from local.soak.verdict import End, Verdict, judge
from local.soak.watch import Watch, sights
from local.stack import Stack

_CLAIM_TIMEOUT_S: Final = 8
_FROZEN_S: Final = _CLAIM_TIMEOUT_S + 4.0
"""Longer than the claim timeout by more than the second that ages are rounded to, and than a message stays hidden."""
_SETTLED_S: Final = _CLAIM_TIMEOUT_S + 2.0
"""Watched on after the last job's end: a worker that woke up late would have written by then."""
_TEND_S: Final = 0.1
_LOOK_S: Final = 1.0
_TELL_S: Final = 10.0

SETTINGS: Final = {
    "DROPSWEEP_CLAIM_TIMEOUT_S": str(_CLAIM_TIMEOUT_S),
    # So many losses in a row are no fault of the trial here, and each must have its planned result.
    "DROPSWEEP_MAX_LOST_WORKERS": "1000",
    REPAIR_SCHEDULE: "*/5 * * * * *",
    "DROPSWEEP_RETRY_DELAY_S": "1",
}
"""Of the stack, beside those of every local one."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one run.

    Attributes:
        wall_s: seconds from the first drop until all jobs were seen final, or until the limit.
        verdict: of all jobs.
        ledger: what the trials' processes wrote down.
        strikes: by kind.
        hanging: what is known of the jobs that were not final within the limit; empty when all were.
        queues: what was left in the queues.
    """

    wall_s: float
    verdict: Verdict
    ledger: Ledger
    strikes: Mapping[Strike, int]
    hanging: tuple[str, ...]
    queues: tuple[str, ...]


def play(
    data: Path,
    jobs: Sequence[JobPlan],
    deck: Deck | None,
    *,
    num_trainers: int,
    num_slots: int,
    limit_s: float,
    say: Callable[[str], None],
) -> Outcome:
    """Runs all jobs to their ends, or to the limit, and judges what the storage holds then.

    Args:
        data: the stack's folder; emptied first.
        jobs: what to run.
        deck: strikes; None leaves the system undisturbed.
        num_trainers: worker processes.
        num_slots: trials that each of them runs at once.
        limit_s: seconds after which jobs that are not final count as hanging.
        say: gets a line from time to time, for a person; also from another thread.

    Raises:
        DropsweepError: the stack does not start, or cannot be started again.
    """
    data.mkdir(parents=True, exist_ok=True)
    book = data / "ledger.txt"
    book.unlink(missing_ok=True)
    with (
        Stack(data, num_trainers=num_trainers, num_slots=num_slots, is_fresh=True, settings=SETTINGS) as stack,
        ExitStack() as until_final,
    ):
        client = Client.from_connection_string(stack.connection_string)
        hasty = Store.connect(StorageSettings(connection_string=stack.connection_string), patience_s=0)
        began = time.monotonic()
        keys = {_drop(client, data, job, book): job for job in jobs}
        killer = Killer(stack, deck, book, frozen_s=_FROZEN_S, say=say) if deck else None
        if killer:
            until_final.enter_context(killer)
        watch = Watch(hasty, [(key, len(job.trials)) for key, job in keys.items()])
        is_final = _follow(stack, watch, until=began + limit_s, say=say, ends_when_final=True)
        wall_s = time.monotonic() - began
        until_final.close()
        hanging: list[str] = []
        if not is_final:
            # Now, for with nobody killing any more it might go on; but the storage must answer for it.
            _revive(stack, began, say)
            hanging = diagnose(client.store, {key: len(job.trials) for key, job in keys.items()}, stack.children)
        _follow(stack, watch, until=time.monotonic() + _SETTLED_S, say=say, ends_when_final=False)
        killed = killer.killed if killer else set()
        verdict = Verdict()
        for key, job in keys.items():
            verdict += judge(job, _end(client.store, key, job, watch, killed))
        return Outcome(
            wall_s,
            verdict,
            Ledger.read(book),
            dict(killer.counts) if killer else {},
            tuple(hanging),
            tuple(queues(client.store)),
        )


def _drop(client: Client, data: Path, job: JobPlan, book: Path) -> JobKey:
    file = data / f"{job.name}.json"
    file.write_text(json.dumps(job.document(book), indent=1), encoding="utf-8")
    return client.submit(file, workspace=WORKSPACE).key


def _follow(stack: Stack, watch: Watch, *, until: float, say: Callable[[str], None], ends_when_final: bool) -> bool:
    """Keeps the stack running and looks at the records until `until`; true when the last look saw all final."""
    is_final = False
    look_at = time.monotonic()
    tell_at = look_at + _TELL_S
    while (now := time.monotonic()) < until and not (is_final and ends_when_final):
        _revive(stack, until, say)
        if now >= look_at:
            is_final = watch.look()
            look_at = time.monotonic() + _LOOK_S
        if now >= tell_at:
            say(f"{watch.num_final} trials are final")
            tell_at += _TELL_S
        time.sleep(_TEND_S)
    return is_final


def _revive(stack: Stack, until: float, say: Callable[[str], None]) -> None:
    try:
        stack.revive()
    except ConfigError as error:
        # A client that looks for the storage while it is away can hold its port for a moment.
        if time.monotonic() > until:
            raise
        say(str(error))


def _end(store: Store, key: JobKey, job: JobPlan, watch: Watch, killed: set[Work]) -> End:
    blob = store.blobs.read(RUNS, key.record)
    table = store.blobs.read(RUNS, key.results)
    return End(
        record=JobRecord.from_json(blob.body) if blob else None,
        trials={trial: sight.trial for trial, sight in sights(store, key, len(job.trials)).items()},
        table=table.body.decode() if table else "",
        changed=watch.finals[key].changed,
        killed={work.trial for work in killed if work.job == key.path},
    )


def by_party(strikes: Mapping[Strike, int]) -> Counter[str]:
    """Counts strikes by whom they hit."""
    counts: Counter[str] = Counter()
    for strike, count in strikes.items():
        counts[strike.party] += count
    return counts
