"""Whatever goes wrong is a problem, and tells nothing that is not the caller's business."""

import asyncio
import json
import logging
import socket
import time
from collections.abc import Callable

import azure.functions as func
import pytest
import requests

from dropsweep.api.app import create_app
from dropsweep.api.workspaces import _failed
from dropsweep.errors import ConfigError, StorageUnavailable
from dropsweep.names import RUNS, JobKey
from dropsweep.records import JobRecord
from dropsweep.settings import Settings, StorageSettings, emulator_connection_string
from dropsweep.storage import Store
from tests.emulator.api.conftest import Api
from tests.emulator.api.test_reading import job

__all__ = ["job"]
MEDIA_TYPE = "application/problem+json"


def check(answer: requests.Response, status: int, slug: str) -> None:
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, MEDIA_TYPE)
    told = answer.json()
    assert (told["status"], told["type"]) == (status, f"/problems/{slug}")
    assert {"title", "detail", "instance"} <= set(told)
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_what_the_framework_says_by_itself_is_a_problem_too(api: Api) -> None:
    check(api.get("/nothing/here"), 404, "not-found")
    check(api.get("/"), 404, "not-found")
    check(api.get("/jobs", limit=0), 422, "parameters")
    check(api.get("/jobs", limit="many"), 422, "parameters")
    check(api.get("/jobs/w/e/j/trials/-1"), 422, "parameters")
    wrong = api.ask("PUT", "/jobs")
    check(wrong, 405, "method")
    assert wrong.headers["Allow"] == "GET, HEAD, POST"


def test_a_wrong_parameter_is_told_with_its_place_value_and_rule(api: Api) -> None:
    [problem] = api.get("/jobs", limit=1001).json()["problems"]
    assert (problem["path"], problem["value"]) == ("query.limit", "1001")
    assert "1000" in problem["rule"]


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/jobs"), ("GET", "/jobs"), ("GET", "/version"), ("GET", "/openapi.json"), ("GET", "/jobs/w/e/j")],
)
def test_a_parameter_that_an_operation_has_not_is_refused(api: Api, method: str, path: str) -> None:
    answer = api.ask(method, path, workspce="vision")
    check(answer, 422, "parameters")
    assert [problem["path"] for problem in answer.json()["problems"]] == ["query.workspce"]
    if path == "/jobs":
        assert answer.json()["problems"][0]["remedy"] == "Did you mean workspace"


def test_the_key_is_known_as_a_parameter_everywhere(api: Api) -> None:
    assert api.get("/version", code="key").status_code == 200
    assert api.get("/jobs", code="key", limit=1).status_code == 200


def test_the_path_of_a_problem_stands_in_it_as_in_a_uri(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    for path, told in (
        ("/a%1B[2Jb", "/api/a%1B%5B2Jb"),
        ("/%E2%80%AE x", "/api/%E2%80%AE%20x"),
        ("/a%25", "/api/a%25"),
    ):
        assert api.get(path).json()["instance"] == told


def test_a_body_that_is_nested_too_deeply_is_told_with_its_remedy(api: Api) -> None:
    body = b'{"timeout": ' + b"[" * 200_000 + b"]" * 200_000 + b"}"
    answer = api.ask("PATCH", "/jobs/w/e/j", headers={"Content-Type": "application/json"}, body=body)
    check(answer, 400, "bad-request")
    assert "nested" in answer.json()["detail"]


def test_a_read_that_found_no_storage_is_just_to_be_asked_again(settings: Settings) -> None:
    store = Store.connect(StorageSettings(emulator_connection_string(9, 9)), patience_s=0)
    answer = ask("/jobs/w/e/j", lambda: store, lambda: settings)
    detail = json.loads(answer.get_body())["detail"]
    assert (answer.status_code, detail) == (503, "The storage account does not answer. Ask again")


def test_a_storage_that_hangs_is_told_of_in_the_time_that_was_promised(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        store = Store.connect(StorageSettings(emulator_connection_string(port, port)), patience_s=1, read_timeout_s=120)
        began = time.monotonic()
        assert ask("/jobs/w/e/j", lambda: store, lambda: settings).status_code == 503
        assert time.monotonic() - began < 60


def test_what_fails_for_one_job_of_an_experiment_is_told_without_what_is_nobody_s_business(
    caplog: pytest.LogCaptureFixture,
) -> None:
    error = StorageUnavailable("https://hush.example/?sig=hush")
    with caplog.at_level(logging.ERROR):
        told = _failed(JobKey("w", "e", "j"), error)
    assert (told["job"], told["kind"]) == ("w/e/j", "StorageUnavailable")
    assert "hush" not in str(told)
    assert "hush" in caplog.text


def test_a_record_that_cannot_be_read_is_told_with_its_path(api: Api, store: Store, job: JobRecord) -> None:
    store.blobs.put(RUNS, job.key.record, b"{")
    answer = api.get(f"/jobs/{job.key.path}/trials")
    check(answer, 500, "storage-corrupt")
    assert "Traceback" not in answer.text


def ask(path: str, store: Callable[[], Store], settings: Callable[[], Settings]) -> func.HttpResponse:
    """Asks an app of its own, as the function does."""
    middleware = func.AsgiMiddleware(create_app(store, settings))
    answer: func.HttpResponse = asyncio.run(
        middleware.handle_async(func.HttpRequest("GET", f"http://h/api{path}", body=b""))
    )
    return answer


@pytest.mark.parametrize(
    ("error", "status", "slug"),
    [
        (ConfigError("AccountKey=hush"), 500, "deployment"),
        (StorageUnavailable("https://hush.example/?sig=hush"), 503, "storage-unavailable"),
        (RuntimeError("hush"), 500, "internal"),
    ],
)
def test_an_error_of_this_side_is_logged_and_not_told(
    error: Exception, status: int, slug: str, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> Store:
        raise error

    with caplog.at_level(logging.ERROR):
        answer = ask("/jobs", fail, lambda: pytest.fail("not asked for"))
    body = answer.get_body().decode()
    assert (answer.status_code, json.loads(body)["type"]) == (status, f"/problems/{slug}")
    assert "hush" not in body
    assert "hush" in caplog.text
    assert ("Retry-After" in answer.headers) == (status == 503)


def test_a_storage_that_does_not_answer_is_503_and_health_still_tells(settings: Settings) -> None:
    gone = StorageSettings(emulator_connection_string(9, 9))
    store = Store.connect(gone, patience_s=0)
    away = Settings(gone, clusters=settings.clusters)
    for path in ("/jobs", "/jobs/w/e/j", "/jobs/w/e/j/trials/0/logs/stdout", "/schedules", "/workspaces"):
        answer = ask(path, lambda: store, lambda: away)
        body = answer.get_body().decode()
        assert (answer.status_code, json.loads(body)["kind"]) == (503, "StorageUnavailable")
        assert "127.0.0.1" not in body
    health = ask("/health", lambda: store, lambda: away)
    assert (health.status_code, json.loads(health.get_body())["status"]) == (503, "down")
    assert ask("/version", lambda: store, lambda: away).status_code == 200


def test_health_tells_what_is_wrong_in_words(api: Api) -> None:
    told = api.get("/health")
    assert told.status_code == 200
    assert told.json()["status"] in ("ok", "degraded")
    assert {finding["check"] for finding in told.json()["findings"]} >= {"connection", "containers"}
