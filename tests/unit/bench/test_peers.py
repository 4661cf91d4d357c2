"""What the race against other tools makes of its heats; no tool takes part."""

import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest

from bench.peers.__main__ import programme
from bench.peers.entrants import ENTRANTS, LOOP, OURS, RAY, RAY_REUSING, Entrant
from bench.peers.heat import Heat
from bench.peers.picture import draw
from bench.peers.races import RACES, Race
from bench.peers.standings import Spread, bars, from_json, overhead_ms, tables, to_json

ROOT = Path(__file__).parents[3]
HEAT = Heat(num_trials=200, setup_s=3.0, setup_cpu_s=5.0, tuning_s=4.0, tuning_cpu_s=6.0, best=0.9)


def heats(*rates: float) -> list[Heat]:
    return [replace(HEAT, tuning_s=HEAT.num_trials / rate) for rate in rates]


RESULTS = {
    "no-op": {OURS: heats(60.0, 50.0, 70.0), RAY_REUSING: heats(20.0, 25.0, 20.0), LOOP: heats(40_000.0)},
    "mlp": {OURS: heats(3.6), RAY: heats(0.5), RAY_REUSING: heats(3.7), LOOP: heats(4.0)},
    "cnn": {OURS: heats(1.9)},
    "cnn-without": {OURS: heats(2.0)},
}


@pytest.mark.parametrize("race", RACES.values(), ids=lambda race: race.name)
def test_a_race_comes_back_from_its_text(race: Race) -> None:
    assert Race.from_json(race.to_json()) == race


def test_who_is_named_in_a_race_takes_part_in_races() -> None:
    assert {party for race in RACES.values() for party in race.parties} <= set(ENTRANTS)


def test_in_each_repetition_every_party_runs_a_race_once_and_not_always_in_the_same_order() -> None:
    parties = list(ENTRANTS)
    heats = programme([RACES["no-op"]], parties, num_repetitions=6, seed=0)
    rounds = [
        [entrant.name for _, entrant in heats[start : start + len(parties)]] for start in range(0, 54, len(parties))
    ]
    assert all(sorted(one) == sorted(parties) for one in rounds)
    assert len({tuple(one) for one in rounds}) > 1


def test_a_party_that_is_not_repeated_runs_in_the_first_repetition() -> None:
    heats = programme([RACES["no-op"]], [OURS, RAY, LOOP], once=[RAY], num_repetitions=3, seed=0)
    names = [entrant.name for _, entrant in heats]
    assert sorted(names[:3]) == sorted([OURS, RAY, LOOP])
    assert RAY not in names[3:]
    assert len(names) == 7


def test_a_race_of_some_parties_is_run_by_them_alone() -> None:
    heats = programme([RACES["cnn-without"]], list(ENTRANTS), num_repetitions=1, seed=0)
    assert {entrant.name for _, entrant in heats} == {OURS, LOOP}


def test_numbers_come_back_from_their_json() -> None:
    assert from_json(to_json(RESULTS)) == RESULTS


def test_bars_compare_the_heats_of_one_repetition() -> None:
    found = {bar.what: bar for bar in bars(RESULTS)}
    ratio = found["no-op rate over that of Ray Tune with reuse_actors"]
    assert ratio.value == pytest.approx(3.0)  # of 3, 2 and 3.5
    assert ratio.is_kept
    assert found["no-op trials a second"].value == pytest.approx(60.0)
    assert found["MLP rate over that of the bare loops"].value == pytest.approx(0.9)
    assert found["MLP rate over that of Ray Tune"].is_kept
    assert not found["MLP rate over that of Ray Tune, reuse_actors"].is_kept
    checkpoints = found["checkpoints: what they add to the CNN's time"]
    assert checkpoints.value == pytest.approx(2.0 / 1.9 - 1)
    assert checkpoints.is_kept


def test_bars_without_numbers_are_left_out() -> None:
    assert bars({}) == []
    assert [bar.what for bar in bars({"no-op": {OURS: heats(60.0)}})] == ["no-op trials a second"]


def test_the_overhead_of_a_trial_is_what_a_worker_lacks_to_the_floor() -> None:
    [ours], [floor] = heats(4.0), heats(5.0)
    assert overhead_ms(ours, floor) == pytest.approx(100.0)  # two workers: 500 ms a trial each, in place of 400


