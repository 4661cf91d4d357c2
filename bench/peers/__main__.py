"""`python -m bench.peers [--quick] [--races NAME …] [--parties NAME …]`, which `make bench-peers` calls."""

import argparse
import json
import os
import platform
import random
import signal
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any, Final

from bench.page import replace
from bench.peers.entrants import ENTRANTS, Entrant
from bench.peers.heat import ENVIRONMENT, Heat, run_heat
from bench.peers.picture import draw
from bench.peers.races import RACES, Race
from bench.peers.standings import from_json, tables, to_json
from bench.results import machine
from dropsweep import __version__
from dropsweep.errors import DropsweepError
from local.paths import STATE, shown

_RESULTS: Final = STATE / "peers.json"
_MOST_DISTURBANCE: Final = 0.05
_MOST_TRIES: Final = 3
_TELLS_VERSIONS: Final = "from importlib.metadata import version; print(*map(version, {names!r}))"
_TOOLS: Final = ("ray", "optuna", "syne-tune", "torch")


def main() -> int:
    """Runs the races that were asked for, prints the tables, and writes them, the numbers and the picture.

    Returns:
        The exit status: 0 also when a bar is not kept, 1 when a party could not run a race, 130 after Ctrl-C.
    """
    parser = _parser()
    options = parser.parse_args()
    if options.page is not None and not options.page.is_file():
        parser.error(f"{options.page} is no page. Name one that has the comments `begin peers` and `end peers`")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    status = 0
    races = options.races or ([] if options.of else list(RACES))
    document: dict[str, Any] = _facts(is_quick=options.quick) if races else {}
    results: dict[str, dict[str, list[Heat]]] = {}
    if options.of is not None:
        earlier = json.loads(options.of.read_text(encoding="utf-8"))
        document, results = earlier | document, from_json(earlier)
    for name in races:
        for party in options.parties:
            results.get(name, {}).pop(party, None)
    try:
        heats = programme(
            [RACES[name] for name in RACES if name in races],
            options.parties,
            once=options.once,
            num_repetitions=1 if options.quick else options.repetitions,
            seed=options.seed,
        )
        for race, entrant in heats:
            _say(f"{race.title}: {entrant.title} …")
            try:
                heat = _undisturbed(entrant, race)
            except DropsweepError as error:
                _say(f"  not measured: {error}")
                status = 1
                continue
            _say(f"  {heat.rate:.2f} trials a second, {1000 * heat.tuning_cpu_s / heat.num_trials:.0f} ms of CPU each")
            results.setdefault(race.name, {}).setdefault(entrant.name, []).append(heat)
    except KeyboardInterrupt:
        _say("Stopped; no process is left.")
        status = 130
    _write(results, document, options)
    return status


def _undisturbed(entrant: Entrant, race: Race) -> Heat:
    """Runs a heat, and again while something else used more than a twentieth of the processors; the quietest counts.

    Raises:
        DropsweepError: the party did not complete it.
    """
    heats: list[tuple[float, Heat]] = []
    for _ in range(_MOST_TRIES):
        heat = run_heat(entrant, race)
        heats.append((heat.disturbance(os.cpu_count() or 1) or 0.0, heat))
        if heats[-1][0] <= _MOST_DISTURBANCE:
            break
        _say(f"  others had {heats[-1][0]:.0%} of the processors")
    return min(heats, key=lambda tried: tried[0])[1]


def programme(
    races: Sequence[Race],
    parties: Sequence[str],
    *,
    once: Sequence[str] = (),
    num_repetitions: int | None = None,
    seed: int = 0,
) -> list[tuple[Race, Entrant]]:
    """Returns all heats in their order: in each repetition of a race each party once, in another order each time.

    Args:
        races: in this order.
        parties: names; of a race that is for some parties only, the others are left out.
        once: names of those that run each race in its first repetition only.
        num_repetitions: of each race; None: its own number.
        seed: of the orders.
    """
    dice = random.Random(seed)
    heats = []
    for race in races:
        entrants = [ENTRANTS[name] for name in parties if not race.parties or name in race.parties]
        for repetition in range(num_repetitions or race.num_repetitions):
            dice.shuffle(entrants)
            heats += [(race, entrant) for entrant in entrants if not repetition or entrant.name not in once]
    return heats


def _write(results: dict[str, dict[str, list[Heat]]], document: dict[str, Any], options: argparse.Namespace) -> None:
    if not results:
        return
    results = {name: results[name] for name in RACES if name in results}
    text = f"{_told(document)}\n\n{tables(results, document['machine']['cores'])}"
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(document | to_json(results), indent=1) + "\n", encoding="utf-8")
    files = [options.json]
    if options.picture is not None:
        options.picture.write_text(draw(results), encoding="utf-8")
        files.append(options.picture)
    if options.page is not None:
        replace(options.page, "peers", text)
        files.append(options.page)
    print(text)
    _say(f"Written to {', '.join(shown(file.absolute()) for file in files)}")


def _told(document: dict[str, Any]) -> str:
    """The facts that the numbers depend on, as a sentence."""
    here = document["machine"]
    tools = ", ".join(f"{name} {version}" for name, version in document["tools"].items())
    return (
        f"Measured on {document['started'][:10]} with dropsweep {document['version']}, {tools} and Python "
        f"{here['python']}, on {here['cores']} cores ({here['processor']}) with {here['memory_gib']:g} GiB of memory; "
        f"load before it: {here['load']:g}."
    )


def _facts(*, is_quick: bool) -> dict[str, Any]:
    interpreter = str(ENVIRONMENT / "bin/python")
    told = subprocess.run(
        [interpreter, "-c", _TELLS_VERSIONS.format(names=_TOOLS)], capture_output=True, text=True, check=True
    ).stdout.split()
    return {
        "version": __version__,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "is_quick": is_quick,
        "machine": machine() | {"memory_gib": round(_memory_gib(), 1), "processor": platform.machine()},
        "tools": dict(zip(_TOOLS, told, strict=True)),
    }


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description="Races Dropsweep against other tools.")
    parser.add_argument("--quick", action="store_true", help="each party runs each race once")
    parser.add_argument("--races", nargs="+", choices=RACES, metavar="NAME", help=f"of {', '.join(RACES)}; else all")
    parser.add_argument(
        "--parties", nargs="+", choices=ENTRANTS, default=list(ENTRANTS), metavar="NAME", help=", ".join(ENTRANTS)
    )
    parser.add_argument(
        "--once", nargs="+", choices=ENTRANTS, default=[], metavar="NAME", help="parties that are not repeated"
    )
    parser.add_argument("--repetitions", type=int, help="of every race, in place of its own number")
    parser.add_argument("--seed", type=int, default=0, help="of the order of the parties")
    parser.add_argument("--json", type=Path, default=_RESULTS, metavar="FILE", help="where to write the numbers")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="where to draw them, as SVG")
    parser.add_argument("--page", type=Path, metavar="FILE", help="a page whose tables are replaced")
    parser.add_argument("--of", type=Path, metavar="FILE", help="begin with these; run only --races of --parties")
    return parser


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
