"""The timer's pass finds what no message points at; each test has an account of its own, for a pass looks at all."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dropsweep.clusters import Cluster
from dropsweep.errors import NotFoundError
from dropsweep.names import ADVANCE_QUEUE, JOBS, LIVE, REPAIR_RECORD, RUNS, JobKey, trials_queue
from dropsweep.records import JobRecord
from dropsweep.settings import Settings, StorageSettings
from dropsweep.states import JobReason, JobState, NodeState, TrialReason, TrialState
from dropsweep.steps.attempt import Claim, claim
from dropsweep.steps.cancel import cancel
from dropsweep.steps.pause import pause, resume
from dropsweep.steps.register import Registration, register
from dropsweep.steps.repair import Repaired, repair
from dropsweep.storage import Store
from local.azurite import Azurite
from tests.emulator.deployment import REPORT_X, Deployment, sweep, until


@pytest.fixture(scope="module")
def own_azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    folder = tmp_path_factory.mktemp("azurite")
    with Azurite(folder / "data", log=folder / "azurite.log") as running:
        yield running


@pytest.fixture
def alone(own_azurite: Azurite, settings: Settings, workspace: str, tmp_path: Path) -> Deployment:
    storage = StorageSettings(own_azurite.connection_string)
    store = Store.connect(storage)
    store.prepare(())
    for container in (JOBS, RUNS):
        for blob in list(store.blobs.list(container, "")):
            store.blobs.delete(container, blob.name)
    own = Settings(storage, heartbeat_s=settings.heartbeat_s, claim_timeout_s=settings.claim_timeout_s)
    return Deployment(store, own, workspace, tmp_path)


def make_pass(alone: Deployment, *, marker_age_s: float = 600.0) -> Repaired:
    return repair(alone.store, alone.settings, alone.looks, marker_age_s=marker_age_s)


def lose_messages(alone: Deployment, queue: str) -> int:
    num_lost = 0
    while found := alone.store.queues.receive(queue, visibility_s=30, max_messages=32):
        for message in found:
            alone.store.queues.delete(message)
            num_lost += 1
    return num_lost


def test_trials_whose_messages_are_gone_get_new_ones_in_one_pass(alone: Deployment) -> None:
    key = alone.drop(sweep(REPORT_X, 5))
    alone.look(key)
    assert lose_messages(alone, trials_queue(alone.cluster)) == 5
    assert make_pass(alone).num_sent == 5
    assert make_pass(alone).num_sent == 0
    assert alone.run(key).state is JobState.COMPLETED


def test_a_job_whose_first_hint_is_gone_is_dispatched(alone: Deployment) -> None:
    key = alone.drop(sweep(REPORT_X, 2))
    lose_messages(alone, ADVANCE_QUEUE)
    assert make_pass(alone).num_live == 1
    assert alone.store.queues.count(trials_queue(alone.cluster)) == 2
    assert alone.job(key).next_trial == 2


def test_a_half_dispatched_sweep_gets_the_rest_of_its_messages(alone: Deployment) -> None:
    key = alone.drop(sweep(REPORT_X, 4))
    blob = alone.store.blobs.read(RUNS, key.record)
    assert blob is not None
    # As a pass leaves it that died after it had taken the trials.
    job = JobRecord.from_json(blob.body).moved(JobReason.DISPATCHING, next_trial=4, started=blob.served)
    alone.store.blobs.replace(RUNS, key.record, job.to_json(), blob.etag, job.to_metadata())
    assert make_pass(alone).num_sent == 4
    assert alone.run(key).state is JobState.COMPLETED


def test_messages_that_are_only_hidden_are_not_sent_again(alone: Deployment) -> None:
    key = alone.drop(sweep(REPORT_X, 4))
    alone.look(key)
    alone.store.queues.receive(trials_queue(alone.cluster), visibility_s=60, max_messages=4)
    assert make_pass(alone).num_sent == 0


def test_a_running_record_that_nobody_holds_is_taken_over(alone: Deployment) -> None:
    key = alone.drop(sweep(REPORT_X, 1))
    alone.look(key)
    lose_messages(alone, trials_queue(alone.cluster))
    held = claim(alone.store, key, 0, {"x": 0}, worker="dead", claim_timeout_s=3.0, max_lost_workers=3)
    assert isinstance(held, Claim)
    assert make_pass(alone).num_sent == 0  # its worker may live
    until(lambda: make_pass(alone).num_sent == 1)
    assert alone.run(key).state is JobState.COMPLETED
    assert (alone.trial(key, 0).attempt, alone.trial(key, 0).num_lost) == (2, 1)


def test_a_job_all_of_whose_trials_are_final_is_finished(alone: Deployment) -> None:
    key = alone.drop(sweep(REPORT_X, 3))
    alone.look(key)
    alone.worker(num_slots=2).run()
    lose_messages(alone, ADVANCE_QUEUE)
    assert alone.job(key).state is JobState.RUNNING
    make_pass(alone)
    assert alone.job(key).state is JobState.COMPLETED
    assert alone.text(key.report)


def test_a_dropped_file_that_no_event_announced_becomes_a_job_and_is_looked_at_once(alone: Deployment) -> None:
    for name in ("a", "b"):
        alone.store.blobs.put(JOBS, f"{alone.workspace}/e/{name}.json", json.dumps(sweep(REPORT_X, 1)).encode())
    assert make_pass(alone).num_drops == 2
    assert len(list(alone.store.blobs.list(RUNS, LIVE))) == 2
    assert make_pass(alone).num_drops == 0
    alone.store.blobs.put(JOBS, f"{alone.workspace}/e/a.json", json.dumps(sweep(REPORT_X, 1)).encode())
    assert make_pass(alone).num_drops == 1


def test_a_file_that_was_accepted_already_is_no_second_job(alone: Deployment) -> None:
    key = alone.drop(sweep(REPORT_X, 1))
    make_pass(alone)
    assert [blob.name for blob in alone.store.blobs.list(RUNS, LIVE)] == [key.marker]


def test_a_cancelled_job_ends_though_a_dead_worker_holds_its_trial(alone: Deployment) -> None:
    key = alone.drop(sweep(REPORT_X, 2))
    alone.look(key)
    claim(alone.store, key, 0, {"x": 0}, worker="dead", claim_timeout_s=3.0, max_lost_workers=3)
    cancel(alone.store, key)
    lose_messages(alone, ADVANCE_QUEUE)
    make_pass(alone)
    assert alone.job(key).state is JobState.CANCELLING

    def is_cancelled() -> bool:
        make_pass(alone)
        return alone.job(key).state is JobState.CANCELLED

    until(is_cancelled)
    assert alone.job(key).counts == {TrialState.CANCELLED: 2}


def test_a_paused_job_gets_no_messages_until_it_is_resumed(alone: Deployment) -> None:
    key = alone.drop(sweep(REPORT_X, 2))
    alone.look(key)
    pause(alone.store, key)
    lose_messages(alone, trials_queue(alone.cluster))
    assert make_pass(alone).num_sent == 0
    resume(alone.store, key)
    lose_messages(alone, ADVANCE_QUEUE)
    make_pass(alone)
    assert alone.store.queues.count(trials_queue(alone.cluster)) == 2


def test_the_marker_of_a_job_that_has_ended_goes_in_time(alone: Deployment) -> None:
    key = alone.drop(sweep(REPORT_X, 1))
    alone.run(key)
    make_pass(alone)
    assert alone.store.blobs.head(RUNS, key.marker)
    make_pass(alone, marker_age_s=0)
    assert alone.store.blobs.head(RUNS, key.marker) is None


def test_a_job_that_cannot_be_read_costs_the_others_nothing(alone: Deployment) -> None:
    broken, key = JobKey(alone.workspace, "e", "broken-0123456789"), alone.drop(sweep(REPORT_X, 1))
    alone.store.blobs.put(RUNS, broken.marker, b"")
    alone.store.blobs.put(RUNS, broken.record, b"{")
    done = make_pass(alone)
    assert (done.num_failed, done.num_live) == (1, 1)
    assert alone.job(key).next_trial == 1


def test_a_cluster_without_a_queue_costs_the_others_nothing(alone: Deployment) -> None:
    served = alone.settings
    alone.settings = replace(served, clusters=(Cluster("none"), Cluster(alone.cluster)))
    waiting = alone.drop(sweep(REPORT_X, 2))
    with pytest.raises(NotFoundError, match="queue"):
        alone.look(waiting)
    key = alone.drop(sweep(REPORT_X, 3, compute=f"azureml:{alone.cluster}"), "e/other.json")
    alone.look(key)
    assert lose_messages(alone, trials_queue(alone.cluster)) == 3
    assert make_pass(alone).num_sent == 3
    alone.store.prepare(("none",))
    assert make_pass(alone).num_sent == 2


def test_a_damaged_note_of_dropped_files_is_written_anew(alone: Deployment) -> None:
    alone.store.blobs.put(RUNS, REPAIR_RECORD, b"{}")
    alone.store.blobs.put(JOBS, f"{alone.workspace}/e/a.json", json.dumps(sweep(REPORT_X, 1)).encode())
    assert make_pass(alone).num_drops == 1
    assert make_pass(alone).num_drops == 0


def test_a_retry_that_waits_is_not_taken_for_a_lost_message(alone: Deployment) -> None:
    alone.settings = replace(alone.settings, retry_delay_s=60.0)
    key = alone.drop(sweep("exit 1", 1, retry_settings={"max_retries": 3}))
    alone.look(key)
    alone.worker().run()
    assert alone.trial(key, 0).reason is TrialReason.RETRYING
    assert make_pass(alone).num_sent == 0


def hidden_all(alone: Deployment, monkeypatch: pytest.MonkeyPatch) -> JobKey:
    """A job that has stood still for long beside a queue in which nothing is to be seen."""
    monkeypatch.setattr("dropsweep.steps.repair._QUIET_S", -1.0)
    key = alone.drop(sweep(REPORT_X, 2))
    alone.look(key)
    assert len(alone.store.queues.receive(trials_queue(alone.cluster), visibility_s=60, max_messages=32)) == 2
    alone.look(key)
    return key


def node_of(alone: Deployment, state: NodeState) -> Registration:
    node = register(alone.store, alone.cluster, "w", num_slots=2, beat_s=30.0)
    node.beat(state, 0)
    return node


def test_messages_that_a_node_keeps_while_its_setup_runs_are_not_taken_for_lost(
    alone: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden_all(alone, monkeypatch)
    node = node_of(alone, NodeState.PREPARING)
    assert make_pass(alone).num_sent == 0
    node.leave()
    assert make_pass(alone).num_sent == 2


def test_messages_that_a_failed_setup_put_back_for_a_while_are_not_taken_for_lost(
    alone: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden_all(alone, monkeypatch)
    node_of(alone, NodeState.PREPARING).leave(NodeState.UNUSABLE, "exit code 7")
    assert make_pass(alone).num_sent == 0
    monkeypatch.setattr("dropsweep.steps.repair.SETUP_RETRY_S", -100.0)
    assert make_pass(alone).num_sent == 2


def test_a_node_that_is_prepared_hides_nothing(alone: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    hidden_all(alone, monkeypatch)
    node_of(alone, NodeState.IDLE)
    assert make_pass(alone).num_sent == 2
