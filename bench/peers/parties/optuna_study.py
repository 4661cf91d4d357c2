"""Optuna: two processes on one study, in a SQLite database or in a journal file.

As Optuna's guide to parallel runs has it: each process loads the study and calls `optimize`. Random search, because
nothing here is about the search; logging of each trial is off. Each process opens the storage before the clock starts,
which imports for a third of a second, and runs a few short trials in another study of the same storage.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend

from bench.peers.crew import Share, crew
from bench.peers.races import HIGHEST_LR, LOWEST_LR, SEED, Race
from bench.peers.taking_part import Outcome, Run, take_part
from bench.peers.training import State, keep, train

_STUDY = "race"
_WARM_UP = "warm-up"
_NUM_WARM_UP_TRIALS = 4


@contextmanager
def prepared(race: Race, folder: Path) -> Iterator[Run]:
    """Makes the studies and starts the two processes, each of which runs a few trials of one epoch."""
    kind = sys.argv[3]
    storage = _storage(kind, folder)
    optuna.create_study(study_name=_WARM_UP, storage=storage, direction="maximize")
    study = optuna.create_study(study_name=_STUDY, storage=storage, direction="maximize")
    with crew(race, _prepare, kind, folder) as run:

        def counted() -> Outcome:
            run()
            # What counts is what the storage holds.
            return Outcome.of([value for trial in study.trials if (value := trial.value) is not None])

        yield counted


def _storage(kind: str, folder: Path) -> BaseStorage:
    if kind == "sqlite":
        # SQLite gives up after 5 s when another process writes; two of them must be able to wait.
        return RDBStorage(f"sqlite:///{folder / 'study.db'}", engine_kwargs={"connect_args": {"timeout": 60}})
    return JournalStorage(JournalFileBackend(str(folder / "journal.log")))


def _study(name: str, storage: BaseStorage, seed: int) -> optuna.Study:
    sampler = optuna.samplers.RandomSampler(seed)
    return optuna.load_study(study_name=name, storage=storage, sampler=sampler)


def _prepare(race: Race, worker: int, num_trials: int, kind: str, folder: Path) -> Share:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = _storage(kind, folder)
    warm_up, study = (_study(name, storage, SEED + worker) for name in (_WARM_UP, _STUDY))
    warm_up.optimize(_objective(race, folder / _WARM_UP, num_epochs=1), n_trials=_NUM_WARM_UP_TRIALS)

    def share() -> list[float]:
        study.optimize(_objective(race, folder / _STUDY), n_trials=num_trials)
        return []

    return share


def _objective(race: Race, folder: Path, *, num_epochs: int | None = None) -> Callable[[optuna.Trial], float]:
    def objective(trial: optuna.Trial) -> float:
        def report(epoch: int, score: float, state: State | None) -> None:
            trial.report(score, epoch)
            if state is not None:
                keep(folder / str(trial.number), epoch, state)

        lr = trial.suggest_float("lr", LOWEST_LR, HIGHEST_LR, log=True)
        return train(race, lr, report, num_epochs=num_epochs)

    return objective


if __name__ == "__main__":
    take_part(prepared)
