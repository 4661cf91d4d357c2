"""What the race against other tools makes of its heats; no tool takes part."""

import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest

from bench.peers.entrants import ENTRANTS, LOOP, OURS, RAY, RAY_REUSING, Entrant
from bench.peers.heat import Heat
from bench.peers.picture import draw
from bench.peers.standings import Counted, Duels, Spread, bars, overhead_ms, pairs
from bench.peers.tables import tables

ROOT = Path(__file__).parents[3]
NUM_CORES = 2
HEAT = Heat(num_trials=200, setup_s=3.0, setup_cpu_s=5.0, tuning_s=4.0, tuning_cpu_s=6.0, best=0.9)


def heats(*rates: float) -> list[Heat]:
    """Some repetitions of one party, a minute apart."""
    return [replace(HEAT, tuning_s=HEAT.num_trials / rate, began=60.0 * minute) for minute, rate in enumerate(rates)]


RESULTS = {
    "no-op": {OURS: heats(60.0, 50.0, 70.0), RAY_REUSING: heats(20.0, 25.0, 20.0), LOOP: heats(40_000.0)},
    "mlp": {OURS: heats(3.6), RAY: heats(0.5), RAY_REUSING: heats(3.7), LOOP: heats(4.0)},
    "cnn": {OURS: heats(1.9)},
    "cnn-without": {OURS: heats(2.0)},
}


def test_bars_compare_pair_by_pair() -> None:
    found = {bar.what: bar for bar in bars(RESULTS, NUM_CORES, {})}
    ratio = found["no-op rate over that of Ray Tune with reuse_actors"]
    assert ratio.measured == Spread.of([60.0 / 20.0, 50.0 / 25.0, 70.0 / 20.0])
    assert ratio.is_kept
    assert found["no-op trials a second"].measured.median == pytest.approx(60.0)
    assert found["MLP rate over that of the bare loops"].measured.median == pytest.approx(0.9)
    assert found["MLP rate over that of Ray Tune"].is_kept
    assert not found["MLP rate over that of Ray Tune, reuse_actors"].is_kept
    checkpoints = found["checkpoints: what they add to the CNN's time"]
    assert checkpoints.measured.median == pytest.approx(2.0 / 1.9 - 1)
    assert checkpoints.is_kept


def at(*began: float) -> list[Heat]:
    return [replace(HEAT, began=moment) for moment in began]


def began(found: list[tuple[Heat, Heat]]) -> list[tuple[float | None, float | None]]:
    return [(one.began, other.began) for one, other in found]


def test_heats_are_paired_that_were_nearest_in_time_and_each_once() -> None:
    ours = at(0.0, 60.0, 120.0, 180.0)
    assert began(pairs(ours, at(130.0))) == [(120.0, 130.0)]
    assert began(pairs(at(130.0), ours)) == [(130.0, 120.0)]
    assert began(pairs(ours, at(200.0, 10.0))) == [(0.0, 10.0), (180.0, 200.0)]
    assert began(pairs(at(0.0, 1000.0), at(30.0, 970.0))) == [(0.0, 30.0), (1000.0, 970.0)]


def test_heats_of_two_runs_or_far_from_each_other_are_not_compared() -> None:
    assert began(pairs(at(0.0, 1000.0), at(10.0, 1700.0))) == [(0.0, 10.0)]
    later = [replace(heat, run=1) for heat in at(5.0)]
    assert pairs(at(0.0), later) == []


def test_of_pairs_those_of_two_quiet_heats_count_where_there_are_two() -> None:
    loud, calm = disturbed(2.0, 2.0, 2.0), quiet(4.0, 4.0, 4.0)
    one_loud = Duels.of([loud[0], *calm[1:]], quiet(1.0, 1.0, 1.0), NUM_CORES)
    assert (str(one_loud), [pair[0].rate for pair in one_loud.pairs]) == ("2 of 3 pairs", pytest.approx([4.0, 4.0]))
    two_loud = Duels.of([*loud[:2], calm[2]], quiet(1.0, 1.0, 1.0), NUM_CORES, num_failed=1)
    assert str(two_loud) == "3 of 3 pairs (2 not quiet, 1 failed)"


