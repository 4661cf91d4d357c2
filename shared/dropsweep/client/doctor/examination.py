"""`examine`: everything that can be wrong with a deployment, looked for at once, and told in words.

Nothing is changed. What it costs is bounded: of very many jobs, queues or files the first ones are looked at, and the
finding says so.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, Final

from dropsweep.client.doctor import account
from dropsweep.client.doctor.account import TRIALS_QUEUES, Bounds, Examined, Reached
from dropsweep.client.doctor.files import poison, quotas, schedules, workspaces
from dropsweep.client.doctor.findings import Finding, Health, Status, health_of, to_document
from dropsweep.client.doctor.jobs import jobs
from dropsweep.errors import DropsweepError, StorageCorrupt
from dropsweep.names import is_cluster
from dropsweep.storage import Store

__all__ = ["Bounds", "Finding", "Health", "Status", "examine", "health_of", "to_document"]

_Check = Callable[[Examined], Iterator[Finding]]

_CHECKS: Final[tuple[tuple[str, _Check], ...]] = (
    ("containers", account.containers),
    ("queues", account.queues),
    ("functions", account.functions),
    ("jobs", jobs),
    ("poison", poison),
    ("schedules", schedules),
    ("workspaces", workspaces),
    ("quotas", quotas),
)


def _now() -> datetime:
    return datetime.now(UTC)


def examine(
    store: Store,
    *,
    clusters: Iterable[str] = (),
    bounds: Bounds | None = None,
    now: Callable[[], datetime] = _now,
) -> list[Finding]:
    """Looks at a deployment through its storage account, for a few seconds at most if the account answers.

    Whatever goes wrong with the storage is a finding, and no error. If the account cannot be reached, this is known
    after 10 s at most, whatever the patience of `store`; later checks wait as long as `store` does, so give it one with
    a short patience.

    Args:
        store: the account.
        clusters: the clusters that must have a queue, beside those that the functions name, if they do. Without any,
            those that have one.
        bounds: from when on something counts as a fault; None: the usual ones.
        now: this machine's clock.

    Returns:
        At least one finding for each check that could be made, in the order in which trouble in the one explains
        trouble in the next.
    """
    bounds = bounds or Bounds()
    reached = account.connection(store, bounds, now)
    findings = [*reached.findings]
    if health_of(findings) is Health.DOWN:
        return findings
    record: dict[str, Any] | None = None
    try:
        record = account.functions_record(store)
    except DropsweepError as error:
        if isinstance(error, StorageCorrupt):
            findings.append(Finding("functions", Status.ERROR, *_parted(error)))
    of = Examined(
        store,
        bounds,
        _clusters(clusters, record, reached),
        reached.queues,
        reached.has_all_queues,
        reached.served or now(),
        functions=record,
    )
    for check, look in _CHECKS:
        try:
            findings += look(of)
        except DropsweepError as error:
            findings.append(Finding(check, Status.ERROR, *_parted(error)))
    return findings


def _clusters(given: Iterable[str], record: dict[str, Any] | None, reached: Reached) -> tuple[str, ...]:
    named = (record or {}).get("clusters")
    # Functions of a version before cluster files name them only.
    names = [each.get("name") if isinstance(each, dict) else each for each in named] if isinstance(named, list) else []
    told = [name for name in names if isinstance(name, str) and is_cluster(name)]
    known = tuple(dict.fromkeys([*given, *told]))
    if known:
        return known
    found = [name.removeprefix(TRIALS_QUEUES) for name in reached.queues if name.startswith(TRIALS_QUEUES)]
    return tuple(name for name in found if is_cluster(name))


def _parted(error: DropsweepError) -> tuple[str, str]:
    """Returns what an error says, and its last sentence, which is the remedy by the house's rule."""
    told, dot, remedy = str(error).rpartition(". ")
    return (told, remedy.rstrip(".")) if dot else (str(error), "Try again in a minute")
