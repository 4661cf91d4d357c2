"""`Client`: everything a person does with a job, over the storage account."""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from dropsweep.client import lookup, poison
from dropsweep.client.account import place_of, settings_of
from dropsweep.client.base import BaseClient, HandedIn, no_job, no_spec
from dropsweep.client.checkpoints import StoredCheckpoint, list_checkpoints
from dropsweep.client.code import CodeFolder, upload_folder
from dropsweep.client.control import Action, act
from dropsweep.client.datasets import Check, Existing, Uploaded, UploadProgress, upload_data
from dropsweep.client.doctor.findings import Finding
from dropsweep.client.listing import JobFilter, list_jobs
from dropsweep.client.logs import LogPart, Stream, no_attempt, read_part
from dropsweep.client.lookup import JobRef, Match
from dropsweep.client.nodes import ClusterSummary, ClusterView, check_cluster
from dropsweep.client.places import StoredPlaces
from dropsweep.client.poison import BuriedName
from dropsweep.client.progress import Progress, list_shard, look
from dropsweep.client.results import BestTrial, joined, read_metrics
from dropsweep.client.transfer import files_of_job, files_of_trial, results_of
from dropsweep.errors import NotFoundError, Problem, Severity, SpecError, StorageCorrupt
from dropsweep.metrics import Point
from dropsweep.names import JOBS, RUNS, SHARD_SIZE, Drop, JobKey
from dropsweep.records import JobRecord, JobSummary, TrialRecord, TrialSummary
from dropsweep.records.buried import BuriedMessage
from dropsweep.settings import STORAGE, StorageSettings
from dropsweep.states import TrialState
from dropsweep.steps._change import Change, no_trial
from dropsweep.storage import PATIENCE_S, Store

if TYPE_CHECKING:
    from dropsweep.client.timetable import Schedules
    from dropsweep.spec import JobSpec


