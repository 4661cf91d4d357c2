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
    races: Sequence[Race], parties: Sequence[str], *, num_repetitions: int | None = None, seed: int = 0
) -> list[Planned]:
    """Returns all heats in their order: in each repetition of a race each party once, in another order each time.

    Rivals come one right after the other, in one order and the reverse one by turns, and those of races that lie beside
    each other too. A party that is slow in a race runs it in the first repetition only.

    Args:
        races: in this order.
        parties: names; of a race that is for some parties only, the others are left out.
        num_repetitions: of each race, but for the parties that are slow in it; None: each party's own number.
        seed: of the orders.
    """
    dice = random.Random(seed)
    heats = []
    is_reversed = dice.random() < 0.5
    for race in races:
        if race.beside in (other.name for other in races):
            continue  # it is run with that one
        group = [race, *(other for other in races if other.beside == race.name)]
        planned = [
            (_num_heats(one, name, num_repetitions), Planned(one.of(name), ENTRANTS[name]))
            for one in group
            for name in parties
            if not one.parties or name in one.parties
        ]
        for repetition in range(max((num for num, _ in planned), default=0)):
            heats += _repetition([heat for num, heat in planned if repetition < num], dice, is_reversed=is_reversed)
            is_reversed = not is_reversed
    return heats


def _num_heats(race: Race, party: str, num_repetitions: int | None) -> int:
    own = race.of(party).num_repetitions
    return own if num_repetitions is None or party in race.slow else num_repetitions


def _repetition(heats: Iterable[Planned], dice: random.Random, *, is_reversed: bool) -> list[Planned]:
    """Orders heats by chance, but for the rivals: they stay together, in their order or the reverse one."""
    planned, names = list(heats), list(RACES)
    others = [heat for heat in planned if heat.entrant.name not in heat.race.rivals]
    rivals = [heat for heat in planned if heat.entrant.name in heat.race.rivals]
    rivals.sort(key=lambda heat: (names.index(heat.race.name), heat.race.rivals.index(heat.entrant.name)))
    if is_reversed:
        rivals.reverse()
    dice.shuffle(others)
    place = dice.randint(0, len(others))
    return [*others[:place], *rivals, *others[place:]]


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
