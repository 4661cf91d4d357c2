"""What a person asks of jobs that are there: cancel, pause, resume, retry, other limits."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final, assert_never

from dropsweep.client.lookup import JobRef, resolve, summaries
from dropsweep.errors import DropsweepError, NotFoundError, StorageCorrupt
from dropsweep.names import JobKey
from dropsweep.records import JobRecord
from dropsweep.states import JobState
from dropsweep.steps._change import Change, Left
from dropsweep.storage import Store

# The steps are imported where they are called: some bring pydantic with them, which looking at jobs does not need.

_WRITERS: Final = 8


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


class Experiment:
    """All jobs of one experiment at once.

    Each method looks at the experiment anew, costs one storage operation for each job that is there and a few for each
    that it changes, and changes each job by a write of its own: what fails for one job holds up no other. It returns an
    outcome for each job that the action is for, newest first, and none for the others; last of all one for each job
    whose record cannot be read.

    Every method raises NotFoundError when the experiment has no job, and DropsweepError when its name is none.
    """

    def __init__(self, store: Store, workspace: str, experiment: str) -> None:
        self._store = store
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
        unreadable: list[Outcome] = []

        def note(key: JobKey, error: StorageCorrupt) -> None:
            unreadable.append(Outcome(key, error=error))

        found = summaries(self._store, self.workspace, self.name, on_corrupt=note)
        if not found and not unreadable:
            raise NotFoundError(
                f"{self.workspace}/{self.name}: this experiment has no job. `dropsweep list` shows what there is"
            )
        keys = [job.key for job in found if job.state in CONCERNED[action]]
        with ThreadPoolExecutor(_WRITERS, thread_name_prefix=action) as pool:
            outcomes = list(pool.map(lambda key: self._outcome(action, key), keys))
        # Only a job's record tells whether a trial of it has failed.
        return [told for told in outcomes if told.left is not Left.NONE_HAS_FAILED] + unreadable

    def _outcome(self, action: Action, key: JobKey) -> Outcome:
        try:
            done = act(self._store, action, key)
            return Outcome(key, done.record, done.left)
        except DropsweepError as error:
            return Outcome(key, error=error)


class Controls:
    """The methods of `Client` that change jobs; each is one conditional write of the job's record, and a hint."""

    store: Store

    def cancel(self, job: JobRef, trial: int | None = None) -> JobRecord:
        """Cancels a job, or one of its trials, and returns the job's record; success for what has ended already.

        Nothing more is dispatched from now on; running trials stop at their next heartbeat.
        """
        return act(self.store, Action.CANCEL, resolve(self.store, job), trial).record

    def pause(self, job: JobRef, trial: int | None = None) -> JobRecord:
        """Pauses a job, or one of its trials, and returns the job's record; what has ended stays as it is.

        Running trials make way at their next heartbeat, with their last checkpoint. While a whole job is paused, its
        timeout does not run.
        """
        return act(self.store, Action.PAUSE, resolve(self.store, job), trial).record

    def resume(self, job: JobRef, trial: int | None = None) -> JobRecord:
        """Lets a paused job, or a trial that was paused by itself, go on from its last checkpoint.

        Returns:
            The job's record; what is not paused stays as it is.
        """
        return act(self.store, Action.RESUME, resolve(self.store, job), trial).record

    def retry(self, job: JobRef, trial: int | None = None) -> JobRecord:
        """Has the failed trials of a job, or one of them, tried again, each from its last checkpoint.

        A job that has ended runs again. One of which no trial is known to have failed stays as it is.

        Returns:
            The job's record.

        Raises:
            DropsweepError: the job was cancelled or rejected, or the trial has not failed.
        """
        return act(self.store, Action.RETRY, resolve(self.store, job), trial).record

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
        from dropsweep.steps.edit import edit

        return edit(
            self.store,
            resolve(self.store, job),
            max_total_trials=max_total_trials,
            max_concurrent_trials=max_concurrent_trials,
            timeout_s=timeout_s,
            trial_timeout_s=trial_timeout_s,
        )

    def experiment(self, workspace: str, experiment: str) -> Experiment:
        """Returns all jobs of an experiment, to cancel, pause, resume or retry at once; nothing is sent yet."""
        return Experiment(self.store, workspace, experiment)


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