def test_heats_of_which_nobody_knows_when_they_were_are_not_compared() -> None:
    results = {"mlp": {OURS: [HEAT], LOOP: heats(4.0)}, "cnn": {OURS: [HEAT]}, "cnn-without": {OURS: heats(2.0)}}
    assert bars(results, NUM_CORES, {}) == []


def test_bars_without_numbers_are_left_out() -> None:
    assert bars({}, NUM_CORES, {}) == []
    assert [bar.what for bar in bars({"no-op": {OURS: heats(60.0)}}, NUM_CORES, {})] == ["no-op trials a second"]


def disturbed(*rates: float) -> list[Heat]:
    return [replace(heat, others_s=0.06 * NUM_CORES * heat.tuning_s) for heat in heats(*rates)]


def quiet(*rates: float) -> list[Heat]:
    return [replace(heat, others_s=0.05 * NUM_CORES * heat.tuning_s) for heat in heats(*rates)]


@pytest.mark.parametrize(
    ("of", "rate", "told"),
    [
        (quiet(3.0, 4.0, 5.0), 4.0, "3 of 3"),
        (quiet(3.0, 4.0) + disturbed(1.0), 3.5, "2 of 3"),
        (quiet(4.0) + disturbed(1.0, 2.0), 2.0, "3 of 3 (2 not quiet)"),
        (quiet(4.0) + heats(1.0, 2.0), 2.0, "3 of 3 (2 not quiet)"),
        (quiet(4.0), 4.0, "1 of 1"),
        (disturbed(4.0), 4.0, "1 of 1 (1 not quiet)"),
    ],
)
def test_disturbed_heats_count_only_where_there_are_not_two_quiet_ones(of: list[Heat], rate: float, told: str) -> None:
    counted = Counted.of(of, NUM_CORES)
    assert counted.rate == pytest.approx(rate)
    assert str(counted) == told


def test_bars_table_and_picture_stand_on_the_same_heats() -> None:
    results = {"mlp": {OURS: quiet(3.0, 4.0) + disturbed(1.0), LOOP: disturbed(2.0, 8.0)}}
    [bar] = bars(results, NUM_CORES, {})
    assert bar.measured == Spread.of([3.0 / 2.0, 4.0 / 8.0])
    assert bar.heats == "2 of 2 pairs (2 not quiet)"
    text = tables(results, NUM_CORES, {})
    assert "| 1 (0.5 to 1.5) | at least 0.85 | kept | 2 of 2 pairs (2 not quiet) |" in text
    assert "| Dropsweep | 3.5 (3 to 4) |" in text
    assert ">3.5</text>" in draw(results, NUM_CORES)


def test_the_overhead_of_a_trial_is_what_a_worker_lacks_to_the_floor() -> None:
    assert overhead_ms(4.0, 5.0) == pytest.approx(100.0)  # two workers: 500 ms a trial each, in place of 400
    text = tables({"mlp": {OURS: quiet(4.0, 4.0), LOOP: quiet(5.0)}}, NUM_CORES, {})
    assert "| 200 | 2 of 2 | 100 |" in text
    assert "| 200 | 1 of 1 | 0 |" in text


def test_what_others_used_is_told_where_it_is_known_of_every_heat() -> None:
    some, much = replace(HEAT, others_s=0.8), replace(HEAT, others_s=4.0)
    assert HEAT.disturbance(NUM_CORES) is None
    assert much.disturbance(NUM_CORES) == pytest.approx(0.5)
    assert "| 75% | 30% | 3 |" in tables({"no-op": {OURS: [some, much]}}, NUM_CORES, {})
    assert "| 75% |  | 3 |" in tables({"no-op": {OURS: [some, HEAT]}}, NUM_CORES, {})


def test_a_line_tells_how_many_trials_and_heats_it_stands_on() -> None:
    few = replace(HEAT, num_trials=40, tuning_s=80.0)
    text = tables({"no-op": {OURS: heats(60.0, 50.0), RAY: [few]}}, NUM_CORES, {})
    assert "| 200 | 2 of 2 (2 not quiet) |" in text
    assert "| Ray Tune | 0.5 |" in text
    assert "| 40 | 1 of 1 (1 not quiet) |" in text


