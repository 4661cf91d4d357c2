"""Each key that Azure ML documents for commands and sweeps stands in a file here and is read as expected."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from dropsweep.clusters import Cluster
from dropsweep.errors import Severity
from dropsweep.spec import Reading, read_job
from tests.unit.spec.azure_ml.documented import COMMAND_KEYS, SWEEP_KEYS, keys_in
from tests.unit.spec.azure_ml.expectations import COMMAND_DEFAULTS, SWEEP_DEFAULTS, Expected
from tests.unit.spec.azure_ml.expected_command import COMMAND_FILES
from tests.unit.spec.azure_ml.expected_sweep import SWEEP_FILES

FOLDER = Path(__file__).parent
KINDS: dict[str, tuple[frozenset[str], dict[str, Expected], dict[str, Any]]] = {
    "command": (COMMAND_KEYS, COMMAND_FILES, COMMAND_DEFAULTS),
    "sweep": (SWEEP_KEYS, SWEEP_FILES, SWEEP_DEFAULTS),
}
FILES = [(kind, name) for kind, (_, files, _) in KINDS.items() for name in files]


def read(kind: str, name: str) -> Reading:
    file = FOLDER / kind / f"{name}.yaml"
    return read_job(
        file.read_bytes(), file_name=file.name, clusters=[Cluster("cpu"), Cluster("gpu")], seed=11, experiment="digits"
    )


def keys_of_files(kind: str) -> set[str]:
    files = (FOLDER / kind).glob("*.yaml")
    return {key for file in files for key in keys_in(yaml.safe_load(file.read_text(encoding="utf-8")))}


@pytest.mark.parametrize("kind", KINDS)
def test_every_documented_key_stands_in_a_file(kind: str) -> None:
    assert KINDS[kind][0] - keys_of_files(kind) == set()


@pytest.mark.parametrize("kind", KINDS)
def test_the_files_hold_no_key_that_is_not_documented(kind: str) -> None:
    assert keys_of_files(kind) - KINDS[kind][0] == set()


@pytest.mark.parametrize("kind", KINDS)
def test_every_file_has_an_expectation(kind: str) -> None:
    assert {file.stem for file in (FOLDER / kind).iterdir()} == set(KINDS[kind][1])


@pytest.mark.parametrize(("kind", "name"), FILES)
def test_a_file_is_read_as_the_reference_says(kind: str, name: str) -> None:
    _, files, defaults = KINDS[kind]
    expected = files[name]
    reading = read(kind, name)
    assert [str(problem) for problem in reading.problems if problem.severity is Severity.ERROR] == expected.errors
    assert [str(problem) for problem in reading.warnings] == expected.warnings
    if expected.spec is None:
        assert reading.spec is None
    else:
        assert reading.spec is not None
        of_the_file = {"name": name, "display_name": name}
        assert json.loads(reading.spec.to_json()) == defaults | of_the_file | expected.spec


@pytest.mark.parametrize(("kind", "name"), FILES)
def test_no_documented_key_is_called_unknown(kind: str, name: str) -> None:
    assert [str(problem) for problem in read(kind, name).problems if "not a key" in problem.rule] == []
