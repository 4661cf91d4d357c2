"""Two processes that are ready before the clock starts, for the parties whose workers are plain Python processes."""

import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

from bench.peers.races import NUM_WORKERS, Race
from bench.peers.taking_part import Outcome, Run

Share = Callable[[], list[float]]
"""Runs the trials that are one worker's own, and returns their results."""
Prepare = Callable[..., Share]
"""Takes the race, the worker's number from 0, how many trials are its own, and what else the crew was given; does once
what its trials will do. A function of a module, since another process looks it up by its name."""


@contextmanager
def crew(race: Race, prepare: Prepare, *given: Any) -> Iterator[Run]:
    """Starts the processes, each of which prepares itself and waits; then each runs its share."""
    context = multiprocessing.get_context("spawn")
    shares = [len(range(worker, race.num_trials, NUM_WORKERS)) for worker in range(NUM_WORKERS)]
    ours: list[Connection] = []
    processes = []
    for worker, num_trials in enumerate(shares):
        here, there = context.Pipe()
        process = context.Process(target=_member, args=(there, prepare, race, worker, num_trials, *given), daemon=True)
        process.start()
        there.close()
        ours.append(here)
        processes.append(process)
    for end in ours:
        end.recv()

    def run() -> Outcome:
        for end in ours:
            end.send(None)
        return Outcome.of([result for end in ours for result in end.recv()])

    yield run
    for process in processes:
        process.join()


def _member(pipe: Connection, prepare: Prepare, race: Race, worker: int, num_trials: int, *given: Any) -> None:
    run = prepare(race, worker, num_trials, *given)
    pipe.send(None)
    pipe.recv()
    pipe.send(run())
