"""`python -m bench.peers [--quick] [--races NAME …] [--parties NAME …] [--resume]`, which `make bench-peers` calls."""

import argparse
import json
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Final

from bench.machine import facts
from bench.page import replace
from bench.peers.document import Document
from bench.peers.entrants import ENTRANTS
from bench.peers.heat import ENVIRONMENT, Heat, run_heat, until_quiet
from bench.peers.picture import draw
from bench.peers.programme import Planned, expected_s, lacking, programme
from bench.peers.races import RACES
from bench.peers.standings import Results
from bench.peers.tables import tables
from dropsweep.errors import ConfigError, DropsweepError
from local.paths import ROOT, STATE, shown

_RESULTS: Final = STATE / "peers.json"
_KNOWN: Final = ROOT / "docs/performance/peers.json"
"""The numbers of the documentation, which tell how long a race takes."""
_LIMIT_MIN: Final = 50.0
_TELLS_VERSIONS: Final = "from importlib.metadata import version; print(*map(version, {names!r}))"
_TOOLS: Final = ("ray", "optuna", "syne-tune", "torch")


def main() -> int:
    """Runs the races that were asked for, prints the tables, and writes them, the numbers and the picture.

    The numbers are written before the first heat, when there are none yet, and after each.

    Returns:
        The exit status: 0 also when a bar is not kept, 1 when a party could not run a race, 130 after Ctrl-C.
    """
    parser = _parser()
    options = parser.parse_args()
    if options.page is not None and not options.page.is_file():
        parser.error(f"{options.page} is no page. Name one that has the comments `begin peers` and `end peers`")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    races = options.races or ([] if options.of else list(RACES))
    heats: Sequence[Planned] = programme(
        [RACES[name] for name in RACES if name in races],
        options.parties,
        num_repetitions=1 if options.quick else options.repetitions,
        seed=options.seed,
    )
    try:
        document, heats = _begin(options, heats)
    except ConfigError as error:
        parser.error(str(error))
    status = _run(heats, document, options) if heats else 0
    if document.heats:
        _publish(document, options)
    return status


def _begin(options: argparse.Namespace, heats: Sequence[Planned]) -> tuple[Document, Sequence[Planned]]:
    """What there is already, and the heats that are to be run; where there are any, the file of numbers is begun.

    Raises:
        ConfigError: there is nothing to begin with, or the heats cannot stand beside those that there are.
    """
    file = options.json if options.resume else options.of
    document = Document() if file is None else Document.read(file)
    if not heats:
        if file is not None and not document.heats:
            raise ConfigError(f"{file} has no heats: there must be some. Leave it out to begin anew")
        return document, heats
    now = facts(_versions() if any(heat.entrant.is_peer for heat in heats) else None)
    if file is not None:
        document.refuse_another_machine(now, file)
    if options.resume:
        document.refuse_other_code(now, file)
        heats = lacking(heats, document.heats)
    else:
        for heat in heats:
            document.drop(heat.race.name, heat.entrant.name)
    if heats:
        document.runs.append(now)
        # What --resume finds must be of this race, also when it is interrupted before its first heat is there.
        document.save(options.json)
    return document, heats


def _run(heats: Sequence[Planned], document: Document, options: argparse.Namespace) -> int:
    """Runs the heats, adds what they measured to the document and writes it after each; returns the exit status."""
    known: list[Results] = [document.heats]
    if _KNOWN.exists():
        known.append(Document.from_json(json.loads(_KNOWN.read_text(encoding="utf-8"))).heats)

    def needed_s(left: Sequence[Planned]) -> float:
        return sum(expected_s(heat, *known) for heat in left)

    status = 0
    until = time.monotonic() + 60 * options.minutes
    _say(f"{len(heats)} heats, about {needed_s(heats) / 60:.0f} minutes if nothing disturbs them")
    try:
        for index, heat in enumerate(heats):
            place = f"{index + 1} of {len(heats)}, {needed_s(heats[index:]) / 60:.0f} min left"
            _say(f"[{place}] {heat.race.title}: {heat.entrant.title}, {heat.race.num_trials} trials …")
            race, party = heat.race.name, heat.entrant.name
            try:
                run = until_quiet(
                    partial(document.try_once, race, party, partial(run_heat, heat.entrant, heat.race)),
                    num_cores=document.num_cores,
                    until=until - needed_s(heats[index + 1 :]),
                    say=_say,
                )
            except DropsweepError as error:
                _say(f"  not measured: {error}")
                status = 1
            else:
                _say(f"  {_line(run)}")
                document.add(race, party, run)
            document.save(options.json)
    except KeyboardInterrupt:
        _say("Stopped; no process is left. The same command with --resume goes on.")
        status = 130
    return status


def _line(heat: Heat) -> str:
    text = f"{heat.rate:.2f} trials a second, {1000 * heat.tuning_cpu_s / heat.num_trials:.0f} ms of CPU each"
    if not heat.is_exact:
        text += " at least"
    return text if heat.disk_share is None else f"{text}; some task waited for a disk {heat.disk_share:.0%} of the time"


def _publish(document: Document, options: argparse.Namespace) -> None:
    """Prints the tables, and writes all that was asked for."""
    text = f"{document.told()}\n\n{tables(document.results, document.num_cores, document.failed)}"
    document.save(options.json)
    files = [options.json]
    if options.picture is not None:
        options.picture.write_text(draw(document.results, document.num_cores), encoding="utf-8")
        files.append(options.picture)
    if options.page is not None:
        replace(options.page, "peers", text)
        files.append(options.page)
    print(text)
    _say(f"Written to {', '.join(shown(file.absolute()) for file in files)}")


def _versions() -> dict[str, str]:
    interpreter = ENVIRONMENT / "bin/python"
    if not interpreter.exists():
        raise ConfigError(f"{shown(ENVIRONMENT)} is not there: the other tools live in it. Run make bench-peers")
    command = [str(interpreter), "-c", _TELLS_VERSIONS.format(names=_TOOLS)]
    versions = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return dict(zip(_TOOLS, versions, strict=True))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description="Races Dropsweep against other tools.")
    parser.add_argument("--quick", action="store_true", help="each party runs each race once")
    parser.add_argument("--races", nargs="+", choices=RACES, metavar="NAME", help=f"of {', '.join(RACES)}; else all")
    parser.add_argument(
        "--parties", nargs="+", choices=ENTRANTS, default=list(ENTRANTS), metavar="NAME", help=", ".join(ENTRANTS)
    )
    parser.add_argument("--repetitions", type=int, metavar="N", help="of every race, in place of its own number")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the order of the parties")
    parser.add_argument(
        "--minutes",
        type=float,
        default=_LIMIT_MIN,
        metavar="M",
        help=f"heats that others disturbed are run again within this time; {_LIMIT_MIN:g} if not told",
    )
    parser.add_argument("--json", type=Path, default=_RESULTS, metavar="FILE", help="where to write the numbers")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="where to draw them, as SVG")
    parser.add_argument("--page", type=Path, metavar="FILE", help="a page whose tables are replaced")
    earlier = parser.add_mutually_exclusive_group()
    earlier.add_argument("--of", type=Path, metavar="FILE", help="begin with these; run only --races of --parties")
    earlier.add_argument("--resume", action="store_true", help="keep the heats of --json's file, run those it lacks")
    return parser


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
