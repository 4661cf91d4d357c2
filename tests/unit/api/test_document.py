"""The OpenAPI document, the models behind it, and the documents that are really sent."""

import inspect
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from fastapi import FastAPI, Request
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from dropsweep import documents, errors
from dropsweep.api import cluster_models, models, problems, trial_models
from dropsweep.api.app import create_app
from dropsweep.api.openapi import document
from dropsweep.api.parameters import JOB_PATTERN, NAME_PATTERN, is_blob_path
from dropsweep.api.ranges import Wanted, wanted_range
from dropsweep.client import Action, BestTrial, Progress
from dropsweep.client.doctor.findings import Finding, Status, to_document
from dropsweep.client.nodes import ClusterSummary, ClusterView, ShownNode
from dropsweep.clusters import Cluster
from dropsweep.metrics import Point
from dropsweep.names import JobKey, Priority, is_job_id, is_name
from dropsweep.nodes import Spent
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
NODE = ShownNode("n-1", "worker", "lost", 2, 1, NOW, NOW, 60)
SPENT = Spent("gpu", "2026-01", 10.5, 10.0, NOW)
CLUSTER = ClusterSummary("gpu", True, Cluster("gpu"), {"lost": 1}, 0, 0, {Priority.HIGH: None}, "2026-01", 60, SPENT)


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


def operations(told: dict[str, Any], *, heads: bool = True) -> list[dict[str, Any]]:
    return [
        operation
        for methods in told["paths"].values()
        for method, operation in methods.items()
        if heads or method != "head"
    ]


