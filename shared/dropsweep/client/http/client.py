"""`HttpClient`: everything a person does with a job, over the HTTP API."""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dropsweep.client.base import BaseClient, HandedIn, no_job, no_spec
from dropsweep.client.checkpoints import StoredCheckpoint
from dropsweep.client.code import CodeFolder
from dropsweep.client.control import Action
from dropsweep.client.doctor.findings import CONNECTION, Finding, Status
from dropsweep.client.http import wire
from dropsweep.client.http.account_only import AccountOnly
from dropsweep.client.http.files import get, size_of, upload
from dropsweep.client.http.places import HttpPlaces
from dropsweep.client.http.refusals import NoSuchPath, NotBegun, problems_in
from dropsweep.client.http.web import READ_TIMEOUT_S, Web
from dropsweep.client.listing import JobFilter
from dropsweep.client.logs import CHUNK_BYTES, LogPart, Stream, no_attempt
from dropsweep.client.lookup import JobList, JobRef, Match, check_place, read_ref
from dropsweep.client.nodes import ClusterSummary, ClusterView, check_cluster
from dropsweep.client.progress import Progress
from dropsweep.client.results import BestTrial
from dropsweep.client.transfer import results_of
from dropsweep.errors import ConfigError, DropsweepError, NotFoundError, Problem, StorageCorrupt
from dropsweep.metrics import Point
from dropsweep.names import JobKey
from dropsweep.records import JobRecord, JobSummary, TrialRecord, TrialSummary
from dropsweep.records.codec import dump
from dropsweep.settings import KEY, URL
from dropsweep.states import TrialState
from dropsweep.steps._change import Change, Left, no_trial
from dropsweep.storage import PATIENCE_S

if TYPE_CHECKING:
    from dropsweep.client.timetable import Schedules
    from dropsweep.spec import JobSpec

_PAGE: Final = 1000
_MAX_SHARDS: Final = 64
_MAX_TRIAL: Final = 2**53 - 1
_MAX_ATTEMPT: Final = 2**31 - 1
_NOT_DONE: Final = frozenset({Action.RETRY})
"""Asked for twice, these are done twice."""


