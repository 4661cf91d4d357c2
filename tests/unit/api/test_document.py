"""The OpenAPI document, the models behind it, and the documents that are really sent."""

import inspect
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from dropsweep import documents, errors
from dropsweep.api import models, problems
from dropsweep.api.app import create_app
from dropsweep.api.openapi import document
from dropsweep.api.parameters import JOB_PATTERN, NAME_PATTERN, is_blob_path
from dropsweep.client import Action, BestTrial, Progress
from dropsweep.client.doctor.findings import Finding, Status, to_document
from dropsweep.metrics import Point
from dropsweep.names import JobKey, is_job_id, is_name
from dropsweep.records import Best, JobRecord, JobSummary, TrialRecord, TrialSummary
from dropsweep.states import JobReason, TrialReason
from dropsweep.steps._change import Left
from dropsweep.steps.delete import Deleted

DOCS = Path(__file__).parents[3] / "docs"
KEY = JobKey("w", "e", "job-0123456789")
NOW = datetime(2026, 1, 2, tzinfo=UTC)
JOB = JobRecord(KEY, "sweep", JobReason.ACCEPTED, "job", 5, NOW, best=Best(1, 0.5), closed_best=Best(1, 0.5))
JOB_SUMMARY = JobSummary.from_metadata(KEY, JOB.to_metadata())
TRIAL = TrialRecord(KEY, 7, 3, TrialReason.SUCCEEDED, {"x": 1}, metric=1.0, metrics={"a": float("nan")})
TRIAL_SUMMARY = TrialSummary.from_metadata(7, TRIAL.to_metadata())
PROGRESS = Progress(JOB, NOW, {}, (TRIAL_SUMMARY,), Best(1, 0.5))
PROBLEM = errors.Problem("path", "value", "rule", "remedy")


def nothing() -> Any:
    raise AssertionError("nothing is opened")


@pytest.fixture(scope="module")
def app() -> FastAPI:
    return create_app(nothing, nothing)


@pytest.fixture(scope="module")
def told(app: FastAPI) -> dict[str, Any]:
    return document(app)


def test_the_published_document_is_the_one_the_routes_give(told: dict[str, Any]) -> None:
    published = json.loads((DOCS / "openapi.json").read_text(encoding="utf-8"))
    assert published == json.loads(json.dumps(told)), "run: python -m dropsweep.api.openapi docs/openapi.json"


def operations(told: dict[str, Any]) -> list[dict[str, Any]]:
    return [operation for methods in told["paths"].values() for operation in methods.values()]


def test_every_operation_has_an_id_a_tag_and_problems_of_the_right_type(told: dict[str, Any]) -> None:
    assert told["openapi"] == "3.1.0"
    names = [operation["operationId"] for operation in operations(told)]
    assert len(set(names)) == len(names)
    shared = told["components"]["responses"]
    for operation in operations(told):
        assert operation["tags"]
        for status, response in operation["responses"].items():
            answer = shared[response["$ref"].rpartition("/")[2]] if "$ref" in response else response
            is_health = operation["operationId"] == "get_health" and status == "503"
            if int(status) >= 400 and status != "401" and not is_health:
                schema = {"$ref": "#/components/schemas/Problem"}
                assert answer["content"] == {problems.MEDIA_TYPE: {"schema": schema}}
    assert "HTTPValidationError" not in json.dumps(told)


def test_only_the_version_needs_no_key(told: dict[str, Any]) -> None:
    open_to_all = [operation["operationId"] for operation in operations(told) if operation.get("security") == []]
    assert (open_to_all, told["security"]) == (["get_version"], [{"functionKey": []}])


@pytest.mark.parametrize(
    ("model", "sent"),
    [
        (models.Job, json.loads(JOB.to_json())),
        (models.Trial, json.loads(TRIAL.to_json())),
        (models.JobSummary, documents.of_job(JOB_SUMMARY)),
        (models.TrialSummary, documents.of_trial(TRIAL_SUMMARY)),
        (
            models.Progress,
            documents.of_progress(PROGRESS)
            | {"record": documents.of_record(JOB), "served": "2026-01-02T00:00:00Z", "trials": []},
        ),
        (models.BestTrial, documents.of_best_trial(BestTrial.of(JOB, TRIAL))),
        (models.Action, documents.of_action(Action.PAUSE, JOB, None, Left.IS_PAUSED)),
        (models.LimitsOfJob, documents.of_limits(JOB)),
        (models.Limits, documents.of_limits(JOB)["limits"]),
        (models.Point, documents.of_point(Point(None, {"a": float("inf")}))),
        (models.ProblemEntry, PROBLEM.to_json()),
        (models.Health, to_document([Finding("clock", Status.OK, "m")])),
        (models.Finding, Finding("clock", Status.OK, "m").to_json()),
        (models.Deletion, Deleted(KEY, 3, is_done=True).to_json()),
    ],
    ids=lambda value: value.__name__ if inspect.isclass(value) else "",
)
def test_a_model_has_the_fields_of_the_document_that_is_sent(
    model: type[models.Document], sent: dict[str, Any]
) -> None:
    assert set(model.model_fields) == set(sent)
    TypeAdapter(model).validate_json(json.dumps(sent))


def tree() -> list[type[errors.DropsweepError]]:
    found = [value for value in vars(errors).values() if inspect.isclass(value)]
    return [value for value in found if issubclass(value, errors.DropsweepError)]


def test_every_error_of_the_tree_has_its_own_entry_in_the_table() -> None:
    assert set(problems.BY_CLASS) == set(tree())


@pytest.mark.parametrize("error", tree())
def test_what_an_error_on_this_side_says_is_told_to_nobody(error: type[errors.DropsweepError]) -> None:
    kind = problems.BY_CLASS[error]
    tells_paths_alone = error is errors.StorageCorrupt
    assert bool(kind.detail) == (kind.status >= 500 and not tells_paths_alone)


def test_every_type_of_problem_has_its_section_in_the_page() -> None:
    page = (DOCS / "http-api.md").read_text(encoding="utf-8")
    slugs = {kind.slug for kind in problems.BY_CLASS.values()} | {slug for slug, _ in problems._TITLES.values()}
    assert {slug for slug in slugs if f"| `/problems/{slug}` |" not in page} == set()
    assert set(re.findall(r"\| `/problems/([\w-]+)` \|", page)) == slugs


def test_the_page_names_every_operation(told: dict[str, Any]) -> None:
    page = (DOCS / "http-api.md").read_text(encoding="utf-8")
    named = {
        f"{method} {path}"
        for line in re.findall(r"^\| `([A-Z, ]+ /[^`]*)` \|", page, re.MULTILINE)
        for method, path in [line.split(" ", 1)]
    }
    offered = {f"{method.upper()} {path}" for path, methods in told["paths"].items() for method in methods}
    assert named == offered | {"GET /openapi.json"}


@given(st.text(max_size=80) | st.from_regex(r"[\w-]{1,80}", fullmatch=True))
def test_the_patterns_of_the_document_are_those_of_the_names(text: str) -> None:
    assert (re.search(NAME_PATTERN, text) is not None and "\n" not in text) == is_name(text)
    assert (re.search(JOB_PATTERN, text) is not None and "\n" not in text) == is_job_id(text)


@given(st.text(max_size=20))
def test_a_path_that_passes_stays_below_its_folder(path: str) -> None:
    if is_blob_path(path):
        assert path.isprintable() or not any(ord(character) < 32 for character in path)
        assert (Path("/base") / path).resolve().is_relative_to("/base")
        assert path.strip("/") == path
