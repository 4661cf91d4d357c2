"""Whatever a job file holds, the reader gives a spec or problems and raises nothing."""

import copy
import json
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from dropsweep.errors import Severity
from dropsweep.spec import JobSpec
from tests.unit.spec.files import SWEEP, read

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
TREES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
)
PLACES = st.sampled_from(
    [
        "name",
        "type",
        "trial",
        "trial__command",
        "trial__code",
        "trial__resources",
        "trial__environment_variables",
        "trial__distribution",
        "trial__environment",
        "inputs",
        "inputs__data",
        "inputs__data__path",
        "outputs",
        "search_space",
        "search_space__lr",
        "search_space__lr__min_value",
        "search_space__c",
        "sampling_algorithm",
        "objective",
        "limits",
        "limits__max_total_trials",
        "compute",
        "tags",
        "early_termination",
        "experiment_name",
        "$schema",
    ]
)
SHAPES = TREES | st.builds(
    lambda kind, values: {"type": kind, "values": values, "upper": values, "min_value": 0, "max_value": values},
    st.sampled_from(["choice", "randint", "uniform", "qlognormal", "x"]),
    TREES,
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(PLACES, SHAPES, max_size=4))
def test_no_change_of_a_good_file_makes_the_reader_raise(changes: dict[str, Any]) -> None:
    data = copy.deepcopy(SWEEP)
    for key, value in changes.items():
        *parents, last = key.split("__")
        place: Any = data
        for parent in parents:
            place = place.get(parent) if isinstance(place, dict) else None
        if isinstance(place, dict):
            place[last] = value
    reading = read(data, "x.json")
    assert (reading.spec is None) == any(problem.severity is Severity.ERROR for problem in reading.problems)
    json.dumps([problem.to_json() for problem in reading.problems], ensure_ascii=False).encode()
    if reading.spec is not None:
        assert JobSpec.from_json(reading.spec.to_json()) == reading.spec


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200) | st.text("{}[]:,-?&*!|>'\"%@`#\n\t ab1.~<", max_size=60).map(str.encode), st.booleans())
def test_no_bytes_make_the_reader_raise(body: bytes, is_json: bool) -> None:
    read(body, "x.json" if is_json else "x.yaml")


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(PLACES, TREES, max_size=3), st.binary(max_size=3), st.integers(0, 2000))
def test_no_damage_to_a_good_file_makes_the_reader_raise(changes: dict[str, Any], damage: bytes, at: int) -> None:
    body = yaml.safe_dump(SWEEP).encode()
    at %= len(body)
    read(body[:at] + damage + body[at + len(damage) :])
