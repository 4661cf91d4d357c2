"""What `doctor` sees of messages that nobody could act on, and of files that their authors have to mend."""

import json
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

from dropsweep.client.doctor.account import POISON_QUEUES, START_FUNCTIONS, Examined
from dropsweep.client.doctor.findings import Finding, Status
from dropsweep.errors import StorageCorrupt
from dropsweep.names import BURIED, ERROR_SUFFIX, QUOTAS, RUNS, SCHEDULES, WORKSPACES, poison_queue
from dropsweep.page.words import duration, moment, plural
from dropsweep.quotas import next_up
from dropsweep.records.ledger import Ledger
from dropsweep.storage import Listed, probe

MAX_FILES: Final = 2000
"""Blobs of one list that are gone through: two requests."""
_MAX_TOLD: Final = 10
_MAX_POISON_QUEUES: Final = 20
_MAX_TEXT: Final = 300
_MAX_LEDGERS: Final = 50


def poison(of: Examined) -> Iterator[Finding]:
    """Looks for buried messages, and for poison queues that nobody reads."""
    found = list(islice(of.store.blobs.files(RUNS, BURIED), MAX_FILES + 1))
    if found:
        newest = max(blob.modified for blob in found)
        number = f"at least {MAX_FILES:,} messages" if len(found) > MAX_FILES else plural(len(found), "message")
        told = f"{number} buried, the latest at {moment(newest)}: nobody could act on them"
        remedy = "Read why with `dropsweep poison list`; once mended, `dropsweep poison requeue` sends them again"
        yield Finding("poison", Status.WARNING, told, remedy)
    own = {poison_queue(queue) for queue in of.queues}
    queues = [
        name for name in of.queues if name.endswith(POISON_QUEUES) and (name in own or name.startswith("webjobs-"))
    ]
    stale = False
    for queue in queues[:_MAX_POISON_QUEUES]:
        waits = probe.waiting(of.store, queue)
        age_s = of.age_s(waits.oldest) if waits.oldest else 0.0
        if age_s > of.bounds.message_s:
            stale = True
            told = f"about {plural(waits.num_messages, 'message')} on queue {queue}, the oldest for {duration(age_s)}"
            rule = f"the functions bury each with its reason, and {duration(of.bounds.message_s)} is the bound"
            yield Finding("poison", Status.ERROR, f"{told}: {rule}", START_FUNCTIONS)
    if not found and not stale:
        yield Finding(
            "poison", Status.OK, f"no message is buried, and none waits on {plural(len(queues), 'poison queue')}"
        )


def schedules(of: Examined) -> Iterator[Finding]:
    """Looks for schedules that cannot be read, or whose job is refused."""
    yield from _broken(of, SCHEDULES, "schedules", "schedule file")


def workspaces(of: Examined) -> Iterator[Finding]:
    """Looks for policy files that cannot be read."""
    yield from _broken(of, WORKSPACES, "workspaces", "policy file")


def quotas(of: Examined) -> Iterator[Finding]:
    """Looks at the ledgers of workspaces with quotas: who has what, and whether somebody misses what is free."""
    found = list(islice(of.store.blobs.files(RUNS, QUOTAS), _MAX_LEDGERS + 1))
    num_bounded = 0
    for file in found[:_MAX_LEDGERS]:
        blob = of.store.blobs.read(RUNS, file.name)
        if blob is None:
            continue
        try:
            ledger = Ledger.from_json(blob.body)
        except StorageCorrupt as error:
            remedy = "Delete the blob: the functions' timer writes it anew from the jobs' records"
            yield Finding("quotas", Status.ERROR, f"{RUNS}/{file.name}: {error}", remedy)
            continue
        if not ledger.limits.is_bounded or not ledger.entries:
            continue
        num_bounded += 1
        stands = _standing(ledger)
        missed = next_up(ledger)
        if missed and blob.age_s > of.bounds.queued_s:
            told = f"{stands}; {missed[0].path} could have more and has not asked for {duration(blob.age_s)}"
            yield Finding("quotas", Status.ERROR, told, START_FUNCTIONS)
        else:
            yield Finding("quotas", Status.OK, stands)
    if len(found) > _MAX_LEDGERS:
        told = f"only the ledgers of the first {_MAX_LEDGERS} workspaces were looked at"
        yield Finding("quotas", Status.WARNING, told, "Look at one with `dropsweep workspace show WORKSPACE`")
    elif not num_bounded:
        yield Finding("quotas", Status.OK, "no live job is in a workspace with a quota")


def _standing(ledger: Ledger) -> str:
    """Returns what the jobs of a workspace have of its quota, and how many wait."""
    entries = ledger.entries.values()
    num_jobs, num_trials = sum(entry.granted > 0 for entry in entries), sum(entry.granted for entry in entries)
    limits = ledger.limits
    jobs = f" of {limits.max_concurrent_jobs:,}" if limits.max_concurrent_jobs is not None else ""
    trials = f" of {limits.max_concurrent_trials:,}" if limits.max_concurrent_trials is not None else ""
    num_waiting = sum(1 for entry in entries if entry.wanted and not entry.granted)
    waiting = f"; {plural(num_waiting, 'job')} waiting" if num_waiting else ""
    return f"workspace {ledger.workspace}: jobs at work {num_jobs:,}{jobs}, trials {num_trials:,}{trials}{waiting}"


def _broken(of: Examined, container: str, check: str, what: str) -> Iterator[Finding]:
    files = list(islice(of.store.blobs.files(container, ""), MAX_FILES + 1))
    errors = [file for file in files[:MAX_FILES] if file.name.endswith(ERROR_SUFFIX)]
    for error in errors[:_MAX_TOLD]:
        stem = f"{container}/{error.name.removesuffix(ERROR_SUFFIX)}"
        told, remedy = _why(of, container, error)
        yield Finding(
            check, Status.ERROR, f"{stem}: {told}", remedy or f"Mend the file; {error.name} goes by itself then"
        )
    if len(errors) > _MAX_TOLD:
        more = f"{len(errors) - _MAX_TOLD} more with errors"
        yield Finding(check, Status.ERROR, more, f"Look for files that end in {ERROR_SUFFIX} in {container}")
    num_files = min(len(files), MAX_FILES) - len(errors)
    if len(files) > MAX_FILES:
        told = f"only the first {MAX_FILES:,} files of {container} were looked at"
        yield Finding(check, Status.WARNING, told, f"Take out of {container} what is not needed")
    elif not errors:
        yield Finding(
            check, Status.OK, f"{plural(num_files, what)}; nothing is wrong with any" if num_files else f"no {what}"
        )


def _why(of: Examined, container: str, error: Listed) -> tuple[str, str]:
    """Returns the first problem that a file beside a broken one tells, and its remedy, as far as they can be read."""
    blob = of.store.blobs.read(container, error.name)
    if blob is None:
        return "it was broken until a moment ago", ""
    try:
        document: Any = json.loads(blob.body)
        problems = document.get("problems") or []
        if not problems:
            return _cut(str(document["message"])), ""
        first = problems[0]
        shown = f" is {first['value']}" if first.get("value") else ""
        more = f" ({plural(len(problems), 'problem')} in all)" if len(problems) > 1 else ""
        return _cut(f"{first['path'] or '(file)'}{shown}: {first['rule']}{more}"), str(first.get("remedy", ""))
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        return f"{error.name} beside it tells what is wrong", ""


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_TEXT else f"{text[: _MAX_TEXT - 1]}…"
