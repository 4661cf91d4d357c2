"""One trial as a script, for the parties that start a process for each: Dropsweep, Syne Tune and the floor.

    python trial.py --race NAME --lr 0.001 [--to dropsweep|syne-tune] [--st_checkpoint_dir DIR]

It does what a script for that tool does: imports the tool's own module, and reports and keeps checkpoints by it. The
script of the floor prints its result.
"""

import argparse
from pathlib import Path
from typing import Final

from bench.peers.races import METRIC, RACES
from bench.peers.training import Report, State, keep, train

IS_WARM: Final = "is_warm"
"""A metric of Dropsweep's trials: 1 for those that began as a copy of a process that was there before."""
_OWN_START: Final = Path("/proc/self/cmdline")


def main() -> None:
    """Runs the trial that the command line tells of."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--race", required=True)
    parser.add_argument("--lr", type=float, required=True)
    parser.add_argument("--to", choices=("dropsweep", "syne-tune"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--st_checkpoint_dir", type=Path)  # the name that Syne Tune gives it
    given = parser.parse_args()
    match given.to:
        case "dropsweep":
            report = _to_dropsweep()
        case "syne-tune":
            report = _to_syne_tune(given.st_checkpoint_dir)
        case _:
            report = _to_nobody(given.st_checkpoint_dir)
    score = train(RACES[given.race], given.lr, report, device=given.device)
    if given.to is None:
        print(score)


def _to_dropsweep() -> Report:
    import dropsweep

    # A copy has the command line of what it is a copy of.
    is_warm = _OWN_START.exists() and Path(__file__).name.encode() not in _OWN_START.read_bytes()

    def report(epoch: int, score: float, state: State | None) -> None:
        dropsweep.report(step=epoch, **{METRIC: score, IS_WARM: is_warm})
        if state is not None:
            import torch

            with dropsweep.checkpoint(epoch) as folder:
                torch.save(state, folder / "state.pt")

    return report


def _to_syne_tune(folder: Path) -> Report:
    from syne_tune import Reporter

    tell = Reporter()

    def report(epoch: int, score: float, state: State | None) -> None:
        if state is not None:
            keep(folder, epoch, state)
        tell(epoch=epoch, **{METRIC: score})

    return report


def _to_nobody(folder: Path) -> Report:
    def report(epoch: int, _score: float, state: State | None) -> None:
        if state is not None:
            keep(folder, epoch, state)

    return report


if __name__ == "__main__":
    main()
