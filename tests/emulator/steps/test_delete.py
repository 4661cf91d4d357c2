"""Deleting a job, and dying at each request of it."""

import json
import re
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from azure.core.pipeline import PipelineRequest
from azure.core.pipeline.policies import SansIOHTTPPolicy
from azure.core.rest import HttpRequest

from dropsweep.errors import ConflictError, DropsweepError, IllegalMove, NoSuchJob, NotFoundError, StorageCorrupt
from dropsweep.messages import AdvanceMessage, TrialMessage
from dropsweep.names import DELETING, JOBS, RUNS, JobKey, submission_record, trials_queue
from dropsweep.records import JobRecord, StateChange
from dropsweep.settings import Settings
from dropsweep.states import JobReason, JobState, TrialState
from dropsweep.steps.advance import LastLooks, advance
from dropsweep.steps.delete import Deleted, delete, finish_deletions
from dropsweep.steps.edit import edit
from dropsweep.steps.pick_up import SUBMISSION_ID, pick_up
from dropsweep.steps.retry import retry
from dropsweep.storage import FOLDER_MARK, Store
from tests.emulator.deployment import Deployment, sweep
from tests.emulator.faults import DIE_AFTER, DIE_BEFORE, LOST_ANSWER, THROTTLED, Died, Fault, Faults

NOW = datetime(2026, 3, 1, tzinfo=UTC)
_NUM_FILES = 5


def ended(store: Store, key: JobKey, num_files: int = _NUM_FILES, **changes: object) -> JobRecord:
    """A failed job with some files, and the marker that a retry of long ago has left."""
    record = JobRecord(key, "sweep", JobReason.NO_TRIAL_COMPLETED, "job", 1, NOW, finished=NOW)
    record = replace(record, **changes)  # type: ignore[arg-type]  # whatever a test wants
    for number in range(num_files):
        store.blobs.put(RUNS, f"{key.trial_folder(number)}a b/é%41+#?.txt", b"x")
    store.blobs.put(RUNS, key.marker, b"")
    assert store.blobs.create(RUNS, key.record, record.to_json(), record.to_metadata())
    return record


def left(store: Store, key: JobKey) -> list[str]:
    """Everything of the job that is still there."""
    marks = [name for name in (key.marker, key.deletion) if store.blobs.head(RUNS, name)]
    return [*marks, *(found.name for found in store.blobs.list(RUNS, f"{key.path}/"))]


def test_a_deleted_job_leaves_nothing_but_its_tombstone(store: Store, key: JobKey) -> None:
    ended(store, key)
    neighbour = JobKey(key.workspace, key.experiment, f"{key.job}x")
    ended(store, neighbour)
    assert delete(store, key) == Deleted(key, _NUM_FILES + 1, is_done=True)
    assert left(store, key) == []
    assert store.blobs.head(RUNS, key.tombstone)
    assert len(left(store, neighbour)) == _NUM_FILES + 2
    assert delete(store, key) == Deleted(key, 0, is_done=True)


def test_what_never_was_cannot_be_deleted(store: Store, key: JobKey) -> None:
    with pytest.raises(NotFoundError, match=key.path):
        delete(store, key)
    assert store.blobs.head(RUNS, key.tombstone) is None


def test_a_live_job_is_not_deleted_and_stays_as_it_is(deployment: Deployment) -> None:
    key = deployment.drop(sweep("exit 1", 1))
    before = deployment.job(key)
    with pytest.raises(IllegalMove, match="is queued: only a job that has ended can be deleted"):
        delete(deployment.store, key)
    assert deployment.job(key) == before
    assert deployment.store.blobs.head(RUNS, key.deletion) is None
    assert deployment.run(key).state is JobState.FAILED


def test_a_job_whose_record_cannot_be_read_is_not_deleted(store: Store, key: JobKey) -> None:
    store.blobs.put(RUNS, key.record, b"{")
    with pytest.raises(StorageCorrupt):
        delete(store, key)
    assert left(store, key) == [key.record]


