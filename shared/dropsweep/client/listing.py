"""Which jobs there are: all, or those of a workspace or experiment that a filter lets through."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from dropsweep.client.lookup import JobList, keys
from dropsweep.errors import DropsweepError, StorageCorrupt
from dropsweep.names import RUNS, JobKey
from dropsweep.records import JobRecord, JobSummary
from dropsweep.states import JobState
from dropsweep.storage import Store

OnCorrupt = Callable[[JobKey, StorageCorrupt], None]
"""Is told of each job whose record cannot be read, which is then left out."""

MAX_TAGS: Final = 10
"""Tags that a filter may name."""
MAX_TAG_CHARACTERS: Final = 256
"""Of one of them, as `name=value`."""
_READERS: Final = 8
_UNITS_S: Final[Mapping[str, int]] = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_AGO: Final = re.compile(r"(\d{1,10})([smhdw])")
_LONGEST_S: Final = 100 * 366 * 86_400
"""A hundred years: before that there was no job."""


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs are wanted; all conditions hold together, and one without any lets all through.

    Attributes:
        states: jobs in one of these; empty: in any.
        tags: jobs with all of these tags, at most `MAX_TAGS`; None as a value: whatever the tag's value is.
        schedule: jobs that this schedule of their workspace made; empty: any.
        since: jobs made at this time or later; as a duration, counted back from now by the storage service's clock.
        limit: the newest ones only, so many of them; None: all.

    Raises:
        DropsweepError: too many tags, or one that is too long.
    """

    states: frozenset[JobState] = frozenset()
    tags: Mapping[str, str | None] = field(default_factory=dict)
    schedule: str = ""
    since: datetime | timedelta | None = None
    limit: int | None = None

    def __post_init__(self) -> None:
        if len(self.tags) > MAX_TAGS:
            raise DropsweepError(f"{len(self.tags)} tags are asked for: at most {MAX_TAGS} may be. Leave some out")
        longest = max(self._tags(), key=len, default="")
        if len(longest) > MAX_TAG_CHARACTERS:
            told = f"the tag {longest[:40]!r}… has {len(longest):,} characters"
            raise DropsweepError(f"{told}: name=value has at most {MAX_TAG_CHARACTERS}. Ask for its name alone")

    @classmethod
    def parse(
        cls,
        *,
        states: Iterable[str] = (),
        tags: Iterable[str] = (),
        schedule: str = "",
        since: str = "",
        limit: int | None = None,
    ) -> "JobFilter":
        """Reads what a person or a URL says.

        Args:
            states: states by name.
            tags: `name=value` or `name`.
            schedule: the name of a schedule, with or without `workspace/` before it.
            since: `45s`, `30m`, `12h`, `2d` or `1w`, or a time as `2026-01-02` or `2026-01-02T03:04:05Z` (UTC where it
                names no zone).
            limit: at least 1.

        Raises:
            DropsweepError: naming what cannot be read, the rule and the remedy.
        """
        if limit is not None and limit < 1:
            raise DropsweepError(f"limit is {limit}: it must be at least 1. Leave it out to get all jobs")
        pairs = [tag.partition("=") for tag in tags]
        if any(not name for name, _, _ in pairs):
            raise DropsweepError("a tag has no name: it must be name=value, or name for any value. Add the name")
        wanted = {name: value if sign else None for name, sign, value in pairs}
        named = frozenset(_state(name) for name in states)
        return cls(named, wanted, schedule.rpartition("/")[2], _since(since) if since else None, limit)

    def to_query(self) -> dict[str, Any]:
        """Returns the conditions as `parse` reads them and a URL carries them, without the limit."""
        conditions: dict[str, Any] = {"state": sorted(self.states), "tag": self._tags(), "schedule": self.schedule}
        if isinstance(self.since, timedelta):
            seconds = int(self.since.total_seconds())
            unit = max((unit for unit, size_s in _UNITS_S.items() if seconds % size_s == 0), key=_UNITS_S.__getitem__)
            conditions["since"] = f"{seconds // _UNITS_S[unit]}{unit}"
        elif self.since is not None:
            conditions["since"] = self.since.isoformat()
        return {name: value for name, value in conditions.items() if value}

    def _tags(self) -> list[str]:
        return [name if value is None else f"{name}={value}" for name, value in self.tags.items()]

    @property
    def needs_records(self) -> bool:
        """True when a job's record must be read whole, where else its metadata would do; either costs one operation."""
        return bool(self.tags or self.schedule)

    def admits(self, job: JobSummary, record: JobRecord | None, now: datetime) -> bool:
        """True for a job that is wanted.

        Args:
            job: what its metadata says.
            record: its record, when `needs_records`.
            now: the storage service's time.
        """
        since = now - self.since if isinstance(self.since, timedelta) else self.since
        if (self.states and job.state not in self.states) or (since is not None and job.created < since):
            return False
        if record is None:
            return not self.needs_records
        has_tags = all(name in record.tags and value in (None, record.tags[name]) for name, value in self.tags.items())
        return has_tags and self.schedule in ("", record.schedule)


