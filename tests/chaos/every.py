"""Plays each plot once undisturbed and once for each fault at each operation: `python -m tests.chaos.every`.

A program of its own, because it forks, which only a process without threads may do. Each run has a storage account of
its own in one emulator, and several are played side by side, for most of a run's time is waiting.
"""

import argparse
import gc
import json
import multiprocessing
import os
import random
import shutil
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from dropsweep.clusters import Cluster
from dropsweep.settings import Settings, StorageSettings
from local.azurite import Azurite
from tests.chaos.faults import Case, Fault, Log, Operation
from tests.chaos.outcome import differences
from tests.chaos.parties import Run
from tests.chaos.scenario import Plot, Scenario, operations

_ACCOUNT_KEY: Final = "Y2hhb3M="
_NUM_ACCOUNTS: Final = 3000
_CLUSTER: Final = "c"
_PROGRESS_EACH: Final = 50


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of one case.

    Attributes:
        plot, case: which.
        is_reached: the fault happened.
        faults: what was not as it must be; empty when all was well.
        took_s: how long the run took.
        folder: what is left of it, when all was not well.
    """

    plot: str
    case: str
    is_reached: bool
    faults: tuple[str, ...]
    took_s: float
    folder: str

    def __str__(self) -> str:
        lines = [f"{self.plot}: {self.case} ({self.took_s:.1f} s, {self.folder})", *self.faults]
        return "\n    ".join(lines)


@dataclass(frozen=True, slots=True)
class Stage:
    """Where runs are played: an emulator with many accounts, and a folder for what is written down."""

    blob_port: int
    queue_port: int
    folder: Path

    def run(self, plot: Plot, number: int, case: Case | None) -> Run:
        """Prepares a run on an account of its own."""
        name = account(number)
        folder = self.folder / name
        folder.mkdir(parents=True)
        endpoints = (
            f"BlobEndpoint=http://127.0.0.1:{self.blob_port}/{name};"
            f"QueueEndpoint=http://127.0.0.1:{self.queue_port}/{name};"
        )
        settings = Settings(
            StorageSettings(f"DefaultEndpointsProtocol=http;AccountName={name};AccountKey={_ACCOUNT_KEY};{endpoints}"),
            clusters=(Cluster(_CLUSTER),),
            heartbeat_s=0.3,
            claim_timeout_s=1.0,
            grace_s=1.0,
        )
        return Run(settings, folder, Log(folder), case)


def account(number: int) -> str:
    """Names an account."""
    return f"chaos{number:04}"


def undisturbed(stage: Stage, plot: Plot, number: int) -> tuple[dict[str, Any], list[Operation]]:
    """Plays a plot without a fault; returns what comes of it, and its operations.

    Raises:
        RuntimeError: even so something is wrong.
    """
    run = stage.run(plot, number, None)
    end = Scenario(run, plot).play()
    if end.faults:
        raise RuntimeError(f"{plot}, undisturbed, in {run.folder}: {'; '.join(end.faults)}")
    return end.outcome, operations(plot, run.log)


def try_case(stage: Stage, plot: Plot, number: int, case: Case, expected: dict[str, Any]) -> Verdict:
    """Plays a plot with one fault, and compares."""
    began = time.monotonic()
    run = stage.run(plot, number, case)
    try:
        scenario = Scenario(run, plot)
        end = scenario.play()
        faults = (*end.faults, *differences(expected, end.outcome))
        is_reached = run.log.has_fault
        if not faults:
            scenario.remove()
            shutil.rmtree(run.folder)
    except Exception as error:  # noqa: BLE001 - the edge of a case: the others are tried all the same
        faults, is_reached = (f"it could not be played: {error!r}",), True
    return Verdict(plot, str(case), is_reached, faults, time.monotonic() - began, str(run.folder))


def play_all(stage: Stage, pool: ProcessPoolExecutor, options: argparse.Namespace) -> Iterator[Verdict]:
    """Plays what the options ask for, and tells how far it is."""
    rehearsals = {
        plot: [pool.submit(undisturbed, stage, plot, 2 * place + again) for again in range(2)]
        for place, plot in enumerate(options.plots)
    }
    tries: list[tuple[Plot, Case]] = []
    expected: dict[Plot, dict[str, Any]] = {}
    for plot, rehearsal in rehearsals.items():
        (expected[plot], first), (other, second) = (future.result() for future in rehearsal)
        if other != expected[plot]:
            raise RuntimeError(f"{plot}: two undisturbed runs differ: {'; '.join(differences(other, expected[plot]))}")
        # Clocks make some requests come or not, such as one more heartbeat: those that both runs have are sure to come.
        sure = [operation for operation in first if operation in set(second)]
        cases = [Case(operation, fault) for operation in sure for fault in Fault]
        print(f"{plot}: {len(sure)} operations, {len(cases)} cases")
        tries += [(plot, case) for case in cases if options.only in f"{plot}: {case}"]
    chosen = random.Random(options.seed).sample(tries, round(options.share * len(tries)))
    print(f"{len(chosen)} of {len(tries)} cases are tried (seed {options.seed})", flush=True)
    futures = [
        pool.submit(try_case, stage, plot, number, case, expected[plot])
        for number, (plot, case) in enumerate(chosen, 2 * len(rehearsals))
    ]
    for number, future in enumerate(as_completed(futures), 1):
        verdict = future.result()
        if verdict.faults:
            print(verdict)
        if number % _PROGRESS_EACH == 0:
            print(f"{number} of {len(chosen)}", flush=True)
        yield verdict


def main() -> int:
    """Plays what the command line asks for; returns 0 when every run came to the undisturbed end."""
    options = _parser().parse_args()
    began = time.monotonic()
    folder = options.folder.absolute()
    os.environ["AZURITE_ACCOUNTS"] = ";".join(f"{account(number)}:{_ACCOUNT_KEY}" for number in range(_NUM_ACCOUNTS))
    with Azurite(folder / "azurite", log=folder / "azurite.log") as azurite:
        stage = Stage(azurite.endpoints.blob_port, azurite.endpoints.queue_port, folder)
        gc.freeze()  # what was imported is shared with every child, and no collection copies it
        # All its processes are forked at the first task, before this one has a thread; none of them ever has one.
        with ProcessPoolExecutor(options.slots, multiprocessing.get_context("fork")) as pool:
            verdicts = list(play_all(stage, pool, options))
    (folder / "verdicts.json").write_text(json.dumps([asdict(verdict) for verdict in verdicts]))
    num_wrong = sum(bool(verdict.faults) for verdict in verdicts)
    num_missed = sum(not verdict.is_reached for verdict in verdicts)
    print(
        f"{len(verdicts)} cases tried in {time.monotonic() - began:.0f} s: {num_wrong} did not come to the undisturbed "
        f"end, {num_missed} never came to their fault"
    )
    return int(num_wrong > 0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="every", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="for logs; of what came out well they are removed")
    parser.add_argument("--plots", type=Plot, nargs="+", default=list(Plot), help=", ".join(Plot))
    parser.add_argument("--share", type=float, default=1.0, help="of all cases, 0 to 1 (default 1)")
    parser.add_argument("--seed", type=int, default=0, help="decides which cases are in the share")
    parser.add_argument("--only", default="", help="cases with this in their name")
    parser.add_argument("--slots", type=int, default=16, help="runs side by side")
    return parser


if __name__ == "__main__":
    sys.exit(main())
