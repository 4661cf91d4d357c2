"""What came out of a race: which heats count, medians with their spread, and the bars."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

from bench.peers.entrants import ENTRANTS, LOOP, OURS, RAY, RAY_REUSING
from bench.peers.heat import Heat
from bench.peers.races import NUM_WORKERS, RACES

NO_OP, MLP, CNN, CNN_WITHOUT, LONG = RACES
_TIMES_RAY: Final = 3.0
_NO_OPS_A_SECOND: Final = 20.0
_SHARE_OF_LOOP: Final = 0.85
_CHECKPOINTS_SHARE: Final = 0.10
_FEWEST_QUIET: Final = 2
_TOGETHER_S: Final = 600.0

Results = Mapping[str, Mapping[str, Sequence[Heat]]]
"""Heats by race and party, each in the order of the repetitions."""
Failed = Mapping[tuple[str, str], int]
"""How many tries of heats gave no numbers, by race and party; none of those that are not in it."""


@dataclass(frozen=True, slots=True)
class Counted:
    """Those of a party's heats of one race that its numbers stand on.

    Attributes:
        heats: the quiet ones where there are at least two, else all.
        num_heats: of all.
        num_quiet: of all.
        num_failed: tries that gave no numbers; they are not among all.
    """

    heats: tuple[Heat, ...]
    num_heats: int
    num_quiet: int
    num_failed: int = 0

    @classmethod
    def of(cls, heats: Sequence[Heat], num_cores: int, num_failed: int = 0) -> Self:
        """Chooses from at least one heat on a machine of so many cores."""
        quiet = [heat for heat in heats if heat.is_quiet(num_cores)]
        return cls(tuple(quiet if len(quiet) >= _FEWEST_QUIET else heats), len(heats), len(quiet), num_failed)

    @property
    def rate(self) -> float:
        """The median of trials a second."""
        return statistics.median(heat.rate for heat in self.heats)

    def __str__(self) -> str:
        """For people, as `2 of 3`; in brackets, how many that count are not known to be quiet, and how many failed."""
        num_loud = 0 if len(self.heats) == self.num_quiet else self.num_heats - self.num_quiet
        return f"{len(self.heats)} of {self.num_heats}{_notes(num_loud, self.num_failed)}"


@dataclass(frozen=True, slots=True)
class Duels:
    """Pairs of heats of two parties, or of two races of one, that were near each other in time.

    Attributes:
        pairs: the ones of two quiet heats where there are at least two, else all.
        num_pairs: of all.
        num_quiet: of all.
        num_failed: tries of heats of either that gave no numbers.
    """

    pairs: tuple[tuple[Heat, Heat], ...]
    num_pairs: int
    num_quiet: int
    num_failed: int = 0

    @classmethod
    def of(cls, some: Sequence[Heat], others: Sequence[Heat], num_cores: int, num_failed: int = 0) -> Self:
        """Pairs heats on a machine of so many cores."""
        found = pairs(some, others)
        quiet = [pair for pair in found if all(heat.is_quiet(num_cores) for heat in pair)]
        return cls(tuple(quiet if len(quiet) >= _FEWEST_QUIET else found), len(found), len(quiet), num_failed)

    def __str__(self) -> str:
        """For people, as `6 of 7 pairs`, with what `Counted` has in brackets."""
        num_loud = 0 if len(self.pairs) == self.num_quiet else self.num_pairs - self.num_quiet
        return f"{len(self.pairs)} of {self.num_pairs} pairs{_notes(num_loud, self.num_failed)}"


def pairs(some: Sequence[Heat], others: Sequence[Heat]) -> list[tuple[Heat, Heat]]:
    """Pairs heats of one run that began within ten minutes, those first that were nearest; each is in one pair.

    Heats of which it is not known when they began are left out.
    """
    near = [
        (apart_s, place, other_place)
        for place, one in enumerate(some)
        for other_place, other in enumerate(others)
        if one.run == other.run and (apart_s := _apart_s(one, other)) <= _TOGETHER_S
    ]
    found: dict[int, int] = {}
    for _, place, other_place in sorted(near):
        if place not in found and other_place not in found.values():
            found[place] = other_place
    return [(some[place], others[found[place]]) for place in sorted(found)]


def _apart_s(one: Heat, other: Heat) -> float:
    return math.inf if one.began is None or other.began is None else abs(one.began - other.began)


def _notes(num_loud: int, num_failed: int) -> str:
    notes = [f"{num} {what}" for num, what in ((num_loud, "not quiet"), (num_failed, "failed")) if num]
    return f" ({', '.join(notes)})" if notes else ""


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
    """One party in one race, by those of its heats that count.

    Attributes:
        counted: the heats.
        num_trials: of each heat.
        rate: trials a second, of the tuning alone.
        cpu_s: processor seconds a trial, of all the party's processes, of the tuning alone.
        share: of the processors' time, by the party's processes.
        is_exact: of no heat it is known that processor time of some processes is missing in `cpu_s` and `share`.
        others: share of the processors' time that something else used; None: not known of every heat.
        setup_s: seconds until the party's system was up.
    """

    party: str
    counted: Counted
    num_trials: Spread
    rate: Spread
    cpu_s: Spread
    share: Spread
    is_exact: bool
    others: Spread | None
    setup_s: Spread

    @classmethod
    def of(cls, party: str, all_heats: Sequence[Heat], num_cores: int, num_failed: int = 0) -> Self:
        """Sums up a party's repetitions of one race on a machine of so many cores."""
        counted = Counted.of(all_heats, num_cores, num_failed)
        heats = counted.heats
        known = [share for heat in heats if (share := heat.disturbance(num_cores)) is not None]
        return cls(
            party,
            counted,
            Spread.of(heat.num_trials for heat in heats),
            Spread.of(heat.rate for heat in heats),
            Spread.of(heat.tuning_cpu_s / heat.num_trials for heat in heats),
            Spread.of(heat.tuning_cpu_s / heat.tuning_s / num_cores for heat in heats),
            all(heat.is_exact is not False for heat in heats),
            Spread.of(known) if len(known) == len(heats) else None,
            Spread.of(heat.setup_s for heat in heats),
        )