def test_what_others_used_is_told_where_it_is_known_of_every_heat() -> None:
    quiet, disturbed = replace(HEAT, others_s=0.4), replace(HEAT, others_s=4.0)
    assert HEAT.disturbance(2) is None
    assert disturbed.disturbance(2) == pytest.approx(0.5)
    assert "| 75% | 28% | 3 |" in tables({"no-op": {OURS: [quiet, disturbed]}}, num_cores=2)
    assert "| 75% |  | 3 |" in tables({"no-op": {OURS: [quiet, HEAT]}}, num_cores=2)


def test_one_repetition_is_told_without_a_spread() -> None:
    assert str(Spread.of([4.2])) == "4.2"
    assert str(Spread.of([4.2, 4.0, 4.5])) == "4.2 (4 to 4.5)"
    assert str(Spread.of([39_275.4])) == "39,275"


def test_the_tables_have_a_line_for_each_party_of_each_race() -> None:
    text = tables(RESULTS, num_cores=2)
    no_op, *_ = text.split("\n\n**64 trials")
    assert "| Dropsweep | 60 (50 to 70) | 30 |" in text
    assert no_op.count("\n| ") == 2 + 3  # head and rule
    assert "| Optuna" not in text


def test_the_picture_is_well_formed_and_has_a_bar_for_each_result_of_its_races() -> None:
    root = ET.fromstring(draw(RESULTS))
    rects = [element for element in root.iter() if element.tag.endswith("rect")]
    assert len(rects) == 1 + 3 + 4 + 1  # the paper, and a bar for each
    width = float(root.attrib["width"])
    assert all(float(rect.attrib.get("x", 0)) + float(rect.attrib["width"]) <= width for rect in rects)


@pytest.mark.parametrize("entrant", [one for one in ENTRANTS.values() if not one.is_floor], ids=lambda one: one.name)
def test_each_guarantee_of_a_tool_has_a_source(entrant: Entrant) -> None:
    for guarantee in (entrant.durable, entrant.isolated, entrant.resumable):
        assert guarantee.why
        is_page = guarantee.source.startswith("https://")
        assert is_page or (ROOT / "docs" / guarantee.source).is_file()


def pins(file: str) -> dict[str, str]:
    found = re.findall(r"^([A-Za-z0-9_.-]+)==(\S+)", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE)
    return {name.lower().replace("_", "-"): version for name, version in found}


def test_the_other_tools_train_with_the_versions_that_ours_trains_with() -> None:
    theirs, ours = pins("bench/peers/requirements.txt"), pins("constraints.txt")
    for name in ("torch", "numpy", "scikit-learn", "scipy"):
        assert theirs[name] == ours[name]
    assert {"ray", "optuna", "syne-tune"} <= set(theirs)


METERED = """
import sys
import time
from pathlib import Path
from bench.peers.cpu import Meter
folder = Path(sys.argv[1])
with Meter("dropsweep-test", with_group=sys.argv[2] == "group") as meter:
    process = meter.start([sys.executable, "parent.py"], env={}, cwd=folder, log=folder / "log")
    process.wait()
    # What the kernel tells is in ticks of 10 ms, and so a little less than the orphan has seen itself.
    while meter.processes and meter.seconds() < 0.2:
        time.sleep(0.01)
    [orphan] = meter.processes
    print(meter.seconds(), orphan)
"""
PARENT = """
import subprocess, sys
subprocess.Popen([sys.executable, "orphan.py"])
"""
ORPHAN = """
import time
while time.process_time() < 0.3:
    pass
time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("way", ["group", "tree"])
def test_time_of_an_orphan_is_counted_and_it_does_not_outlive_the_meter(tmp_path: Path, way: str) -> None:
    (tmp_path / "parent.py").write_text(PARENT)
    (tmp_path / "orphan.py").write_text(ORPHAN)
    said = subprocess.run(
        [sys.executable, "-c", METERED, str(tmp_path), way],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    seconds, orphan = said.stdout.split()
    assert float(seconds) >= 0.2
    assert not Path(f"/proc/{orphan}").exists()
