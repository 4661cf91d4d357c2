"""What a person asks of jobs that are there: cancel, pause, resume, retry, other limits."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, assert_never

from dropsweep.client.experiments import no_experiment
from dropsweep.client.listing import JobFilter
from dropsweep.client.lookup import JobRef
from dropsweep.errors import DropsweepError, IllegalMove, StorageCorrupt
from dropsweep.names import JobKey
from dropsweep.records import JobRecord, JobSummary
from dropsweep.states import JobState
from dropsweep.steps._change import Change, Left
from dropsweep.storage import Store

if TYPE_CHECKING:
    from dropsweep.steps.delete import Deleted

# The steps are imported where they are called: some bring pydantic with them, which looking at jobs does not need.

_WRITERS: Final = 8
_DELETERS: Final = 4


class Action(StrEnum):
    """What can be asked of a job, of one of its trials, and of all jobs of an experiment."""

    CANCEL = "cancel"
    PAUSE = "pause"
    RESUME = "resume"
    RETRY = "retry"


CONCERNED: Final[Mapping[Action, frozenset[JobState]]] = MappingProxyType(
    {
        Action.CANCEL: frozenset(state for state in JobState if not state.is_final),
        Action.PAUSE: frozenset({JobState.QUEUED, JobState.RUNNING, JobState.PAUSED}),
        Action.RESUME: frozenset({JobState.PAUSED}),
        Action.RETRY: frozenset({JobState.RUNNING, JobState.PAUSED, JobState.COMPLETED, JobState.FAILED}),
    }
)
"""The jobs of an experiment that an action is for; the others are left out."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an action on one job of an experiment.

    Attributes:
        job: the job.
        record: its record as it stands now; None when the action failed.
        left: why it was left as it was; None when it was changed, or the action failed.
        error: why the action failed; None when it did not.
    """

    job: JobKey
    record: JobRecord | None = None
    left: Left | None = None
    error: DropsweepError | None = None


@dataclass(frozen=True, slots=True)
class Removal:
    """What became of one job of an experiment that was to be deleted.

    Attributes:
        job: the job.
        deleted: what was deleted of it; None when that failed.
        error: why it failed; None when it did not.
    """

    job: JobKey
    deleted: "Deleted | None" = None
    error: DropsweepError | None = None


class Experiment:
    """All jobs of one experiment at once.

    Each method looks at the experiment anew, costs one storage operation for each job that is there and a few for each
    that it changes, and changes each job by a write of its own: what fails for one job holds up no other. It returns an
    outcome for each job that the action is for, newest first, and none for the others; last of all one for each job
    whose record cannot be read.

    Every method raises NotFoundError when the experiment has no job, and DropsweepError when its name is none.
    """

    def __init__(self, client: "Controls", workspace: str, experiment: str) -> None:
        self._client = client
        self.workspace = workspace
        self.name = experiment

    def cancel(self) -> list[Outcome]:
        """Cancels all jobs that have not ended."""
        return self.act(Action.CANCEL)

    def pause(self) -> list[Outcome]:
        """Pauses all jobs that have not ended."""
        return self.act(Action.PAUSE)

    def resume(self) -> list[Outcome]:
        """Lets all paused jobs go on; trials that were paused by themselves stay so."""
        return self.act(Action.RESUME)

    def retry(self) -> list[Outcome]:
        """Has the failed trials of all jobs tried again, but of those that were cancelled or rejected.

        There is no outcome for a job of which no trial is known to have failed.
        """
        return self.act(Action.RETRY)

    def act(self, action: Action) -> list[Outcome]:
        """Does what the method of this name does."""
        found, unreadable = self._jobs()
        keys = [job.key for job in found if job.state in CONCERNED[action]]
        with ThreadPoolExecutor(_WRITERS, thread_name_prefix=action) as pool:
            outcomes = list(pool.map(lambda key: self._outcome(action, key), keys))
        # Only a job's record tells whether a trial of it has failed.
        changed = [told for told in outcomes if told.left is not Left.NONE_HAS_FAILED]
        return changed + [Outcome(key, error=error) for key, error in unreadable.items()]

    def delete(
        self, *, with_source: bool = False, cancels: bool = False, timeout_s: float | None = None
    ) -> list[Removal]:
        """Deletes all jobs, with everything that belongs to them; a call that was interrupted may be made again.

        Args:
            with_source: the dropped files that they came from too, where no other version lies there now.
            cancels: first cancel the jobs that have not ended, and wait until they have.
            timeout_s: how many seconds to wait for each of them; None: however long it takes.

        Returns:
            What became of each job, newest first; last of all those whose record cannot be read, which stay.

        Raises:
            IllegalMove: a job has not ended, and `cancels` is False; nothing is deleted.
            TimeoutError: a job did not end in time; nothing is deleted.
        """
        found, unreadable = self._jobs()
        live = [job.key for job in found if not job.state.is_final]
        if live and not cancels:
            # Imported here: it brings the whole report with it.
            from dropsweep.page.words import plural

            raise IllegalMove(
                f"{self.workspace}/{self.name} has {plural(len(live), 'job')} not ended yet, such as {live[0].path}: "
                "only jobs that have ended can be deleted. Cancel them first"
            )
        for key in live:
            self._client.act(Action.CANCEL, key)
        for key in live:
            self._client.wait(key, timeout_s)

        def remove(key: JobKey) -> Removal:
            try:
                return Removal(key, self._client.delete(key, with_source=with_source))
            except DropsweepError as error:
                return Removal(key, error=error)

        with ThreadPoolExecutor(_DELETERS, thread_name_prefix="delete") as pool:
            removals = list(pool.map(remove, [job.key for job in found]))
        return removals + [Removal(key, error=error) for key, error in unreadable.items()]

    def _jobs(self) -> tuple[list[JobSummary], dict[JobKey, StorageCorrupt]]:
        """Returns the jobs, newest first, and those whose record cannot be read.

        Raises:
            NotFoundError: there is neither.
        """
        unreadable: dict[JobKey, StorageCorrupt] = {}
        found = self._client.jobs(self.workspace, self.name, on_corrupt=unreadable.__setitem__)
        if not found and not unreadable:
            raise no_experiment(self.workspace, self.name)
        return found, unreadable

    def _outcome(self, action: Action, key: JobKey) -> Outcome:
        try:
            done = self._client.act(action, key)
            return Outcome(key, done.record, done.left)
        except DropsweepError as error:
            return Outcome(key, error=error)


class Controls(ABC):
    """The methods of every client that change jobs; each is one conditional write of the job's record, and a hint."""

    @abstractmethod
    def jobs(
        self,
        workspace: str | None = None,
        experiment: str | None = None,
        where: JobFilter | None = None,
        *,
        on_corrupt: Callable[[JobKey, StorageCorrupt], None] | None = None,
    ) -> list[JobSummary]:
        """Lists the jobs, newest first."""

    @abstractmethod
    def act(self, action: Action, job: JobRef, trial: int | None = None) -> Change:
        """Does to a job, or to one of its trials, what `action` says, and tells if it was left as it was."""

    def cancel(self, job: JobRef, trial: int | None = None) -> JobRecord:
        """Cancels a job, or one of its trials, and returns the job's record; success for what has ended already.

        Nothing more is dispatched from now on; running trials stop at their next heartbeat.
        """
        return self.act(Action.CANCEL, job, trial).record

    def pause(self, job: JobRef, trial: int | None = None) -> JobRecord:
        """Pauses a job, or one of its trials, and returns the job's record; what has ended stays as it is.

        Running trials make way at their next heartbeat, with their last checkpoint. While a whole job is paused, its
        timeout does not run.
        """
        return self.act(Action.PAUSE, job, trial).record

    def resume(self, job: JobRef, trial: int | None = None) -> JobRecord:
        """Lets a paused job, or a trial that was paused by itself, go on from its last checkpoint.

        Returns:
            The job's record; what is not paused stays as it is.
        """
        return self.act(Action.RESUME, job, trial).record

    def retry(self, job: JobRef, trial: int | None = None) -> JobRecord:
        """Has the failed trials of a job, or one of them, tried again, each from its last checkpoint.

        A job that has ended runs again. One of which no trial is known to have failed stays as it is.

        Returns:
            The job's record.

        Raises:
            DropsweepError: the job was cancelled or rejected, or the trial has not failed.
        """
        return self.act(Action.RETRY, job, trial).record

    @abstractmethod
    def wait(self, job: JobRef, timeout_s: float | None = None, *, appear_s: float = 60.0) -> JobRecord:
        """Waits until a job is final and returns its record."""

    @abstractmethod
    def delete(self, job: JobRef, *, with_source: bool = False) -> "Deleted":
        """Deletes a job that has ended, with everything that belongs to it; what interrupts it only delays the rest.

        Args:
            job: the job.
            with_source: the dropped file that it came from too, unless another version lies there now.

        Raises:
            IllegalMove: it has not ended.
        """

    @abstractmethod
    def edit(
        self,
        job: JobRef,
        *,
        max_total_trials: int | None = None,
        max_concurrent_trials: int | None = None,
        timeout_s: int | None = None,
        trial_timeout_s: int | None = None,
    ) -> JobRecord:
        """Changes limits of a job that has not ended; those that are None stay.

        Args:
            job: the job.
            max_total_trials: trials in all, of a sweep; not fewer than have been dispatched.
            max_concurrent_trials: trials at once, of a sweep; what runs already runs on.
            timeout_s: seconds from the job's start, pauses not counted.
            trial_timeout_s: seconds of one attempt, of a sweep.

        Returns:
            The job's record.

        Raises:
            DropsweepError: the job has ended, no limit is given, or one is not possible.
        """

    def experiment(self, workspace: str, experiment: str) -> Experiment:
        """Returns all jobs of an experiment, to cancel, pause, resume, retry or delete at once; nothing is sent yet."""
        return Experiment(self, workspace, experiment)


def act(store: Store, action: Action, key: JobKey, trial: int | None = None) -> Change:
    """Does to a job, or to one of its trials, what `action` says.

    Returns:
        The job's record, and why it was left as it was if it was.

    Raises:
        NotFoundError: there is no such job or trial.
        ConflictError: others changed the job's record again and again.
        DropsweepError: for `retry`, as `Controls.retry`.
        StorageError: as the storage does.
    """
    match action:
        case Action.CANCEL:
            from dropsweep.steps.cancel import cancel

            return cancel(store, key, trial)
        case Action.PAUSE:
            from dropsweep.steps.pause import pause

            return pause(store, key, trial)
        case Action.RESUME:
            from dropsweep.steps.pause import resume

            return resume(store, key, trial)
        case Action.RETRY:
            from dropsweep.steps.retry import retry

            return retry(store, key, trial)
        case _:
            assert_never(action)
