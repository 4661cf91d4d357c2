"""Which job a person means: a whole path, a job's id or name, or the beginning of an id that fits one job only."""

import difflib
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from dropsweep.errors import DropsweepError, NotFoundError
from dropsweep.names import JOBS, NAME_RULE, RUNS, Drop, JobKey, is_job_id, is_name, job_id
from dropsweep.records import JobSummary
from dropsweep.storage import Store


class Handle(Protocol):
    """What stands for one job, such as `client.Job`."""

    @property
    def key(self) -> JobKey:
        """The job."""


JobRef = JobKey | str | Handle
"""How callers name a job: by its key, by a handle, or by what a person would type (see `find`)."""


class JobList(list[JobSummary]):
    """Jobs as a list shows them; a notebook draws them as a table."""

    def _repr_html_(self) -> str:
        # Imported here: only notebooks draw.
        from dropsweep.client.picture import html_of_jobs

        return html_of_jobs(self)


_MAX_NAMED: Final = 8
_MAX_NEAR: Final = 3
_READERS: Final = 8
_SUFFIX_LENGTH: Final = len(job_id("", ""))
"""The hyphen and the characters that tell jobs of one name apart."""


@dataclass(frozen=True, slots=True)
class Match:
    """The job that a text means.

    Attributes:
        key: the job.
        num_named: how many jobs have the name that was given; this one is the newest of them. 1 when the text means
            one job by itself.
    """

    key: JobKey
    num_named: int = 1


class Catalogue(Protocol):
    """Where a job is looked up that a person names."""

    def keys(self, workspace: str | None = None, experiment: str | None = None) -> Iterator[JobKey]:
        """Lists the keys of all jobs, or of one workspace or experiment."""

    def has(self, key: JobKey) -> bool:
        """True when there is this job, or a file that becomes it."""

    def created(self, key: JobKey) -> datetime | None:
        """Returns when a job was accepted; None when it has no record."""


def keys(store: Store, workspace: str | None = None, experiment: str | None = None) -> Iterator[JobKey]:
    """Lists the keys of all jobs, or of one workspace or experiment, in the order of their paths.

    One storage operation for each folder above the jobs, and none for a job.

    Raises:
        DropsweepError: a workspace or experiment that cannot be one.
    """
    check_place(workspace, experiment)
    workspaces = [f"{workspace}/"] if workspace else store.blobs.folders(RUNS, "")
    for outer in workspaces:
        experiments = [f"{outer}{experiment}/"] if experiment else store.blobs.folders(RUNS, outer)
        for inner in experiments:
            for folder in store.blobs.folders(RUNS, inner):
                parts = folder.rstrip("/").split("/")
                if len(parts) == 3 and all(is_job_id(part) for part in parts):
                    yield JobKey(*parts)


def check_place(workspace: str | None, experiment: str | None = None) -> None:
    """Refuses a workspace or an experiment that cannot be one; None stands for all of them.

    Raises:
        DropsweepError: naming what is no name.
    """
    for what, name in (("workspace", workspace), ("experiment", experiment)):
        if name is not None and not is_name(name):
            raise DropsweepError(f"{what} {name!r} is no name: it must be {NAME_RULE}. Correct it")


def key_in(ref: JobRef) -> JobKey | None:
    """Returns the key that a reference is or has; None for a text."""
    if isinstance(ref, str):
        return None
    return ref if isinstance(ref, JobKey) else ref.key


def read_ref(ref: str) -> str:
    """Returns the text that may mean a job, without what people paste around it.

    Raises:
        DropsweepError: it can mean none.
    """
    text = ref.strip().removeprefix(f"{RUNS}/").rstrip("/")
    if not text or text.count("/") > 2 or not all(is_job_id(part) for part in text.split("/")):
        raise DropsweepError(
            f"{ref!r} names no job: it must be a job's id, its name, the beginning of an id, or "
            "workspace/experiment/job. Copy it from `dropsweep list`"
        )
    return text


def has(store: Store, key: JobKey) -> bool:
    """True when a job has a record, or a file lies in `jobs` that becomes it once the functions have taken it up."""
    return store.blobs.head(RUNS, key.record) is not None or _is_dropped(store, key)


