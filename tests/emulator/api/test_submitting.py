"""POST /jobs: one job for each submission, however often and however it comes."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from dropsweep.errors import Problem
from dropsweep.names import RUNS, JobKey
from dropsweep.records import JobRecord
from dropsweep.states import JobReason
from dropsweep.storage import Store
from tests.emulator.api.conftest import Api
from tests.emulator.deployment import command, sweep

YAML = b"type: command\ncommand: echo hello\n"


def test_a_yaml_file_becomes_a_job_whose_document_place_and_version_are_told(api: Api, workspace: str) -> None:
    answer = api.ask(
        "POST",
        "/jobs",
        headers={"Content-Type": "application/yaml"},
        body=YAML,
        workspace=workspace,
        file_name="hi.yml",
    )
    assert answer.status_code == 201
    job = JobRecord.from_json(answer.content)
    assert (job.key.workspace, job.key.experiment, job.name, job.source) == (workspace, "default", "hi", "http")
    assert answer.headers["Location"] == f"/api/jobs/{job.key.path}"
    again = api.get(f"/jobs/{job.key.path}")
    assert (again.content, again.headers["ETag"]) == (answer.content, answer.headers["ETag"])


def test_the_same_key_gives_the_same_job_and_200(api: Api, workspace: str, submission_id: str) -> None:
    first = api.submit(command("true"), workspace, submission_id)
    for key in (submission_id, f'"{submission_id}"'):
        answer = api.ask("POST", "/jobs", headers={"Idempotency-Key": key}, body=command("true"), workspace=workspace)
        assert (answer.status_code, JobKey.parse(answer.json()["job"])) == (200, first)


def test_the_same_key_with_another_content_is_refused(api: Api, workspace: str, submission_id: str) -> None:
    first = api.submit(command("true"), workspace, submission_id)
    answer = api.ask(
        "POST", "/jobs", headers={"Idempotency-Key": submission_id}, body=command("false"), workspace=workspace
    )
    assert (answer.status_code, answer.headers["Content-Type"]) == (422, "application/problem+json")
    assert (answer.json()["type"], answer.json()["kind"]) == ("/problems/submission-reused", "SubmissionReused")
    assert first.path in answer.json()["detail"]


def test_one_key_twenty_times_at_once_is_one_job(api: Api, store: Store, workspace: str, submission_id: str) -> None:
    with ThreadPoolExecutor(20) as pool:
        sent = [pool.submit(api.submit, sweep("true"), workspace, submission_id) for _ in range(20)]
        keys = {future.result() for future in sent}
    assert len(keys) == 1
    listed = api.get("/jobs", workspace=workspace).json()
    assert [job["job"] for job in listed["items"]] == [key.path for key in keys]


def test_without_a_key_each_request_is_a_submission(api: Api, workspace: str) -> None:
    assert api.submit(command("true"), workspace) != api.submit(command("true"), workspace)


def test_a_wrong_file_is_told_with_every_problem_and_makes_no_job(api: Api, workspace: str) -> None:
    answer = api.ask("POST", "/jobs", body={"type": "sweep", "nonsense": 1}, workspace=workspace)
    told = answer.json()
    assert (answer.status_code, told["type"], told["kind"]) == (422, "/problems/job-file", "SpecError")
    assert {"nonsense", "trial", "objective"} <= {problem["path"] for problem in told["problems"]}
    assert api.get("/jobs", workspace=workspace).json()["items"] == []


def test_a_body_that_is_no_job_file_is_a_problem_and_not_a_crash(api: Api, workspace: str) -> None:
    for kind in ("application/yaml", "application/json"):
        for body in (b"", b"[", b"\xff\xfe", b"- 1", b"null"):
            answer = api.ask("POST", "/jobs", headers={"Content-Type": kind}, body=body, workspace=workspace)
            assert (answer.status_code, answer.json()["type"]) == (422, "/problems/job-file"), body


def test_another_media_type_is_415_and_too_large_a_body_413(api: Api, workspace: str) -> None:
    for headers in ({"Content-Type": "text/html"}, {}):
        answer = api.ask("POST", "/jobs", headers=headers, body=YAML, workspace=workspace)
        assert answer.status_code == 415
    large = api.ask("POST", "/jobs", headers={"Content-Type": "application/yaml"}, body=b"#" * (2**20 + 1))
    assert large.status_code == 413


@pytest.mark.parametrize("key", ["", '""'])
def test_an_empty_key_makes_no_job(api: Api, workspace: str, key: str) -> None:
    answer = api.ask("POST", "/jobs", headers={"Idempotency-Key": key}, body=command("true"), workspace=workspace)
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/parameters")
    assert answer.json()["problems"][0]["path"] == "header.idempotency-key"
    assert api.get("/jobs", workspace=workspace).json()["items"] == []


def test_the_same_key_with_another_name_or_queue_gives_the_job_that_there_is(
    api: Api, workspace: str, submission_id: str
) -> None:
    first = api.submit(command("true"), workspace, submission_id, file_name="one.yaml")
    headers = {"Idempotency-Key": submission_id}
    for params in ({"file_name": "two.yaml"}, {"file_name": "one.yaml", "reply_to": "answers"}):
        answer = api.ask("POST", "/jobs", headers=headers, body=command("true"), workspace=workspace, **params)
        assert (answer.status_code, JobKey.parse(answer.json()["job"])) == (200, first)
        assert answer.json()["reply_to"] == ""


def test_a_key_whose_job_was_rejected_is_told_with_its_problems(
    api: Api, store: Store, workspace: str, submission_id: str
) -> None:
    first = api.submit(command("true"), workspace, submission_id)
    found = store.blobs.read(RUNS, first.record)
    assert found is not None
    rejected = replace(JobRecord.from_json(found.body), reason=JobReason.SPEC_INVALID, message="one problem")
    store.blobs.put(RUNS, first.record, rejected.to_json(), rejected.to_metadata())
    problem = Problem("command", "", "is missing", "Add it")
    store.blobs.put(RUNS, first.error, json.dumps({"version": 1, "problems": [problem.to_json()]}).encode())
    headers = {"Idempotency-Key": submission_id}
    answer = api.ask("POST", "/jobs", headers=headers, body=command("true"), workspace=workspace)
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/job-file")
    assert answer.json()["problems"] == [problem.to_json()]


def test_a_wrong_key_queue_or_place_is_told(api: Api, workspace: str) -> None:
    wrong = [
        ({"Idempotency-Key": "two words"}, {}, "submission_id"),
        ({}, {"reply_to": "UPPER"}, "reply_to"),
        ({}, {"reply_to": "advance"}, "reply_to"),
        ({}, {"experiment": "a/b"}, "query.experiment"),
    ]
    for headers, params, path in wrong:
        answer = api.ask("POST", "/jobs", headers=headers, body=command("true"), workspace=workspace, **params)
        assert answer.status_code == 422
        assert path in {problem["path"] for problem in answer.json()["problems"]}


def test_the_experiment_is_that_of_the_address_or_else_of_the_file(api: Api, workspace: str) -> None:
    job = command("true", experiment_name="of-file")
    assert api.submit(job, workspace).experiment == "of-file"
    assert api.submit(job, workspace, experiment="of-address").experiment == "of-address"
