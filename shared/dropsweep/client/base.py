"""`BaseClient`: everything a person does with a job, whatever way leads to it."""

import uuid
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dropsweep.client.burials import Burials
from dropsweep.client.checkpoints import StoredCheckpoint
from dropsweep.client.code import CodeFolder, read_folder
from dropsweep.client.control import Controls
from dropsweep.client.datasets import Datasets
from dropsweep.client.doctor.findings import Finding
from dropsweep.client.job import Job
from dropsweep.client.jobfile import JobFile, JobSource
from dropsweep.client.listing import JobFilter
from dropsweep.client.logs import LogPart, Stream, follow_log
from dropsweep.client.lookup import JobRef, Match, key_in
from dropsweep.client.nodes import ClusterSummary, ClusterView
from dropsweep.client.places import Places
from dropsweep.client.progress import Progress, looks
from dropsweep.client.results import BestTrial, top_trials
from dropsweep.client.transfer import Download, download
from dropsweep.errors import NotFoundError, Problem, SpecError, StorageCorrupt
from dropsweep.metrics import Point
from dropsweep.names import DEFAULT_NAME, JOB_FILE_SUFFIXES, NAME_RULE, JobKey, is_name
from dropsweep.records import JobRecord, JobSummary, TrialRecord, TrialSummary

if TYPE_CHECKING:
    from dropsweep.client.timetable import Schedules
    from dropsweep.spec import JobSpec


@dataclass(frozen=True, slots=True)
class HandedIn:
    """A job file on its way.

    Attributes:
        workspace, experiment: where it goes.
        file_name: what it is called.
        body: its bytes, with the place of its uploaded code.
        submission_id: what must not happen twice.
        reply_to: the queue that is told of each change of the job's state; empty: none.
    """

    workspace: str
    experiment: str
    file_name: str
    body: bytes
    submission_id: str
    reply_to: str


