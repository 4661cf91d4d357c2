"""The one owner of every container, queue, path and id.

No other module builds a blob path or a queue name. The layout is described for readers in docs/storage.md.
"""

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from dropsweep.errors import DropsweepError

JOBS: Final = "jobs"
SCHEDULES: Final = "schedules"
CODE: Final = "code"
WORKSPACES: Final = "workspaces"
RUNS: Final = "runs"
CONTAINERS: Final = (JOBS, SCHEDULES, CODE, WORKSPACES, RUNS)

HOST_CONTAINERS: Final = "azure-webjobs-"
"""How the names of the Functions host's own containers begin; its keys may lie there."""

SUBMISSIONS_QUEUE: Final = "submissions"
ADVANCE_QUEUE: Final = "advance"

DROP_POISON_QUEUE: Final = "webjobs-blobtrigger-poison"
"""The Functions host's own queue for dropped files whose acceptance failed too often."""

LIVE: Final = ".live/"
"""Folder of the markers of live jobs. No workspace can have its name, nor that of those below."""
BURIED: Final = ".buried/"
"""Folder of the records of buried messages."""
SUBMISSIONS: Final = ".submissions/"
"""Folder of the records of which job a submission id became."""
DELETING: Final = ".deleting/"
"""Folder of the markers of jobs whose deletion has begun."""
DELETED: Final = ".deleted/"
"""Folder of the tombstones of deleted jobs, so that no event and no timer brings one back."""
SCHEDULE_STATES: Final = ".schedules/"
"""Folder of the records of schedules: paused or not, and up to when their due times have been dealt with."""
TICKS: Final = ".ticks/"
"""Folder of the records of due times, created once each."""
QUOTAS: Final = ".quotas/"
"""Folder of the ledgers of workspaces with quotas."""
NODES: Final = ".nodes/"
"""Folder of the records of nodes, by cluster and month, and of the hours of those that have left."""
REPAIR_RECORD: Final = ".repair.json"
"""Up to when dropped files have been looked through."""
RETENTION_RECORD: Final = ".retention.json"
"""When finished jobs were last looked through for those that are kept long enough."""
FUNCTIONS_RECORD: Final = ".functions.json"
"""When the functions' timer last made its pass, and their version."""

SHARD_SIZE: Final = 1000
"""Trials whose records share one folder, are listed by one call and summed up together once all are final."""

MANIFEST_SUFFIX: Final = ".manifest.json"
JOB_FILE_SUFFIXES: Final = (".yaml", ".yml", ".json")
ERROR_SUFFIX: Final = ".error.json"
"""Ends the name of the file beside a broken schedule or policy file that tells what is wrong with it."""
DEFAULT_NAME: Final = "default"
"""Workspace or experiment of a job file that was dropped higher up than `{workspace}/{experiment}/`."""
DEFAULT_POLICY: Final = "_default"
"""Stem of the policy file for workspaces without one of their own; no workspace can have this name."""

NAME_RULE: Final = "1 to 64 letters, digits, - and _, starting with a letter or digit"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
CLUSTER_RULE: Final = (
    "1 to 40 lower-case letters, digits and single -, starting and ending with a letter or digit, "
    "and not ending in -high, -low or -poison, which are ends of queue names"
)
_CLUSTER = re.compile(r"(?!.*--)(?!.*-(?:high|low|poison)$)[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")
_SUFFIX_LENGTH: Final = 10
SUBMISSION_ID_RULE: Final = "1 to 128 ASCII characters without spaces, quotes and control characters"
_SUBMISSION_ID = re.compile(r"[!#-&(-~]{1,128}")
QUEUE_RULE: Final = "3 to 63 lower-case letters, digits and single -, starting and ending with a letter or digit"
_QUEUE = re.compile(r"(?!.*--)[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")


