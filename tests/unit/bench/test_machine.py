"""On what numbers were measured, as it is told with them."""

import json
import platform
import sys
from pathlib import Path

import pytest

from bench.machine import facts, told

FACTS = {
    "version": "1.2.3",
    "started": "2026-11-22T10:00:00+00:00",
    "machine": {"processor": "Some CPU 9000", "cores": 2, "memory_gib": 23.5, "load": 0.25, "python": "3.11.7"},
}


def test_a_sentence_tells_processor_cores_memory_python_and_the_load_before() -> None:
    assert told(FACTS) == (
        "Measured on 2026-11-22 with dropsweep 1.2.3 and Python 3.11.7, on 2 cores (Some CPU 9000) with 23.5 GiB of "
        "memory; load before it: 0.25."
    )


def test_a_sentence_names_the_other_tools_and_that_it_was_quick() -> None:
    text = told(FACTS | {"tools": {"ray": "2.0", "optuna": "5.0"}, "is_quick": True})
    assert "with dropsweep 1.2.3, ray 2.0, optuna 5.0 and Python 3.11.7," in text
    assert text.endswith("Quick: fewer samples than usual.")
    assert "Quick" not in told(FACTS | {"is_quick": False})


def test_the_facts_of_this_machine_make_a_sentence_and_stand_in_json() -> None:
    known = facts({"ray": "2.0"})
    assert json.loads(json.dumps(known)) == known
    assert "ray 2.0" in told(known)
    assert "tools" not in facts()


@pytest.mark.skipif(
    sys.platform != "linux" or "model name\t" not in Path("/proc/cpuinfo").read_text(),
    reason="this system has no name of its processor in /proc",
)
def test_the_processor_has_its_makers_name() -> None:
    name = facts()["machine"]["processor"]
    assert name != platform.machine()
    assert f"model name\t: {name}" in Path("/proc/cpuinfo").read_text()
