"""One party runs one race once, and the clock and the processor time are read."""

import json
import os
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.peers.cpu import Meter
from bench.peers.entrants import Entrant
from bench.peers.races import Race
from bench.peers.taking_part import READY
from dropsweep.errors import DropsweepError
from local.paths import ROOT, STATE

ENVIRONMENT: Final = ROOT / ".venv-peers"
LOGS: Final = STATE / "peers"
_PARTIES: Final = "bench.peers.parties"
_STAT: Final = Path("/proc/stat")


@dataclass(frozen=True, slots=True)
class Heat:
    """What one party's process did.

    Attributes:
        num_trials: trials that completed.
        setup_s, setup_cpu_s: until the party's system was up and had done everything once, in seconds of the clock and
            of processors, of all its processes.
        tuning_s, tuning_cpu_s: from the word to run the trials until the party knew all results.
        best: the highest result.
        others_s: processor seconds that everything else on the machine used meanwhile, or that its hypervisor took;
            None: not known.
    """

    num_trials: int
    setup_s: float
    setup_cpu_s: float
    tuning_s: float
    tuning_cpu_s: float
    best: float
    others_s: float | None = None

    def disturbance(self, num_cores: int) -> float | None:
        """Returns the share of the processors' time that was not the party's to use, from 0 to 1, where it is known."""
        return None if self.others_s is None else self.others_s / self.tuning_s / num_cores

    @property
    def rate(self) -> float:
        """Trials a second of the tuning alone."""
        return self.num_trials / self.tuning_s


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
                    raise DropsweepError(f"{entrant.title} ended with {process.wait()} in {race.title}. Read {log}")
                return json.loads(line)

            def go_on() -> None:
                print("go", file=process.stdin, flush=True)

            if (said := hear()) != READY:
                raise DropsweepError(f"{entrant.title} said {said!r}: it must say {READY!r} first")
            setup_s, setup_cpu_s = time.monotonic() - began, meter.seconds()
            began, busy_s = time.monotonic(), _busy_s()
            go_on()
            outcome = hear()
            tuning_s, tuning_cpu_s = time.monotonic() - began, meter.seconds() - setup_cpu_s
            others_s = max(0.0, _busy_s() - busy_s - tuning_cpu_s)
            go_on()
            process.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if outcome["num_completed"] < race.num_trials:
        raise DropsweepError(
            f"{entrant.title} completed {outcome['num_completed']} of {race.num_trials} trials in {race.title}: its "
            f"numbers say nothing. Read {log}"
        )
    return Heat(outcome["num_completed"], setup_s, setup_cpu_s, tuning_s, tuning_cpu_s, outcome["best"], others_s)


def _busy_s() -> float:
    """Seconds in which a processor of this machine was not idle, all processors together, since it started."""
    ticks = [int(field) for field in _STAT.read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]]
    user, nice, system, _idle, _waiting, interrupts, soft_interrupts, stolen = ticks
    return (user + nice + system + interrupts + soft_interrupts + stolen) / os.sysconf("SC_CLK_TCK")


def _environment(interpreter: str, entrant: Entrant) -> dict[str, str]:
    env = {**os.environ, "PATH": os.pathsep.join([str(Path(interpreter).parent), os.environ.get("PATH", os.defpath)])}
    env.pop("PYTHONPATH", None)
    if not entrant.is_ours:
        env["PYTHONPATH"] = str(ROOT)  # the script of a trial imports `bench.peers`
    return env