def test_more_blobs_than_one_request_deletes_are_deleted_in_bounded_steps(store: Store, key: JobKey) -> None:
    ended(store, key, 300)
    assert delete(store, key, max_blobs=10) == Deleted(key, 10, is_done=False)
    assert len(left(store, key)) == 300 - 10 + 3
    assert finish_deletions(store, max_blobs=20) >= 20
    while left(store, key):
        assert finish_deletions(store) > 0


def test_a_file_that_stays_makes_no_second_job_until_it_is_dropped_anew(deployment: Deployment) -> None:
    document = sweep("exit 1", 1)
    key = deployment.drop(document)
    deployment.run(key)
    path = f"{deployment.workspace}/e/job.json"
    assert delete(deployment.store, key).source == f"{JOBS}/{path}"
    assert pick_up(deployment.store, deployment.settings, path) == key
    assert left(deployment.store, key) == []
    again = deployment.drop(document)
    assert again != key
    assert deployment.run(again).state is JobState.FAILED


def test_the_dropped_file_goes_when_it_is_asked_for_unless_another_one_lies_there(deployment: Deployment) -> None:
    store, path = deployment.store, f"{deployment.workspace}/e/job.json"
    first = deployment.drop(sweep("exit 1", 1))
    deployment.run(first)
    second = deployment.drop(sweep("exit 1", 1))
    deployment.run(second)
    assert delete(store, first, with_source=True).source == ""
    assert store.blobs.head(JOBS, path)
    assert delete(store, second).source == f"{JOBS}/{path}"
    assert delete(store, second, with_source=True).source == ""
    assert store.blobs.head(JOBS, path) is None


def test_a_file_with_the_same_submission_id_and_another_content_stays(deployment: Deployment) -> None:
    store, path = deployment.store, f"{deployment.workspace}/e/job.json"
    dropped = {SUBMISSION_ID: "once"}

    def drop(command: str) -> JobKey:
        store.blobs.put(JOBS, path, json.dumps(sweep(command, 1)).encode(), dropped)
        key = pick_up(store, deployment.settings, path)
        assert key is not None
        return key

    first = drop("exit 1")
    deployment.run(first)
    refused = drop("exit 2")
    assert refused != first
    assert delete(store, first, with_source=True).source == ""
    assert store.blobs.head(JOBS, path)
    assert delete(store, refused).source == f"{JOBS}/{path}"
    assert drop("exit 1") == first
    assert delete(store, first).source == f"{JOBS}/{path}"
    assert delete(store, first, with_source=True).source == ""
    assert store.blobs.head(JOBS, path) is None
    assert drop("exit 1") == first
    store.blobs.put(RUNS, submission_record(deployment.workspace, "once"), b"no json")
    assert delete(store, first, with_source=True).source == ""
    assert store.blobs.head(JOBS, path)
    store.blobs.delete(RUNS, submission_record(deployment.workspace, "once"))
    assert delete(store, first, with_source=True).source == ""
    assert store.blobs.head(JOBS, path)


def test_only_the_version_that_was_chosen_is_deleted(store: Store, key: JobKey) -> None:
    record = ended(store, key)
    chosen = store.blobs.head(RUNS, key.record)
    assert chosen
    later = store.blobs.replace(RUNS, key.record, record.to_json(), chosen.etag, record.to_metadata())
    assert later
    with pytest.raises(ConflictError, match="changed since it was chosen"):
        delete(store, key, etag=chosen.etag)
    assert len(left(store, key)) == _NUM_FILES + 2
    assert delete(store, key, etag=later.etag).is_done
    assert left(store, key) == []


def test_a_change_between_the_mark_and_the_record_takes_the_mark_back(
    store: Store, key: JobKey, settings: Settings
) -> None:
    record = ended(store, key)
    chosen = store.blobs.head(RUNS, key.record)
    assert chosen

    def change(_: int, request: HttpRequest) -> None:
        if request.method == "PUT" and request.url.endswith(key.deletion):
            store.blobs.replace(RUNS, key.record, record.to_json(), chosen.etag, record.to_metadata())

    with pytest.raises(ConflictError):
        delete(spoilt(settings, change), key, etag=chosen.etag)
    assert len(left(store, key)) == _NUM_FILES + 2


