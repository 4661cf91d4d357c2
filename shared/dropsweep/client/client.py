"""`Client`: everything a person does with a job, from a script or a notebook."""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from dropsweep.client import poison
from dropsweep.client.code import read_folder, upload_folder
from dropsweep.client.control import Controls
from dropsweep.client.jobfile import JobFile
from dropsweep.client.logs import Stream, read_log
from dropsweep.client.lookup import JobRef, Match, find, resolve, summaries
from dropsweep.client.progress import Progress, list_shard, look, looks
from dropsweep.client.results import BestTrial, joined, read_metrics, top_trials
from dropsweep.client.transfer import Download, download, files_of_job, files_of_trial, results_of
from dropsweep.errors import NotFoundError, Problem, Severity, SpecError, StorageCorrupt
from dropsweep.metrics import Point
from dropsweep.names import (
    DEFAULT_NAME,
    JOB_FILE_SUFFIXES,
    JOBS,
    NAME_RULE,
    RUNS,
    SHARD_SIZE,
    Drop,
    JobKey,
    is_name,
)
from dropsweep.records import JobRecord, JobSummary, TrialRecord, TrialSummary
from dropsweep.records.buried import BuriedMessage
from dropsweep.settings import STORAGE, StorageSettings
from dropsweep.states import TrialState
from dropsweep.steps._change import no_trial
from dropsweep.storage import PATIENCE_S, Store