class Priority(StrEnum):
    """Whose work comes first on a cluster, the first first."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


def is_name(text: str) -> bool:
    """True when `text` may name a workspace, an experiment or a job (`NAME_RULE`)."""
    return _NAME.fullmatch(text) is not None


def is_cluster(text: str) -> bool:
    """True when `text` may name a cluster (`CLUSTER_RULE`, which follows the rules for queue names)."""
    return _CLUSTER.fullmatch(text) is not None


def is_submission_id(text: str) -> bool:
    """True when `text` may say what must not be submitted twice (`SUBMISSION_ID_RULE`)."""
    return _SUBMISSION_ID.fullmatch(text) is not None


def is_reply_queue(text: str) -> bool:
    """True for the name of a queue (`QUEUE_RULE`) that is none of Dropsweep's own.

    Source:
        https://learn.microsoft.com/rest/api/storageservices/naming-queues-and-metadata
    """
    is_own = text in (SUBMISSIONS_QUEUE, ADVANCE_QUEUE) or text.startswith(("trials-", "webjobs-", "azure-webjobs-"))
    return _QUEUE.fullmatch(text) is not None and not is_own and not text.endswith("-poison")


def to_name(text: str) -> str:
    """Returns the name nearest to `text`: what the rule does not allow becomes `-`; never empty."""
    kept = re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-_")[:64]
    return kept or DEFAULT_NAME


def trials_queue(cluster: str, priority: Priority = Priority.NORMAL) -> str:
    """Returns the name of the queue from which the trainers of `cluster` take work of this priority."""
    return f"trials-{cluster}" if priority is Priority.NORMAL else f"trials-{cluster}-{priority}"


def trials_queues(cluster: str) -> tuple[str, ...]:
    """Returns the names of all queues that the trainers of `cluster` read, in the order in which they do."""
    return tuple(trials_queue(cluster, priority) for priority in Priority)


def poison_queue(queue: str) -> str:
    """Returns the queue to which the Functions host moves a message of `queue` that failed too often."""
    return f"{queue}-poison"


def buried(queue: str, message_id: str) -> str:
    """Returns the path of the record of a message of `queue` that was buried."""
    return f"{BURIED}{queue}/{message_id}.json"


def submission_record(workspace: str, submission_id: str) -> str:
    """Returns the path of the record of which job a submission id of a workspace became; created once."""
    return f"{SUBMISSIONS}{workspace}/{hashlib.sha256(submission_id.encode()).hexdigest()[:32]}.json"


def quota_ledger(workspace: str) -> str:
    """Returns the path of the ledger of a workspace with quotas."""
    return f"{QUOTAS}{workspace}.json"


def month_of(time: datetime) -> str:
    """Returns the calendar month, in UTC, as paths have it: `2031-05`."""
    return f"{time.astimezone(UTC):%Y-%m}"


def nodes_of(cluster: str, month: str) -> str:
    """Returns the folder of the records of a cluster's nodes in one month, ending in a slash."""
    return f"{NODES}{cluster}/{month}/"


def node_record(cluster: str, month: str, node: str) -> str:
    """Returns the path of the record of one node in one month."""
    return f"{nodes_of(cluster, month)}{node}.json"


def node_hours(cluster: str, month: str) -> str:
    """Returns the path of the ledger of what the nodes used in one month whose records are gone."""
    return f"{NODES}{cluster}/{month}.json"


def workspace_file(workspace: str) -> str:
    """Returns the path of a workspace's policy file in the container `workspaces`."""
    return f"{workspace}.yaml"


def workspace_error(workspace: str) -> str:
    """Returns where what is wrong with a workspace's policy file is told, beside it."""
    return f"{workspace}{ERROR_SUFFIX}"


def suffix(*identity: str) -> str:
    """Returns ten characters (50 bits) that stand for what must not happen twice.

    Args:
        identity: what makes the submission itself: the dropped blob's path and ETag, or a sender's submission id.

    Source:
        The first 50 bits of SHA-256, in Crockford's base 32 without i, l, o, u (lower case). Among 10^4 jobs of one
        name two differ in it with probability above 1 - 5e-8 (birthday bound n^2 / 2^51).
    """
    digest = hashlib.sha256("\n".join(identity).encode()).digest()
    number = int.from_bytes(digest[:8], "big") >> 14
    alphabet = "0123456789abcdefghjkmnpqrstvwxyz"
    return "".join(alphabet[(number >> shift) & 31] for shift in range(5 * (_SUFFIX_LENGTH - 1), -1, -5))


