"""Ray Tune on a cluster of this one machine, as it comes or with what its documents name for short trials.

    python -m bench.peers.parties.ray_tune RACE FOLDER [reuse_actors] [no_loggers]

`reuse_actors` lets a worker process live on for the next trial. `no_loggers` sets `TUNE_DISABLE_AUTO_CALLBACK_LOGGERS`,
so that no CSV, JSON and TensorBoard files are written for each trial. The progress output and the web dashboard are
always off.
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

_IS_REUSING = "reuse_actors" in sys.argv[3:]
if "no_loggers" in sys.argv[3:]:
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"

import ray  # noqa: E402  (Ray reads its environment when it is imported)
from ray import tune  # noqa: E402
from ray.tune.search.basic_variant import BasicVariantGenerator  # noqa: E402

from bench.peers.races import HIGHEST_LR, LOWEST_LR, METRIC, NUM_WORKERS, RACES, SEED, Race  # noqa: E402
from bench.peers.taking_part import Outcome, Run, take_part  # noqa: E402
from bench.peers.training import State, train  # noqa: E402

_NUM_WARM_UP_TRIALS = 4


@contextmanager
def prepared(race: Race, folder: Path) -> Iterator[Run]:
    """Starts Ray and runs a few trials that do nothing."""
    # Its sockets' paths must be short, so it keeps its own folder; `ray.shutdown` leaves that behind for its logs.
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as own:
        ray.init(num_cpus=NUM_WORKERS, include_dashboard=False, log_to_driver=False, _temp_dir=own)
        _fit(RACES["no-op"], _NUM_WARM_UP_TRIALS, folder / "warm-up")
        yield lambda: _fit(race, race.num_trials, folder / "race")
        ray.shutdown()


def _fit(race: Race, num_trials: int, folder: Path) -> Outcome:
    # The search that Ray Tune chooses by itself, with a seed.
    search = BasicVariantGenerator(random_state=SEED)
    how = tune.TuneConfig(
        num_samples=num_trials, metric=METRIC, mode="max", search_alg=search, reuse_actors=_IS_REUSING
    )
    tuner = tune.Tuner(
        tune.with_resources(partial(_trial, race=race), {"cpu": 1}),
        param_space={"lr": tune.loguniform(LOWEST_LR, HIGHEST_LR)},
        tune_config=how,
        run_config=tune.RunConfig(
            name="race", storage_path=str(folder), verbose=0, checkpoint_config=tune.CheckpointConfig(num_to_keep=2)
        ),
    )
    return Outcome.of([result.metrics[METRIC] for result in tuner.fit() if result.metrics and result.error is None])


def _trial(config: dict[str, Any], *, race: Race) -> None:
    def report(_epoch: int, score: float, state: State | None) -> None:
        if state is None:
            tune.report({METRIC: score})
            return
        import torch

        with tempfile.TemporaryDirectory() as folder:
            torch.save(state, Path(folder) / "state.pt")
            tune.report({METRIC: score}, checkpoint=tune.Checkpoint.from_directory(folder))

    train(race, config["lr"], report)


if __name__ == "__main__":
    take_part(prepared)
