"""Which heats are run, in which order, and how long they take."""

import random
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from bench.peers.entrants import ENTRANTS, Entrant
from bench.peers.races import RACES, Race
from bench.peers.standings import Results

_END_S: Final = 3.0
"""What a party needs to stop."""
_UNKNOWN_S: Final = 60.0
"""Of a heat, where nothing tells more."""


@dataclass(frozen=True, slots=True)
class Planned:
    """One heat that is to be run.

    Attributes:
        race: as this party runs it.
    """

    race: Race
    entrant: Entrant


def programme(
    races: Iterable[Race], parties: Sequence[str], *, num_repetitions: int | None = None, seed: int = 0
) -> list[Planned]:
    """Returns all heats in their order: in each repetition of a race each party once, in another order each time.

    A party that is slow in a race runs it in the first repetition only.

    Args:
        races: in this order.
        parties: names; of a race that is for some parties only, the others are left out.
        num_repetitions: the most that there are of each race; None: its own number.
        seed: of the orders.
    """
    dice = random.Random(seed)
    heats = []
    for race in races:
        entrants = [ENTRANTS[name] for name in parties if not race.parties or name in race.parties]
        for repetition in range(num_repetitions or race.num_repetitions):
            dice.shuffle(entrants)
            heats += [
                Planned(race.of(entrant.name), entrant)
                for entrant in entrants
                if not repetition or entrant.name not in race.slow
            ]
    return heats


def lacking(heats: Iterable[Planned], results: Results) -> list[Planned]:
    """Returns the heats that are not among the results: of each party's heats of one race, the last ones."""
    there = Counter({(race, party): len(known) for race, of in results.items() for party, known in of.items()})
    left = []
    for heat in heats:
        pair = (heat.race.name, heat.entrant.name)
        if there[pair]:
            there[pair] -= 1
        else:
            left.append(heat)
    return left


def expected_s(heat: Planned, *known: Results) -> float:
    """Returns the seconds that a heat takes, start and end of the party included, by what earlier ones took.

    It goes by the party's heats of the same race, else of others of the same task; where there are none, it guesses a
    minute.

    Args:
        heat: is to be run.
        known: results; the first ones that have such heats tell.
    """
    name, task, party = heat.race.name, heat.race.task, heat.entrant.name
    for alike in ({name}, {race for race in RACES if RACES[race].task is task}):
        for results in known:
            if heats := [one for race in alike & results.keys() for one in results[race].get(party, ())]:
                setup_s = statistics.median(one.setup_s for one in heats)
                each_s = statistics.median(one.tuning_s / one.num_trials for one in heats)
                return setup_s + heat.race.num_trials * each_s + _END_S
    return _UNKNOWN_S