@dataclass(frozen=True, slots=True)
class Drop:
    """Where a dropped file lies, taken apart: `{workspace}/{experiment}/{stem}.yaml` in the container `jobs`.

    A file that lies higher up or deeper down, or whose folders break the name rule, gets the nearest names here and is
    refused with a reason by `accept`, so that its author finds the reason under those names.
    """

    path: str
    workspace: str
    experiment: str
    stem: str
    is_well_placed: bool

    @classmethod
    def parse(cls, path: str) -> "Drop":
        """Takes a blob's path within `jobs` apart; never raises."""
        *folders, file = path.split("/")
        stem = file.rpartition(".")[0] or file
        workspace, experiment = ([*folders, DEFAULT_NAME, DEFAULT_NAME])[:2]
        well_placed = len(folders) == 2 and is_name(workspace) and is_name(experiment)
        return cls(path, to_name(workspace), to_name(experiment), to_name(stem), well_placed)


@dataclass(frozen=True, slots=True, order=True)
class JobKey:
    """Names one job and owns the path of everything that belongs to it, all in the container `runs`."""

    workspace: str
    experiment: str
    job: str

    @classmethod
    def parse(cls, path: str) -> "JobKey":
        """Reads `{workspace}/{experiment}/{job}`.

        Raises:
            DropsweepError: when the path has not three parts that are names.
        """
        parts = path.split("/")
        if len(parts) != 3 or not all(is_job_id(part) for part in parts):
            raise DropsweepError(
                f"{path!r} names no job: it must be workspace/experiment/job, each {NAME_RULE}. "
                "Copy the path from `dropsweep list`"
            )
        return cls(*parts)

    @property
    def path(self) -> str:
        """The job's folder, without a slash at the end; also how messages and people name a job."""
        return f"{self.workspace}/{self.experiment}/{self.job}"

    @property
    def spec(self) -> str:
        """The normalised spec, immutable."""
        return f"{self.path}/spec.json"

    @property
    def record(self) -> str:
        """The job's record."""
        return f"{self.path}/job.json"

    @property
    def marker(self) -> str:
        """The marker of a live job: without it no timer pass would find the job."""
        return f"{LIVE}{self.path}"

    @property
    def deletion(self) -> str:
        """The marker of a deletion that has begun: without it no timer pass would end one that was interrupted."""
        return f"{DELETING}{self.path}"

    @property
    def tombstone(self) -> str:
        """Says that the job was deleted, so that no event brings it back."""
        return f"{DELETED}{self.path}"

    @property
    def error(self) -> str:
        """Why the spec was rejected."""
        return f"{self.path}/error.json"

    @property
    def results(self) -> str:
        """One row a trial."""
        return f"{self.path}/results.csv"

    @property
    def best(self) -> str:
        """The best trial, its parameters and where its files lie."""
        return f"{self.path}/best.json"

    @property
    def report(self) -> str:
        """The page for people."""
        return f"{self.path}/report.html"

    def shard(self, shard: int) -> str:
        """The folder of the records of trials `[shard * 1000, (shard + 1) * 1000)`, ending in a slash."""
        return f"{self.path}/records/{shard:04}/"

    def trial(self, trial: int) -> str:
        """Trial `trial`'s record."""
        return f"{self.shard(trial // SHARD_SIZE)}{trial:07}.json"

    def trial_folder(self, trial: int) -> str:
        """Everything else of trial `trial`, ending in a slash."""
        return f"{self.path}/trials/{trial:07}/"

    def attempt(self, trial: int, attempt: int) -> str:
        """One attempt's own folder, ending in a slash: a stale worker can spoil only its own."""
        return f"{self.trial_folder(trial)}attempts/{attempt}/"

    def stdout(self, trial: int, attempt: int) -> str:
        """What one attempt printed."""
        return f"{self.attempt(trial, attempt)}stdout.txt"

    def stderr(self, trial: int, attempt: int) -> str:
        """What one attempt printed to its standard error."""
        return f"{self.attempt(trial, attempt)}stderr.txt"

    def metrics(self, trial: int, attempt: int) -> str:
        """What one attempt reported, a JSON object a line."""
        return f"{self.attempt(trial, attempt)}metrics.jsonl"

    def checkpoints(self, trial: int) -> str:
        """The trial's checkpoints, ending in a slash: a folder each, and a manifest beside it once it is whole."""
        return f"{self.trial_folder(trial)}checkpoints/"

    def checkpoint(self, trial: int, label: str) -> str:
        """One checkpoint's files, ending in a slash."""
        return f"{self.checkpoints(trial)}{label}/"

    def manifest(self, trial: int, label: str) -> str:
        """One checkpoint's manifest, beside its folder: a checkpoint exists when its manifest does."""
        return f"{self.checkpoints(trial)}{label}{MANIFEST_SUFFIX}"

    def outputs(self, trial: int, attempt: int) -> str:
        """What one attempt left in its `./outputs`, ending in a slash."""
        return f"{self.attempt(trial, attempt)}outputs/"

    def kept_logs(self, trial: int, attempt: int) -> str:
        """What one attempt left in its `./logs`, ending in a slash."""
        return f"{self.attempt(trial, attempt)}logs/"


