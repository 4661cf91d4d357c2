"""What came out of a race as tables in Markdown: one for each race, one of the guarantees, one of the bars."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from bench.peers.entrants import ENTRANTS, LOOP, Guarantee
from bench.peers.heat import Heat
from bench.peers.races import RACES, Race
from bench.peers.standings import LONG, Bar, Failed, Results, Standing, bars, number, overhead_ms

_HEAD: Final = ("party", "trials/s", "CPU ms a trial", "CPU share", "others", "set-up s", "trials", "heats")
_AT_LEAST: Final = "≥ "
_INEXACT: Final = "≥: no control group could be made, so time of processes that left the party unseen is missing."


def tables(results: Results, num_cores: int, failed: Failed) -> str:
    """Returns all tables.

    Args:
        results: the heats.
        num_cores: of the machine.
        failed: tries of heats that gave no numbers, besides.
    """
    parts = []
    for name, race in RACES.items():
        failed_here = {party: failed.get((name, party), 0) for party in ENTRANTS}
        if name in results or any(failed_here.values()):
            parts.append(_race_table(race, results.get(name, {}), num_cores, failed_here))
    if any(_AT_LEAST in part for part in parts):
        parts.append(f"{_INEXACT}\n")
    parts.append(_guarantees({party for parties in results.values() for party in parties}))
    if checked := bars(results, num_cores, failed):
        parts.append(_bar_table(checked))
    return "\n".join(parts)


def _race_table(race: Race, parties: Mapping[str, Sequence[Heat]], num_cores: int, failed: Mapping[str, int]) -> str:
    standings = {
        name: Standing.of(name, parties[name], num_cores, failed[name]) for name in ENTRANTS if name in parties
    }
    floor = standings.get(LOOP)
    head = [*_HEAD, "overhead ms a trial"] if floor else _HEAD
    lines = [f"**{race.title}**"]
    if standings:
        lines += ["", _line(head), _line(["---", *["---:"] * (len(head) - 1)])]
    for name, standing in standings.items():
        least = "" if standing.is_exact else _AT_LEAST
        cells = [ENTRANTS[name].title, str(standing.rate), f"{least}{number(1000 * standing.cpu_s.median)}"]
        cells += [f"{least}{standing.share.median:.0%}"]
        cells += [f"{standing.others.median:.0%}" if standing.others else ""]
        cells += [number(standing.setup_s.median), str(standing.num_trials), str(standing.counted)]
        if floor:
            cells.append(number(overhead_ms(standing.rate.median, floor.rate.median)))
        lines.append(_line(cells))
    if race.name == LONG and standings:
        slowest = min(standings.values(), key=lambda standing: standing.rate.median)
        share = f"{'' if slowest.is_exact else 'at least '}{slowest.share.median:.0%} of the processors"
        lines += ["", f"The slowest party, {ENTRANTS[slowest.party].title}, used {share}."]
    if none := [f"{ENTRANTS[name].title} ({num})" for name, num in failed.items() if num and name not in standings]:
        lines += ["", f"All heats failed: {', '.join(none)}."]
    return "\n".join(lines) + "\n"


def _guarantees(parties: set[str]) -> str:
    lines = ["**What each guarantees**", "", _line(["party", "durable", "isolated", "resumable"]), _line(["---"] * 4)]
    for name, entrant in ENTRANTS.items():
        if name in parties:
            cells = [_guarantee(one) for one in (entrant.durable, entrant.isolated, entrant.resumable)]
            lines.append(_line([entrant.title, *cells]))
    return "\n".join(lines) + "\n"


def _guarantee(guarantee: Guarantee) -> str:
    source = f" ([source]({guarantee.source}))" if guarantee.source else ""
    return f"{guarantee.kept}: {guarantee.why}{source}"


def _bar_table(checked: Iterable[Bar]) -> str:
    head = ["what", "measured", "bar", "", "heats"]
    lines = ["**Bars**", "", _line(head), _line(["---", "---:", "---:", "---", "---"])]
    for bar in checked:
        bound = f"{'at most' if bar.is_most else 'at least'} {number(bar.bound)}"
        verdict = "kept" if bar.is_kept else "not kept"
        lines.append(_line([bar.what, str(bar.measured), bound, verdict, bar.heats]))
    return "\n".join(lines) + "\n"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
