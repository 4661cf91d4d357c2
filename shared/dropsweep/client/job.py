"""`Job`: one job to ask, to wait for and to look at, in a script or a notebook."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dropsweep.client.lookup import JobRef
from dropsweep.client.table import Trial, curve_frame, curve_rows, frame, trials_of
from dropsweep.names import JobKey
from dropsweep.states import JobState

if TYPE_CHECKING:
    import pandas

    from dropsweep.client.base import BaseClient
    from dropsweep.client.checkpoints import StoredCheckpoint
    from dropsweep.client.logs import Stream
    from dropsweep.client.progress import Progress
    from dropsweep.client.results import BestTrial
    from dropsweep.client.transfer import Download
    from dropsweep.errors import Problem
    from dropsweep.metrics import Point
    from dropsweep.records import JobRecord, TrialRecord
    from dropsweep.spec import JobSpec

_APPEARS_S: Final = 180.0
"""How long a job is waited for that was just handed in: in the cloud the functions may have to start first."""
_NUM_CURVES: Final = 20


class Job:
    """One job, by whatever client it was asked for. It keeps no state: each question is asked anew.

    It is made by `Client.job(ref)`, which makes sure that there is such a job, and by `Client.submit`, after which the
    job appears once the functions have taken it up (`wait` and `watch` wait for that). Handles of one job are equal.
    Methods raise what the client's methods of the same name raise; all may raise NotFoundError, StorageUnavailable,
    StorageDenied and StorageError.

    As the last line of a notebook's cell it is drawn: state, best trial, leaderboard and learning curves.
    """

    def __init__(self, client: "BaseClient", key: JobKey) -> None:
        self.client = client
        self.key = key

    @property
    def id(self) -> str:
        """Its id, the last part of its path."""
        return self.key.job

    @property
    def path(self) -> str:
        """`workspace/experiment/job`, which is also its text."""
        return self.key.path

    @property
    def record(self) -> "JobRecord":
        """Its record, read now."""
        return self.client.record(self.key)

    @property
    def state(self) -> JobState:
        """Its state, read now."""
        return self.record.state

    @property
    def spec(self) -> "JobSpec":
        """What its file says, every default filled in."""
        return self.client.spec(self.key)

    @property
    def problems(self) -> "tuple[Problem, ...]":
        """What is wrong with its file when it was rejected; else empty."""
        return self.client.problems(self.key)

    def progress(self) -> "Progress":
        """Looks at it once: its record, fresh counts, the trials that run, and the best trial so far."""
        return self.client.progress(self.key)

    def wait(self, timeout_s: float | None = None) -> "Job":
        """Waits until it has ended, however it ended, and returns this handle; `state` tells how.

        Args:
            timeout_s: the most seconds to wait; None: however long it takes.

        Raises:
            NotFoundError: the functions have not taken it up within three minutes.
            TimeoutError: it has not ended within `timeout_s`.
        """
        self.client.wait(self.key, timeout_s, appear_s=_APPEARS_S)
        return self

    def watch(self, *, interval_s: float = 2.0, timeout_s: float | None = None) -> "Job":
        """Waits as `wait` does and shows how it goes: a picture that is drawn anew in a notebook, else lines of text.

        Args:
            interval_s: seconds between two looks, at least.
            timeout_s: the most seconds to wait.
        """
        from dropsweep.client.display import display_of
        from dropsweep.client.picture import Picture

        picture = Picture(self.client, self.key)
        show = display_of(sys.stdout)
        looks = self.client.updates(self.key, interval_s=interval_s, appear_s=_APPEARS_S, timeout_s=timeout_s)
        for progress in looks:
            if progress is not None:
                show(progress, picture)
        return self

    def __iter__(self) -> Iterator[Trial]:
        """Yields the trials that have begun, lowest number first; one storage operation for a thousand."""
        return trials_of(self.client, self.key)

    def trials(self) -> list[Trial]:
        """Returns the trials that have begun, lowest number first."""
        return list(self)

    def trial(self, trial: int) -> "TrialRecord":
        """Returns the record of one trial."""
        return self.client.trial(self.key, trial)

    def best(self) -> "BestTrial | None":
        """Returns the best completed trial, so far or in the end; None while no trial has completed."""
        return self.client.best(self.key)

    def leaderboard(self, top: int = 10) -> "list[TrialRecord]":
        """Returns the records of the best completed trials, best first; of equals the lowest number first."""
        return self.client.leaderboard(self.key, top)

    def metrics(self, trial: int, *, attempt: int | None = None) -> "list[Point]":
        """Returns what a trial reported, over all its attempts or by one of them."""
        return self.client.metrics(self.key, trial, attempt=attempt)

    def checkpoints(self, trial: int = 0) -> "list[StoredCheckpoint]":
        """Returns the whole checkpoints of one trial that are kept, oldest first."""
        return self.client.checkpoints(self.key, trial)

    def logs(
        self, trial: int = 0, *, stream: "Stream | str" = "stdout", attempt: int | None = None, follow: bool = False
    ) -> Iterator[bytes]:
        """Yields what a trial printed; with `follow` until it ends, through all attempts to come."""
        return self.client.logs(self.key, trial, stream=stream, attempt=attempt, follow=follow)

    def results(self) -> list[dict[str, Any]]:
        """Returns a row for each trial that has begun, with the columns of results.csv; times are datetimes."""
        return [trial.row() for trial in self]

    def to_pandas(self, *, curves: bool = False, trials: Iterable[int] | None = None) -> "pandas.DataFrame":
        """Returns the job as a pandas.DataFrame.

        Args:
            curves: False: a row a trial, with the columns of results.csv and the trial's number as index. True: the
                learning curves, a row a reported value, with the columns trial, step, metric and value.
            trials: these alone; None: all that have begun, and for curves the twenty best.

        Raises:
            ImportError: pandas is not installed.
        """
        if not curves:
            wanted = None if trials is None else set(trials)
            return frame(trial.row() for trial in self if wanted is None or trial.trial in wanted)
        if trials is None:
            trials = [record.trial for record in self.leaderboard(_NUM_CURVES)]
        return curve_frame(curve_rows(self.client, self.key, trials))

    def cancel(self, trial: int | None = None) -> "JobRecord":
        """Cancels it, or one of its trials, and returns its record; success for what has ended already."""
        return self.client.cancel(self.key, trial)

    def pause(self, trial: int | None = None) -> "JobRecord":
        """Pauses it, or one of its trials, and returns its record."""
        return self.client.pause(self.key, trial)

    def resume(self, trial: int | None = None) -> "JobRecord":
        """Lets it, or one of its trials, go on from the last checkpoint and returns its record."""
        return self.client.resume(self.key, trial)

    def retry(self, trial: int | None = None) -> "JobRecord":
        """Has its failed trials, or one of them, tried again and returns its record."""
        return self.client.retry(self.key, trial)

    def edit(self, **limits: int | None) -> "JobRecord":
        """Changes its limits, named as `Client.edit` names them, and returns its record."""
        return self.client.edit(self.key, **limits)

    def download(
        self, destination: str | Path | None = None, *, trial: int | None = None, everything: bool = False
    ) -> "Download":
        """Downloads its results into a folder, by default one with its id; a trial's files too, or all of them."""
        return self.client.download(self.key, destination or self.id, trial=trial, everything=everything)

    def __str__(self) -> str:
        return self.key.path

    def __repr__(self) -> str:
        return f"Job({self.key.path!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Job) and other.key == self.key

    def __hash__(self) -> int:
        return hash(self.key)

    def _repr_html_(self) -> str:
        from dropsweep.client.picture import Picture

        return Picture(self.client, self.key).html()


def key_in(ref: "Job | JobRef") -> JobRef:
    """Returns the key of a handle; any other way to name a job as it is."""
    return ref.key if isinstance(ref, Job) else ref
