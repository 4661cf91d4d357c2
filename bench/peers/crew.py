"""Two processes that are ready before the clock starts, for the parties whose workers are plain Python processes."""

import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

from bench.peers.races import NUM_WORKERS, Race, Task
from bench.peers.taking_part import Outcome, Run
from bench.peers.training import train

Work = Callable[..., list[float]]
"""Takes the race, the worker's number from 0, how many trials are its own, and what else the crew was given; returns
their results."""


@contextmanager
def crew(race: Race, work: Work, *given: Any) -> Iterator[Run]:
    """Starts the processes, each of which loads what the race's trainings need and waits; each runs its share."""
    context = multiprocessing.get_context("spawn")
    shares = [len(range(worker, race.num_trials, NUM_WORKERS)) for worker in range(NUM_WORKERS)]
    ours: list[Connection] = []
    processes = []
    for worker, num_trials in enumerate(shares):
        here, there = context.Pipe()
        process = context.Process(target=_member, args=(there, work, race, worker, num_trials, *given), daemon=True)
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


def _member(pipe: Connection, work: Work, race: Race, worker: int, num_trials: int, *given: Any) -> None:
    if race.task is not Task.NO_OP:
        train(race, 0.001, lambda *_: None, num_epochs=1)  # PyTorch, its first optimizer and scikit-learn are loaded
    pipe.send(None)
    pipe.recv()
    pipe.send(work(race, worker, num_trials, *given))
