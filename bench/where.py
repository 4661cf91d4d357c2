"""Where a trial's processor time goes: by process, and within trainers and host by function."""

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bench.peers.races import NUM_WORKERS, RACES, Race
from bench.peers.sweeps import Sweeps, described
from bench.results import Breakdown, Measured, Row
from bench.sampled import by_own_function, by_package, stacks
from bench.system import DATA, folder
from dropsweep.errors import DropsweepError
from dropsweep_trainer.messages.receiving import WAITS_S
from local.leash import descendants
from local.stack import Stack

_RACES: Final = ("no-op", "mlp")
_TICKS_S: Final = os.sysconf("SC_CLK_TCK")
_REST_S: Final = sum(WAITS_S) + 1.0
_IDLE_S: Final = 10.0
_TITLES: Final = {"host": "function host and functions", "azurite": "storage emulator"}


def measure(*, is_quick: bool) -> Measured:
    """Runs the races' no-op sweep and MLP sweep and reads the processes' times from /proc before and after; Linux only.

    Each process counts for itself; a trainer's trials, and the template that they are copies of, are told apart from
    it. Then a no-op sweep runs on a stack whose host and trainers are sampled from within (`bench.sampled`): one of
    1,000 trials, or of 200 when quick.

    Raises:
        DropsweepError: this is no Linux, or a trial failed.
    """
    if sys.platform != "linux":
        raise DropsweepError("where time goes is read from /proc: it must be there. Measure on Linux")
    rows, breakdowns = [], []
    for race in (RACES[name] for name in _RACES):
        settings = described(race, NUM_WORKERS)
        with Stack(DATA, num_trainers=NUM_WORKERS, is_fresh=True, settings=settings) as stack:
            sweeps = Sweeps(stack, folder("where"))
            sweeps.warm_up(NUM_WORKERS)
            before = _by_process(stack)
            sweeps.run(race)
            after = _by_process(stack)
            idle = _idle(stack)
        parts = {name: 1000 * (after[name] - before[name]) / race.num_trials for name in after}
        rows.append(Row(f"{race.name}: processor time a trial, of all processes", sum(parts.values()), "ms"))
        breakdowns.append(Breakdown(f"Processor time of {race.title}, by process", "ms a trial", parts))
    breakdowns.append(idle)
    breakdowns += _by_function(RACES["no-op" if is_quick else "no-op-1000"])
    return Measured(tuple(rows), tuple(breakdowns))


def _idle(stack: Stack) -> Breakdown:
    """What the stack uses when there is nothing to do, which a training on the same cores lacks."""
    time.sleep(_REST_S)
    before = _by_process(stack)
    time.sleep(_IDLE_S)
    parts = {name: 1000 * (seconds - before[name]) / _IDLE_S for name, seconds in _by_process(stack).items()}
    return Breakdown("Processor time of the stack at rest, by process", "ms a second", parts)


def _by_function(race: Race) -> list[Breakdown]:
    """Samples host and trainers while they run a race, without their start and their end."""
    out = folder("where-inside")

    def sampled(name: str, command: Sequence[str]) -> Sequence[str]:
        interpreter, dash_m, *rest = command
        return [interpreter, dash_m, "bench.sampled", str(out / f"{name}.stacks"), *rest]

    settings = described(race, NUM_WORKERS)
    with Stack(DATA, num_trainers=NUM_WORKERS, is_fresh=True, settings=settings, wrap=sampled) as stack:
        sweeps = Sweeps(stack, folder("where-sweeps"))
        sweeps.warm_up(NUM_WORKERS)
        begins = {file: file.stat().st_size for file in out.glob("*.stacks")}
        sweeps.run(race)
        ends = {file: file.stat().st_size for file in begins}
    written = {file: file.read_bytes()[begins[file] : ends[file]].decode(errors="replace") for file in begins}
    found = []
    for title, process in (("the trainers", "trainer"), ("the function host", "host")):
        seen = [one for file, text in written.items() if file.name.startswith(process) for one in stacks(text)]
        for way, counts in (
            ("by the project's own function that ran, or that called what ran", by_own_function(seen)),
            ("by the package of the function that ran", by_package(seen)),
        ):
            heading = f"Processor time of {title} during {race.title}, {way}; {len(seen)} samples"
            found.append(Breakdown(heading, "% of it", {name: 100 * n / len(seen) for name, n in counts.items()}))
    return found


def _by_process(stack: Stack) -> dict[str, float]:
    """Processor seconds so far, by what the process is."""
    trainers_s = trials_s = 0.0
    found: dict[str, float] = {}
    for child in stack.children:
        # The first one below the leash is the command itself.
        command, *others = descendants(child.pid)
        own_s, waited_s = _seconds(command)
        waited_s += sum(sum(_seconds(process)) for process in others)
        if child.name.startswith("trainer"):
            trainers_s += own_s
            trials_s += waited_s
        else:
            found[_TITLES.get(child.name, child.name)] = own_s + waited_s
    return found | {"trainers": trainers_s, "trials and their templates": trials_s}


def _seconds(process: int) -> tuple[float, float]:
    """A process's own seconds, and those of the children that it has waited for."""
    try:
        text = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0.0, 0.0
    ticks = [int(field) for field in text.rpartition(")")[2].split()[11:15]]
    return (ticks[0] + ticks[1]) / _TICKS_S, (ticks[2] + ticks[3]) / _TICKS_S
