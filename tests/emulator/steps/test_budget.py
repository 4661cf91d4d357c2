"""A cluster that has used its node-hours of the month gets nothing new, says why, and goes on when it may."""

import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dropsweep.clusters import Cluster
from dropsweep.messages import AdvanceMessage
from dropsweep.names import RUNS, WORKSPACES, JobKey, month_of, node_record, trials_queue, workspace_file
from dropsweep.nodes import Budgets, list_nodes, month_after
from dropsweep.records.node import NodeRecord
from dropsweep.settings import Settings, StorageSettings
from dropsweep.states import JobState, NodeState, TrialReason
from dropsweep.steps._policies import Policies
from dropsweep.steps.advance import LastLooks, advance
from dropsweep.steps.attempt import Claim, claim
from dropsweep.steps.cancel import cancel
from dropsweep.steps.repair import repair
from dropsweep.storage import Store, Tally
from tests.emulator.deployment import REPORT_X, Deployment, sweep
from tests.emulator.leaping import LeapingAzurite, LeapingClock


@pytest.fixture(autouse=True)
def within_a_month(service_clock: LeapingClock) -> None:
    service_clock.pass_turn_of_month()


def capped(deployment: Deployment, hours: float | None) -> Deployment:
    """The same deployment whose cluster has a cap; no memory of an earlier look at what was used."""
    deployment.settings = replace(
        deployment.settings, clusters=(Cluster(deployment.cluster, monthly_node_hours=hours),)
    )
    deployment.looks = LastLooks(policies=Policies(max_age_s=-1), budgets=Budgets(max_age_s=-1))
    return deployment


def use(deployment: Deployment, hours: float) -> None:
    """Has a node of the cluster have used so much this month."""
    record = NodeRecord(
        cluster=deployment.cluster,
        month=month(deployment),
        node=f"n-{uuid.uuid4().hex}",
        worker="w",
        state=NodeState.LEFT,
        num_slots=1,
        beat_s=30.0,
        seconds=round(hours * 3600),
        started=datetime.now(UTC),
    )
    path = node_record(deployment.cluster, record.month, record.node)
    assert deployment.store.blobs.create(RUNS, path, record.to_json(), record.to_metadata())


def month(deployment: Deployment) -> str:
    """The present one, by the service's clock."""
    return list_nodes(deployment.store, deployment.cluster).month


def num_messages(deployment: Deployment) -> int:
    return deployment.store.queues.count(trials_queue(deployment.cluster))


def why(deployment: Deployment, cap: str) -> str:
    now = month(deployment)
    return (
        f"waits: cluster {deployment.cluster} has used its {cap} node-hours of {now}; it goes on in "
        f"{month_of(month_after(now))}, or when monthly_node_hours is raised"
    )


def test_nothing_is_dispatched_once_the_hours_are_used(deployment: Deployment) -> None:
    capped(deployment, 2.5)
    use(deployment, 1)
    key = deployment.drop(sweep(REPORT_X, 6, limits={"max_concurrent_trials": 2}))
    assert deployment.look(key).next_trial == 2
    assert deployment.job(key).message == ""
    use(deployment, 1.5)
    job = deployment.look(key)
    assert (job.next_trial, job.state) == (2, JobState.RUNNING)
    assert job.message == why(deployment, "2.5")


def test_a_job_that_begins_while_nothing_is_left_waits_and_says_why(deployment: Deployment) -> None:
    use(capped(deployment, 1), 1)
    key = deployment.drop(sweep(REPORT_X, 6))
    job = deployment.look(key)
    assert (job.state, job.next_trial, job.started, job.message) == (JobState.QUEUED, 0, None, why(deployment, "1"))
    assert num_messages(deployment) == 0
    blob = deployment.store.blobs.head(RUNS, key.record)
    deployment.look(key)
    again = deployment.store.blobs.head(RUNS, key.record)
    assert blob is not None
    assert again is not None
    assert blob.etag == again.etag  # the reason is the same from look to look, and written once


@pytest.mark.parametrize("cap", [None, 1.01])
def test_a_raised_cap_lets_the_job_go_on_and_takes_the_reason_away(deployment: Deployment, cap: float | None) -> None:
    use(capped(deployment, 1), 1)
    key = deployment.drop(sweep(REPORT_X, 3))
    assert deployment.look(key).message
    capped(deployment, cap)
    job = deployment.look(key)
    assert (job.message, job.next_trial, job.state) == ("", 3, JobState.RUNNING)
    assert deployment.run(key).state is JobState.COMPLETED


