"""What `doctor` sees of live jobs: those that stand still, and why; trials whose worker is silent; idle clusters."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Final

from dropsweep.client.doctor.account import START_FUNCTIONS, Examined, work_of
from dropsweep.client.doctor.clusters import is_at_work, mend, unusable
from dropsweep.client.doctor.findings import Finding, Status
from dropsweep.decisions import open_shards
from dropsweep.errors import DropsweepError, NotFoundError, StorageCorrupt
from dropsweep.names import LIVE, RUNS, JobKey, trial_of_record, trials_queue
from dropsweep.nodes import BUDGET
from dropsweep.page.words import duration, plural
from dropsweep.quotas import WAITS
from dropsweep.records import JobRecord, TrialSummary
from dropsweep.states import JobState, TrialState
from dropsweep.storage import Listed, Store

MAX_JOBS: Final = 100
"""Live jobs that are looked at; two operations each, or few more."""
_MAX_SHARDS: Final = 3
_MAX_TOLD: Final = 10
_MAX_NAMED: Final = 5
_READERS: Final = 8


@dataclass(frozen=True, slots=True)
class _Seen:
    """One look at a live job.

    Attributes:
        age_s: seconds since its record was last written, by the storage service's clock.
        num_waiting: trials that wait for a worker.
        beats: each running trial, and the age of its last heartbeat in seconds.
        moved_s: age of the latest sign of life: the job's record, or any record of a trial.
        is_whole: all of its trials were looked at that have not been summed up; else the numbers are the least that
            they can be, and the job may move although nothing here tells so.
    """

    record: JobRecord
    age_s: float
    num_waiting: int = 0
    beats: tuple[tuple[TrialSummary, float], ...] = ()
    moved_s: float = 0.0
    is_whole: bool = True

    def silent(self, bound_s: float) -> list[tuple[TrialSummary, float]]:
        return [(trial, age_s) for trial, age_s in self.beats if age_s > bound_s]

    def is_served(self, bound_s: float) -> bool:
        return any(age_s <= bound_s for _, age_s in self.beats)


def jobs(of: Examined) -> Iterator[Finding]:
    """Looks at the live jobs, and at the queues of their clusters."""
    markers = list(islice(of.store.blobs.files(RUNS, LIVE), MAX_JOBS + 1))
    seen: list[_Seen] = []
    told: list[Finding] = []
    with ThreadPoolExecutor(_READERS, thread_name_prefix="doctor") as pool:
        for found in pool.map(lambda marker: _look(of.store, marker), markers[:MAX_JOBS]):
            if isinstance(found, Finding):
                told.append(found)
            elif found is not None and not found.record.state.is_final:
                seen.append(found)
    clusters = list(_trainers(of, seen, has_more=len(markers) > MAX_JOBS or bool(told)))
    waiting = {cluster for cluster, has_waiting, _ in clusters if has_waiting}
    yield from (finding for _, _, finding in clusters)
    for job in seen:
        told += _stuck(of, job, has_to_wait=job.record.cluster in waiting)
    yield from told[:_MAX_TOLD]
    if len(told) > _MAX_TOLD:
        worst = Status.ERROR if any(finding.status is Status.ERROR for finding in told) else Status.WARNING
        yield Finding("jobs", worst, f"{len(told) - _MAX_TOLD} more like these", "Mend the ones above and look again")
    states = Counter(job.record.state for job in seen)
    counted = f" ({', '.join(f'{number} {state}' for state, number in sorted(states.items()))})" if states else ""
    if len(markers) > MAX_JOBS:
        told_of = f"only the first {MAX_JOBS} live jobs were looked at, in the order of their paths{counted}"
        yield Finding("jobs", Status.WARNING, told_of, "Look at one with `dropsweep show JOB`")
    elif not told:
        yield Finding("jobs", Status.OK, f"{plural(len(seen), 'live job')}{counted}; none stands still")


def _look(store: Store, marker: Listed) -> _Seen | Finding | None:
    path = marker.name.removeprefix(LIVE)
    try:
        key = JobKey.parse(path)
        blob = store.blobs.read(RUNS, key.record)
        if blob is None:
            return None  # a marker is written before its job's record, and the timer removes those that are left over
        record = JobRecord.from_json(blob.body)
        if record.state.is_final or not record.next_trial:
            return _Seen(record, blob.age_s, moved_s=blob.age_s)
        counts = Counter(record.closed_counts)
        beats, moved_s = [], blob.age_s
        shards = open_shards(record)
        for shard in shards[:_MAX_SHARDS]:
            for found in store.blobs.list(RUNS, key.shard(shard), metadata=True):
                trial = TrialSummary.from_metadata(trial_of_record(found.name), found.metadata, found.modified)
                age_s = max(0.0, (blob.served - found.modified).total_seconds())
                moved_s = min(moved_s, age_s)
                counts[trial.state] += 1
                if trial.state is TrialState.RUNNING:
                    beats.append((trial, age_s))
    except (StorageCorrupt, NotFoundError, ValueError) as error:  # ValueError: a file among the records that is none
        told = f"{path}: {error}"
        return Finding("jobs", Status.ERROR, told, "Put the blob back as it was, or delete the job's folder")
    except DropsweepError as error:
        return Finding("jobs", Status.ERROR, f"{path} cannot be looked at: {error}", "Try again in a minute")
    without_record = max(0, record.next_trial - counts.total())
    num_waiting = without_record + counts[TrialState.QUEUED]
    return _Seen(record, blob.age_s, num_waiting, tuple(beats), moved_s, is_whole=len(shards) <= _MAX_SHARDS)


def _trainers(of: Examined, seen: Sequence[_Seen], *, has_more: bool) -> Iterator[tuple[str, bool, Finding]]:
    """Tells of each cluster whether trials wait for a worker of it, and whether anybody works for it.

    Args:
        of: what is examined.
        seen: the live jobs that were looked at.
        has_more: there are others, which may be of any cluster, and may have trials that run.
    """
    by_cluster: dict[str, list[_Seen]] = defaultdict(list)
    for job in seen:
        if job.record.state is JobState.RUNNING:
            by_cluster[job.record.cluster].append(job)
    for cluster in dict.fromkeys([*of.clusters, *by_cluster]):
        queue, live = trials_queue(cluster), by_cluster[cluster]
        try:
            found = work_of(of.store, cluster)
        except NotFoundError:
            if live:
                remedy = f"Create it, or cancel them: {_named(live)}"
                yield (
                    cluster,
                    True,
                    Finding("trainers", Status.ERROR, f"{plural(len(live), 'job')} for {queue}: {_NO_QUEUE}", remedy),
                )
            continue
        num_running = sum(len(job.beats) - len(job.silent(of.bounds.heartbeat_s)) for job in live)
        age_s = of.age_s(found.oldest) if found.oldest else 0.0
        is_whole = not has_more and all(job.is_whole for job in live)
        stands = f"{found.in_words()} to be taken, {_least(num_running, 'trial', is_all=is_whole)} running"
        has_spent = any(job.record.message.startswith(BUDGET) for job in live)
        if live and of.served_clusters is not None and cluster not in of.served_clusters:
            known = ", ".join(of.served_clusters)
            told = f"{plural(len(live), 'job')} for cluster {cluster}, which is not served any more: there are {known}"
            status = Status.WARNING if num_running else Status.ERROR
            remedy = f"Deploy its cluster file again, or cancel them: {_named(live)}"
            yield cluster, True, Finding("trainers", status, f"{told}; {stands}", remedy)
        elif (
            (found.num_visible or any(job.num_waiting for job in live))
            and not num_running
            and not has_spent
            and (num_unusable := _num_unusable(of, cluster))
        ):
            for_whom = f"; {plural(len(live), 'job')} on it: {_named(live)}" if live else ""
            waits = f"{queue}: {stands}: {plural(num_unusable, 'node')} unusable lately, and none at work{for_whom}"
            yield cluster, True, Finding("trainers", Status.ERROR, waits, mend(cluster))
        elif age_s > of.bounds.trainer_s and not num_running and not has_spent:
            waits = (
                f"{queue}: {stands}; the oldest waits for {duration(age_s)}, more than {duration(of.bounds.trainer_s)}"
            )
            for_whom = f"; {plural(len(live), 'job')} on it: {_named(live)}" if live else ""
            unseen = "" if is_whole else ". Not all trials were looked at, so trainers may be at work"
            status = Status.ERROR if is_whole else Status.WARNING
            yield cluster, True, Finding("trainers", status, f"{waits}{for_whom}{unseen}", _start_trainers(cluster))
        else:
            yield cluster, found.num_visible > 0, Finding("trainers", Status.OK, f"{queue}: {stands}")


def _num_unusable(of: Examined, cluster: str) -> int:
    """Returns how many nodes of a cluster were unusable lately; 0 while one is at work, or once one could be used."""
    nodes = of.nodes_of(cluster)
    return 0 if is_at_work(nodes) else len(unusable(of, nodes))


_NO_QUEUE: Final = "there is no such queue, so none of their trials can begin"


def _stuck(of: Examined, job: _Seen, *, has_to_wait: bool) -> Iterator[Finding]:
    """Tells what is wrong with one live job.

    Args:
        of: what is examined.
        job: the job.
        has_to_wait: trials wait in the queue of its cluster, its own or those before them; that is told already where
            it is a fault.
    """
    record, bounds, path = job.record, of.bounds, job.record.key.path
    if silent := job.silent(bounds.heartbeat_s):
        numbers = ", ".join(str(trial.trial) for trial, _ in silent[:_MAX_NAMED])
        more = f" and {len(silent) - _MAX_NAMED} more" if len(silent) > _MAX_NAMED else ""
        oldest_s = max(age_s for _, age_s in silent)
        told = (
            f"{path}: no heartbeat of trial {numbers}{more} for {duration(oldest_s)}, "
            f"more than {duration(bounds.heartbeat_s)}: the worker is lost"
        )
        remedy = f"Another trainer takes it over by itself. {_start_trainers(record.cluster)}"
        yield Finding("jobs", Status.WARNING, told, remedy)
    if record.untold and job.age_s > bounds.message_s:
        told = f"{path}: {plural(len(record.untold), 'change')} of its state not told on queue {record.reply_to}"
        yield Finding("jobs", Status.WARNING, told, f"See that the queue {record.reply_to} exists")
    if record.message.startswith((WAITS, BUDGET)):
        yield Finding("jobs", Status.OK, f"{path} {record.message}")
        return
    match record.state:
        case JobState.QUEUED if job.age_s > bounds.queued_s:
            told = f"{path} was accepted {duration(job.age_s)} ago and no pass has been made over it"
            rule = f"{duration(bounds.queued_s)} is the bound"
            yield Finding("jobs", Status.ERROR, f"{told}: {rule}", START_FUNCTIONS)
        case JobState.CANCELLING if job.age_s > bounds.cancelling_s:
            at_all = job.beats or not job.is_whole
            running = _least(len(job.beats), "trial", is_all=job.is_whole) if at_all else "no trial"
            holds = f"{running} running"
            rule = f"more than {duration(bounds.cancelling_s)}"
            told = f"{path} has been cancelling for {duration(job.age_s)}, {rule}: {holds}"
            yield Finding("jobs", Status.ERROR, told, START_FUNCTIONS)
        case JobState.RUNNING if (
            not has_to_wait
            and job.is_whole
            and job.moved_s > bounds.trainer_s
            and job.num_waiting
            and not job.is_served(bounds.heartbeat_s)
        ):
            told = (
                f"{path} has not moved for {duration(job.moved_s)}, more than {duration(bounds.trainer_s)}: "
                f"{plural(job.num_waiting, 'trial')} waiting for a worker"
            )
            remedy = f"{_start_trainers(record.cluster)}. Messages that were lost are sent anew by the functions' timer"
            yield Finding("jobs", Status.ERROR, told, remedy)
        case _:
            return


def _least(number: int, what: str, *, is_all: bool) -> str:
    return f"{'' if is_all else 'at least '}{plural(number, what)}"


def _named(jobs: Sequence[_Seen]) -> str:
    more = f" and {len(jobs) - _MAX_NAMED} more" if len(jobs) > _MAX_NAMED else ""
    return ", ".join(job.record.key.path for job in jobs[:_MAX_NAMED]) + more


def _start_trainers(cluster: str) -> str:
    return f"See that trainers of cluster {cluster} run, and read their logs; on one machine `make up` runs them"
