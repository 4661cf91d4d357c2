"""A race that was interrupted goes on where it was. The bare loop takes part, which needs no other tool."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
RACE = [sys.executable, "-m", "bench.peers", "--races", "no-op", "--parties", "loop"]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processor time of parties is read from /proc")


def run(*options: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*RACE, *options], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)


def heats(file: Path) -> list[dict[str, Any]]:
    return list(json.loads(file.read_text())["heats"])


def test_what_was_measured_is_written_after_each_heat_and_a_race_goes_on_with_it(tmp_path: Path) -> None:
    file = tmp_path / "peers.json"
    command = [*RACE, "--json", str(file), "--repetitions", "1000"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as race:
        assert race.stderr is not None
        said = next(line for line in race.stderr if line.startswith("[3 of 1000, "))
        assert said.endswith(" min left] 200 trials that do nothing: floor: a bare loop per core, 200 trials …\n")
        written = heats(file)
        race.send_signal(signal.SIGINT)
        assert "--resume" in race.stderr.read()
    assert race.returncode == 130
    assert len(written) >= 2  # more when this process was slow to look

    there = heats(file)
    assert there[: len(written)] == written
    done = run("--json", str(file), "--repetitions", str(len(there) + 1), "--resume")
    assert done.returncode == 0, done.stderr
    assert "[1 of 1, " in done.stderr
    assert heats(file)[:-1] == there
    assert [heat["repetition"] for heat in heats(file)] == list(range(1, len(there) + 2))


def test_a_race_of_another_version_does_not_go_on(tmp_path: Path) -> None:
    file = tmp_path / "peers.json"
    assert run("--json", str(file), "--repetitions", "1").returncode == 0
    document = json.loads(file.read_text())
    document["runs"][0]["version"] = "0.0.0"
    file.write_text(json.dumps(document))
    refused = run("--json", str(file), "--repetitions", "2", "--resume")
    assert refused.returncode == 2
    assert "was measured with version 0.0.0, and now there is" in refused.stderr
    assert len(heats(file)) == 1


def test_a_race_that_was_interrupted_before_its_first_heat_does_not_leave_the_numbers_of_an_earlier_one(
    tmp_path: Path,
) -> None:
    file = tmp_path / "peers.json"
    assert run("--json", str(file), "--repetitions", "2").returncode == 0
    command = [*RACE, "--json", str(file), "--repetitions", "1"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as race:
        assert race.stderr is not None
        assert any(line.startswith("[1 of 1, ") for line in race.stderr)
        race.send_signal(signal.SIGINT)
        race.stderr.read()
    assert len(heats(file)) < 2  # one when this process was slow to look
    assert run("--json", str(file), "--repetitions", "1", "--resume").returncode == 0
    assert len(heats(file)) == 1


@pytest.mark.parametrize("option", ["--of", "--resume"])
def test_numbers_of_another_machine_are_not_added_to(tmp_path: Path, option: str) -> None:
    file = tmp_path / "peers.json"
    assert run("--json", str(file), "--repetitions", "1").returncode == 0
    document = json.loads(file.read_text())
    document["runs"][0]["machine"]["cores"] += 1
    file.write_text(json.dumps(document))
    given = ("--of", str(file)) if option == "--of" else ("--resume",)
    refused = run("--json", str(file), "--repetitions", "2", *given)
    assert refused.returncode == 2
    assert "was measured on a machine with cores" in refused.stderr
    assert json.loads(file.read_text()) == document


def test_kept_heats_keep_the_facts_of_their_run(tmp_path: Path) -> None:
    earlier, file = tmp_path / "earlier.json", tmp_path / "peers.json"
    assert run("--json", str(earlier), "--repetitions", "1").returncode == 0
    document = json.loads(earlier.read_text())
    document["runs"][0] |= {"started": "2001-02-03T04:05:06+00:00", "commit": "abc1234"}
    document["heats"].append(document["heats"][0] | {"race": "no-op-1000"})
    earlier.write_text(json.dumps(document))
    done = run("--of", str(earlier), "--json", str(file), "--repetitions", "1")
    assert done.returncode == 0, done.stderr
    assert [(heat["race"], heat["run"]) for heat in heats(file)] == [("no-op", 1), ("no-op-1000", 0)]
    assert json.loads(file.read_text())["runs"][0] == document["runs"][0]
    assert "Measured on 2001-02-03 with dropsweep" in done.stdout
    assert done.stdout.count("Measured on ") == 2


@pytest.mark.parametrize("option", ["--of", "--resume"])
def test_without_heats_there_is_nothing_to_begin_with(tmp_path: Path, option: str) -> None:
    file = tmp_path / "peers.json"
    file.write_text("{}")
    refused = run(*(("--of", str(file)) if option == "--of" else ("--resume", "--json", str(file))))
    assert refused.returncode == 2
    assert f"{file} has no heats" in refused.stderr