@dataclass(frozen=True, slots=True, order=True)
class ScheduleKey:
    """Names one schedule and owns every path that belongs to it."""

    workspace: str
    name: str

    @classmethod
    def parse(cls, path: str) -> "ScheduleKey":
        """Reads `{workspace}/{schedule}`.

        Raises:
            DropsweepError: when the path has not two parts that are names.
        """
        parts = path.split("/")
        if len(parts) != 2 or not all(is_name(part) for part in parts):
            raise DropsweepError(
                f"{path!r} names no schedule: it must be workspace/schedule, each {NAME_RULE}. "
                "Copy it from `dropsweep schedule list`"
            )
        return cls(*parts)

    @classmethod
    def of_file(cls, path: str) -> "ScheduleKey | None":
        """Returns the key of the schedule that a file in the container `schedules` holds; None when it is none."""
        stem, dot, ending = path.rpartition(".")
        parts = stem.split("/")
        is_file = f"{dot}{ending}" in JOB_FILE_SUFFIXES and not path.endswith(ERROR_SUFFIX)
        return cls(*parts) if is_file and len(parts) == 2 and all(is_name(part) for part in parts) else None

    @property
    def path(self) -> str:
        """How messages and people name the schedule."""
        return f"{self.workspace}/{self.name}"

    @property
    def error(self) -> str:
        """What is wrong with its file, beside it in the container `schedules`."""
        return f"{self.path}{ERROR_SUFFIX}"

    @property
    def state(self) -> str:
        """Its record, in the container `runs`."""
        return f"{SCHEDULE_STATES}{self.path}.json"

    @property
    def ticks(self) -> str:
        """The folder of the records of its due times, ending in a slash, in the container `runs`."""
        return f"{TICKS}{self.path}/"

    def tick(self, due: datetime, run_id: str = "") -> str:
        """The record of one due time, in UTC to the second, or of a job that a person asked for then.

        Their paths sort by time.
        """
        what = f"-{run_id}" if run_id else ""
        return f"{self.ticks}{due.astimezone(UTC):%Y%m%dT%H%M%SZ}{what}.json"


def is_job_id(text: str) -> bool:
    """True for a name, or a name with its suffix (so up to 75 characters)."""
    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,74}", text) is not None


def job_id(name: str, *identity: str) -> str:
    """Returns `{name}-{suffix}`; the same identity always gives the same id."""
    return f"{name}-{suffix(*identity)}"


def trial_of_record(path: str) -> int:
    """Returns k of a record's path `…/records/{shard}/{k:07}.json`."""
    return int(path.rpartition("/")[2].removesuffix(".json"))
