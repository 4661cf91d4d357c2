"""A policy file is read in one go: what it says, or everything that is wrong with it."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dropsweep.errors import Severity
from dropsweep.records.ledger import QuotaLimits
from dropsweep.spec.schema import schemas, to_text
from dropsweep.spec.workspace import Retention, WorkspacePolicy, WorkspaceReading, read_workspace

DOCS = Path(__file__).parents[3] / "docs"

WHOLE = """
$schema: ../docs/schema/workspace.schema.json
description: Models that look at pictures
tags: {team: vision, cost_center: 42, is_paid: true}
limits:
  max_concurrent_jobs: 4
  max_concurrent_trials: 16
retention:
  delete_after_days: 90
  keep_last: 5
"""


def read(text: str | bytes) -> WorkspaceReading:
    return read_workspace(text if isinstance(text, bytes) else text.encode(), file_name="vision.yaml")


def told(text: str) -> dict[str, str]:
    reading = read(text)
    assert reading.policy is None
    return {problem.path: str(problem) for problem in reading.problems if problem.severity is Severity.ERROR}


def test_a_whole_file_says_what_it_says() -> None:
    reading = read(WHOLE)
    assert reading.problems == ()
    assert reading.policy == WorkspacePolicy(
        "Models that look at pictures",
        {"team": "vision", "cost_center": "42", "is_paid": "true"},
        QuotaLimits(4, 16),
        Retention(90, 5),
    )


@pytest.mark.parametrize("text", ["", " \n", "{}", "limits:", "limits: {}\nretention: {}", "description:"])
def test_a_file_that_says_nothing_bounds_and_deletes_nothing(text: str) -> None:
    reading = read(text)
    assert reading.policy == WorkspacePolicy()
    assert not WorkspacePolicy().limits.is_bounded


def test_a_limit_of_0_is_a_limit() -> None:
    reading = read("limits: {max_concurrent_jobs: 0}")
    assert reading.policy
    assert reading.policy.limits.is_bounded


def test_every_problem_is_told_at_once_with_its_place_and_remedy() -> None:
    found = told(
        "limit: {}\nlimits: {max_jobs: 1, max_concurrent_jobs: -1, max_concurrent_trials: '3'}\n"
        "retention: {delete_after_days: 0}\ntags: 3"
    )
    assert set(found) == {
        "limit",
        "limits.max_jobs",
        "limits.max_concurrent_jobs",
        "limits.max_concurrent_trials",
        "retention.delete_after_days",
        "tags",
    }
    assert "Did you mean `limits`?" in found["limit"]
    assert "`max_concurrent_jobs`" in found["limits.max_jobs"]
    assert "must be at least 0" in found["limits.max_concurrent_jobs"]


def test_what_stays_says_nothing_without_what_goes() -> None:
    assert "delete_after_days" in told("retention: {keep_last: 3}")["retention.delete_after_days"]


def test_a_section_that_is_no_mapping_is_refused() -> None:
    assert set(told("limits: 3\nretention: [1]")) == {"limits", "retention"}


@pytest.mark.parametrize("text", ["# nothing\n", "- 1", "limits: {", "a: 1\n---\nb: 2"])
def test_what_is_wrong_with_the_yaml_is_told_in_words_of_policies(text: str) -> None:
    (problem,) = told(text).values()
    assert "job file" not in problem
    assert "type: sweep" not in problem


KEYS = st.sampled_from(
    ["limits", "retention", "tags", "description", "max_concurrent_jobs", "keep_last", "delete_after_days", "x"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(KEYS, VALUES, max_size=4))
def test_whatever_a_file_holds_there_is_a_policy_or_a_reason(data: dict[str, Any]) -> None:
    reading = read_workspace(json.dumps(data).encode(), file_name="w.yaml")
    errors = [problem for problem in reading.problems if problem.severity is Severity.ERROR]
    assert (reading.policy is None) == bool(errors)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60) | st.text("{}[]:,-?&*!|>'\"%@`#\n ab1.~<", max_size=40).map(str.encode))
def test_no_bytes_make_the_reader_raise(body: bytes) -> None:
    read(body)


def test_the_published_schema_is_the_one_the_models_give() -> None:
    published = (DOCS / "schema/workspace.schema.json").read_text(encoding="utf-8")
    remedy = "run: python -m dropsweep.spec.schema docs/schema"
    assert published == to_text(schemas()["workspace.schema.json"]), remedy
