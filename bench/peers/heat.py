"""One party runs one race once, and the clock and the processor time are read."""

import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.peers.cpu import Meter
from bench.peers.entrants import Entrant
from bench.peers.others import disk_wait_s, machine_busy_s, others_s
from bench.peers.races import Race
from bench.peers.taking_part import READY
from dropsweep.errors import DropsweepError
from local.paths import ROOT, STATE, shown

ENVIRONMENT: Final = ROOT / ".venv-peers"
LOGS: Final = STATE / "peers"
_PARTIES: Final = "bench.peers.parties"
_MOST_DISTURBANCE: Final = 0.05
_MOST_TRIES: Final = 3


@dataclass(frozen=True, slots=True)
class Heat:
    """What one party's process did.

    Attributes:
        num_trials: trials that completed.
        setup_s, setup_cpu_s: until the party's system was up and warm, in seconds of the clock and of processors, of
            all its processes.
        tuning_s, tuning_cpu_s: from the word to run the trials until the party knew all results.
        best: the highest result.
        others_s: processor seconds that everything else on the machine used meanwhile, or that its hypervisor took;
            None: not known, because the heat was too short or the party's own time is not known exactly.
        disk_wait_s: seconds in which some task on the machine, of the party or not, waited for a disk meanwhile; None:
            the kernel does not tell.
        is_exact: the processor times are all that the party used. Else there was no control group, and of processes
            that left it unseen they are missing. None: not known.
        run: during which run of the race, as a number from 0.
        began: when the word came to run the trials, in seconds since 1970; None: not known.
    """

    num_trials: int
    setup_s: float
    setup_cpu_s: float
    tuning_s: float
    tuning_cpu_s: float
    best: float
    others_s: float | None = None
    disk_wait_s: float | None = None
    is_exact: bool | None = None
    run: int = 0
    began: float | None = None

    def disturbance(self, num_cores: int) -> float | None:
        """Returns the share of the processors' time that was not the party's to use, from 0 to 1, where it is known."""
        return None if self.others_s is None else self.others_s / self.tuning_s / num_cores

    def is_quiet(self, num_cores: int) -> bool:
        """Whether it is known that at most a twentieth of the processors' time was not the party's to use."""
        share = self.disturbance(num_cores)
        return share is not None and share <= _MOST_DISTURBANCE

    @property
    def disk_share(self) -> float | None:
        """The share of the tuning in which some task on the machine waited for a disk, where it is known."""
        return None if self.disk_wait_s is None else self.disk_wait_s / self.tuning_s

    @property
    def rate(self) -> float:
        """Trials a second of the tuning alone."""
        return self.num_trials / self.tuning_s


def until_quiet(
    run: Callable[[], Heat],
    *,
    num_cores: int,
    until: float,
    say: Callable[[str], None],
    now: Callable[[], float] = time.monotonic,
) -> Heat:
    """Runs a heat, and again while it is known not to be quiet, at most three times; the quietest counts.

    Args:
        run: runs it once.
        num_cores: of the machine.
        until: it is not run again when that would end later than this.
        say: is told of each heat that others disturbed.
        now: the clock that `until` is by.

    Raises:
        DropsweepError: it did not complete once.
    """
    tried: list[tuple[float, Heat]] = []
    for _ in range(_MOST_TRIES):
        began = now()
        try:
            heat = run()
        except DropsweepError as error:
            if not tried:
                raise
            say(f"  it was not measured again: {error}")
            break
        share = heat.disturbance(num_cores)
        tried.append((share or 0.0, heat))
        if share is None or heat.is_quiet(num_cores):
            break
        say(f"  others had {share:.0%} of the processors")
        ended = now()
        if ended + (ended - began) > until:
            break
    return min(tried, key=lambda one: one[0])[1]


def run_heat(entrant: Entrant, race: Race) -> Heat:
    """Lets a party run a race in processes of its own, of which none is left, nor any of their files.

    What it prints is in `LOGS`.

    Raises:
        DropsweepError: the party's process ended early, or did not complete every trial.
    """
    LOGS.mkdir(parents=True, exist_ok=True)
    log = LOGS / f"{race.name}-{entrant.name}.log"
    folder = Path(tempfile.mkdtemp(prefix="race-"))
    interpreter = str(ENVIRONMENT / "bin/python") if entrant.is_peer else sys.executable
    command = [interpreter, "-m", f"{_PARTIES}.{entrant.module}", race.to_json(), str(folder), *entrant.options]
    try:
        with Meter("dropsweep-race") as meter:
            began = time.monotonic()
            process = meter.start(command, env=_environment(interpreter, entrant), cwd=ROOT, log=log)
            assert process.stdin is not None
            assert process.stdout is not None

            def hear() -> Any:
                line = process.stdout.readline()  # type: ignore[union-attr]
                if not line:
                    raise DropsweepError(
                        f"{entrant.title} ended with {process.wait()} in {race.title}. Read {shown(log)}"
                    )
                return json.loads(line)

            def go_on() -> None:
                print("go", file=process.stdin, flush=True)

            if (said := hear()) != READY:
                raise DropsweepError(f"{entrant.title} said {said!r}: it must say {READY!r} first")
            setup_s, setup_cpu_s = time.monotonic() - began, meter.seconds()
            waited_s = disk_wait_s()
            at, began, busy_s = time.time(), time.monotonic(), machine_busy_s()
            go_on()
            outcome = hear()
            tuning_s, tuning_cpu_s = time.monotonic() - began, meter.seconds() - setup_cpu_s
            others = others_s(machine_busy_s() - busy_s, tuning_s, tuning_cpu_s) if meter.is_exact else None
            waited_then_s = disk_wait_s()
            go_on()
            process.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if outcome["num_completed"] < race.num_trials:
        raise DropsweepError(
            f"{entrant.title} completed {outcome['num_completed']} of {race.num_trials} trials in {race.title}: its "
            f"numbers say nothing. Read {shown(log)}"
        )
    return Heat(
        num_trials=outcome["num_completed"],
        setup_s=setup_s,
        setup_cpu_s=setup_cpu_s,
        tuning_s=tuning_s,
        tuning_cpu_s=tuning_cpu_s,
        best=outcome["best"],
        others_s=others,
        disk_wait_s=None if waited_s is None or waited_then_s is None else waited_then_s - waited_s,
        is_exact=meter.is_exact,
        began=at,
    )


def _environment(interpreter: str, entrant: Entrant) -> dict[str, str]:
    env = {**os.environ, "PATH": os.pathsep.join([str(Path(interpreter).parent), os.environ.get("PATH", os.defpath)])}
    env.pop("PYTHONPATH", None)
    if not entrant.is_ours:
        env["PYTHONPATH"] = str(ROOT)  # the script of a trial imports `bench.peers`
    return env
