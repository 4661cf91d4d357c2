"""`python -m local up` and `python -m local demo`, which `make up` and `make demo` call."""

import argparse
import signal
import sys
from pathlib import Path
from types import FrameType

from dropsweep.errors import DropsweepError


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> int:
    """Runs one command; returns its exit status: 2 when something is set up wrongly.

    After Ctrl-C it is 0 for `up`, which ends in no other way when all is well, and 130 for `demo`.
    """
    parser = argparse.ArgumentParser(prog="python -m local", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, purpose in (
        ("demo", "run the example sweep from drop to leaderboard"),
        ("up", "keep the system running"),
    ):
        command = commands.add_parser(name, help=purpose)
        trainers = command.add_mutually_exclusive_group() if name == "up" else command
        trainers.add_argument("--trainers", type=int, default=2, help="trainer processes (default 2)")
        if name == "up":
            trainers.add_argument(
                "--clusters",
                type=Path,
                metavar="FOLDER",
                help="serve the clusters of its files instead, with as many trainers as there is work for",
            )
            command.add_argument("--no-host", action="store_true", help="storage and trainers only, for `func start`")
    options = parser.parse_args()
    # SIGINT too: a shell that starts this in the background has it ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        # Here, where Ctrl-C is met in good order: these take most of a second.
        from local.demo import demo
        from local.up import up

        if options.command == "demo":
            return demo(options.trainers)
        return up(options.trainers, clusters=options.clusters, with_host=not options.no_host)
    except KeyboardInterrupt:
        print("\nStopped; no process is left.", file=sys.stderr)
        # make tells of every other status in a line that looks like a fault.
        return 0 if options.command == "up" else 130
    except DropsweepError as error:
        print(f"\n{error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
