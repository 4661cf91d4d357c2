"""What came out of a race: medians with their spread, the bars, and both as JSON and as tables."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Self

from bench.peers.entrants import ENTRANTS, LOOP, OURS, RAY, RAY_REUSING, Guarantee
from bench.peers.heat import Heat
from bench.peers.races import NUM_WORKERS, RACES, Race

NO_OP, MLP, CNN, CNN_WITHOUT, LONG = RACES
_TIMES_RAY: Final = 3.0
_NO_OPS_A_SECOND: Final = 20.0
_SHARE_OF_LOOP: Final = 0.85
_CHECKPOINTS_SHARE: Final = 0.10

Results = Mapping[str, Mapping[str, Sequence[Heat]]]
"""Heats by race and party, each in the order of the repetitions."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Some repetitions of one number."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Self:
        """Sums up at least one value."""
        known = list(values)
        return cls(statistics.median(known), min(known), max(known))

    def __str__(self) -> str:
        """For people, as `4.2 (4.0 to 4.5)`; one repetition has no spread."""
        if self.least == self.most:
            return number(self.median)
        return f"{number(self.median)} ({number(self.least)} to {number(self.most)})"


@dataclass(frozen=True, slots=True)
class Standing:
    """One party in one race.

    Attributes:
        rate: trials a second, of the tuning alone.
        cpu_s: processor seconds a trial, of all the party's processes, of the tuning alone.
        share: of the processors' time, by the party's processes.
        others: share of the processors' time that something else used; None: not known of every heat.
        setup_s: seconds until the party's system was up.
    """

    party: str
    rate: Spread
    cpu_s: Spread
    share: Spread
    others: Spread | None
    setup_s: Spread

    @classmethod
    def of(cls, party: str, heats: Sequence[Heat], num_cores: int) -> Self:
        """Sums up a party's repetitions of one race on a machine of so many cores."""
        known = [share for heat in heats if (share := heat.disturbance(num_cores)) is not None]
        return cls(
            party,
            Spread.of(heat.rate for heat in heats),
            Spread.of(heat.tuning_cpu_s / heat.num_trials for heat in heats),
            Spread.of(heat.tuning_cpu_s / heat.tuning_s / num_cores for heat in heats),
            Spread.of(known) if len(known) == len(heats) else None,
            Spread.of(heat.setup_s for heat in heats),
        )


@dataclass(frozen=True, slots=True)
class Bar:
    """A promise, and what became of it.

    Attributes:
        what: is promised.
        value: was measured.
        bound: it must be at least this, or at most where `is_most`.
    """

    what: str
    value: float
    bound: float
    is_most: bool = False

    @property
    def is_kept(self) -> bool:
        """Whether the promise is kept."""
        return self.value <= self.bound if self.is_most else self.value >= self.bound


def bars(results: Results) -> list[Bar]:
    """Checks the promises that the results have the numbers for.

    Two parties are compared heat by heat: the value is the median of the ratios of those of one repetition, which ran
    minutes apart on the same machine.
    """
    found = []
    no_op, mlp = results.get(NO_OP, {}), results.get(MLP, {})
    if OURS in no_op:
        found.append(
            Bar("no-op trials a second", statistics.median(heat.rate for heat in no_op[OURS]), _NO_OPS_A_SECOND)
        )
        if RAY_REUSING in no_op:
            ratio = _ratio(no_op[OURS], no_op[RAY_REUSING])
            found.append(Bar("no-op rate over that of Ray Tune with reuse_actors", ratio, _TIMES_RAY))
    if OURS in mlp:
        if LOOP in mlp:
            found.append(Bar("MLP rate over that of the bare loops", _ratio(mlp[OURS], mlp[LOOP]), _SHARE_OF_LOOP))
        for ray in (RAY, RAY_REUSING):
            if ray in mlp:
                title = ENTRANTS[ray].title
                found.append(Bar(f"MLP rate over that of {title}", _ratio(mlp[OURS], mlp[ray]), 1.0))
    with_them, without = results.get(CNN, {}).get(OURS), results.get(CNN_WITHOUT, {}).get(OURS)
    if with_them and without:
        cost = _ratio(without, with_them) - 1
        found.append(Bar("checkpoints: what they add to the CNN's time", cost, _CHECKPOINTS_SHARE, is_most=True))
    return found


def overhead_ms(standing: Heat, floor: Heat) -> float:
    """Returns the milliseconds of a worker that a party adds to each trial, over a floor's heat of the same race."""
    each, least = (NUM_WORKERS / heat.rate for heat in (standing, floor))
    return 1000 * (each - least)


def _ratio(ours: Sequence[Heat], theirs: Sequence[Heat]) -> float:
    return statistics.median(one.rate / other.rate for one, other in zip(ours, theirs, strict=False))


def to_json(results: Results) -> dict[str, Any]:
    """Returns every heat, race by race, and the bars."""
    return {
        "heats": [
            {"race": race, "party": party, "repetition": index, **asdict(heat)}
            for race, parties in results.items()
            for party, heats in parties.items()
            for index, heat in enumerate(heats, start=1)
        ],
        "bars": [{**asdict(bar), "is_kept": bar.is_kept} for bar in bars(results)],
    }


def from_json(document: Mapping[str, Any]) -> dict[str, dict[str, list[Heat]]]:
    """Returns the heats of what `to_json` wrote."""
    results: dict[str, dict[str, list[Heat]]] = {}
    for row in document["heats"]:
        fields = {name: value for name, value in row.items() if name not in ("race", "party", "repetition")}
        results.setdefault(row["race"], {}).setdefault(row["party"], []).append(Heat(**fields))
    return results


def tables(results: Results, num_cores: int) -> str:
    """Returns one table for each race, one of the guarantees and one of the bars, in Markdown."""
    parts = [_race_table(RACES[name], parties, num_cores) for name, parties in results.items()]
    parts.append(_guarantees({party for parties in results.values() for party in parties}))
    if checked := bars(results):
        parts.append(_bar_table(checked))
    return "\n".join(parts)


def _race_table(race: Race, parties: Mapping[str, Sequence[Heat]], num_cores: int) -> str:
    has_floor = LOOP in parties
    head = ["party", "trials/s", "CPU ms a trial", "CPU share", "others", "set-up s"] + [
        "overhead ms a trial"
    ] * has_floor
    lines = [f"**{race.title}**", "", _line(head), _line(["---", *["---:"] * (len(head) - 1)])]
    for name in ENTRANTS:
        if name not in parties:
            continue
        standing = Standing.of(name, parties[name], num_cores)
        cells = [ENTRANTS[name].title, str(standing.rate), number(1000 * standing.cpu_s.median)]
        cells += [f"{standing.share.median:.0%}", f"{standing.others.median:.0%}" if standing.others else ""]
        cells.append(number(standing.setup_s.median))
        if has_floor:
            pairs = zip(parties[name], parties[LOOP], strict=False)
            cells.append(number(statistics.median(overhead_ms(heat, floor) for heat, floor in pairs)))
        lines.append(_line(cells))
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
    lines = ["**Bars**", "", _line(["what", "measured", "bar", ""]), _line(["---", "---:", "---:", "---"])]
    for bar in checked:
        bound = f"{'at most' if bar.is_most else 'at least'} {number(bar.bound)}"
        lines.append(_line([bar.what, number(bar.value), bound, "kept" if bar.is_kept else "not kept"]))
    return "\n".join(lines) + "\n"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def number(value: float) -> str:
    """Returns a number for people: three digits, or all digits before the point."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
