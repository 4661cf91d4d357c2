"""What came out of a race: which heats count, medians with their spread, and the bars."""

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
        notes = [f"{num} {what}" for num, what in ((num_loud, "not quiet"), (self.num_failed, "failed")) if num]
        return f"{len(self.heats)} of {self.num_heats}" + (f" ({', '.join(notes)})" if notes else "")


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
        heats: of how many heats of each party these are, as `Counted` tells it.
    """

    what: str
    measured: Spread
    bound: float
    is_most: bool = False
    heats: tuple[str, ...] = ()

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
    no_op, mlp, cnn, cnn_without = (
        {
            party: Counted.of(heats, num_cores, failed.get((race, party), 0))
            for party, heats in results.get(race, {}).items()
        }
        for race in (NO_OP, MLP, CNN, CNN_WITHOUT)
    )
    found = []
    if OURS in no_op:
        ours = no_op[OURS]
        rates = Spread.of(heat.rate for heat in ours.heats)
        found.append(Bar("no-op trials a second", rates, _NO_OPS_A_SECOND, heats=(str(ours),)))
        if RAY_REUSING in no_op:
            what = "no-op rate over that of Ray Tune with reuse_actors"
            found += _faster(what, ours, no_op[RAY_REUSING], _TIMES_RAY)
    if OURS in mlp:
        if LOOP in mlp:
            found += _faster("MLP rate over that of the bare loops", mlp[OURS], mlp[LOOP], _SHARE_OF_LOOP)
        for ray in (RAY, RAY_REUSING):
            if ray in mlp:
                found += _faster(f"MLP rate over that of {ENTRANTS[ray].title}", mlp[OURS], mlp[ray], 1.0)
    if OURS in cnn and OURS in cnn_without:
        with_them, without = cnn[OURS], cnn_without[OURS]
        if costs := [bare.rate / kept.rate - 1 for kept, bare in pairs(with_them.heats, without.heats)]:
            what, heats = "checkpoints: what they add to the CNN's time", (str(with_them), str(without))
            found.append(Bar(what, Spread.of(costs), _CHECKPOINTS_SHARE, is_most=True, heats=heats))
    return found


def _faster(what: str, ours: Counted, theirs: Counted, bound: float) -> list[Bar]:
    """One bar; none where it is not known when the heats were."""
    ratios = [one.rate / other.rate for one, other in pairs(ours.heats, theirs.heats)]
    return [Bar(what, Spread.of(ratios), bound, heats=(str(ours), str(theirs)))] if ratios else []


def pairs(some: Iterable[Heat], others: Iterable[Heat]) -> list[tuple[Heat, Heat]]:
    """Pairs heats of two parties: each of the one that has fewer with that of the other that began nearest in time.

    Heats of which it is not known when they began are left out.
    """
    these, those = ([(heat.began, heat) for heat in heats if heat.began is not None] for heats in (some, others))
    if len(these) > len(those):
        return [(one, other) for other, one in pairs(others, some)]
    return [(heat, min(those, key=lambda other: abs(other[0] - began))[1]) for began, heat in these]


def overhead_ms(rate: float, floor: float) -> float:
    """Returns the milliseconds of a worker that a party adds to each trial, over a floor; of both, trials a second."""
    return 1000 * (NUM_WORKERS / rate - NUM_WORKERS / floor)


def number(value: float) -> str:
    """Returns a number for people: three digits, or all digits before the point."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