class Client(Controls):
    """One storage account, as the people see it who use it. Safe to use from many threads.

    Wherever a method takes a `job`, a key will do, or a text as `resolve` reads it. Every method may raise
    StorageUnavailable, StorageDenied and StorageError; NotFoundError when the job or trial does not exist, or the
    account has not been prepared for Dropsweep.
    """

    def __init__(self, store: Store) -> None:
        self.store = store

    @classmethod
    def from_connection_string(cls, text: str, *, patience_s: float = PATIENCE_S) -> "Client":
        """Opens an account by its connection string; nothing is sent yet.

        Raises:
            ConfigError: it is no connection string.
        """
        return cls.from_env({STORAGE: text}, patience_s=patience_s)

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ, *, patience_s: float = PATIENCE_S) -> "Client":
        """Opens the account that `DROPSWEEP_STORAGE` names (or the two URLs beside it); nothing is sent yet.

        Args:
            env: environment variables.
            patience_s: how long a request is repeated that got no answer; 0: never.

        Raises:
            ConfigError: no account is named there.
        """
        return cls(Store.connect(StorageSettings.from_env(env), patience_s=patience_s))

    def submit(self, path: str | Path, *, workspace: str = DEFAULT_NAME, experiment: str | None = None) -> JobKey:
        """Hands a job file in and returns at once, before anything has looked at it.

        A local folder that the file names as `code` (under `trial` in a sweep) is uploaded first, under the digest of
        what is in it, and the file that is dropped names that. Of a file dropped twice within the moment that the
        functions need to notice it, only the second becomes a job.

        Args:
            path: the job file, YAML or JSON.
            workspace: the workspace.
            experiment: the experiment; None: the file's `experiment_name`, or `default`.

        Returns:
            The key of the job that the file becomes. Until the functions have taken it up there is no such job.

        Raises:
            SpecError: the file cannot be handed in: its name, its size, its code folder, a name that is none.
            OSError: the file or the folder cannot be read.
        """
        # Imported here: these bring pydantic with them, which none of the other methods needs.
        from dropsweep.spec import MAX_JOB_FILE_BYTES, name_of
        from dropsweep.steps.accept import key_of

        file = JobFile.read(Path(path))
        experiment = experiment or file.experiment or DEFAULT_NAME
        _check_place(file.path, workspace, experiment)
        folders = {key: read_folder(folder, where=".".join(key)) for key, folder in file.local_code().items()}
        body = file.with_code({key: folder.blob for key, folder in folders.items()})
        if len(body) > MAX_JOB_FILE_BYTES:
            rule = f"a job file has at most {MAX_JOB_FILE_BYTES:,} bytes"
            raise SpecError((Problem("", f"{len(body):,} bytes", rule, "Put data into a container of its own"),))
        for folder in folders.values():
            upload_folder(self.store, folder)
        drop = Drop.parse(f"{workspace}/{experiment}/{file.path.name}")
        written = self.store.blobs.put(JOBS, drop.path, body)
        return key_of(drop, name_of(body, drop.path), written.etag)

    def resolve(self, job: JobRef) -> JobKey:
        """Returns the key of the one job that its id, its name, the beginning of an id, or a whole path means.

        Raises:
            NotFoundError: no job fits. DropsweepError: several do; the message names them.
        """
        return resolve(self.store, job)

    def find(self, job: JobRef) -> Match:
        """Returns the job that a text means, as `resolve` does; of several jobs of one name the newest.

        Raises:
            NotFoundError: no job fits. DropsweepError: the beginning of an id fits several; the message names them.
        """
        return find(self.store, job)

    def job(self, job: JobRef) -> JobRecord:
        """Returns the job's record."""
        key = self.resolve(job)
        blob = self.store.blobs.read(RUNS, key.record)
        if blob is None:
            raise _no_job(key)
        return JobRecord.from_json(blob.body)

    def jobs(
        self,
        workspace: str | None = None,
        experiment: str | None = None,
        *,
        on_corrupt: Callable[[JobKey, StorageCorrupt], None] | None = None,
    ) -> list[JobSummary]:
        """Lists the jobs, newest first; one storage operation for each, eight at a time.

        Args:
            workspace: this workspace alone; None: all.
            experiment: this experiment alone; None: all.
            on_corrupt: is told of each job whose record cannot be read, which is then left out; None: the first of
                them is raised.

        Raises:
            StorageCorrupt: a record cannot be read, and there is no `on_corrupt`.
        """
        return summaries(self.store, workspace, experiment, on_corrupt=on_corrupt)

    def trials(self, job: JobRef) -> Iterator[TrialSummary]:
        """Lists the trials that have begun, lowest number first: one storage operation for a thousand, memory flat."""
        record = self.job(job)
        for shard in range(-(-record.next_trial // SHARD_SIZE)):
            yield from list_shard(self.store, record.key, shard)

    def running_trials(self, job: JobRef) -> list[TrialSummary]:
        """Lists the trials that a worker holds; only shards with unfinished trials are looked at."""
        return list(self.progress(job).running)

    def progress(self, job: JobRef) -> Progress:
        """Looks at a job once: its record, fresh counts, and the trials that are not summed up yet."""
        key = self.resolve(job)
        found = look(self.store, key)
        if found is None:
            raise _no_job(key)
        return found

    def trial(self, job: JobRef, trial: int) -> TrialRecord:
        """Returns a trial's record."""
        key = self.resolve(job)
        blob = self.store.blobs.read(RUNS, key.trial(trial)) if trial >= 0 else None
        if blob is not None:
            return TrialRecord.from_json(blob.body)
        record = self.job(key)
        if 0 <= trial < record.num_trials:
            raise NotFoundError(f"trial {trial} of {key.path} has not begun, so it has no record. Try again later")
        raise no_trial(record, trial)

    def parameters(self, job: JobRef, trial: int) -> dict[str, Any]:
        """Returns the parameters that the search chose for a trial that has begun."""
        return dict(self.trial(job, trial).parameters)

    def metrics(self, job: JobRef, trial: int, *, attempt: int | None = None) -> list[Point]:
        """Returns what a trial reported, in its order.

        Args:
            job: the job.
            trial: its number.
            attempt: one attempt's own; None: the course of the trial over all of them, where a resumed attempt's
                points replace those that it repeats.
        """
        key = self.resolve(job)
        if attempt is not None:
            return read_metrics(self.store, key, trial, attempt)
        last = self.trial(key, trial).attempt
        return joined(read_metrics(self.store, key, trial, number) for number in range(1, last + 1))

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
        return read_log(self.store, key, trial, Stream(stream), attempt=attempt, follow=follow)

    def best(self, job: JobRef) -> BestTrial | None:
        """Returns the best completed trial, so far or in the end; None while no trial has completed."""
        record = self.job(job)
        if record.state.is_final:
            blob = self.store.blobs.read(RUNS, record.key.best)
            if blob is not None:
                return BestTrial.from_json(blob.body)
        now = self.progress(record.key)  # the record's own numbers are as old as the last look at the trials
        if now.best is not None:
            return BestTrial.of(record, self.trial(record.key, now.best.trial))
        if record.kind == "command" and now.counts.get(TrialState.COMPLETED):
            return BestTrial.of(record, self.trial(record.key, 0))
        return None

    def leaderboard(self, job: JobRef, top: int = 10) -> list[TrialRecord]:
        """Returns the records of the best completed trials, best first; of equals the lowest number first."""
        record = self.job(job)
        best = top_trials(self.trials(record.key), record.goal, top)
        return [self.trial(record.key, trial.trial) for trial in best]

    def problems(self, job: JobRef) -> tuple[Problem, ...]:
        """Returns what is wrong with a rejected job's file; empty for any other job.

        Raises:
            StorageCorrupt: error.json is not what was written.
        """
        key = self.resolve(job)
        blob = self.store.blobs.read(RUNS, key.error)
        if blob is None:
            return ()
        try:
            return tuple(
                Problem(**{**entry, "severity": Severity(entry["severity"])})
                for entry in json.loads(blob.body)["problems"]
            )
        except (KeyError, TypeError, ValueError) as error:
            raise StorageCorrupt(f"{RUNS}/{key.error} cannot be read: {error!r}") from error

    def buried(self, *, on_corrupt: Callable[[str, StorageCorrupt], None] | None = None) -> list[BuriedMessage]:
        """Lists the queue messages that nobody could act on, newest first; one storage operation for each.

        Args:
            on_corrupt: is told of each blob among the records that is none, by its path in the container `runs`; None:
                the first of them is raised.

        Raises:
            StorageCorrupt: a blob is no record, and there is no `on_corrupt`.
        """
        return poison.buried(self.store, on_corrupt=on_corrupt)

    def requeue(self, message: BuriedMessage | str) -> BuriedMessage:
        """Sends a buried message to its queue again, or puts the dropped file anew that it names.

        Args:
            message: the message, its id, or the beginning of an id that fits one message only.

        Returns:
            The message, which is not buried any more.

        Raises:
            NotFoundError: no message fits, or it is not buried any more; or the file or the queue is gone.
            DropsweepError: several messages fit. MessageError: it names no file, or is too large to be sent. In each of
                these cases what is buried stays so.
        """
        found = poison.find_buried(self.store, message) if isinstance(message, str) else message
        poison.requeue(self.store, found)
        return found

    def updates(
        self, job: JobRef, *, interval_s: float = 1.0, appear_s: float = 60.0, timeout_s: float | None = None
    ) -> Iterator[Progress | None]:
        """Looks at a job about once a second until it is final; None stands for a job without a record yet.

        Raises:
            NotFoundError: no record within `appear_s`. TimeoutError: not final within `timeout_s`.
        """
        return looks(self.store, self.resolve(job), interval_s=interval_s, appear_s=appear_s, timeout_s=timeout_s)

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
            OSError: the folder cannot be written.
        """
        record = self.job(job)
        key = record.key
        if trial is not None:
            self.trial(key, trial)  # tells what is wrong with the number
        names = list(results_of(key))
        if everything:
            return download(self.store, key, files_of_job(self.store, key), Path(destination))
        if trial is not None:
            names += files_of_trial(self.store, key, trial)
        return download(self.store, key, names, Path(destination))


def _no_job(key: JobKey) -> NotFoundError:
    return NotFoundError(
        f"{key.path}: there is no such job, or its file has not been taken up yet. `dropsweep list` shows what there is"
    )


def _check_place(path: Path, workspace: str, experiment: str) -> None:
    if not path.name.endswith(JOB_FILE_SUFFIXES):
        rule = f"a job file's name ends in {', '.join(JOB_FILE_SUFFIXES)}"
        raise SpecError((Problem("", path.name, rule, "Rename it"),))
    for what, name in (("workspace", workspace), ("experiment_name", experiment)):
        if not is_name(name):
            raise SpecError((Problem(what, name[:80], f"a name is {NAME_RULE}", "Choose another one"),))
