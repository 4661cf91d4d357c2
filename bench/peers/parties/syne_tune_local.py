"""Syne Tune with its local backend, which starts a process for each trial.

Its tuner sleeps five seconds whenever both workers are busy, unless it is told otherwise; for trials this short it is
told to look every 10 ms. It keeps its files in the race's folder, and prints nothing of its progress.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.peers import trial
from bench.peers.races import HIGHEST_LR, LOWEST_LR, METRIC, NUM_WORKERS, RACES, SEED, Race
from bench.peers.taking_part import Outcome, Run, take_part

_LOOK_S = 0.01
_NEVER_S = 1e9
_NUM_WARM_UP_TRIALS = 4


@contextmanager
def prepared(race: Race, folder: Path) -> Iterator[Run]:
    """Loads Syne Tune, runs a few trials that do nothing, and describes the search."""
    os.environ["SYNETUNE_FOLDER"] = str(folder)
    os.chdir(folder)  # it leaves a file where it is
    _described(RACES["no-op"], _NUM_WARM_UP_TRIALS, "warm-up")()
    yield _described(race, race.num_trials, "race")


def _described(race: Race, num_trials: int, name: str) -> Run:
    from syne_tune import StoppingCriterion, Tuner
    from syne_tune.backend import LocalBackend
    from syne_tune.backend.trial_status import Status
    from syne_tune.config_space import loguniform
    from syne_tune.optimizer.baselines import RandomSearch

    space = {"lr": loguniform(LOWEST_LR, HIGHEST_LR), "race": race.name, "to": "syne-tune"}
    tuner = Tuner(
        trial_backend=LocalBackend(entry_point=trial.__file__),
        scheduler=RandomSearch(space, metrics=[METRIC], do_minimize=False, random_seed=SEED),
        stop_criterion=StoppingCriterion(max_num_trials_started=num_trials - 1),
        n_workers=NUM_WORKERS,
        sleep_time=_LOOK_S,
        print_update_interval=_NEVER_S,
        wait_trial_completion_when_stopping=True,
        tuner_name=name,
    )

    def run() -> Outcome:
        tuner.run()
        rows = tuner.tuning_status.trial_rows.values()
        return Outcome.of([row[METRIC] for row in rows if row["status"] == Status.completed])

    return run


if __name__ == "__main__":
    take_part(prepared)
