"""One job of a schedule now, over HTTP: once for each Idempotency-Key."""

import json

import pytest

from dropsweep.names import RUNS, SCHEDULES, JobKey, ScheduleKey
from dropsweep.storage import Store
from tests.emulator.api.conftest import Api


@pytest.fixture
def schedule(store: Store, workspace: str) -> ScheduleKey:
    key = ScheduleKey(workspace, "nightly")
    document = {
        "trigger": {"type": "cron", "expression": "0 0 29 2 *"},
        "create_job": {"type": "command", "command": "true"},
    }
    store.blobs.put(SCHEDULES, f"{key.path}.json", json.dumps(document).encode())
    return key


def run_now(api: Api, schedule: ScheduleKey, key: str | None = None) -> JobKey:
    headers = {} if key is None else {"Idempotency-Key": key}
    answer = api.ask("POST", f"/schedules/{schedule.path}/run-now", headers=headers)
    assert answer.status_code == 200, answer.text
    return JobKey.parse(answer.json()["job"])


def test_the_same_key_gives_the_same_job(
    api: Api, store: Store, schedule: ScheduleKey, workspace: str, submission_id: str
) -> None:
    first = run_now(api, schedule, submission_id)
    assert run_now(api, schedule, f'"{submission_id}"') == first
    assert [job["job"] for job in api.get("/jobs", workspace=workspace).json()["items"]] == [first.path]
    assert store.blobs.read(RUNS, first.record) is not None


def test_another_key_or_none_gives_another_job(api: Api, schedule: ScheduleKey, submission_id: str) -> None:
    made = {run_now(api, schedule, key) for key in (submission_id, f"{submission_id}-2", None, None)}
    assert len(made) == 4


@pytest.mark.parametrize("key", ["", '""', "two words", "x" * 131])
def test_a_key_that_cannot_be_one_makes_no_job(api: Api, schedule: ScheduleKey, workspace: str, key: str) -> None:
    answer = api.ask("POST", f"/schedules/{schedule.path}/run-now", headers={"Idempotency-Key": key})
    assert answer.status_code == 422
    assert answer.json()["problems"]
    assert api.get("/jobs", workspace=workspace).json()["items"] == []
