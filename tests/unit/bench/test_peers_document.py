"""What the race keeps in its file of numbers, and which heats may stand beside each other there."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from bench.peers.document import Document, Failure
from bench.peers.entrants import LOOP, OURS, RAY
from bench.peers.heat import Heat
from dropsweep.errors import ConfigError, DropsweepError

HEAT = Heat(num_trials=200, setup_s=3.0, setup_cpu_s=5.0, tuning_s=4.0, tuning_cpu_s=6.0, best=0.9)
MACHINE = {"processor": "CPU 9000", "cores": 2, "memory_gib": 23.5, "load": 0.25, "python": "3.11.7", "platform": "L"}
FACTS: dict[str, Any] = {
    "version": "1.2.3",
    "commit": "abc1234",
    "started": "2026-11-22T10:00:00+00:00",
    "machine": MACHINE,
    "tools": {"ray": "2.0"},
}
FILE = Path("peers.json")


def document(**changed: Any) -> Document:
    known = Document([FACTS | changed])
    known.add("no-op", OURS, HEAT)
    known.add("no-op", RAY, HEAT)
    fail(known, "it ended with 1")
    return known


def fail(known: Document, why: str) -> None:
    def run() -> Heat:
        raise DropsweepError(why)

    with pytest.raises(DropsweepError, match=why):
        known.try_once("no-op", RAY, run)


def test_all_comes_back_from_the_file(tmp_path: Path) -> None:
    known = document()
    known.runs.append(FACTS | {"started": "2026-11-23T10:00:00+00:00"})
    known.add("mlp", OURS, HEAT)
    known.save(tmp_path / "peers.json")
    assert Document.read(tmp_path / "peers.json") == known
    assert [heat.run for parties in known.results.values() for heats in parties.values() for heat in heats] == [0, 0, 1]


def test_a_file_of_an_earlier_version_is_one_run() -> None:
    old = {name: value for name, value in asdict(HEAT).items() if name not in ("disk_wait_s", "is_exact", "run")}
    facts = {name: value for name, value in FACTS.items() if name != "commit"}
    text = facts | {"is_quick": True, "heats": [{"race": "no-op", "party": OURS, "repetition": 1, **old}], "bars": []}
    assert Document.from_json(text) == Document([facts], {"no-op": {OURS: [HEAT]}})


@pytest.mark.parametrize("text", ["{}", "[]", "not JSON", '{"heats": []}', '{"heats": [{"race": "no-op"}]}'])
def test_another_file_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "peers.json"
    file.write_text(text)
    with pytest.raises(ConfigError, match="has no heats"):
        Document.read(file)


def test_a_document_without_a_heat_yet_is_one(tmp_path: Path) -> None:
    Document([FACTS]).save(tmp_path / "peers.json")
    assert Document.read(tmp_path / "peers.json") == Document([FACTS])


def test_the_races_stand_in_their_order_with_their_bars() -> None:
    known = Document([FACTS])
    known.add("mlp", OURS, HEAT)
    known.add("no-op", OURS, HEAT)
    text = known.to_json()
    assert [row["race"] for row in text["heats"]] == ["no-op", "mlp"]
    assert [bar["what"] for bar in text["bars"]] == ["no-op trials a second"]
    assert json.loads(json.dumps(text)) == json.loads(json.dumps(Document.from_json(text).to_json()))


def test_what_is_dropped_leaves_neither_heats_nor_failures_nor_an_empty_race() -> None:
    known = document()
    known.drop("no-op", RAY)
    assert known == Document([FACTS], {"no-op": {OURS: [HEAT]}})
    known.drop("no-op", OURS)
    known.drop("mlp", LOOP)
    assert known == Document([FACTS])


def test_failures_are_counted_by_race_and_party() -> None:
    known = document()
    fail(known, "it ended with 2")
    assert known.try_once("no-op", RAY, lambda: HEAT) == HEAT
    assert known.failed == {("no-op", RAY): 2}
    assert known.failures[0] == Failure("no-op", RAY, 0, "it ended with 1")


def test_one_run_is_told_as_one_sentence_and_two_with_their_dates_commits_and_heats() -> None:
    known = document()
    assert known.told().startswith("Measured on 2026-11-22 with dropsweep 1.2.3 at abc1234, ray 2.0 ")
    assert "heats" not in known.told()
    known.runs.append(FACTS | {"started": "2026-11-23T10:00:00+00:00", "commit": "def5678"})
    assert "2026-11-23" not in known.told()  # it has no heat yet
    known.add("mlp", LOOP, HEAT)
    first, second = known.told().split("\n\n")
    assert first.startswith("Measured on 2026-11-22 with dropsweep 1.2.3 at abc1234")
    assert first.endswith("It took 2 of the 3 heats: Dropsweep; Ray Tune.")
    assert second.startswith("Measured on 2026-11-23 with dropsweep 1.2.3 at def5678")
    assert second.endswith("It took 1 of the 3 heats: floor: a bare loop per core.")


@pytest.mark.parametrize("fact", [fact for fact in MACHINE if fact != "load"])
def test_another_machine_is_refused_and_another_load_is_not(fact: str) -> None:
    document().refuse_another_machine(FACTS | {"machine": MACHINE | {"load": 7.0}}, FILE)
    with pytest.raises(ConfigError, match=rf"^peers.json was measured on a machine with {fact} .*, and here it is 64"):
        document().refuse_another_machine(FACTS | {"machine": MACHINE | {fact: 64}}, FILE)


@pytest.mark.parametrize("changed", [{"version": "9"}, {"commit": "9"}, {"commit": None}, {"tools": {"ray": "9"}}])
def test_other_code_is_refused(changed: dict[str, Any]) -> None:
    document().refuse_other_code(FACTS, FILE)
    with pytest.raises(ConfigError, match="--resume"):
        document().refuse_other_code(FACTS | changed, FILE)


def test_tools_are_compared_with_the_last_run_that_had_some() -> None:
    alone = {name: value for name, value in FACTS.items() if name != "tools"}
    Document([alone]).refuse_other_code(FACTS, FILE)
    document().refuse_other_code(alone, FILE)
    known = document()
    known.runs.append(alone)
    with pytest.raises(ConfigError, match="tools"):
        known.refuse_other_code(FACTS | {"tools": {"ray": "9"}}, FILE)
