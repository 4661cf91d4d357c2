"""Which heats of the race are run, in which order, and how long they are expected to take."""

from dataclasses import replace
from itertools import pairwise

import pytest

from bench.peers.entrants import ENTRANTS, LOOP, OURS, RAY, RAY_REUSING
from bench.peers.heat import Heat
from bench.peers.programme import Planned, expected_s, lacking, programme
from bench.peers.races import RACES, Race

HEAT = Heat(num_trials=200, setup_s=4.0, setup_cpu_s=5.0, tuning_s=20.0, tuning_cpu_s=6.0, best=0.9)
END_S = 3.0


def names(heats: list[Planned]) -> list[str]:
    return [heat.entrant.name for heat in heats]


def of(race: str, party: str) -> Planned:
    return Planned(RACES[race].of(party), ENTRANTS[party])


@pytest.mark.parametrize("race", RACES.values(), ids=lambda race: race.name)
def test_a_race_comes_back_from_its_text(race: Race) -> None:
    assert Race.from_json(race.to_json()) == race


def test_who_is_named_in_a_race_takes_part_in_races() -> None:
    assert {party for race in RACES.values() for party in (*race.parties, *race.rivals, *race.slow)} <= set(ENTRANTS)


@pytest.mark.parametrize("race", [name for name, race in RACES.items() if not race.parties])
def test_each_race_that_is_for_all_has_every_party(race: str) -> None:
    assert set(names(programme([RACES[race]], list(ENTRANTS)))) == set(ENTRANTS)


@pytest.mark.parametrize("race", [race for race in RACES.values() if race.slow], ids=lambda race: race.name)
def test_a_slow_party_runs_some_of_the_trials_once(race: Race) -> None:
    heats = programme([race], [OURS, *race.slow], num_repetitions=3)
    assert names(heats).count(OURS) == 3
    for party in race.slow:
        [heat] = [heat for heat in heats if heat.entrant.name == party]
        assert heat.race.num_trials == race.num_slow_trials
    assert {heat.race for heat in heats if heat.entrant.name == OURS} == {race.of(OURS)}
    assert race.of(OURS).num_trials == race.num_trials
    assert 2 <= race.num_slow_trials <= race.num_trials


def test_in_each_repetition_every_party_runs_a_race_once_and_not_always_in_the_same_order() -> None:
    race = replace(RACES["no-op"], slow=())
    parties = list(ENTRANTS)
    found = names(programme([race], parties, num_repetitions=6, seed=0))
    rounds = [found[start : start + len(parties)] for start in range(0, len(found), len(parties))]
    assert len(rounds) == 6
    assert all(sorted(one) == sorted(parties) for one in rounds)
    assert len({tuple(one) for one in rounds}) > 1


def test_rivals_run_one_right_after_the_other_and_oftener_than_the_rest() -> None:
    race = RACES["mlp"]
    found = names(programme([race], list(ENTRANTS), seed=0))
    assert {name: found.count(name) for name in race.rivals} == dict.fromkeys(race.rivals, race.num_duels)
    places = [index for index, name in enumerate(found) if name == OURS]
    around = [(found[place - 1], found[place + 1]) for place in places]
    assert set(around) == {(LOOP, RAY_REUSING), (RAY_REUSING, LOOP)}
    assert found.count("optuna-journal") == race.num_repetitions < race.num_duels
    assert len({place % len(ENTRANTS) for place in places[: race.num_repetitions]}) > 1


def test_our_heats_with_and_without_checkpoints_come_one_right_after_the_other() -> None:
    heats = programme([RACES["cnn"], RACES["cnn-without"]], list(ENTRANTS), seed=0)
    ours = [(heat.race.name, place) for place, heat in enumerate(heats) if heat.entrant.name == OURS]
    assert len(ours) == 2 * RACES["cnn"].num_duels
    num_with_first = sum(race == "cnn" for race, _ in ours[::2])
    assert abs(2 * num_with_first - RACES["cnn"].num_duels) <= 1
    for (race, place), (other, next_place) in zip(ours[::2], ours[1::2], strict=True):
        assert {race, other} == {"cnn", "cnn-without"}
        assert next_place == place + 1
    assert all(later > earlier for (_, earlier), (_, later) in pairwise(ours))


def test_a_race_of_some_parties_is_run_by_them_alone() -> None:
    heats = programme([RACES["cnn-without"]], list(ENTRANTS), num_repetitions=1, seed=0)
    assert set(names(heats)) == {OURS, LOOP}


def test_a_race_that_goes_on_lacks_the_last_heats_of_each_party() -> None:
    heats = programme([RACES["no-op"], RACES["mlp"]], [OURS, LOOP], num_repetitions=3)
    left = lacking(heats, {"no-op": {OURS: [HEAT] * 2, LOOP: [HEAT] * 3}, "mlp": {LOOP: [HEAT]}})
    counts = {pair: [(heat.race.name, heat.entrant.name) for heat in left].count(pair) for pair in PAIRS}
    assert counts == {("no-op", OURS): 1, ("no-op", LOOP): 0, ("mlp", OURS): 3, ("mlp", LOOP): 2}
    assert [heat.race.name for heat in left] == ["no-op"] + ["mlp"] * 5


PAIRS = [(race, party) for race in ("no-op", "mlp") for party in (OURS, LOOP)]


def test_nothing_is_lacking_of_a_whole_race_and_all_of_one_that_has_not_begun() -> None:
    heats = programme([RACES["no-op"]], [OURS, RAY], num_repetitions=2)
    assert lacking(heats, {}) == heats
    assert lacking(heats, {"no-op": {OURS: [HEAT] * 2, RAY: [HEAT]}}) == []


def test_a_heat_takes_start_trials_and_end_as_earlier_ones_did() -> None:
    known = {"no-op": {OURS: [HEAT, replace(HEAT, tuning_s=22.0), replace(HEAT, tuning_s=90.0)]}}
    assert expected_s(of("no-op", OURS), known) == pytest.approx(4.0 + 22.0 + END_S)


def test_heats_of_the_same_task_tell_where_there_are_none_of_the_race() -> None:
    cnn, mlp = replace(HEAT, num_trials=16, tuning_s=16.0), replace(HEAT, num_trials=64, tuning_s=32.0)
    known = {"cnn": {OURS: [cnn]}, "mlp": {OURS: [mlp]}}
    assert expected_s(of("cnn-without", OURS), known) == pytest.approx(4.0 + 16 * 1.0 + END_S)
    assert expected_s(of("no-op", OURS), known) == 60.0
    assert expected_s(of("mlp", RAY), known) == 60.0


def test_what_was_measured_now_tells_before_what_was_measured_earlier() -> None:
    now, earlier = {"no-op": {OURS: [replace(HEAT, setup_s=1.0)]}}, {"no-op": {OURS: [HEAT]}}
    assert expected_s(of("no-op", OURS), now, earlier) == pytest.approx(1.0 + 20.0 + END_S)
    assert expected_s(of("no-op", OURS), {}, earlier) == pytest.approx(4.0 + 20.0 + END_S)