class BaseClient(Controls, Places, Burials, Datasets):
    """What `Client` and `HttpClient` have in common. Safe to use from many threads.

    Wherever a method takes a `job`, a key will do, or a text as `resolve` reads it. Every method may raise
    StorageUnavailable, StorageDenied and StorageError; NotFoundError when the job or trial does not exist, or the
    account has not been prepared for Dropsweep.
    """

    @property
    @abstractmethod
    def place(self) -> str:
        """What it talks to, for people: an account or a URL, without any secret."""

    @property
    @abstractmethod
    def schedules(self) -> "Schedules":
        """The schedules of the deployment."""

    def submit(
        self,
        file: JobSource,
        *,
        workspace: str = DEFAULT_NAME,
        experiment: str | None = None,
        overrides: Mapping[str, Any] | None = None,
        submission_id: str | None = None,
        reply_to: str = "",
    ) -> Job:
        """Hands a job file in and returns at once, before any of its trials has begun.

        A local folder that the file names as `code` (under `trial` in a sweep) is uploaded first, under the digest of
        what is in it, and the file that is handed in names that.

        Args:
            file: the job file, YAML or JSON; or a mapping with what would stand in it, whose `code` is then seen from
                the working directory.
            workspace: the workspace.
            experiment: the experiment; None: the file's `experiment_name`, or `default`.
            overrides: values set over the file's own, by their path in it: `{"limits.max_total_trials": 20}`. The file
                itself stays as it is.
            submission_id: what must not happen twice: all submissions of one id in a workspace are one job. None: a
                fresh one, so that each call makes a job.
            reply_to: the queue that gets a message for each change of the job's state; empty: none.

        Returns:
            The job that the file becomes, or has become before.

        Raises:
            SpecError: the file cannot be handed in: its name, its size, its code folder, a name or an id that is none.
            SubmissionReused: the submission id came before with another content.
            OSError: the file or the folder cannot be read.
        """
        # Imported here: it brings pydantic with it, which none of the other methods needs.
        from dropsweep.spec import MAX_JOB_FILE_BYTES

        file = JobFile.of(file).with_overrides(overrides or {})
        experiment = experiment or file.experiment or DEFAULT_NAME
        _check_place(file.path, workspace, experiment)
        folders = {key: read_folder(folder, where=".".join(key)) for key, folder in file.local_code().items()}
        body = file.with_code({key: folder.blob for key, folder in folders.items()})
        if len(body) > MAX_JOB_FILE_BYTES:
            rule = f"a job file has at most {MAX_JOB_FILE_BYTES:,} bytes"
            raise SpecError((Problem("", f"{len(body):,} bytes", rule, "Put data into a container of its own"),))
        for folder in folders.values():
            self._upload(folder)
        identity = submission_id or uuid.uuid4().hex
        key = self._hand_in(HandedIn(workspace, experiment, file.path.name, body, identity, reply_to))
        return Job(self, key)

    @abstractmethod
    def _upload(self, folder: CodeFolder) -> int:
        """Uploads what is not there yet of a code folder and returns how many files that were."""

    @abstractmethod
    def _hand_in(self, file: HandedIn) -> JobKey:
        """Hands a job file in whose code is uploaded."""

    def resolve(self, job: JobRef) -> JobKey:
        """Returns the key of the one job that its id, its name, the beginning of an id, or a whole path means.

        Raises:
            NotFoundError: no job fits. DropsweepError: several do; the message names them.
        """
        return key_in(job) or self._find(str(job), may_choose=False).key

    def find(self, job: JobRef) -> Match:
        """Returns the job that a text means, as `resolve` does; of several jobs of one name the newest.

        Raises:
            NotFoundError: no job fits. DropsweepError: the beginning of an id fits several; the message names them.
        """
        key = key_in(job)
        return Match(key) if key else self._find(str(job), may_choose=True)

    @abstractmethod
    def _find(self, text: str, *, may_choose: bool) -> Match:
        """Returns the job that a text means, as `client.lookup.find` does."""

    def job(self, job: JobRef) -> Job:
        """Returns a handle of the job, to ask, to wait for and to draw in a notebook.

        Raises:
            NotFoundError: no job fits. DropsweepError: several do; the message names them.
        """
        return Job(self, self.resolve(job))

    @abstractmethod
    def record(self, job: JobRef) -> JobRecord:
        """Returns the job's record."""

    @abstractmethod
    def jobs(
        self,
        workspace: str | None = None,
        experiment: str | None = None,
        where: JobFilter | None = None,
        *,
        on_corrupt: Callable[[JobKey, StorageCorrupt], None] | None = None,
    ) -> list[JobSummary]:
        """Lists the jobs, newest first; one storage operation for each, eight at a time.

        Args:
            workspace: this workspace alone; None: all.
            experiment: this experiment alone; None: all.
            where: which of them, by state, tags, schedule and age; None: all.
            on_corrupt: is told of each job whose record cannot be read, which is then left out; None: the first of
                them is raised.

        Raises:
            StorageCorrupt: a record cannot be read, and there is no `on_corrupt`.
        """

    @abstractmethod
    def trials(self, job: JobRef) -> Iterator[TrialSummary]:
        """Lists the trials that have begun, lowest number first: one storage operation for a thousand, memory flat."""

    def running_trials(self, job: JobRef) -> list[TrialSummary]:
        """Lists the trials that a worker holds; only shards with unfinished trials are looked at."""
        return list(self.progress(job).running)

    def progress(self, job: JobRef) -> Progress:
        """Looks at a job once: its record, fresh counts, and the trials that are not summed up yet."""
        key = self.resolve(job)
        found = self._look(key, None)
        if found is None:
            raise no_job(key)
        return found

    @abstractmethod
    def _look(self, key: JobKey, shards: tuple[int, ...] | None) -> Progress | None:
        """Looks at a job once, as `client.progress.look` does."""

    @abstractmethod
    def trial(self, job: JobRef, trial: int) -> TrialRecord:
        """Returns a trial's record."""

    def parameters(self, job: JobRef, trial: int) -> dict[str, Any]:
        """Returns the parameters that the search chose for a trial that has begun."""
        return dict(self.trial(job, trial).parameters)

    @abstractmethod
    def metrics(self, job: JobRef, trial: int, *, attempt: int | None = None) -> list[Point]:
        """Returns what a trial reported, in its order.

        Args:
            job: the job.
            trial: its number.
            attempt: one attempt's own; None: the course of the trial over all of them, where a resumed attempt's
                points replace those that it repeats.

        Raises:
            NotFoundError: the trial has not begun, or has no such attempt.
        """

    @abstractmethod
    def checkpoints(self, job: JobRef, trial: int) -> list[StoredCheckpoint]:
        """Returns the whole checkpoints of a trial that are kept, oldest first.

        Raises:
            NotFoundError: the trial has not begun.
        """

    def logs(
        self,
        job: JobRef,
        trial: int,
        *,
        stream: Stream | str = Stream.STDOUT,
        attempt: int | None = None,
        follow: bool = False,
    ) -> Iterator[bytes]:
        """Yields what a trial printed; with `follow` until it ends, through all attempts to come.

        Args:
            job: the job.
            trial: its number.
            stream: `stdout` or `stderr`.
            attempt: which attempt; None: the latest.
            follow: wait for more, and for a trial that has not begun.
        """
        key = self.resolve(job)
        output = Stream(stream)

        def read(number: int | None, offset: int) -> LogPart | None:
            return self._log(key, trial, output, number, offset)

        return follow_log(read, attempt=attempt, follow=follow, about=f"trial {trial} of {key.path}")

    @abstractmethod
    def _log(self, key: JobKey, trial: int, stream: Stream, attempt: int | None, offset: int) -> LogPart | None:
        """Reads a part of an attempt's output, as `client.logs.read_part` does."""

    @abstractmethod
    def best(self, job: JobRef) -> BestTrial | None:
        """Returns the best completed trial, so far or in the end; None while no trial has completed."""

    def leaderboard(self, job: JobRef, top: int = 10) -> list[TrialRecord]:
        """Returns the records of the best completed trials, best first; of equals the lowest number first."""
        record = self.record(job)
        best = top_trials(self.trials(record.key), record.goal, top)
        return [self.trial(record.key, trial.trial) for trial in best]

    @abstractmethod
    def spec(self, job: JobRef) -> "JobSpec":
        """Returns what the job's file says, every default filled in.

        Raises:
            NotFoundError: there is no such job, or its file was rejected.
        """

    @abstractmethod
    def problems(self, job: JobRef) -> tuple[Problem, ...]:
        """Returns what is wrong with a rejected job's file; empty for any other job.

        Raises:
            NotFoundError: there is no such job. StorageCorrupt: error.json is not what was written.
        """

    @abstractmethod
    def clusters(self) -> list[ClusterSummary]:
        """Lists the clusters: those that jobs may name, the default one first, then others that left nodes or queues.

        A few storage operations, and four or five for each cluster.
        """

    @abstractmethod
    def cluster(self, cluster: str) -> ClusterView:
        """Returns one cluster with its nodes of this month, its queues and its hours.

        Raises:
            NotFoundError: there is no such cluster; the message names those that there are. DropsweepError: a name that
                is none.
        """

    @abstractmethod
    def examine(self) -> list[Finding]:
        """Looks for whatever is wrong with the deployment: nothing is changed, and the cost is bounded.

        That the account, or whatever else it talks to, does not answer is a finding too, and no error.
        """

    def updates(
        self, job: JobRef, *, interval_s: float = 1.0, appear_s: float = 60.0, timeout_s: float | None = None
    ) -> Iterator[Progress | None]:
        """Looks at a job about once a second until it is final; None stands for a job without a record yet.

        Raises:
            NotFoundError: no record within `appear_s`. TimeoutError: not final within `timeout_s`.
        """
        key = self.resolve(job)
        return looks(
            lambda shards: self._look(key, shards), key, interval_s=interval_s, appear_s=appear_s, timeout_s=timeout_s
        )

    def wait(self, job: JobRef, timeout_s: float | None = None, *, appear_s: float = 60.0) -> JobRecord:
        """Waits until a job is final and returns its record.

        Args:
            job: the job, which may be so new that it has no record.
            timeout_s: the most seconds to wait; None: however long it takes.
            appear_s: the most seconds to wait for its record.

        Raises:
            NotFoundError: no record within `appear_s`. TimeoutError: not final within `timeout_s`.
        """
        last: JobRecord | None = None
        for progress in self.updates(job, appear_s=appear_s, timeout_s=timeout_s):
            last = progress.record if progress else None
        if last is None:
            raise NotFoundError(f"{job}: there is no such job")
        return last

    def download(
        self, job: JobRef, destination: str | Path, *, trial: int | None = None, everything: bool = False
    ) -> Download:
        """Downloads a job's results into a folder, which is made if need be; nothing is written outside it.

        Args:
            job: the job.
            destination: the folder.
            trial: one trial's record, logs, metrics, outputs and checkpoints too.
            everything: every file of every trial too.

        Raises:
            DropsweepError: the folder holds files of another job.
            OSError: the folder cannot be written.
        """
        key = self.record(job).key
        if trial is not None:
            self.trial(key, trial)  # tells what is wrong with the number
        return download(self._get, key, self._files(key, trial, everything=everything), Path(destination))

    @abstractmethod
    def _files(self, key: JobKey, trial: int | None, *, everything: bool) -> Iterator[str]:
        """Lists the blobs to download, by their names in the container `runs`; some may not exist."""

    @abstractmethod
    def _get(self, name: str, file: Path) -> bool:
        """Writes a blob of the container `runs` into a file; False, and no file, when there is none."""


def no_job(key: JobKey) -> NotFoundError:
    """Returns the error for a job without a record."""
    return NotFoundError(
        f"{key.path}: there is no such job, or its file has not been taken up yet. `dropsweep list` shows what there is"
    )


def no_spec(key: JobKey) -> NotFoundError:
    """Returns the error for a job whose file was rejected."""
    return NotFoundError(f"{key.path} has no spec: its file was rejected. `dropsweep show {key.path}` tells why")


def _check_place(path: Path, workspace: str, experiment: str) -> None:
    if not path.name.endswith(JOB_FILE_SUFFIXES):
        rule = f"a job file's name ends in {', '.join(JOB_FILE_SUFFIXES)}"
        raise SpecError((Problem("", path.name, rule, "Rename it"),))
    for what, name in (("workspace", workspace), ("experiment_name", experiment)):
        if not is_name(name):
            raise SpecError((Problem(what, name[:80], f"a name is {NAME_RULE}", "Choose another one"),))
