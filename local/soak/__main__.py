"""`python -m local.soak [--seed N] [--trials N] …`, which `make soak` calls."""

import argparse
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Final

from dropsweep.errors import DropsweepError
from local.paths import STATE, shown
from local.soak.killer import PARTIES, Deck, Strike
from local.soak.plan import Ending, JobPlan, plans
from local.soak.play import Outcome, by_party, play

_MAX_LINES: Final = 20


def main() -> int:
    """Runs the same jobs undisturbed and disturbed, and compares both with the plan.

    Returns:
        The exit status: 0 when every trial has its one planned result, 1 otherwise, 2 when something is set up wrongly,
        130 after Ctrl-C.
    """
    parser = _parser()
    options = parser.parse_args()
    if options.trials < 3 or options.every <= 0:
        parser.error("there must be at least 3 trials, one for each job, and a pause above 0 s between strikes")
    # SIGINT too: a shell that starts this in the background has it ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(10**6)
    jobs = plans(options.trials, seed)
    strikes = [strike for strike in Strike if strike.party in options.parties]
    deck = Deck(seed, strikes, options.every)
    print(
        f"Soak with --seed {seed}: {options.trials} trials in {len(jobs)} jobs, {options.trainers} workers of "
        f"{options.slots} slots, a strike every {options.every:g} s.",
        flush=True,
    )
    outcomes: dict[str, Outcome] = {}
    try:
        for name, its_deck in (("undisturbed", None), ("disturbed", deck)):
            if its_deck or not options.no_baseline:
                outcomes[name] = play(
                    _data(name),
                    jobs,
                    its_deck,
                    num_trainers=options.trainers,
                    num_slots=options.slots,
                    limit_s=options.limit,
                    say=_teller(name),
                )
    except KeyboardInterrupt:
        print("\nStopped; no process is left.", file=sys.stderr)
        return 130
    except DropsweepError as error:
        print(f"\n{error}", file=sys.stderr)
        return 2
    for name, outcome in outcomes.items():
        _show(name, outcome, jobs)
    _compare(seed, outcomes)
    return 0 if all(outcome.verdict.is_good and not outcome.hanging for outcome in outcomes.values()) else 1


def _data(name: str) -> Path:
    # Right below the state's folder, where `make clean` looks for stacks that run.
    return STATE / f"soak-{name}"


def _teller(name: str) -> Callable[[str], None]:
    began = time.monotonic()

    def say(line: str) -> None:
        print(f"{name:>11} {time.monotonic() - began:5.0f} s | {line}", flush=True)

    return say


def _show(name: str, outcome: Outcome, jobs: tuple[JobPlan, ...]) -> None:
    print(f"\n{name}: {outcome.wall_s:.1f} s")
    if outcome.strikes:
        told = ", ".join(f"{count} {party}" for party, count in by_party(outcome.strikes).items())
        print(f"  killed: {told} ({', '.join(f'{strike} {count}' for strike, count in outcome.strikes.items())})")
    num_planned = sum(trial.ending is Ending.RETRIED for job in jobs for trial in job.trials)
    print(f"  attempts beyond the first: {outcome.verdict.num_extra_attempts} ({num_planned} are planned retries)")
    print(
        f"  processes begun: {outcome.ledger.begun.total()}, run to their end: {outcome.ledger.ended.total()}, of "
        f"which {outcome.ledger.num_repeated} a second time or more often (planned retries too)"
    )
    print(f"  left behind: {'; '.join(outcome.queues)}")
    for what, lines in (
        ("lost", outcome.verdict.lost),
        ("doubled", outcome.verdict.doubled),
        ("wrong", outcome.verdict.wrong),
    ):
        for line in lines[:_MAX_LINES]:
            print(f"  {what}: {line}")
        if len(lines) > _MAX_LINES:
            print(f"  {what}: and {len(lines) - _MAX_LINES} more")
    if outcome.hanging:
        print(f"  not final within the limit; the logs lie in {shown(_data(name) / 'logs')}:")
        for line in outcome.hanging:
            print(f"    {line}")


def _compare(seed: int, outcomes: dict[str, Outcome]) -> None:
    disturbed = outcomes["disturbed"]
    verdict = disturbed.verdict
    overhead = ""
    if undisturbed := outcomes.get("undisturbed"):
        overhead = (
            f"; {disturbed.wall_s:.1f} s, {disturbed.wall_s / undisturbed.wall_s:.2f} times the "
            f"{undisturbed.wall_s:.1f} s of the undisturbed run"
        )
    print(
        f"\nseed {seed}: {sum(disturbed.strikes.values())} strikes, lost {len(verdict.lost)}, doubled "
        f"{len(verdict.doubled)}, otherwise wrong {len(verdict.wrong)}{overhead}",
        flush=True,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m local.soak", description="Runs short trials while parties of the system die at random."
    )
    parser.add_argument("--seed", type=int, help="repeats the jobs and the order of strikes of an earlier soak")
    parser.add_argument("--trials", type=int, default=300, help="in all, at least 3 (default 300)")
    parser.add_argument("--trainers", type=int, default=3, help="worker processes (default 3)")
    parser.add_argument("--slots", type=int, default=2, help="trials that each worker runs at once (default 2)")
    parser.add_argument("--every", type=float, default=3.0, metavar="SECONDS", help="between strikes (default 3)")
    parser.add_argument(
        "--limit", type=float, default=900.0, metavar="SECONDS", help="until a job counts as hanging (default 900)"
    )
    parser.add_argument("--parties", nargs="+", choices=PARTIES, default=PARTIES, help="whom to strike (default all)")
    parser.add_argument("--no-baseline", action="store_true", help="leave the undisturbed run out")
    return parser


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