@dataclass(frozen=True, slots=True)
class Seen:
    """One job, as a look at its record saw it.

    Attributes:
        job: what its metadata says.
        modified: when its record was written last.
        record: the record itself, where it was asked for.
        served: the storage service's time at the look.
    """

    job: JobSummary
    modified: datetime
    record: JobRecord | None
    served: datetime


def look_at_all(
    store: Store,
    workspace: str | None = None,
    experiment: str | None = None,
    *,
    with_records: bool = False,
    on_corrupt: OnCorrupt | None = None,
) -> Iterator[Seen]:
    """Looks at each job once, in the order of their paths: one storage operation for each, eight at a time.

    Args:
        store: the storage account.
        workspace: this workspace alone; None: all.
        experiment: this experiment alone; None: all.
        with_records: read the records too.
        on_corrupt: as `list_jobs`.

    Raises:
        DropsweepError: a workspace or experiment that cannot be one.
        StorageCorrupt: a record cannot be read, and there is no `on_corrupt`.
    """

    def look(key: JobKey) -> Seen | tuple[JobKey, StorageCorrupt] | None:
        blob = store.blobs.read(RUNS, key.record) if with_records else None
        head = blob if with_records else store.blobs.head(RUNS, key.record)
        if head is None:
            return None
        try:
            record = JobRecord.from_json(blob.body) if blob is not None else None
            return Seen(JobSummary.from_metadata(key, head.metadata), head.modified, record, head.served)
        except StorageCorrupt as error:
            return key, error

    with ThreadPoolExecutor(_READERS, thread_name_prefix="list") as pool:
        for found in pool.map(look, keys(store, workspace, experiment)):
            if isinstance(found, Seen):
                yield found
            elif found is not None:
                key, error = found
                told = StorageCorrupt(f"{RUNS}/{error}. Put the blob back as it was, or delete the job's folder")
                if on_corrupt is None:
                    raise told from error
                on_corrupt(key, told)


def list_jobs(
    store: Store,
    workspace: str | None = None,
    experiment: str | None = None,
    where: JobFilter | None = None,
    *,
    on_corrupt: OnCorrupt | None = None,
) -> list[JobSummary]:
    """Returns what a list shows of the jobs that are wanted, newest first; one storage operation for each job there is.

    Args:
        store: the storage account.
        workspace: this workspace alone; None: all.
        experiment: this experiment alone; None: all.
        where: which jobs; None: all.
        on_corrupt: is told of each job whose record cannot be read, which is then left out, whatever the filter; None:
            the first of them is raised.

    Raises:
        DropsweepError: a workspace or experiment that cannot be one.
        StorageCorrupt: a record cannot be read, and there is no `on_corrupt`.
    """
    where = where or JobFilter()
    looked = look_at_all(store, workspace, experiment, with_records=where.needs_records, on_corrupt=on_corrupt)
    found = [seen.job for seen in looked if where.admits(seen.job, seen.record, seen.served)]
    return JobList(newest_first(found)[: where.limit])


def newest_first(jobs: Iterable[JobSummary]) -> list[JobSummary]:
    """Returns jobs in the order of every list: the newest first, and of equals the last by path."""
    return sorted(jobs, key=lambda job: (job.created, job.key), reverse=True)


def _state(name: str) -> JobState:
    try:
        return JobState(name)
    except ValueError:
        states = ", ".join(JobState)
        raise DropsweepError(f"{name!r} is no state of a job: there are {states}. Name one of them") from None


def _since(text: str) -> datetime | timedelta:
    ago = _AGO.fullmatch(text)
    if ago:
        return timedelta(seconds=min(int(ago[1]) * _UNITS_S[ago[2]], _LONGEST_S))
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise DropsweepError(
            f"since is {text!r}: it must be a number with s, m, h, d or w after it, or a time. "
            "Write it like 2d or 2026-01-02T03:04:05Z"
        ) from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)
