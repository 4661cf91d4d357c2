"""One submission id is one job, by whichever way, however often and however much at once it comes."""

import json
import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from dropsweep.names import RUNS, SUBMISSIONS_QUEUE, buried, trials_queue
from dropsweep.settings import Settings
from dropsweep.spec import JobSpec, read_document
from dropsweep.states import JobReason, JobState
from dropsweep.steps._claims import claim
from dropsweep.steps.accept import accept
from dropsweep.submissions import Submission
from local.stack import CLUSTER
from tests.emulator.deployment import sweep
from tests.emulator.ways_in.conftest import EXPERIMENT, Answer, Senders, until

NUM_TRIALS = 3
DOCUMENT = sweep("echo ${{search_space.x}}", NUM_TRIALS)
OTHER = sweep("echo other ${{search_space.x}}", NUM_TRIALS)


def send_twenty(senders: Senders) -> list[Answer]:
    """Sends the submission twenty times at once: as seven files, seven messages and six requests."""
    answers: list[Answer] = []
    calls: list[Callable[[], Any]] = []
    for number in range(7):
        calls.append(lambda number=number: senders.drop(DOCUMENT, f"file-{number}.json"))
        calls.append(lambda: senders.send(DOCUMENT))
        if number < 6:
            calls.append(lambda: answers.append(senders.post_until_answered(DOCUMENT)))
    assert len(calls) == 20
    with ThreadPoolExecutor(len(calls)) as pool:
        for sent in [pool.submit(call) for call in calls]:
            sent.result()
    return answers


def check_one_job(senders: Senders, answers: list[Answer]) -> None:
    """There is one job, whole and on its way, and everybody was told of it."""
    [job] = senders.records()
    assert job.key == senders.named()
    assert (job.submission_id, job.num_trials) == (senders.submission_id, NUM_TRIALS)
    assert senders.specs() == [job.key.spec]
    spec = senders.store.blobs.read(RUNS, job.key.spec)
    assert spec is not None
    assert job.key.job.startswith(f"{job.name}-")
    assert JobSpec.from_json(spec.body).name == job.name
    until(lambda: senders.records()[0].next_trial == NUM_TRIALS, "every trial dispatched")
    assert senders.markers() == [job.key.marker]
    assert {answer.status for answer in answers} <= {200, 201}
    assert len([answer for answer in answers if answer.status == 201]) <= 1
    assert {answer.headers["location"].partition("/jobs/")[2] for answer in answers} == {job.key.path}
    assert senders.buried() == []


def test_twenty_at_once_by_three_ways_are_one_job(senders: Senders) -> None:
    answers = send_twenty(senders)
    senders.wait_until_all_is_taken()
    check_one_job(senders, answers)
    assert senders.store.queues.count(trials_queue(CLUSTER)) >= NUM_TRIALS
    events = until(senders.events, "an answer on the queue")
    assert events[0]["subject"] == senders.records()[0].key.path
    assert events[0]["type"] == "dropsweep.job.queued"


def test_twenty_at_once_are_one_job_although_the_host_is_killed_half_way(senders: Senders) -> None:
    [host] = [child for child in senders.stack.children if child.name == "host"]
    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(send_twenty, senders)
        until(senders.named, "the record of the submission id")
        os.killpg(host.pid, signal.SIGKILL)  # the leash leads the group of the host
        until(lambda: host.exit_status is not None, "the host's end")
        senders.stack.revive()
        answers = sending.result()
    senders.wait_until_all_is_taken()
    check_one_job(senders, answers)


def test_the_job_keeps_the_name_under_which_its_id_was_claimed(senders: Senders, settings: Settings) -> None:
    def submission(name: str) -> Submission:
        document = read_document(json.dumps(DOCUMENT).encode(), file_name="x.json")
        identity = ("jobs", name)
        return Submission(
            senders.workspace, EXPERIMENT, document, identity, name, "test", submission_id=senders.submission_id
        )

    key = claim(senders.store, submission("first"))  # and its process ends
    accepted = accept(senders.store, settings, submission("second"))
    assert accepted.record is not None
    assert (accepted.key, accepted.record.name) == (key, "first")


def test_another_content_under_the_same_id_is_refused_by_each_way(senders: Senders) -> None:
    first = senders.post_until_answered(DOCUMENT)
    assert first.status == 201
    job = first.headers["location"].partition("/jobs/")[2]

    again = senders.post_until_answered(OTHER)
    assert (again.status, again.headers["content-type"]) == (422, "application/problem+json")
    assert job in again.document["detail"]

    senders.drop(OTHER, "other.json")
    rejected = until(lambda: [found for found in senders.records() if found.key.path != job], "the rejected file")
    assert [(found.state, found.reason) for found in rejected] == [(JobState.REJECTED, JobReason.SPEC_INVALID)]
    told = senders.store.blobs.read(RUNS, rejected[0].key.error)
    assert told is not None
    assert job in told.body.decode()

    senders.send(OTHER)
    senders.wait_until_all_is_taken()
    refused: list[dict[str, Any]] = []

    def has_come() -> bool:
        refused.extend(event for event in senders.events() if event["type"] == "dropsweep.submission.refused")
        return bool(refused)

    until(has_come, "the answer to the message")
    assert (refused[0]["data"]["submission_id"], job in refused[0]["data"]["message"]) == (senders.submission_id, True)
    message = senders.store.blobs.read(RUNS, buried(SUBMISSIONS_QUEUE, refused[0]["id"]))
    assert message is not None
    assert job in message.body.decode()
    assert {found.key.path for found in senders.records() if found.state is not JobState.REJECTED} == {job}


def test_a_refused_submission_leaves_its_id_free_for_the_corrected_one(senders: Senders) -> None:
    wrong = {**DOCUMENT, "objective": {"goal": "more", "primary_metric": "score"}}
    answer = senders.post_until_answered(wrong)
    assert answer.status == 422
    assert [problem["path"] for problem in answer.document["problems"]] == ["objective.goal"]
    senders.send(wrong)
    senders.wait_until_all_is_taken()
    assert senders.records() == []
    assert senders.post_until_answered(DOCUMENT).status == 201
