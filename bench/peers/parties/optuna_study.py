"""Optuna: two processes on one study, in a SQLite database or in a journal file.

As Optuna's guide to parallel runs has it: each process loads the study and calls `optimize`. Random search, because
nothing here is about the search; logging of each trial is off.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend

from bench.peers.crew import crew
from bench.peers.races import HIGHEST_LR, LOWEST_LR, Race
from bench.peers.taking_part import Outcome, Run, take_part
from bench.peers.training import State, keep, train

_STUDY = "race"


@contextmanager
def prepared(race: Race, folder: Path) -> Iterator[Run]:
    """Makes the study and starts the two processes."""
    kind = sys.argv[3]
    storage = _storage(kind, folder)
    optuna.create_study(study_name=_STUDY, storage=storage, direction="maximize")
    with crew(race, _work, kind, folder) as run:

        def counted() -> Outcome:
            run()
            # What counts is what the storage holds.
            return Outcome.of([value for trial in _study(kind, folder).trials if (value := trial.value) is not None])

        yield counted


def _storage(kind: str, folder: Path) -> BaseStorage:
    if kind == "sqlite":
        # SQLite gives up after 5 s when another process writes; two of them must be able to wait.
        return RDBStorage(f"sqlite:///{folder / 'study.db'}", engine_kwargs={"connect_args": {"timeout": 60}})
    return JournalStorage(JournalFileBackend(str(folder / "journal.log")))


def _study(kind: str, folder: Path) -> optuna.Study:
    sampler = optuna.samplers.RandomSampler()
    return optuna.load_study(study_name=_STUDY, storage=_storage(kind, folder), sampler=sampler)


def _work(race: Race, _worker: int, num_trials: int, kind: str, folder: Path) -> list[float]:
    optuna.logging.set_verbosity(optuna.logging.WARNING)

    def objective(trial: optuna.Trial) -> float:
        def report(epoch: int, score: float, state: State | None) -> None:
            trial.report(score, epoch)
            if state is not None:
                keep(folder / str(trial.number), epoch, state)

        return train(race, trial.suggest_float("lr", LOWEST_LR, HIGHEST_LR, log=True), report)

    _study(kind, folder).optimize(objective, n_trials=num_trials)
    return []


if __name__ == "__main__":
    take_part(prepared)