def created(store: Store, key: JobKey) -> datetime | None:
    """Returns when a job was accepted; None when it has no record."""
    head = store.blobs.head(RUNS, key.record)
    return None if head is None else JobSummary.from_metadata(key, head.metadata).created


def find(catalogue: Catalogue, ref: str, *, may_choose: bool) -> Match:
    """Returns the job that a text means.

    Args:
        catalogue: where to look it up.
        ref: a job's id, its name (the id without the ten characters at its end), or the beginning of an id that fits
            one job only, each alone or after `experiment/` or `workspace/experiment/`. Upper and lower case differ.
        may_choose: of several jobs of one name the newest is meant.

    Raises:
        NotFoundError: no job fits.
        DropsweepError: several do; the message names them.
    """
    text = read_ref(ref)
    place: tuple[str, ...] = ()
    if text.count("/") == 2:
        key = JobKey.parse(text)
        if catalogue.has(key):
            return Match(key)
        place = (key.workspace, key.experiment)
    begin = [key for key in catalogue.keys(*place) if _tail(key, text).startswith(text)]
    exact = [key for key in begin if _tail(key, text) == text]
    named = [key for key in begin if _tail(key, text)[:-_SUFFIX_LENGTH] == text and has_suffix(key.job)]
    found = exact or named or begin
    if len(found) == 1:
        return Match(found[0])
    if not found:
        raise NotFoundError(_nothing_fits(catalogue, ref, text, place))
    if found is named and may_choose and (newest := _newest(catalogue, named)):
        return newest
    listed = ", ".join(key.path for key in found[:_MAX_NAMED])
    more = f" and {len(found) - _MAX_NAMED} more" if len(found) > _MAX_NAMED else ""
    raise DropsweepError(f"{ref!r} fits {len(found)} jobs: it must fit one. Type more of it: {listed}{more}")


def has_suffix(job: str) -> bool:
    """True for an id that ends as all ids do that Dropsweep gives."""
    return re.search(r".-[0-9a-hjkmnp-tv-z]{10}$", job) is not None


def _tail(key: JobKey, text: str) -> str:
    """As many parts of the key's path, counted from its end, as `text` has."""
    return key.path.split("/", 2 - text.count("/"))[-1]


def _is_dropped(store: Store, key: JobKey) -> bool:
    """True when a file lies in `jobs` that becomes this job once the functions have taken it up."""
    # Imported here: it brings pydantic with it, which a job that is found does not need.
    from dropsweep.steps.pick_up import SUBMISSION_ID, key_of
    from dropsweep.submissions import submitted

    if not has_suffix(key.job):
        return False
    name = key.job[:-_SUFFIX_LENGTH]
    for file in store.blobs.list(JOBS, f"{key.workspace}/{key.experiment}/", metadata=True):
        submission_id = file.metadata.get(SUBMISSION_ID)
        if submission_id and job_id(name, *submitted(key.workspace, submission_id)) == key.job:
            return True
        if key_of(Drop.parse(file.name), name, file.etag) == key:
            return True
    return False


def _newest(catalogue: Catalogue, named: Sequence[JobKey]) -> Match | None:
    def dated(key: JobKey) -> tuple[datetime, JobKey] | None:
        when = catalogue.created(key)
        return None if when is None else (when, key)

    with ThreadPoolExecutor(_READERS, thread_name_prefix="newest") as pool:
        present = [job for job in pool.map(dated, named) if job is not None]
    return Match(max(present)[1], len(present)) if present else None


def _nothing_fits(catalogue: Catalogue, ref: str, text: str, place: tuple[str, ...]) -> str:
    # The nearest first: the same experiment, the same workspace, the account.
    for scope in dict.fromkeys((place, place[:1], ())):
        there = {key.path: _tail(key, text) for key in catalogue.keys(*scope)}
        if there:
            near = difflib.get_close_matches(text, set(there.values()), n=_MAX_NEAR, cutoff=0)
            named = [path for path, tail in there.items() if tail in near][:_MAX_NEAR]
            return f"{ref!r}: there is no such job. Near it: {', '.join(named)}. `dropsweep list` shows what there is"
    return f"{ref!r}: there is no such job, and no other one. `dropsweep submit FILE` hands one in"
