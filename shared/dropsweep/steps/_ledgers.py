"""The ledgers of workspaces with quotas: opened, made to fit the policy files and the jobs there are, and told of."""

import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Final

from dropsweep.decisions import num_out
from dropsweep.errors import StorageCorrupt, StorageUnavailable
from dropsweep.messages import AdvanceMessage
from dropsweep.names import ADVANCE_QUEUE, DEFAULT_POLICY, LIVE, QUOTAS, RUNS, JobKey, quota_ledger
from dropsweep.quotas import next_up
from dropsweep.records import JobRecord
from dropsweep.records.ledger import Entry, Ledger, QuotaLimits
from dropsweep.steps._policies import Policies
from dropsweep.storage import Blob, Store

_log = logging.getLogger(__name__)
MAX_TRIES: Final = 30
"""Of a change of a ledger, which each job of its workspace changes."""
_MAX_HINTS: Final = 8
"""Jobs that are told of room; each of them tells the next ones of what it leaves."""
_READERS: Final = 8


def limits_of(store: Store, policies: Policies, workspace: str) -> QuotaLimits:
    """Returns the limits of a workspace: of the policy file that holds for it, or the last that could be read there.

    The last are in the workspace's ledger. Where a broken file has none, for it was broken from the start or bounded
    nothing, those of the default policy hold: too little at once can be mended, too much cannot be taken back.

    Raises:
        StorageError: as the storage does.
    """
    holding = policies.of(store, workspace)
    if holding is None:
        return QuotaLimits()
    if holding.reading.policy is not None:
        return holding.reading.policy.limits
    for name in (workspace, DEFAULT_POLICY):
        blob = store.blobs.read(RUNS, quota_ledger(name))
        if blob is not None:
            try:
                return Ledger.from_json(blob.body).limits
            except StorageCorrupt:
                _log.error("quotas: %s cannot be read", quota_ledger(name))
    default = policies.of(store, DEFAULT_POLICY)
    return default.reading.policy.limits if default and default.reading.policy else QuotaLimits()


def opened(store: Store, workspace: str, limits: QuotaLimits, blob: Blob | None) -> tuple[Ledger, str]:
    """Returns a ledger and its ETag; where there is none, or none that can be read, one is made of the live jobs.

    Raises:
        StorageUnavailable: others made and removed it each time.
    """
    path = quota_ledger(workspace)
    for _ in range(MAX_TRIES):
        if blob is not None:
            try:
                return Ledger.from_json(blob.body), blob.etag
            except StorageCorrupt as error:
                _log.error("quotas: %s is made anew of the jobs' records: %s", path, error)
        ledger = Ledger(workspace, limits, _entries(store, workspace))
        if blob is None:
            written = store.blobs.create(RUNS, path, ledger.to_json())
        else:
            written = store.blobs.replace(RUNS, path, ledger.to_json(), blob.etag)
        if written is not None:
            return ledger, written.etag
        blob = store.blobs.read(RUNS, path)
    raise StorageUnavailable(f"{path}: others changed it {MAX_TRIES} times just before it was to be written")


def hint_next(store: Store, ledger: Ledger, but: JobKey | None = None) -> None:
    """Hints at the jobs that would be granted more if they looked now, without the one that is looking."""
    others = [key for key in next_up(ledger) if key != but]
    for key in others[:_MAX_HINTS]:
        store.queues.send(ADVANCE_QUEUE, AdvanceMessage(key).to_text())


def has_ended(store: Store, key: JobKey) -> bool:
    """True when a job is final or gone."""
    blob = store.blobs.read(RUNS, key.record)
    return blob is None or JobRecord.from_json(blob.body).state.is_final


def check_ledgers(store: Store, policies: Policies, live: Mapping[JobKey, JobRecord]) -> None:
    """Makes every ledger fit the policy files and the jobs there are; ledgers without limits go.

    Args:
        store: the storage account.
        policies: just looked at anew.
        live: the jobs that this pass has looked at and that have not ended.

    Raises:
        StorageError: as the storage does.
    """
    found = {
        ledger.name.removeprefix(QUOTAS).removesuffix(".json"): ledger for ledger in store.blobs.list(RUNS, QUOTAS)
    }
    for workspace in sorted({*found, *policies.names(store)}):
        limits = limits_of(store, policies, workspace)
        if limits.is_bounded:
            blob = store.blobs.read(RUNS, quota_ledger(workspace)) if workspace in found else None
            _mend(store, *opened(store, workspace, limits, blob), limits, live)
        elif workspace in found:
            store.blobs.delete(RUNS, found[workspace].name, etag=found[workspace].etag)


def _mend(store: Store, ledger: Ledger, etag: str, limits: QuotaLimits, live: Mapping[JobKey, JobRecord]) -> None:
    """Drops entries of jobs that have ended, and notes the limits, unless somebody changes the ledger meanwhile."""
    mended = replace(ledger, limits=limits)
    for key, entry in ledger.entries.items():
        if key in live:
            continue
        try:
            if has_ended(store, key):
                mended = mended.lacking(key)
        except StorageCorrupt:
            # Nobody can say what it has out; but others need not wait for what it wants.
            mended = mended.having(key, replace(entry, wanted=entry.granted))
    path = quota_ledger(ledger.workspace)
    if mended != ledger and store.blobs.replace(RUNS, path, mended.to_json(), etag) is not None:
        hint_next(store, mended)


def _entries(store: Store, workspace: str) -> dict[JobKey, Entry]:
    """Returns what the live jobs of a workspace have out, for jobs that began before there was a ledger."""
    markers = [found.name for found in store.blobs.list(RUNS, f"{LIVE}{workspace}/")]

    def entry(marker: str) -> tuple[JobKey, Entry] | None:
        key = JobKey.parse(marker.removeprefix(LIVE))
        blob = store.blobs.read(RUNS, key.record)
        try:
            job = JobRecord.from_json(blob.body) if blob else None
        except StorageCorrupt:
            _log.exception("quotas: what %s has out is not known", key.path)
            return None
        if job is None or job.state.is_final or not num_out(job):
            return None
        return key, Entry(num_out(job), num_out(job), job.created)

    with ThreadPoolExecutor(_READERS, thread_name_prefix="quota") as pool:
        return dict(found for found in pool.map(entry, markers) if found)