class Client(StoredPlaces, BaseClient):
    """One storage account, as the people see it who use it. Safe to use from many threads.

    It talks to the account alone: there is no service to reach, so it works while nothing else runs.
    """

    def __init__(self, account: Store | str | None = None, *, patience_s: float = PATIENCE_S) -> None:
        """Opens an account; nothing is sent yet.

        Args:
            account: a connection string (`UseDevelopmentStorage=true` for Azurite), the account's URL
                (`https://NAME.blob.core.windows.net`; then the identity counts that azure-identity finds), or an open
                store. None: as `from_env`.
            patience_s: how long a request is repeated that got no answer; 0: never. A store has its own.

        Raises:
            ConfigError: no account is named so.
        """
        if isinstance(account, Store):
            self.store, self._place = account, "the storage account"
            return
        settings = settings_of(account) if account is not None else _settings_in(os.environ)
        self.store, self._place = Store.connect(settings, patience_s=patience_s), place_of(settings)

    @classmethod
    def from_connection_string(cls, text: str, *, patience_s: float = PATIENCE_S) -> "Client":
        """Opens an account by its connection string; nothing is sent yet.

        Raises:
            ConfigError: it is no connection string.
        """
        return cls(text, patience_s=patience_s)

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ, *, patience_s: float = PATIENCE_S) -> "Client":
        """Opens the account that `DROPSWEEP_STORAGE` names (or the two URLs beside it); nothing is sent yet.

        Args:
            env: environment variables.
            patience_s: how long a request is repeated that got no answer; 0: never.

        Raises:
            ConfigError: no account is named there.
        """
        settings = _settings_in(env)
        made = cls(Store.connect(settings, patience_s=patience_s))
        made._place = place_of(settings)
        return made

    @property
    def place(self) -> str:
        """The account, without any key."""
        return self._place

    @property
    def schedules(self) -> "Schedules":
        """The schedules in the account."""
        # Imported here: it brings pydantic with it.
        from dropsweep.client.timetable import of_account

        return of_account(self.store)

    def _upload(self, folder: CodeFolder) -> int:
        return upload_folder(self.store, folder)

    def _hand_in(self, file: HandedIn) -> JobKey:
        # Imported here: these bring pydantic with them, which none of the other methods needs.
        from dropsweep.spec import read_document
        from dropsweep.steps._claims import claimed
        from dropsweep.steps.pick_up import REPLY_TO, SUBMISSION_ID
        from dropsweep.submissions import Submission

        drop = Drop.parse(f"{file.workspace}/{file.experiment}/{file.file_name}")
        submission = Submission(
            workspace=file.workspace,
            experiment=file.experiment,
            document=read_document(file.body, file_name=drop.path),
            identity=(),
            default_name=drop.stem,
            source=f"{JOBS}/{drop.path}",
            submission_id=file.submission_id,
            reply_to=file.reply_to,
        )
        if submission.problems:
            raise SpecError(submission.problems)
        known = claimed(self.store, submission)
        if known is not None:
            return known
        metadata = {SUBMISSION_ID: file.submission_id} | ({REPLY_TO: file.reply_to} if file.reply_to else {})
        self.store.blobs.put(JOBS, drop.path, file.body, metadata)
        return submission.key

    def _find(self, text: str, *, may_choose: bool) -> Match:
        return lookup.find(self, text, may_choose=may_choose)

    def keys(self, workspace: str | None = None, experiment: str | None = None) -> Iterator[JobKey]:
        """Lists the keys of all jobs, or of one workspace or experiment, in the order of their paths.

        One storage operation for each folder above the jobs, and none for a job.
        """
        return lookup.keys(self.store, workspace, experiment)

    def has(self, key: JobKey) -> bool:
        """True when there is this job, or a file that becomes it."""
        return lookup.has(self.store, key)

    def created(self, key: JobKey) -> datetime | None:
        """Returns when a job was accepted; None when it has no record."""
        return lookup.created(self.store, key)

    def record(self, job: JobRef) -> JobRecord:
        """Returns the job's record."""
        key = self.resolve(job)
        blob = self.store.blobs.read(RUNS, key.record)
        if blob is None:
            raise no_job(key)
        return JobRecord.from_json(blob.body)

    def jobs(
        self,
        workspace: str | None = None,
        experiment: str | None = None,
        where: JobFilter | None = None,
        *,
        on_corrupt: Callable[[JobKey, StorageCorrupt], None] | None = None,
    ) -> list[JobSummary]:
        """Lists the jobs, newest first, as `BaseClient.jobs` says."""
        return list_jobs(self.store, workspace, experiment, where, on_corrupt=on_corrupt)

    def trials(self, job: JobRef) -> Iterator[TrialSummary]:
        """Lists the trials that have begun, lowest number first: one storage operation for a thousand, memory flat."""
        record = self.record(job)
        for shard in range(-(-record.next_trial // SHARD_SIZE)):
            yield from list_shard(self.store, record.key, shard)

    def _look(self, key: JobKey, shards: tuple[int, ...] | None) -> Progress | None:
        return look(self.store, key, shards)

    def trial(self, job: JobRef, trial: int) -> TrialRecord:
        """Returns a trial's record."""
        key = self.resolve(job)
        blob = self.store.blobs.read(RUNS, key.trial(trial)) if trial >= 0 else None
        if blob is not None:
            return TrialRecord.from_json(blob.body)
        record = self.record(key)
        if 0 <= trial < record.num_trials:
            raise NotFoundError(f"trial {trial} of {key.path} has not begun, so it has no record. Try again later")
        raise no_trial(record, trial)

    def metrics(self, job: JobRef, trial: int, *, attempt: int | None = None) -> list[Point]:
        """Returns what a trial reported, in its order, as `BaseClient.metrics` says."""
        key = self.resolve(job)
        last = self.trial(key, trial).attempt
        if attempt is not None:
            if not 1 <= attempt <= last:
                raise no_attempt(key, trial, last, attempt)
            return read_metrics(self.store, key, trial, attempt)
        return joined(read_metrics(self.store, key, trial, number) for number in range(1, last + 1))

    def checkpoints(self, job: JobRef, trial: int) -> list[StoredCheckpoint]:
        """Returns the whole checkpoints of a trial that are kept, oldest first."""
        record = self.trial(job, trial)
        return list_checkpoints(self.store, record.job, trial)

    def upload(
        self,
        folder: str | Path,
        name: str,
        *,
        existing: Existing | str = Existing.REFUSE,
        progress: UploadProgress | None = None,
        check: Check | None = None,
    ) -> Uploaded:
        """Uploads a folder of data for jobs to read, as `Datasets.upload` says."""
        how = Existing(existing)
        return upload_data(self.store, Path(folder), name, how, progress or UploadProgress(), check or _go_on)

    def _log(self, key: JobKey, trial: int, stream: Stream, attempt: int | None, offset: int) -> LogPart | None:
        return read_part(self.store, key, trial, stream, attempt, offset)

    def best(self, job: JobRef) -> BestTrial | None:
        """Returns the best completed trial, so far or in the end; None while no trial has completed."""
        record = self.record(job)
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

    def spec(self, job: JobRef) -> "JobSpec":
        """Returns what the job's file says, every default filled in."""
        # Imported here: it brings pydantic with it.
        from dropsweep.spec import JobSpec

        key = self.resolve(job)
        blob = self.store.blobs.read(RUNS, key.spec)
        if blob is None:
            self.record(key)  # tells when there is no such job
            raise no_spec(key)
        return JobSpec.from_json(blob.body)

    def problems(self, job: JobRef) -> tuple[Problem, ...]:
        """Returns what is wrong with a rejected job's file; empty for any other job.

        Raises:
            StorageCorrupt: error.json is not what was written.
        """
        key = self.resolve(job)
        blob = self.store.blobs.read(RUNS, key.error)
        if blob is None:
            self.record(key)  # tells when there is no such job
            return ()
        try:
            return tuple(
                Problem(**{**entry, "severity": Severity(entry["severity"])})
                for entry in json.loads(blob.body)["problems"]
            )
        except (KeyError, TypeError, ValueError) as error:
            raise StorageCorrupt(f"{RUNS}/{key.error} cannot be read: {error!r}") from error

    def buried(self, *, on_corrupt: Callable[[str, StorageCorrupt], None] | None = None) -> list[BuriedMessage]:
        """Lists the queue messages that nobody could act on, as `Burials.buried` says."""
        return poison.buried(self.store, on_corrupt=on_corrupt)

    def requeue(self, message: BuriedMessage | str) -> BuriedMessage:
        """Sends a buried message to its queue again, as `Burials.requeue` says."""
        found = poison.find_buried(self.store, message) if isinstance(message, str) else message
        poison.requeue(self.store, found)
        return found

    def delete_buried(self, message: str) -> BuriedName:
        """Deletes the record of a buried message, as `Burials.delete_buried` says."""
        return poison.delete_buried(self.store, message)

    def delete_all_buried(self) -> Iterator[BuriedName]:
        """Deletes the records of all messages that are buried now; yields each one's name once it is gone."""
        return poison.delete_all_buried(self.store)

    def clusters(self) -> list[ClusterSummary]:
        """Lists the clusters, as `BaseClient.clusters` says; the functions left word which of them jobs may name."""
        # Imported here: it brings the whole report with it.
        from dropsweep.client.clusters import list_clusters

        return list_clusters(self.store)

    def cluster(self, cluster: str) -> ClusterView:
        """Returns one cluster with its nodes of this month, its queues and its hours."""
        # Imported here: it brings the whole report with it.
        from dropsweep.client.clusters import show_cluster

        check_cluster(cluster)
        return show_cluster(self.store, cluster)

    def examine(self) -> list[Finding]:
        """Looks for whatever is wrong with the deployment, as `doctor.examine` does."""
        # Imported here: only this method needs it.
        from dropsweep.client.doctor.examination import examine

        return examine(self.store)

    def act(self, action: Action, job: JobRef, trial: int | None = None) -> Change:
        """Does to a job, or to one of its trials, what `action` says, and tells if it was left as it was."""
        return act(self.store, action, self.resolve(job), trial)

    def edit(
        self,
        job: JobRef,
        *,
        max_total_trials: int | None = None,
        max_concurrent_trials: int | None = None,
        timeout_s: int | None = None,
        trial_timeout_s: int | None = None,
    ) -> JobRecord:
        """Changes limits of a job that has not ended, as `Controls.edit` says."""
        # Imported here: it brings pydantic with it.
        from dropsweep.steps.edit import edit

        return edit(
            self.store,
            self.resolve(job),
            max_total_trials=max_total_trials,
            max_concurrent_trials=max_concurrent_trials,
            timeout_s=timeout_s,
            trial_timeout_s=trial_timeout_s,
        )

    def _files(self, key: JobKey, trial: int | None, *, everything: bool) -> Iterator[str]:
        if everything:
            yield from files_of_job(self.store, key)
            return
        yield from results_of(key)
        if trial is not None:
            yield from files_of_trial(self.store, key, trial)

    def _get(self, name: str, file: Path) -> bool:
        return self.store.blobs.download(RUNS, name, file)


def _go_on() -> None:
    return None


def _settings_in(env: Mapping[str, str]) -> StorageSettings:
    text = env.get(STORAGE, "").strip()
    return settings_of(text) if text else StorageSettings.from_env(env)