def answers(told: dict[str, Any], operation: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What an operation may answer, by status."""
    shared = told["components"]["responses"]
    return {
        status: shared[answer["$ref"].rpartition("/")[2]] if "$ref" in answer else answer
        for status, answer in operation["responses"].items()
    }


def headers_read(told: dict[str, Any], operation: dict[str, Any]) -> set[str]:
    """The request headers beside the key that an operation names."""
    shared = told["components"]["parameters"]
    named = [
        shared[one["$ref"].rpartition("/")[2]] if "$ref" in one else one for one in operation.get("parameters", ())
    ]
    return {one["name"] for one in named if one["in"] == "header"}


def test_every_operation_has_an_id_a_tag_and_problems_of_the_right_type(told: dict[str, Any]) -> None:
    assert told["openapi"] == "3.1.0"
    names = [operation["operationId"] for operation in operations(told)]
    assert len(set(names)) == len(names)
    for operation in operations(told, heads=False):
        assert operation["tags"]
        for status, answer in answers(told, operation).items():
            is_health = operation["operationId"] == "get_health" and status == "503"
            if int(status) >= 400 and status != "401" and not is_health:
                schema = {"$ref": "#/components/schemas/Problem"}
                assert answer["content"] == {problems.MEDIA_TYPE: {"schema": schema}}
    assert "HTTPValidationError" not in json.dumps(told)


def test_only_the_version_needs_no_key(told: dict[str, Any]) -> None:
    open_to_all = [operation["operationId"] for operation in operations(told) if operation.get("security") == []]
    assert (open_to_all, told["security"]) == (["get_version", "head_version"], [{"functionKey": []}])


def test_every_read_may_be_asked_as_head_which_answers_no_body(told: dict[str, Any]) -> None:
    for methods in told["paths"].values():
        assert ("head" in methods) == ("get" in methods)
        if "head" in methods:
            assert not any("content" in answer for answer in answers(told, methods["head"]).values())
            assert answers(told, methods["head"]).keys() == answers(told, methods["get"]).keys() - {"206", "416"}


def test_an_operation_names_the_conditions_that_it_reads(told: dict[str, Any]) -> None:
    reads = {operation["operationId"]: headers_read(told, operation) for operation in operations(told)}
    of_parts = {"If-None-Match", "Range", "If-Range"}
    assert (reads["get_log"], reads["get_file"], reads["head_file"]) == (of_parts, of_parts, {"If-None-Match"})
    assert reads["get_job"] == reads["get_version"] == {"If-None-Match"}
    assert reads["get_health"] == reads["delete_experiment"] == reads["pause_schedule"] == set()
    changes = {"edit_job", "delete_job", *(f"{verb}_{what}" for verb in Action for what in ("job", "trial"))}
    assert {name for name, headers in reads.items() if "If-Match" in headers} == changes
    assert "idempotency-key" in reads["submit_job"]


def test_an_operation_names_what_it_can_answer_and_no_more(told: dict[str, Any]) -> None:
    found = {operation["operationId"]: answers(told, operation) for operation in operations(told)}
    assert all("405" in known and "Allow" in known["405"]["headers"] for known in found.values())
    assert not {"502", "503"} & found["get_version"].keys()
    assert "502" not in found["get_health"]
    told_of_part = {"Content-Range", "ETag", "Dropsweep-Attempt", "Dropsweep-Latest-Attempt", "Dropsweep-State"}
    assert told_of_part <= found["get_log"]["206"]["headers"].keys()
    assert {"Content-Range", "ETag"} <= found["get_file"]["206"]["headers"].keys()
    assert "Content-Range" in found["get_file"]["416"]["headers"]
    assert "Retry-After" in found["get_job"]["503"]["headers"]


@pytest.mark.parametrize(
    ("model", "sent"),
    [
        (models.Job, json.loads(JOB.to_json())),
        (trial_models.Trial, json.loads(TRIAL.to_json())),
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
        (cluster_models.Node, NODE.to_json()),
        (cluster_models.Cluster, CLUSTER.to_json()),
        (cluster_models.Spent, CLUSTER.to_json()["spent"]),
        (cluster_models.ClusterView, ClusterView(CLUSTER, (NODE,), 3).to_json()),
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
    slugs.add(problems.TOO_LONG[0])
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
    offered = {name for name in offered if not name.startswith("HEAD ")}  # in one sentence for all
    assert named == offered | {"GET /openapi.json"}


@given(st.text(max_size=80) | st.from_regex(r"[\w-]{1,80}", fullmatch=True))
def test_the_patterns_of_the_document_are_those_of_the_names(text: str) -> None:
    assert (re.search(NAME_PATTERN, text) is not None and "\n" not in text) == is_name(text)
    assert (re.search(JOB_PATTERN, text) is not None and "\n" not in text) == is_job_id(text)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("bytes=2-5", Wanted(2, 5)),
        ("Bytes=2-", Wanted(2, None)),
        ("BYTES = 2 - 5", Wanted(2, 5)),
        ("bytes=-3", Wanted(None, 3)),
        ("bytes=5-2", None),
        ("bytes=1-2,4-5", None),
        ("bytes=²-3", None),
        ("lines=1-2", None),
        ("", None),
    ],
)
def test_a_range_is_read_whatever_the_case_of_its_unit(text: str, wanted: Wanted | None) -> None:
    scope = {"type": "http", "headers": [(b"range", text.encode("latin-1"))]}
    assert wanted_range(Request(scope)) == wanted


@given(st.text(max_size=40))
def test_the_path_in_a_problem_is_a_reference_to_the_path_that_was_asked_for(path: str) -> None:
    told = problems.path_of(Request({"type": "http", "path": f"/{path}", "headers": []}))
    assert re.fullmatch(r"/([A-Za-z0-9/:@!$&'()*+,;=._~-]|%[0-9A-F]{2})*", told)
    assert unquote(told) == f"/{path}".encode(errors="replace").decode()


@given(st.text(max_size=20))
def test_a_path_that_passes_stays_below_its_folder(path: str) -> None:
    if is_blob_path(path):
        assert path.isprintable() or not any(ord(character) < 32 for character in path)
        assert (Path("/base") / path).resolve().is_relative_to("/base")
        assert path.strip("/") == path