def test_what_runs_goes_on_and_a_job_that_has_nothing_more_to_begin_is_told_nothing(deployment: Deployment) -> None:
    capped(deployment, 1)
    key = deployment.drop(sweep(REPORT_X, 2))
    deployment.look(key)
    first = hold(deployment, key, 0)
    use(deployment, 1)
    assert deployment.look(key).message == why(deployment, "1")  # the other one waits for a worker, who leaves it
    second = hold(deployment, key, 1)
    assert deployment.look(key).message == ""
    for claimed in (first, second):
        claimed.end(TrialReason.SUCCEEDED, "", metric=0.5)
    assert deployment.look(key).state is JobState.COMPLETED


def hold(deployment: Deployment, key: JobKey, trial: int) -> Claim:
    claimed = claim(deployment.store, key, trial, {}, worker="w", claim_timeout_s=60, max_lost_workers=3)
    assert isinstance(claimed, Claim)
    return claimed


def test_a_waiting_job_can_be_cancelled(deployment: Deployment) -> None:
    use(capped(deployment, 1), 1)
    key = deployment.drop(sweep(REPORT_X, 3))
    deployment.look(key)
    cancel(deployment.store, key)
    job = deployment.look(key)
    assert job.state is JobState.CANCELLED
    assert "waits" not in job.message


def test_of_a_quota_and_a_budget_the_budget_is_told_and_the_quota_is_left_to_others(deployment: Deployment) -> None:
    capped(deployment, 1)
    body = b"limits: {max_concurrent_jobs: 1}"
    deployment.store.blobs.put(WORKSPACES, workspace_file(deployment.workspace), body)
    use(deployment, 1)
    first, second = (deployment.drop(sweep(REPORT_X, 2), f"e/{name}.json") for name in "ab")
    assert [deployment.look(key).message for key in (first, second)] == [why(deployment, "1")] * 2
    capped(deployment, None)
    assert deployment.look(second).message == ""
    assert deployment.look(first).message.startswith("waits for its turn")
    deployment.store.blobs.delete(WORKSPACES, workspace_file(deployment.workspace))


def operations(deployment: Deployment, key: JobKey) -> tuple[int, LastLooks]:
    tally = Tally()
    looks = LastLooks()
    advance(Store.connect(deployment.settings.storage, tally), deployment.settings, AdvanceMessage(key), looks)
    return tally.total, looks


def test_a_cap_costs_one_list_in_half_a_minute_and_no_cap_nothing(deployment: Deployment) -> None:
    key = deployment.drop(sweep(REPORT_X, 2))
    deployment.look(key)
    num_without, _ = operations(capped(deployment, None), key)
    num_with, looks = operations(capped(deployment, 1), key)
    assert num_with == num_without + 1
    tally = Tally()
    store = Store.connect(deployment.settings.storage, tally)
    advance(store, deployment.settings, AdvanceMessage(key), looks)
    assert tally.total <= num_without


def test_a_job_of_a_cluster_that_is_not_known_any_more_has_no_cap(deployment: Deployment) -> None:
    use(capped(deployment, 1), 1)
    key = deployment.drop(sweep(REPORT_X, 2))
    deployment.settings = replace(deployment.settings, clusters=(Cluster("another"),))
    assert deployment.look(key).next_trial == 2


@pytest.fixture(scope="module")
def own_azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LeapingAzurite]:
    with LeapingAzurite(tmp_path_factory.mktemp("azurite")) as running:
        yield running


@pytest.mark.parametrize("num_doubled", [0, 2])
def test_messages_that_trainers_threw_away_are_sent_anew_only_when_hours_are_left(
    own_azurite: LeapingAzurite, workspace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_doubled: int
) -> None:
    """Too few are there, or none to be seen beside a job that stands still: either would mean lost messages."""
    monkeypatch.setattr("dropsweep.steps.repair._QUIET_S", -1.0)
    own_azurite.clock.pass_turn_of_month()
    storage = StorageSettings(own_azurite.connection_string)
    alone = Deployment(Store.connect(storage), Settings(storage), workspace, tmp_path)
    key = capped(alone, 1).drop(sweep(REPORT_X, 2))
    alone.look(key)
    use(alone, 1)
    alone.look(key)
    queue = trials_queue(alone.cluster)
    for message in alone.store.queues.receive(queue, visibility_s=30, max_messages=32):
        alone.store.queues.delete(message)
    for _ in range(num_doubled):
        alone.store.queues.send(queue, "of another job", delay_s=30)
    assert repair(alone.store, alone.settings, alone.looks).num_sent == 0
    assert alone.store.queues.count(queue) == num_doubled
    capped(alone, 2)
    assert repair(alone.store, alone.settings, alone.looks).num_sent == 2
    cancel(alone.store, key)
    alone.look(key)
