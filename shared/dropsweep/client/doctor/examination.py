"""`examine`: everything that can be wrong with a deployment, looked for at once, and told in words.

Nothing is changed. What it costs is bounded: of very many jobs, queues or files the first ones are looked at, and the
finding says so.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from dropsweep.client.clusters import clusters_of_queues, served_by
from dropsweep.client.doctor import account
from dropsweep.client.doctor.account import Bounds, Examined
from dropsweep.client.doctor.clusters import clusters as look_at_clusters
from dropsweep.client.doctor.files import poison, quotas, schedules, workspaces
from dropsweep.client.doctor.findings import Finding, Health, Status, health_of, to_document
from dropsweep.client.doctor.jobs import jobs
from dropsweep.clusters import Cluster
from dropsweep.errors import DropsweepError, StorageCorrupt
from dropsweep.records.codec import time_of
from dropsweep.storage import Store

__all__ = ["Bounds", "Finding", "Health", "Status", "examine", "health_of", "to_document"]

_Check = Callable[[Examined], Iterator[Finding]]

_CHECKS: Final[tuple[tuple[str, _Check], ...]] = (
    ("containers", account.containers),
    ("queues", account.queues),
    ("functions", account.functions),
    ("clusters", look_at_clusters),
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
    clusters: Iterable[Cluster | str] = (),
    bounds: Bounds | None = None,
    now: Callable[[], datetime] = _now,
) -> list[Finding]:
    """Looks at a deployment through its storage account, for a few seconds at most if the account answers.

    Whatever goes wrong with the storage is a finding, and no error. If the account cannot be reached, this is known
    after 10 s at most, whatever the patience of `store`; later checks wait as long as `store` does, so give it one with
    a short patience.

    Args:
        store: the account.
        clusters: the clusters that jobs may name, or only their names, beside those that the functions' last timer pass
            told, if it did. Without any, those that have a queue.
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
    given = list(clusters)
    served = _served(given, record)
    knows_better = any(not isinstance(one, str) for one in given)
    of = Examined(
        store,
        bounds,
        tuple(served) or tuple(clusters_of_queues(reached.queues)),
        served or None,
        reached.queues,
        reached.has_all_queues,
        reached.served or now(),
        functions=record,
        told=time_of(record["at"]) if record and served_by(record) and not knows_better else None,
    )
    for check, look in _CHECKS:
        try:
            findings += look(of)
        except DropsweepError as error:
            findings.append(Finding(check, Status.ERROR, *_parted(error)))
    return findings


def _served(given: Iterable[Cluster | str], record: Mapping[str, Any] | None) -> dict[str, Cluster | None]:
    """Returns the clusters that jobs may name, with what their files say as far as that is known."""
    found = {one.name: one.config for one in served_by(record) or ()}
    for one in given:
        if isinstance(one, str):
            found.setdefault(one, None)
        else:
            found[one.name] = one
    return found


def _parted(error: DropsweepError) -> tuple[str, str]:
    """Returns what an error says, and its last sentence, which is the remedy by the house's rule."""
    told, dot, remedy = str(error).rpartition(". ")
    return (told, remedy.rstrip(".")) if dot else (str(error), "Try again in a minute")