def test_tries_that_failed_are_told_in_the_tables_and_in_the_bars() -> None:
    results = {"mlp": {OURS: quiet(3.0, 4.0) + disturbed(1.0), LOOP: disturbed(2.0, 8.0)}}
    failed = {("mlp", OURS): 1, ("mlp", LOOP): 2, ("mlp", RAY): 3, ("no-op", RAY_REUSING): 1, ("cnn", OURS): 0}
    [bar] = bars(results, NUM_CORES, failed)
    assert bar.heats == "2 of 2 pairs (2 not quiet, 3 failed)"
    text = tables(results, NUM_CORES, failed)
    assert "| 2 of 3 (1 failed) |" in text
    assert "All heats failed: Ray Tune (3)." in text
    assert "**200 trials that do nothing**\n\nAll heats failed: Ray Tune, reuse_actors (1).\n" in text
    assert "16 trials" not in text


def test_processor_time_of_which_some_may_be_missing_is_marked() -> None:
    partly, whole = replace(HEAT, is_exact=False), replace(HEAT, is_exact=True)
    text = tables({"no-op-1000": {OURS: [whole, HEAT], RAY: [whole, partly]}}, NUM_CORES, {})
    assert "| Dropsweep | 50 | 30 | 75% |" in text
    assert "| Ray Tune | 50 | ≥ 30 | ≥ 75% |" in text
    assert text.count("no control group") == 1
    assert "no control group" not in tables({"no-op": {OURS: [whole, HEAT]}}, NUM_CORES, {})
    slow = {"no-op-1000": {RAY: [replace(partly, tuning_s=80.0, tuning_cpu_s=16.0)]}}
    assert "Ray Tune, used at least 10% of the processors." in tables(slow, NUM_CORES, {})


def test_the_race_of_a_thousand_trials_names_its_slowest_party_and_what_it_used_of_the_processors() -> None:
    results = {"no-op-1000": {OURS: heats(60.0), RAY: [replace(HEAT, tuning_s=80.0, tuning_cpu_s=16.0)]}}
    assert "The slowest party, Ray Tune, used 10% of the processors." in tables(results, NUM_CORES, {})
    assert "slowest" not in tables({"no-op": results["no-op-1000"]}, NUM_CORES, {})


def test_one_repetition_is_told_without_a_spread() -> None:
    assert str(Spread.of([4.2])) == "4.2"
    assert str(Spread.of([4.2, 4.0, 4.5])) == "4.2 (4 to 4.5)"
    assert str(Spread.of([39_275.4])) == "39,275"


def test_the_tables_have_a_line_for_each_party_of_each_race() -> None:
    text = tables(RESULTS, NUM_CORES, {})
    no_op, *_ = text.split("\n\n**64 trials")
    assert "| Dropsweep | 60 (50 to 70) | 30 |" in text
    assert no_op.count("\n| ") == 2 + 3  # head and rule
    assert "| Optuna" not in text


def test_the_picture_is_well_formed_and_has_a_bar_for_each_result_of_its_races() -> None:
    root = ET.fromstring(draw(RESULTS, NUM_CORES))
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


INTERRUPTED = """
import os
import signal
import sys
from pathlib import Path
from bench.peers.cpu import Meter

def interrupt(number, frame):
    raise KeyboardInterrupt

signal.signal(signal.SIGALRM, interrupt)
folder = Path(sys.argv[1])
try:
    with Meter("dropsweep-interrupted") as meter:
        process = meter.start(["sleep", "600"], env=dict(os.environ), cwd=folder, log=folder / "log")
        signal.setitimer(signal.ITIMER_REAL, 0.02)
except KeyboardInterrupt:
    pass
print(os.getpid(), process.pid)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_an_interruption_while_a_party_is_ended_leaves_neither_process_nor_group(tmp_path: Path) -> None:
    # Wherever it comes it must leave nothing; most often it comes in the pause after the first signals.
    said = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    meter, process = said.stdout.split()
    assert not Path(f"/proc/{process}").exists()
    assert list(Path("/sys/fs/cgroup").rglob(f"dropsweep-interrupted-{meter}")) == []
