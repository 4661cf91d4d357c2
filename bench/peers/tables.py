"""What came out of a race as tables in Markdown: one for each race, one of the guarantees, one of the bars."""

from collections.abc import Iterable, Mapping, Sequence

from bench.peers.entrants import ENTRANTS, LOOP, Guarantee
from bench.peers.heat import Heat
from bench.peers.races import RACES, Race
from bench.peers.standings import LONG, Bar, Results, Standing, bars, number, overhead_ms

_HEAD = ("party", "trials/s", "CPU ms a trial", "CPU share", "others", "set-up s", "trials", "heats")


def tables(results: Results, num_cores: int) -> str:
    """Returns all tables."""
    parts = [_race_table(RACES[name], parties, num_cores) for name, parties in results.items()]
    parts.append(_guarantees({party for parties in results.values() for party in parties}))
    if checked := bars(results, num_cores):
        parts.append(_bar_table(checked))
    return "\n".join(parts)


def _race_table(race: Race, parties: Mapping[str, Sequence[Heat]], num_cores: int) -> str:
    standings = {name: Standing.of(name, parties[name], num_cores) for name in ENTRANTS if name in parties}
    floor = standings.get(LOOP)
    head = [*_HEAD, "overhead ms a trial"] if floor else _HEAD
    lines = [f"**{race.title}**", "", _line(head), _line(["---", *["---:"] * (len(head) - 1)])]
    for name, standing in standings.items():
        cells = [ENTRANTS[name].title, str(standing.rate), number(1000 * standing.cpu_s.median)]
        cells += [f"{standing.share.median:.0%}", f"{standing.others.median:.0%}" if standing.others else ""]
        cells += [number(standing.setup_s.median), str(standing.num_trials), str(standing.counted)]
        if floor:
            cells.append(number(overhead_ms(standing.rate.median, floor.rate.median)))
        lines.append(_line(cells))
    if race.name == LONG:
        slowest = min(standings.values(), key=lambda standing: standing.rate.median)
        share = f"{slowest.share.median:.0%} of the processors"
        lines += ["", f"The slowest party, {ENTRANTS[slowest.party].title}, used {share}."]
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
        lines.append(_line([bar.what, number(bar.value), bound, verdict, ", ".join(bar.heats)]))
    return "\n".join(lines) + "\n"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
