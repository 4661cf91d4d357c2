import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from azure.core.pipeline import PipelineRequest
from azure.core.pipeline.policies import SansIOHTTPPolicy

from dropsweep.errors import SpecError, SubmissionReused
from dropsweep.names import JOBS, RUNS
from dropsweep.settings import Settings, StorageSettings, emulator_connection_string
from dropsweep.spec import read_document
from dropsweep.states import JobState
from dropsweep.steps.accept import Accepted, accept
from dropsweep.steps.pick_up import SUBMISSION_ID, pick_up
from dropsweep.storage import Store
from dropsweep.submissions import Submission
from local.azurite import Azurite
from tests.emulator.deployment import Deployment, command
from tests.emulator.proxy import Proxy


def submission(deployment: Deployment, document: dict[str, Any] | None = None, **more: Any) -> Submission:
    body = json.dumps(document or command("true")).encode()
    given = {"identity": ("test", "1"), "default_name": "job", "source": "test", "submission_id": "s-1"} | more
    return Submission(deployment.workspace, "e", read_document(body, file_name="job.json"), **given)


def hand_in(deployment: Deployment, given: Submission) -> Accepted:
    return accept(deployment.store, deployment.settings, given)


def num_jobs(deployment: Deployment) -> int:
    return sum(1 for _ in deployment.store.blobs.folders(RUNS, f"{deployment.workspace}/e/"))


def test_one_submission_id_is_one_job_whatever_its_name_and_way(deployment: Deployment) -> None:
    first = hand_in(deployment, submission(deployment))
    again = hand_in(deployment, submission(deployment, identity=("other", "2"), default_name="other", source="other"))
    assert first.is_new
    assert not again.is_new
    assert (again.key, again.record, again.etag) == (first.key, first.record, first.etag)
    assert num_jobs(deployment) == 1


def test_twenty_at_once_with_two_names_are_one_job(deployment: Deployment) -> None:
    given = [submission(deployment, default_name=f"name{number % 2}") for number in range(20)]
    with ThreadPoolExecutor(20) as pool:
        done = list(pool.map(lambda one: hand_in(deployment, one), given))
    assert len({accepted.key for accepted in done}) == 1
    assert sum(accepted.is_new for accepted in done) == 1
    assert num_jobs(deployment) == 1


def test_the_same_id_with_another_content_is_refused_and_the_job_stands(deployment: Deployment) -> None:
    first = hand_in(deployment, submission(deployment))
    with pytest.raises(SubmissionReused, match=first.key.path):
        hand_in(deployment, submission(deployment, command("false")))
    with pytest.raises(SubmissionReused):
        hand_in(deployment, replace(submission(deployment), experiment="other"))
    assert num_jobs(deployment) == 1
    assert deployment.job(first.key).state is JobState.QUEUED


def test_the_same_id_in_another_workspace_is_another_submission(deployment: Deployment) -> None:
    first = hand_in(deployment, submission(deployment))
    other = hand_in(deployment, replace(submission(deployment, command("false")), workspace=f"{deployment.workspace}b"))
    assert other.is_new
    assert other.key != first.key


def test_what_is_refused_writes_nothing_and_leaves_its_id_free(deployment: Deployment) -> None:
    with pytest.raises(SpecError, match="command"):
        hand_in(deployment, submission(deployment, {"type": "command"}))
    assert num_jobs(deployment) == 0
    assert hand_in(deployment, submission(deployment)).is_new


def test_every_problem_of_a_submission_is_told_at_once(deployment: Deployment) -> None:
    wrong = submission(deployment, {"type": "command"}, submission_id="two words", reply_to="advance")
    with pytest.raises(SpecError) as caught:
        hand_in(deployment, replace(wrong, experiment="no name"))
    assert {problem.path for problem in caught.value.problems} >= {"experiment", "submission_id", "reply_to", "command"}


def test_a_repetition_while_the_job_is_queued_sends_its_hint_again(deployment: Deployment) -> None:
    given = submission(deployment)
    key = hand_in(deployment, given).key
    deployment.look(key)
    assert deployment.job(key).state is JobState.RUNNING
    again = hand_in(deployment, given)
    assert again.record is not None
    assert again.record.state is JobState.RUNNING


def test_a_deleted_job_is_not_made_again(deployment: Deployment) -> None:
    given = submission(deployment)
    key = hand_in(deployment, given).key
    deployment.store.blobs.put(RUNS, key.tombstone, b"")
    deployment.store.blobs.delete(RUNS, key.record)
    again = hand_in(deployment, given)
    assert (again.key, again.record, again.is_new) == (key, None, False)
    assert deployment.store.blobs.head(RUNS, key.record) is None


def test_a_dropped_file_with_a_submission_id_is_the_job_that_http_made(deployment: Deployment) -> None:
    made = hand_in(deployment, submission(deployment))
    path = f"{deployment.workspace}/e/another-name.json"
    body = json.dumps(command("true")).encode()
    deployment.store.blobs.put(JOBS, path, body, {SUBMISSION_ID: "s-1"})
    assert pick_up(deployment.store, deployment.settings, path) == made.key
    deployment.store.blobs.put(JOBS, path, json.dumps(command("false")).encode(), {SUBMISSION_ID: "s-1"})
    refused = pick_up(deployment.store, deployment.settings, path)
    assert refused is not None
    assert refused != made.key
    assert deployment.job(refused).state is JobState.REJECTED
    assert made.key.path in deployment.text(refused.error)


def test_a_rejected_file_stands_where_its_sender_looks_for_it(deployment: Deployment) -> None:
    path = f"{deployment.workspace}/e/job.json"
    deployment.store.blobs.put(JOBS, path, b'{"type": "command", "command": 3}', {SUBMISSION_ID: "s-9"})
    expected = submission(deployment, {"type": "command", "command": 3}, submission_id="s-9").key
    assert pick_up(deployment.store, deployment.settings, path) == expected
    assert pick_up(deployment.store, deployment.settings, path) == expected
    assert deployment.job(expected).state is JobState.REJECTED


def test_a_job_that_was_run_and_deleted_while_a_delivery_slept_does_not_come_back(
    deployment: Deployment, settings: Settings
) -> None:
    given = submission(deployment)

    class Slept(SansIOHTTPPolicy[Any, Any]):
        """While the request that makes job.json waits, another delivery's job lives, ends and is deleted."""

        def on_request(self, request: PipelineRequest[Any]) -> None:
            if request.http_request.method == "PUT" and request.http_request.url.endswith("/job.json"):
                deployment.store.blobs.put(RUNS, given.key.tombstone, b"")

    sleepy = Store.connect(settings.storage, Slept())
    accepted = accept(sleepy, deployment.settings, given)
    assert (accepted.record, accepted.is_new) == (None, False)
    left = [found.name for found in deployment.store.blobs.list(RUNS, given.key.path)]
    assert (left, deployment.store.blobs.head(RUNS, given.key.marker)) == ([], None)


def test_a_job_whose_hint_cannot_be_sent_is_accepted_all_the_same(
    deployment: Deployment, settings: Settings, queue_line: Proxy, azurite: Azurite
) -> None:
    queue_line.cut()
    line = StorageSettings(emulator_connection_string(azurite.endpoints.blob_port, queue_line.port))
    accepted = accept(Store.connect(line, patience_s=0), deployment.settings, submission(deployment))
    assert accepted.is_new
    assert deployment.store.blobs.head(RUNS, accepted.key.marker) is not None