class HttpClient(HttpPlaces, AccountOnly, BaseClient):
    """One deployment, seen through its HTTP API. Safe to use from many threads.

    It needs the functions to run, and nothing but a function key: neither the account's name nor its key. Errors are
    those of `Client`: what the API says of a job file is a SpecError with its problems, and so on.
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        patience_s: float = PATIENCE_S,
        read_timeout_s: float = READ_TIMEOUT_S,
    ) -> None:
        """Opens the API; nothing is sent yet.

        Args:
            url: where it is, up to and with `/api`: https://NAME.azurewebsites.net/api.
            key: a function key; None: the environment's `DROPSWEEP_KEY`, if it is set.
            patience_s: how long a request is repeated that got no answer, or one that means "later"; 0: never.
            read_timeout_s: how long an answer may stand still before its request counts as failed.

        Raises:
            ConfigError: the URL is none, or the key would be sent in the clear.
        """
        key = key if key is not None else os.environ.get(KEY, "").strip() or None
        self._web = Web(url, key, patience_s=patience_s, read_timeout_s=read_timeout_s)

    @classmethod
    def from_env(
        cls,
        env: Mapping[str, str] = os.environ,
        *,
        patience_s: float = PATIENCE_S,
        read_timeout_s: float = READ_TIMEOUT_S,
    ) -> "HttpClient":
        """Opens the API that `DROPSWEEP_URL` names, with the key in `DROPSWEEP_KEY`; nothing is sent yet.

        Raises:
            ConfigError: none is named there.
        """
        url = env.get(URL, "").strip()
        if not url:
            raise ConfigError(f"{URL} is not set: the API must be named. Set it to https://NAME.azurewebsites.net/api")
        return cls(url, env.get(KEY, "").strip(), patience_s=patience_s, read_timeout_s=read_timeout_s)

    @property
    def place(self) -> str:
        """The API's URL."""
        return self._web.url

    @property
    def schedules(self) -> "Schedules":
        """The schedules behind the API."""
        # Imported here: it brings pydantic with it.
        from dropsweep.client.timetable import over_http

        return over_http(self._web)

    def version(self) -> str:
        """Returns the version of Dropsweep that answers."""
        with wire.reading("the version"):
            return str(self._web.get("version").document()["version"])

    def _upload(self, folder: CodeFolder) -> int:
        return upload(self._web, folder)

    def _hand_in(self, file: HandedIn) -> JobKey:
        kind = "application/json" if file.file_name.lower().endswith(".json") else "application/yaml"
        params = {"workspace": file.workspace, "experiment": file.experiment, "file_name": file.file_name}
        answer = self._web.send(
            "POST",
            "jobs",
            params=params | ({"reply_to": file.reply_to} if file.reply_to else {}),
            headers={"Content-Type": kind, "Idempotency-Key": file.submission_id},
            body=file.body,
            is_idempotent=True,
        )
        with wire.reading("a job"):
            return JobKey.parse(answer.document()["job"])

    def _find(self, text: str, *, may_choose: bool) -> Match:
        params = {"job": read_ref(text), "choose": "true" if may_choose else "false"}
        found = self._web.get("find", params=params).document()
        with wire.reading("a job"):
            return Match(JobKey.parse(found["job"]), int(found["num_named"]))

    def record(self, job: JobRef) -> JobRecord:
        """Returns the job's record."""
        key = self.resolve(job)
        try:
            return wire.job_record(self._job(key))
        except NotFoundError:
            raise no_job(key) from None

    def jobs(
        self,
        workspace: str | None = None,
        experiment: str | None = None,
        where: JobFilter | None = None,
        *,
        on_corrupt: Callable[[JobKey, StorageCorrupt], None] | None = None,
    ) -> list[JobSummary]:
        """Lists the jobs, newest first, a thousand a request, as `Client.jobs` does."""
        check_place(workspace, experiment)
        where = where or JobFilter()
        found: list[JobSummary] = []
        for page in self._pages("jobs", params={"workspace": workspace, "experiment": experiment} | where.to_query()):
            for entry in page.get("errors", []):
                error = StorageCorrupt(str(entry["message"]))
                if on_corrupt is None:
                    raise error
                on_corrupt(JobKey.parse(entry["job"]), error)
            with wire.reading("a list of jobs"):
                found += [wire.job_summary(job) for job in page["items"]]
            if where.limit is not None and len(found) >= where.limit:
                break
        return JobList(found[: where.limit])

    def trials(self, job: JobRef) -> Iterator[TrialSummary]:
        """Lists the trials that have begun, lowest number first, a thousand a request."""
        key = self.resolve(job)
        for page in self._pages("jobs", *_parts(key), "trials", cursor="after"):
            with wire.reading("a list of trials"):
                found = [wire.trial_summary(trial) for trial in page["items"]]
            yield from found

    def _look(self, key: JobKey, shards: tuple[int, ...] | None) -> Progress | None:
        params = None if shards is None else {"shards": ",".join(str(shard) for shard in shards[:_MAX_SHARDS])}
        try:
            document = self._web.get("jobs", *_parts(key), "progress", params=params).document()
        except NotFoundError:
            return None
        with wire.reading("a job's progress"):
            return wire.progress(document)

    def trial(self, job: JobRef, trial: int) -> TrialRecord:
        """Returns a trial's record."""
        return wire.trial_record(self._trial(self.resolve(job), trial))

    def metrics(self, job: JobRef, trial: int, *, attempt: int | None = None) -> list[Point]:
        """Returns what a trial reported, in its order, as `Client.metrics` does."""
        key = self.resolve(job)
        document = self._trial(key, trial, "metrics", params=self._attempt(key, trial, attempt))
        with wire.reading("metrics"):
            return [wire.point(entry) for entry in document["points"]]

    def checkpoints(self, job: JobRef, trial: int) -> list[StoredCheckpoint]:
        """Returns the whole checkpoints of a trial that are kept, oldest first; none if the API tells of none."""
        key = self.resolve(job)
        try:
            document = self._trial(key, trial, "checkpoints")
        except NoSuchPath:  # an earlier version
            self.trial(key, trial)  # tells when it is the trial that is not there
            return []
        with wire.reading("a list of checkpoints"):
            return [StoredCheckpoint.from_json(one) for one in document["items"]]

    def _log(self, key: JobKey, trial: int, stream: Stream, attempt: int | None, offset: int) -> LogPart | None:
        where = ("jobs", *_parts(key), "trials", self._number(key, trial), "logs", stream)
        try:
            params = self._attempt(key, trial, attempt)
            answer = self._web.get_range(*where, first=offset, num_bytes=CHUNK_BYTES, params=params)
        except NotBegun:
            return None
        body = b"" if answer.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE else answer.body
        if answer.status == HTTPStatus.OK:
            body = body[offset:]  # from the beginning, whatever was asked for
        end = offset + len(body)
        with wire.reading("a log"):
            number = int(answer.headers["Dropsweep-Attempt"])
            latest = int(answer.headers.get("Dropsweep-Latest-Attempt", number))
            state = TrialState(answer.headers["Dropsweep-State"])
        return LogPart(body, number, latest, state.is_final, has_more=bool(body) and end < size_of(answer, end))

    def best(self, job: JobRef) -> BestTrial | None:
        """Returns the best completed trial, so far or in the end; None while no trial has completed."""
        key = self.resolve(job)
        try:
            return wire.best_trial(self._job(key, "best"))
        except NotFoundError:
            self.record(key)  # tells when it is the job that is not there
            return None

    def spec(self, job: JobRef) -> "JobSpec":
        """Returns what the job's file says, every default filled in."""
        # Imported here: it brings pydantic with it, which none of the other methods needs.
        from dropsweep.spec import JobSpec

        key = self.resolve(job)
        try:
            document = self._job(key, "spec")
        except NotFoundError:
            raise no_spec(self.record(key).key) from None
        return JobSpec.from_json(dump(document))

    def problems(self, job: JobRef) -> tuple[Problem, ...]:
        """Returns what is wrong with a rejected job's file; empty for any other job."""
        key = self.resolve(job)
        try:
            return problems_in(self._job(key, "problems").get("problems"))
        except NotFoundError:
            raise no_job(key) from None

    def clusters(self) -> list[ClusterSummary]:
        """Lists the clusters, as `BaseClient.clusters` says; which jobs may name, the functions know."""
        found = self._web.get("clusters").document()
        with wire.reading("the list of clusters"):
            return [ClusterSummary.from_json(item) for item in found["items"]]

    def cluster(self, cluster: str) -> ClusterView:
        """Returns one cluster with its nodes of this month, its queues and its hours."""
        check_cluster(cluster)
        found = self._web.get("clusters", cluster).document()
        with wire.reading("a cluster"):
            return ClusterView.from_json(found)

    def examine(self) -> list[Finding]:
        """Has the functions look for whatever is wrong with the deployment; that they do not answer is a finding."""
        try:
            document = self._web.get("health", also=HTTPStatus.SERVICE_UNAVAILABLE).document()
        except DropsweepError as error:
            return [
                Finding(CONNECTION, Status.ERROR, str(error), "See that the functions run, and that the key is right")
            ]
        with wire.reading("the findings"):
            return [Finding.from_json(finding) for finding in document["findings"]]

    def act(self, action: Action, job: JobRef, trial: int | None = None) -> Change:
        """Does to a job, or to one of its trials, what `action` says, and tells if it was left as it was."""
        key = self.resolve(job)
        where = ("jobs", *_parts(key), *(() if trial is None else ("trials", self._number(key, trial))), action)
        document = self._web.send("POST", *where, is_idempotent=action not in _NOT_DONE).document()
        left = document.get("left")
        with wire.reading("an answer"):
            reason = None if left is None else Left(left)
        return Change(self.record(key), reason)

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
        key = self.resolve(job)
        limits = {
            "max_total_trials": max_total_trials,
            "max_concurrent_trials": max_concurrent_trials,
            "timeout": timeout_s,
            "trial_timeout": trial_timeout_s,
        }
        given = {name: value for name, value in limits.items() if value is not None}
        headers = {"Content-Type": "application/json"}
        body = json.dumps(given).encode()
        self._web.send("PATCH", "jobs", *_parts(key), headers=headers, body=body, is_idempotent=True)
        return self.record(key)

    def _files(self, key: JobKey, trial: int | None, *, everything: bool) -> Iterator[str]:
        if trial is None and not everything:
            yield from results_of(key)
            return
        params = {} if everything else {"trial": trial}
        for page in self._pages("jobs", *_parts(key), "files", params=params):
            with wire.reading("a list of files"):
                names = [f"{key.path}/{file['path']}" for file in page["items"]]
            yield from names

    def _get(self, name: str, file: Path) -> bool:
        return get(self._web, name, file)

    def _job(self, key: JobKey, *path: str | int, params: Mapping[str, Any] | None = None) -> wire.Json:
        return self._web.get("jobs", *_parts(key), *path, params=params).document()

    def _trial(self, key: JobKey, trial: int, *path: str | int, params: Mapping[str, Any] | None = None) -> wire.Json:
        return self._job(key, "trials", self._number(key, trial), *path, params=params)

    def _number(self, key: JobKey, trial: int) -> int:
        """Returns a trial's number; one that fits in no path is told here."""
        if not 0 <= trial <= _MAX_TRIAL:
            raise no_trial(self.record(key), trial)
        return trial

    def _attempt(self, key: JobKey, trial: int, attempt: int | None) -> dict[str, int]:
        """Returns the query that asks for an attempt; one that fits in no query is told here."""
        if attempt is not None and not 1 <= attempt <= _MAX_ATTEMPT:
            raise no_attempt(key, trial, self.trial(key, trial).attempt, attempt)
        return {} if attempt is None else {"attempt": attempt}

    def _pages(
        self, *path: str | int, params: Mapping[str, Any] | None = None, cursor: str = "cursor"
    ) -> Iterator[wire.Json]:
        query = {name: value for name, value in (params or {}).items() if value is not None} | {"limit": _PAGE}
        seen: set[str] = set()
        while True:
            page = self._web.get(*path, params=query).document()
            yield page
            following = page.get("next")
            if following is None:
                return
            if str(following) in seen:
                # Whoever follows it would go round for ever.
                raise StorageCorrupt(
                    f"{self.place} answers the same page again ({cursor} {str(following)[:40]}): a list must come to "
                    "its end. Is the API of this program's version? GET /version tells"
                )
            seen.add(str(following))
            query[cursor] = following


def _parts(key: JobKey) -> tuple[str, str, str]:
    return key.workspace, key.experiment, key.job
