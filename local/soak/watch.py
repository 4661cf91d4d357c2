"""Looks at the records again and again: once final, a record must never change."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dropsweep.errors import NotFoundError, StorageUnavailable
from dropsweep.names import RUNS, SHARD_SIZE, JobKey, trial_of_record
from dropsweep.records import JobSummary, TrialSummary
from dropsweep.storage import Store


@dataclass(frozen=True, slots=True)
class Sight:
    """One trial's record as one list call saw it."""

    etag: str
    trial: TrialSummary


class Finals:
    """The final records of one job, each as it was first seen.

    Attributes:
        changed: what became of records that had been seen final before, in words, by trial.
    """

    def __init__(self) -> None:
        self.changed: dict[int, str] = {}
        self._first: dict[int, Sight] = {}

    @property
    def num_final(self) -> int:
        """Trials that were seen final."""
        return len(self._first)

    def note(self, seen: Mapping[int, Sight]) -> None:
        """Takes what one whole look at the job's records saw, by trial."""
        for trial, first in self._first.items():
            now = seen.get(trial)
            if now is None:
                self.changed[trial] = f"its final record ({first.trial.reason}) is gone"
            elif now.etag != first.etag:
                self.changed[trial] = f"its final record went from {_told(first)} to {_told(now)}"
        for trial, sight in seen.items():
            if sight.trial.state.is_final:
                self._first.setdefault(trial, sight)


class Watch:
    """Watches over some jobs of one account."""

    def __init__(self, store: Store, jobs: Iterable[tuple[JobKey, int]]) -> None:
        """Watches jobs, each with its number of trials; `store` should not retry for long."""
        self.finals = {key: Finals() for key, _ in jobs}
        self._num_trials = dict(jobs)
        self._store = store

    @property
    def num_final(self) -> int:
        """Trials that were seen final."""
        return sum(finals.num_final for finals in self.finals.values())

    def look(self) -> bool:
        """Looks at every record once; true when every job is final. A look that the storage cut short tells nothing."""
        try:
            states = [self._look(key) for key in self.finals]
        except (StorageUnavailable, NotFoundError):
            return False
        return all(states)

    def _look(self, key: JobKey) -> bool:
        self.finals[key].note(sights(self._store, key, self._num_trials[key]))
        head = self._store.blobs.head(RUNS, key.record)
        return head is not None and JobSummary.from_metadata(key, head.metadata).state.is_final


def sights(store: Store, key: JobKey, num_trials: int) -> dict[int, Sight]:
    """Lists the records of a job of `num_trials` trials, by trial.

    Raises:
        StorageError: as the storage does.
    """
    found: dict[int, Sight] = {}
    for shard in range(-(-num_trials // SHARD_SIZE)):
        for listed in store.blobs.list(RUNS, key.shard(shard), metadata=True):
            trial = trial_of_record(listed.name)
            found[trial] = Sight(listed.etag, TrialSummary.from_metadata(trial, listed.metadata))
    return found


def _told(sight: Sight) -> str:
    return f"{sight.trial.reason} (attempt {sight.trial.attempt}, version {sight.etag})"
