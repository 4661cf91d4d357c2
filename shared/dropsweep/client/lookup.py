"""Which job a person means: a whole path, a job's id, or the beginning of either that fits one job only."""

from collections.abc import Iterator
from typing import Final

from dropsweep.errors import DropsweepError, NotFoundError
from dropsweep.names import NAME_RULE, RUNS, JobKey, is_job_id, is_name
from dropsweep.storage import Store

JobRef = JobKey | str
"""How callers name a job: by its key, or by what a person would type (see `resolve`)."""

_MAX_NAMED: Final = 8


def keys(store: Store, workspace: str | None = None, experiment: str | None = None) -> Iterator[JobKey]:
    """Lists the keys of all jobs, or of one workspace or experiment, in the order of their paths.

    One storage operation for each folder above the jobs, and none for a job.

    Raises:
        DropsweepError: a workspace or experiment that cannot be one.
    """
    for what, name in (("workspace", workspace), ("experiment", experiment)):
        if name is not None and not is_name(name):
            raise DropsweepError(f"{what} {name!r} is no name: it must be {NAME_RULE}. Correct it")
    workspaces = [f"{workspace}/"] if workspace else store.blobs.folders(RUNS, "")
    for outer in workspaces:
        experiments = [f"{outer}{experiment}/"] if experiment else store.blobs.folders(RUNS, outer)
        for inner in experiments:
            for folder in store.blobs.folders(RUNS, inner):
                parts = folder.rstrip("/").split("/")
                if len(parts) == 3 and all(is_job_id(part) for part in parts):
                    yield JobKey(*parts)


def resolve(store: Store, ref: JobRef) -> JobKey:
    """Returns the key of the job that `ref` means.

    Args:
        store: the storage account.
        ref: a key or `workspace/experiment/job` (returned as they are, whether there is such a job or not); or a
            job's id, `experiment/job`, or the beginning of one of them that fits one job only. Upper and lower case
            differ.

    Raises:
        NotFoundError: no job fits.
        DropsweepError: several do; the message names them.
    """
    if isinstance(ref, JobKey):
        return ref
    text = ref.strip().removeprefix(f"{RUNS}/").rstrip("/")
    if text.count("/") == 2:
        return JobKey.parse(text)
    if not text or text.count("/") > 1 or not all(is_job_id(part) for part in text.split("/")):
        raise DropsweepError(
            f"{ref!r} names no job: it must be a job's id, the beginning of one, or workspace/experiment/job. "
            "Copy it from `dropsweep list`"
        )
    begin = [key for key in keys(store) if _tail(key, text).startswith(text)]
    exact = [key for key in begin if _tail(key, text) == text]
    found = exact or begin
    if len(found) == 1:
        return found[0]
    if not found:
        raise NotFoundError(f"{ref!r}: no job's id begins so. `dropsweep list` shows what there is")
    named = ", ".join(key.path for key in found[:_MAX_NAMED])
    more = f" and {len(found) - _MAX_NAMED} more" if len(found) > _MAX_NAMED else ""
    raise DropsweepError(f"{ref!r} fits {len(found)} jobs: it must fit one. Type more of it: {named}{more}")


def _tail(key: JobKey, text: str) -> str:
    """As many parts of the key's path, counted from its end, as `text` has."""
    return key.path.split("/", 2 - text.count("/"))[-1]