class Batches(SansIOHTTPPolicy[Any, Any]):
    """Keeps which blobs were deleted by one request."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[list[str]] = []

    def on_request(self, request: PipelineRequest[Any]) -> None:
        if request.http_request.query.get("comp") == "batch":
            body = bytes(request.http_request.data).decode()
            self.names.append(re.findall(rf"^DELETE \S*?/{RUNS}/([^ ?]+)", body, re.MULTILINE))


def test_folder_blobs_go_after_all_that_is_in_them_the_deepest_first(
    store: Store, key: JobKey, settings: Settings
) -> None:
    ended(store, key, 1)
    service = store.blobs._service  # the only way to make a blob with metadata that is no record
    folders = [f"{key.path}/trials", f"{key.path}/trials/0000000"]
    for folder in folders:
        service.get_blob_client(RUNS, folder).upload_blob(b"", metadata={FOLDER_MARK: "true"})
    batches = Batches()
    delete(Store.connect(settings.storage, batches), key)
    assert left(store, key) == []
    assert [len(names) for names in batches.names] == [1, 2]
    assert batches.names[1] == folders[::-1]


def test_the_alarm_of_a_deleted_job_is_no_hint_of_a_job_that_never_was(deployment: Deployment) -> None:
    key = deployment.drop(sweep("exit 1", 1, limits={"timeout": 600}))
    deployment.run(key)
    delete(deployment.store, key)
    alarm = AdvanceMessage(key, is_alarm=True)
    assert advance(deployment.store, deployment.settings, alarm, LastLooks()) is None
    with pytest.raises(NoSuchJob):
        advance(deployment.store, deployment.settings, AdvanceMessage(replace(key, job="never-was")), LastLooks())


def test_a_late_trial_message_of_a_deleted_job_runs_nothing(deployment: Deployment) -> None:
    key = deployment.drop(sweep("exit 1", 1))
    deployment.run(key)
    delete(deployment.store, key)
    deployment.store.queues.send(trials_queue(deployment.cluster), TrialMessage(key, 0).to_text())
    deployment.worker().run()
    assert left(deployment.store, key) == []
    assert deployment.store.queues.count(trials_queue(deployment.cluster)) == 0


def test_the_sender_of_a_job_hears_how_it_ended_before_it_is_deleted(store: Store, key: JobKey) -> None:
    queue = f"answers-{key.workspace}"
    change = StateChange(3, JobState.FAILED, JobReason.NO_TRIAL_COMPLETED, "1 failed", NOW)
    ended(store, key, reply_to=queue, num_changes=3, untold=(change,))
    delete(store, key)
    [message] = store.queues.receive(queue, visibility_s=1)
    assert '"failed"' in message.text


def test_nothing_changes_a_job_that_is_being_deleted(store: Store, key: JobKey) -> None:
    record = ended(store, key, counts={})
    closed = replace(record, deleted=NOW)
    head = store.blobs.head(RUNS, key.record)
    assert head
    assert store.blobs.replace(RUNS, key.record, closed.to_json(), head.etag, closed.to_metadata())
    changes: list[Callable[[], object]] = [lambda: retry(store, key), lambda: edit(store, key, timeout_s=5)]
    for change in changes:
        with pytest.raises(DropsweepError, match="being deleted"):
            change()


def test_a_retry_or_a_deletion_wins_and_never_both(store: Store, key: JobKey) -> None:
    for number in range(12):
        one = replace(key, job=f"race-{number}")
        ended(store, one, counts={TrialState.FAILED: 1})
        start = threading.Barrier(2)
        outcomes: dict[str, object] = {}

        def run(name: str, act: Callable[[], object], start: threading.Barrier = start) -> None:
            start.wait()
            try:
                outcomes[name] = act()  # noqa: B023 - the thread ends within the round
            except DropsweepError as error:
                outcomes[name] = error  # noqa: B023

        threads = [
            threading.Thread(target=run, args=("delete", lambda one=one: delete(store, one))),
            threading.Thread(target=run, args=("retry", lambda one=one: retry(store, one))),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if isinstance(outcomes["delete"], Deleted):
            assert isinstance(outcomes["retry"], DropsweepError)
            assert [name for name in left(store, one) if name != one.marker] == []
        else:
            blob = store.blobs.read(RUNS, one.record)
            assert blob is not None
            assert JobRecord.from_json(blob.body).state is JobState.RUNNING
            assert len(left(store, one)) == _NUM_FILES + 2  # all of it, and no mark


def test_a_job_that_was_retried_after_its_deletion_died_stays(store: Store, key: JobKey, settings: Settings) -> None:
    ended(store, key, counts={TrialState.FAILED: 1})
    with pytest.raises(Died):
        delete(spoilt(settings, lambda number, _: DIE_BEFORE if number == 2 else None), key)
    assert store.blobs.head(RUNS, key.deletion)
    retried = retry(store, key).record
    ended_again = replace(retried, reason=JobReason.NO_TRIAL_COMPLETED, finished=NOW)
    head = store.blobs.head(RUNS, key.record)
    assert head
    assert store.blobs.replace(RUNS, key.record, ended_again.to_json(), head.etag, ended_again.to_metadata())
    finish_deletions(store)
    assert store.blobs.head(RUNS, key.deletion) is None
    assert len(left(store, key)) == _NUM_FILES + 2


def spoilt(settings: Settings, script: Callable[[int, HttpRequest], Fault | None]) -> Store:
    return Store.connect(settings.storage, Faults(script), patience_s=0)


def num_requests(settings: Settings, key: JobKey) -> int:
    count = Faults(lambda _number, _request: None)
    delete(Store.connect(settings.storage, count), key, with_source=True)
    return count.num_requests


@pytest.mark.parametrize("fault", [DIE_BEFORE, DIE_AFTER, LOST_ANSWER, THROTTLED], ids=str)
def test_a_deletion_that_dies_at_any_request_is_listed_or_marked_until_the_timer_has_finished_it(
    store: Store, settings: Settings, key: JobKey, fault: Fault
) -> None:
    rehearsal = replace(key, job="rehearsal-0123456789")
    ended(store, rehearsal)
    num = num_requests(settings, rehearsal)
    assert num > 8
    for number in range(num):
        one = replace(key, job=f"job{number}-0123456789")
        ended(store, one)
        store_of_one = spoilt(settings, lambda count, _, number=number: fault if count == number else None)
        try:
            delete(store_of_one, one)
            is_told_done = True
        except (Died, DropsweepError):
            is_told_done = False
        is_begun = store.blobs.head(RUNS, one.deletion) is not None
        is_listed = store.blobs.head(RUNS, one.record) is not None
        if left(store, one):
            assert not is_told_done
            assert is_listed or is_begun, f"lost at request {number}"
        finish_deletions(store)
        remains = left(store, one)
        assert remains == [] or (not is_begun and len(remains) == _NUM_FILES + 2), f"half deleted at request {number}"


def test_one_deletion_that_cannot_go_on_holds_up_no_other(store: Store, key: JobKey) -> None:
    ended(store, key)
    delete(store, key, max_blobs=1)
    stuck = replace(key, job="a-stuck")
    store.blobs.put(RUNS, stuck.deletion, b"no json")
    store.blobs.put(RUNS, stuck.record, b"{")
    store.blobs.put(RUNS, f"{DELETING}{key.workspace}/no-job", b"{}")
    finish_deletions(store)
    assert left(store, key) == []
    assert store.blobs.head(RUNS, stuck.record)
    store.blobs.delete(RUNS, stuck.deletion)
    store.blobs.delete(RUNS, f"{DELETING}{key.workspace}/no-job")
