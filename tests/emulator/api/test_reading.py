"""What is served of jobs and trials: documents, versions, pages, parts."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from dropsweep.client import Client
from dropsweep.names import CODE, RUNS, JobKey
from dropsweep.records import Best, JobRecord, TrialRecord
from dropsweep.states import JobReason, TrialReason, TrialState
from dropsweep.storage import Store
from tests.emulator.api.conftest import Api

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def job(store: Store, key: JobKey) -> JobRecord:
    """A completed sweep of three trials, with the files of the first."""
    counts = {TrialState.COMPLETED: 2, TrialState.FAILED: 1}
    record = JobRecord(
        key,
        "sweep",
        JobReason.TRIALS_COMPLETED,
        "job",
        3,
        NOW,
        next_trial=3,
        closed_below=1,
        counts=counts,
        closed_counts=counts,
        goal="maximize",
        primary_metric="score",
        best=Best(0, 0.9),
        closed_best=Best(0, 0.9),
        started=NOW,
        finished=NOW + timedelta(seconds=9),
        tags={"team": "vision"},
    )
    store.blobs.create(RUNS, key.record, record.to_json(), record.to_metadata())
    for number, reason in enumerate((TrialReason.SUCCEEDED, TrialReason.EXIT_CODE, TrialReason.SUCCEEDED)):
        trial = TrialRecord(key, number, 1, reason, {"x": number}, metric=0.9 - number, metrics={"score": 0.9 - number})
        store.blobs.create(RUNS, key.trial(number), trial.to_json(), trial.to_metadata())
    store.blobs.put(RUNS, key.stdout(0, 1), b"0123456789")
    store.blobs.put(RUNS, key.metrics(0, 1), b'{"step": 1, "score": 0.5}\n{"step": 2, "score": "NaN"}\n')
    store.blobs.put(RUNS, f"{key.outputs(0, 1)}model.bin", bytes(range(256)) * 4)
    return record


def test_records_are_served_as_they_lie_in_the_storage(api: Api, store: Store, job: JobRecord) -> None:
    at = f"/jobs/{job.key.path}"
    assert JobRecord.from_json(api.get(at).content) == job
    stored = store.blobs.read(RUNS, job.key.trial(1))
    assert stored is not None
    answer = api.get(f"{at}/trials/1")
    assert (answer.content, answer.headers["ETag"]) == (stored.body, stored.etag)


@pytest.mark.parametrize(
    "path", ["", "/progress", "/problems", "/best", "/trials", "/trials/0", "/trials/0/metrics", "/files"]
)
def test_a_reader_who_has_this_version_gets_304_and_one_who_has_another_gets_it(
    api: Api, job: JobRecord, path: str
) -> None:
    at = f"/jobs/{job.key.path}{path}"
    first = api.get(at)
    etag = first.headers["ETag"]
    if path != "/progress":  # it says when the look was
        for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
            answer = api.get(at, headers={"If-None-Match": known})
            assert (answer.status_code, answer.content, answer.headers["ETag"]) == (304, b"", etag), known
    for known in ('"other"', 'W/"other", "more"', "", "nonsense"):
        answer = api.get(at, headers={"If-None-Match": known})
        assert answer.status_code == 200, known
    assert first.headers["Cache-Control"] == "private, no-cache"


def test_head_tells_what_get_would_but_sends_nothing(api: Api, job: JobRecord) -> None:
    for path in ("", "/trials", "/trials/0/logs/stdout", "/files/job.json"):
        at = f"/jobs/{job.key.path}{path}"
        got, asked = api.get(at), api.ask("HEAD", at)
        assert (asked.status_code, asked.content) == (200, b"")
        assert asked.headers["Content-Length"] == str(len(got.content))
        assert asked.headers["Content-Type"] == got.headers["Content-Type"]
    assert api.ask("HEAD", "/nowhere").status_code == 404


def test_jobs_come_newest_first_page_by_page_and_filtered(api: Api, store: Store, job: JobRecord) -> None:
    workspace = job.key.workspace
    for number in range(1, 6):
        key = replace(job.key, job=f"more-{number}")
        record = replace(job, key=key, created=NOW + timedelta(minutes=number // 2), tags={"n": str(number)})
        store.blobs.create(RUNS, key.record, record.to_json(), record.to_metadata())
    seen: list[str] = []
    cursor = None
    for _ in range(3):
        page = api.get("/jobs", workspace=workspace, limit=2, cursor=cursor).json()
        seen += [item["job"] for item in page["items"]]
        cursor = page["next"]
    assert cursor is None
    client = Client(store)
    assert seen == [summary.key.path for summary in client.jobs(workspace)]

    def found(**params: object) -> set[str]:
        return {item["job"] for item in api.get("/jobs", workspace=workspace, **params).json()["items"]}

    assert found(tag="team=vision") == {job.key.path}
    assert found(tag=["n", "n=3"]) == {f"{workspace}/e/more-3"}
    assert found(state=["failed", "running"]) == set()
    assert len(found(state=["failed", "completed"])) == 6
    assert found(since="2026-03-01T12:02:00Z") == {f"{workspace}/e/more-4", f"{workspace}/e/more-5"}
    assert found(experiment="other") == set()


def test_a_job_whose_record_cannot_be_read_is_told_beside_the_others(api: Api, store: Store, job: JobRecord) -> None:
    torn = replace(job.key, job="torn")
    store.blobs.put(RUNS, torn.record, b"{")
    page = api.get("/jobs", workspace=job.key.workspace).json()
    assert [item["job"] for item in page["items"]] == [job.key.path]
    assert [entry["job"] for entry in page["errors"]] == [torn.path]


def test_a_cursor_from_elsewhere_is_refused(api: Api, job: JobRecord) -> None:
    for path, cursor in (("/jobs", "AAAA"), ("/jobs", "%"), ("/jobs", "bm93IGEvYi9j"), ("/jobs", "é")):
        answer = api.get(path, cursor=cursor)
        assert (answer.status_code, answer.json()["type"]) == (422, "/problems/parameters")


def test_trials_come_page_by_page_and_filtered(api: Api, job: JobRecord) -> None:
    at = f"/jobs/{job.key.path}/trials"
    first = api.get(at, limit=2).json()
    assert [item["trial"] for item in first["items"]] == [0, 1]
    second = api.get(at, limit=2, after=first["next"]).json()
    assert ([item["trial"] for item in second["items"]], second["next"]) == ([2], None)
    failed = api.get(at, state="failed").json()
    assert [(item["trial"], item["reason"]) for item in failed["items"]] == [(1, "exit_code")]
    exactly = api.get(at, limit=3).json()
    assert (len(exactly["items"]), exactly["next"]) == (3, None)


def test_trials_of_several_shards_are_paged_through_whole(api: Api, store: Store, key: JobKey) -> None:
    record = JobRecord(key, "sweep", JobReason.DISPATCHING, "job", 10_000, NOW, next_trial=7_001)
    store.blobs.create(RUNS, key.record, record.to_json(), record.to_metadata())
    for number in (5, 999, 1000, 2500, 6999, 7000):
        trial = TrialRecord(key, number, 1, TrialReason.CLAIMED, {})
        store.blobs.create(RUNS, key.trial(number), trial.to_json(), trial.to_metadata())
    seen: list[int] = []
    after, num_pages = -1, 0
    while after is not None:
        page = api.get(f"/jobs/{key.path}/trials", limit=2, after=after).json()
        seen += [item["trial"] for item in page["items"]]
        after, num_pages = page["next"], num_pages + 1
    assert seen == [5, 999, 1000, 2500, 6999, 7000]
    assert num_pages < 8
    first = api.get(f"/jobs/{key.path}/trials", state="failed").json()
    assert (first["items"], first["next"]) == ([], 3999)  # one answer lists four folders at most
    assert api.get(f"/jobs/{key.path}/trials", state="failed", after=3999).json() == {"items": [], "next": None}


def test_a_trial_that_may_come_and_one_that_never_will_are_told_apart(api: Api, store: Store, key: JobKey) -> None:
    record = JobRecord(key, "sweep", JobReason.DISPATCHING, "job", 2, NOW)
    store.blobs.create(RUNS, key.record, record.to_json(), record.to_metadata())
    for path in ("", "/logs/stdout", "/metrics"):
        coming = api.get(f"/jobs/{key.path}/trials/1{path}")
        assert (coming.status_code, coming.json()["code"], coming.json()["kind"]) == (404, "not_begun", "NotFoundError")
        never = api.get(f"/jobs/{key.path}/trials/2{path}")
        assert (never.status_code, "code" in never.json()) == (404, False)
    assert api.get(f"/jobs/{key.path}/best").status_code == 404


def test_logs_are_read_from_an_offset_and_send_what_there_is_from_there(api: Api, job: JobRecord) -> None:
    at = f"/jobs/{job.key.path}/trials/0/logs/stdout"
    whole = api.get(at)
    assert (whole.status_code, whole.content) == (200, b"0123456789")
    for ranged, status, body, told in (
        ("bytes=4-", 206, b"456789", "bytes 4-9/10"),
        ("bytes=4-5", 206, b"45", "bytes 4-5/10"),
        ("bytes=0-99", 206, b"0123456789", "bytes 0-9/10"),
        ("bytes=-3", 206, b"789", "bytes 7-9/10"),
        ("bytes=-30", 206, b"0123456789", "bytes 0-9/10"),
        ("bytes=0-1,4-5", 200, b"0123456789", None),
        ("bytes=5-4", 200, b"0123456789", None),
        ("lines=1-2", 200, b"0123456789", None),
    ):
        answer = api.get(at, headers={"Range": ranged})
        assert (answer.status_code, answer.content, answer.headers.get("Content-Range")) == (status, body, told), ranged
        assert answer.headers["Dropsweep-Attempt"] == answer.headers["Dropsweep-Latest-Attempt"] == "1"
        assert answer.headers["Dropsweep-State"] == "completed"


@pytest.mark.parametrize(("stream", "ranged", "size"), [("stdout", "bytes=10-", 10), ("stderr", "bytes=0-", 0)])
def test_past_the_end_of_a_log_416_tells_how_long_it_is(
    api: Api, job: JobRecord, stream: str, ranged: str, size: int
) -> None:
    answer = api.get(f"/jobs/{job.key.path}/trials/0/logs/{stream}", headers={"Range": ranged})
    assert (answer.status_code, answer.headers["Content-Range"]) == (416, f"bytes */{size}")
    assert (answer.headers["Dropsweep-State"], answer.json()["type"]) == ("completed", "/problems/range")


def test_a_log_that_nobody_wrote_yet_is_empty(api: Api, job: JobRecord) -> None:
    answer = api.get(f"/jobs/{job.key.path}/trials/0/logs/stderr")
    assert (answer.status_code, answer.content) == (200, b"")


def test_a_long_log_is_sent_in_bounded_parts_that_join_to_the_whole(api: Api, store: Store, job: JobRecord) -> None:
    body = bytes(range(256)) * (5 * 4096) + b"end"
    store.blobs.put(RUNS, job.key.stdout(0, 1), body)
    at = f"/jobs/{job.key.path}/trials/0/logs/stdout"
    first = api.get(at, headers={"Range": "bytes=0-"})
    assert (first.status_code, len(first.content)) == (206, 4 * 2**20)
    rest = api.get(at, headers={"Range": f"bytes={len(first.content)}-"})
    assert first.content + rest.content == body


def test_a_log_that_does_not_fit_into_an_answer_is_never_cut_unasked(api: Api, store: Store, job: JobRecord) -> None:
    size = 4 * 2**20 + 1
    store.blobs.put(RUNS, job.key.stdout(0, 1), bytes(size))
    at = f"/jobs/{job.key.path}/trials/0/logs/stdout"
    for headers in ({}, {"Range": "lines=1-2"}, {"Range": "bytes=0-", "If-Range": '"other"'}):
        answer = api.get(at, headers=headers)
        assert (answer.status_code, answer.json()["type"]) == (422, "/problems/too-long"), headers
        told = answer.json()["detail"]
        assert f"{size:,}" in told
        assert "Range" in told
        assert "files/trials/0000000/attempts/1/stdout.txt?link=true" in told
    assert api.ask("HEAD", at).headers["Content-Length"] == str(size)


def test_a_range_counts_only_for_the_version_that_if_range_names(api: Api, job: JobRecord) -> None:
    at = f"/jobs/{job.key.path}/trials/0/logs/stdout"
    etag = api.get(at).headers["ETag"]
    for named, status, body in (
        (etag, 206, b"89"),
        (f"W/{etag}", 200, b"0123456789"),
        ('"other"', 200, b"0123456789"),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 200, b"0123456789"),
    ):
        answer = api.get(at, headers={"Range": "Bytes=8-", "If-Range": named})
        assert (answer.status_code, answer.content) == (status, body), named


def test_head_of_a_file_or_log_answers_304_to_one_who_has_it(api: Api, job: JobRecord) -> None:
    for path in ("/trials/0/logs/stdout", "/files/job.json", "/trials/0"):
        at = f"/jobs/{job.key.path}{path}"
        etag = api.ask("HEAD", at).headers["ETag"]
        assert api.ask("HEAD", at, headers={"If-None-Match": etag}).status_code == 304


def test_a_change_is_made_only_at_the_version_that_if_match_names(api: Api, store: Store, job: JobRecord) -> None:
    at = f"/jobs/{job.key.path}"
    etag = api.get(at).headers["ETag"]
    before = store.blobs.read(RUNS, job.key.record)
    for named in ('"other"', f"W/{etag}", "nonsense", ""):
        for method, path, body in (
            ("DELETE", "", None),
            ("PATCH", "", {"timeout": 9}),
            ("POST", "/retry", None),
            ("POST", "/trials/1/retry", None),
        ):
            answer = api.ask(method, f"{at}{path}", headers={"If-Match": named}, body=body)
            assert (answer.status_code, answer.json()["type"]) == (412, "/problems/changed"), (named, method)
    wrong = api.ask("PATCH", at, headers={"If-Match": '"other"'}, body={"timeout": "soon"})
    assert wrong.status_code == 422  # a request that is wrong at any version
    after = store.blobs.read(RUNS, job.key.record)
    assert before is not None
    assert after is not None
    assert after.etag == before.etag
    retried = api.ask("POST", f"{at}/trials/1/retry", headers={"If-Match": f'"other", {etag}'})
    assert (retried.status_code, retried.json()["state"]) == (200, "running")
    assert api.ask("POST", f"{at}/cancel", headers={"If-Match": etag}).status_code == 412
    assert api.ask("POST", f"{at}/cancel", headers={"If-Match": "*"}).status_code == 200


def test_a_job_that_ended_is_deleted_at_the_version_that_was_seen(api: Api, job: JobRecord) -> None:
    at = f"/jobs/{job.key.path}"
    etag = api.get(at).headers["ETag"]
    assert api.ask("DELETE", at, headers={"If-Match": etag}).status_code == 202
    assert api.get(at).status_code == 404


def test_if_match_is_refused_where_no_version_is_compared(api: Api, job: JobRecord) -> None:
    at = f"/workspaces/{job.key.workspace}/experiments/e"
    for method, path in (("DELETE", at), ("POST", f"{at}/cancel")):
        answer = api.ask(method, path, headers={"If-Match": '"x"'}, **({"confirm": "e"} if method == "DELETE" else {}))
        assert (answer.status_code, answer.json()["problems"][0]["path"]) == (422, "header.if-match")
    assert api.get(f"/jobs/{job.key.path}").status_code == 200


def test_an_attempt_that_there_was_not_is_told(api: Api, job: JobRecord) -> None:
    for path in ("logs/stdout", "metrics"):
        answer = api.get(f"/jobs/{job.key.path}/trials/0/{path}", attempt=2)
        assert answer.status_code == 404
        assert "1 attempts" in answer.json()["detail"]


def test_metrics_are_the_course_with_what_json_has_no_numbers_for_as_text(api: Api, job: JobRecord) -> None:
    assert api.get(f"/jobs/{job.key.path}/trials/0/metrics").json() == {
        "points": [{"step": 1.0, "values": {"score": 0.5}}, {"step": 2.0, "values": {"score": "NaN"}}]
    }


def test_progress_holds_all_that_the_client_s_own_look_does(api: Api, store: Store, job: JobRecord) -> None:
    told = api.get(f"/jobs/{job.key.path}/progress", shards="0").json()
    assert JobRecord.from_json(json.dumps(told["record"]).encode()) == job
    assert [trial["trial"] for trial in told["trials"]] == [0, 1, 2]
    assert api.get(f"/jobs/{job.key.path}/progress").json()["trials"] == []
    assert told["num_final"] == 3


def test_the_best_trial_is_told_before_there_is_a_best_json(api: Api, job: JobRecord) -> None:
    best = api.get(f"/jobs/{job.key.path}/best").json()
    assert (best["trial"], best["metric"], best["parameters"]) == (0, 0.9, {"x": 0})


def test_limits_and_actions_say_how_the_job_stands(api: Api, store: Store, key: JobKey) -> None:
    record = JobRecord(key, "sweep", JobReason.DISPATCHING, "job", 8, NOW, window=2, next_trial=2)
    store.blobs.create(RUNS, key.record, record.to_json(), record.to_metadata())
    at = f"/jobs/{key.path}"
    changed = api.ask("PATCH", at, body={"max_concurrent_trials": 4}).json()
    assert changed["limits"]["max_concurrent_trials"] == 4
    assert api.ask("PATCH", at, body={}).status_code == 409
    assert api.ask("PATCH", at, headers={"Content-Type": "text/plain"}, body={"timeout": 9}).status_code == 415
    assert api.ask("PATCH", at, body=b"{", headers={"Content-Type": "application/json"}).status_code == 400
    paused = api.ask("POST", f"{at}/pause").json()
    assert (paused["state"], paused["left"], paused["note"]) == ("paused", None, "")
    again = api.ask("POST", f"{at}/pause").json()
    assert (again["left"], again["note"]) == ("is_paused", "it was paused already")
    assert api.ask("POST", f"{at}/trials/1/cancel").json()["trial"] == 1
    assert api.ask("POST", f"{at}/resume").json()["state"] == "running"
    assert api.ask("DELETE", at).status_code == 409
    assert api.ask("POST", f"{at}/cancel").json()["state"] == "cancelling"


def test_a_job_that_ended_is_deleted_and_does_not_come_back(api: Api, job: JobRecord) -> None:
    at = f"/jobs/{job.key.path}"
    deleted = api.ask("DELETE", at)
    assert (deleted.status_code, deleted.json()["is_done"]) == (202, True)
    assert api.get(at).status_code == 404
    assert api.get(f"{at}/files").status_code == 404


def test_an_experiment_is_deleted_only_when_its_name_is_written_out(api: Api, job: JobRecord) -> None:
    at = f"/workspaces/{job.key.workspace}/experiments/e"
    assert api.get(at).json()["best"][0]["job"] == job.key.path
    assert api.ask("DELETE", at).status_code == 422
    assert api.ask("DELETE", at, confirm="x").status_code == 409
    assert [entry["job"] for entry in api.ask("DELETE", at, confirm="e").json()["jobs"]] == [job.key.path]
    assert api.get(at).status_code == 404


def test_code_is_stored_once_and_never_changed(api: Api, store: Store) -> None:
    at = "/code/sha256/" + "a" * 60 + "0123"
    assert api.get(at).json() == {"items": []}
    assert api.ask("PUT", f"{at}/pkg/a%20b.py", body=b"one").status_code == 201
    assert api.ask("PUT", f"{at}/pkg/a%20b.py", body=b"one").status_code == 200
    assert api.ask("PUT", f"{at}/pkg/a%20b.py", body=b"two").status_code == 409
    assert api.ask("PUT", f"{at}/pkg/a%20b.py", body=b"three").status_code == 409
    assert api.ask("PUT", f"{at}/empty", body=b"").status_code == 201
    assert api.get(at).json()["items"] == [{"path": "empty", "size_bytes": 0}, {"path": "pkg/a b.py", "size_bytes": 3}]
    kept = store.blobs.read(CODE, f"{at[6:]}/pkg/a b.py")
    assert kept is not None
    assert kept.body == b"one"


def test_a_job_is_found_by_what_a_person_would_type(api: Api, store: Store, job: JobRecord) -> None:
    first, second = (f"{job.key.workspace}-{end}" for end in ("0123456789", "1123456789"))
    for number, name in enumerate((first, second)):
        key = replace(job.key, job=name)
        record = replace(job, key=key, created=NOW + timedelta(minutes=number))
        store.blobs.create(RUNS, key.record, record.to_json(), record.to_metadata())
    name = job.key.workspace
    assert api.get("/find", job=first).json() == {"job": f"{name}/e/{first}", "num_named": 1}
    assert api.get("/find", job=name).status_code == 409
    assert api.get("/find", job=name, choose="true").json() == {"job": f"{name}/e/{second}", "num_named": 2}
    assert api.get("/find", job="no-such-job-anywhere").status_code == 404
    assert api.get("/find", job="a b").status_code == 409