@dataclass(frozen=True, slots=True)
class Bar:
    """A promise, and what became of it.

    Attributes:
        what: is promised.
        measured: in each heat, or in each pair of heats of two parties.
        bound: the median must be at least this, or at most where `is_most`.
        heats: how many these are, as `Counted` or `Duels` tells it.
    """

    what: str
    measured: Spread
    bound: float
    is_most: bool = False
    heats: str = ""

    @property
    def is_kept(self) -> bool:
        """Whether the promise is kept."""
        median = self.measured.median
        return median <= self.bound if self.is_most else median >= self.bound


def bars(results: Results, num_cores: int, failed: Failed) -> list[Bar]:
    """Checks the promises that the results have the numbers for, by the heats that count.

    Two parties are compared pair by pair, and the median of the ratios counts: a machine's speed drifts by more than
    what is to be told apart, and two heats that ran one right after the other had most nearly the same one.
    """

    def duels(race: str, rival: str, rivals_race: str = "") -> Duels:
        sides = (race, OURS), (rivals_race or race, rival)
        some, others = (results.get(name, {}).get(party, ()) for name, party in sides)
        return Duels.of(some, others, num_cores, sum(failed.get(side, 0) for side in sides))

    found = []
    if ours := results.get(NO_OP, {}).get(OURS):
        counted = Counted.of(ours, num_cores, failed.get((NO_OP, OURS), 0))
        rates = Spread.of(heat.rate for heat in counted.heats)
        found.append(Bar("no-op trials a second", rates, _NO_OPS_A_SECOND, heats=str(counted)))
    for what, race, rival, bound in (
        ("no-op rate over that of Ray Tune with reuse_actors", NO_OP, RAY_REUSING, _TIMES_RAY),
        ("MLP rate over that of the bare loops", MLP, LOOP, _SHARE_OF_LOOP),
        *((f"MLP rate over that of {ENTRANTS[ray].title}", MLP, ray, 1.0) for ray in (RAY, RAY_REUSING)),
    ):
        if (fought := duels(race, rival)).pairs:
            ratios = Spread.of(one.rate / other.rate for one, other in fought.pairs)
            found.append(Bar(what, ratios, bound, heats=str(fought)))
    if (fought := duels(CNN, OURS, CNN_WITHOUT)).pairs:
        costs = Spread.of(without.rate / with_them.rate - 1 for with_them, without in fought.pairs)
        what = "checkpoints: what they add to the CNN's time"
        found.append(Bar(what, costs, _CHECKPOINTS_SHARE, is_most=True, heats=str(fought)))
    return found


def overhead_ms(rate: float, floor: float) -> float:
    """Returns the milliseconds of a worker that a party adds to each trial, over a floor; of both, trials a second."""
    return 1000 * (NUM_WORKERS / rate - NUM_WORKERS / floor)


def number(value: float) -> str:
    """Returns a number for people: three digits, or all digits before the point."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
