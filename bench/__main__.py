"""`python -m bench [--quick] [--json FILE] [NAME ...]`, which `make bench` calls."""

import argparse
import json
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType
from typing import Final, Protocol

from rich.console import Console

from bench import (
    calls,
    checkpoint,
    cold_start,
    digits,
    fan_out,
    far,
    gpu,
    grid,
    imports,
    latency,
    no_op,
    sharing,
    staging,
    submit,
    tail,
    warm,
    where,
)
from bench.machine import facts, told
from bench.page import replace, tables
from bench.results import Measured, show, to_json
from dropsweep.errors import DropsweepError
from local.paths import STATE, shown


class Measure(Protocol):
    """What every measure's function looks like."""

    def __call__(self, *, is_quick: bool) -> Measured:
        """Measures; quick takes fewer samples."""


MEASURES: Final[dict[str, Measure]] = {
    "imports": imports.measure,
    "calls": calls.measure,
    "grid": grid.measure,
    "fan-out": fan_out.measure,
    "latency": latency.measure,
    "cold-start": cold_start.measure,
    "warm-start": warm.measure,
    "submit": submit.measure,
    "tail": tail.measure,
    "no-op": no_op.measure,
    "far": far.measure,
    "staging": staging.measure,
    "checkpoint": checkpoint.measure,
    "digits": digits.measure,
    "gpu": gpu.measure,
    "where": where.measure,
    "sharing": sharing.measure,
}


def main() -> int:
    """Measures what was asked for, prints it and writes it as JSON.

    Returns:
        The exit status: 0 also when a number is over its bar, 1 when something could not be measured, 130 after Ctrl-C.
    """
    parser = _parser()
    options = parser.parse_args()
    if unknown := [name for name in options.names if name not in MEASURES]:
        parser.error(f"there is no measure {', '.join(unknown)}. Name some of {', '.join(MEASURES)}")
    if options.page is not None and not options.page.is_file():
        parser.error(f"{options.page} is no page. Name one that has comments such as `begin no-op` and `end no-op`")
    # SIGINT too: a shell that starts this in the background has it ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    console, errors = Console(), Console(stderr=True)
    known = facts() | {"is_quick": options.quick}
    measured: dict[str, Measured] = {}
    status = 0
    for name in [name for name in MEASURES if name in (options.names or MEASURES)]:
        errors.print(f"Measuring {name} …", highlight=False)
        try:
            measured[name] = MEASURES[name](is_quick=options.quick)
        except (DropsweepError, subprocess.CalledProcessError) as error:
            errors.print(f"{name} could not be measured: {error}", markup=False, highlight=False, style="bold red")
            status = 1
        except KeyboardInterrupt:
            errors.print("Stopped; no process is left.")
            status = 130
            break
    if measured:
        show(console, measured)
        console.print(told(known), markup=False, highlight=False)
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(known | to_json(measured), indent=2) + "\n", encoding="utf-8")
        console.print(f"Written to {shown(options.json)}", highlight=False)
        for name, one in measured.items() if options.page else ():
            if replace(options.page, name, f"{told(known)}\n\n{tables(one)}"):
                console.print(f"The tables of {name} are in {shown(options.page.absolute())}", highlight=False)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measures what the system promises.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"only these of {', '.join(MEASURES)}")
    parser.add_argument("--quick", action="store_true", help="fewer samples: half the time of about nine minutes")
    parser.add_argument(
        "--json", type=Path, default=STATE / "bench.json", metavar="FILE", help="where to write the numbers"
    )
    parser.add_argument("--page", type=Path, metavar="FILE", help="a page whose tables of these measures are replaced")
    return parser


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
