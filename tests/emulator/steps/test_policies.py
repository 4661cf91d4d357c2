"""The timer's pass and policy files: what is wrong is told beside them, and ledgers fit files and jobs again."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from dropsweep import __version__
from dropsweep.names import (
    DEFAULT_POLICY,
    FUNCTIONS_RECORD,
    JOBS,
    RUNS,
    WORKSPACES,
    JobKey,
    quota_ledger,
    workspace_error,
    workspace_file,
)
from dropsweep.records.codec import time_of
from dropsweep.records.ledger import Entry, Ledger, QuotaLimits
from dropsweep.settings import Settings, StorageSettings
from dropsweep.states import JobState
from dropsweep.steps._policies import Policies
from dropsweep.steps.advance import LastLooks
from dropsweep.steps.repair import Repaired, repair
from dropsweep.storage import Store
from local.azurite import Azurite
from tests.emulator.deployment import REPORT_X, Deployment, sweep
from tests.emulator.faults import Fault, Faults


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
    for container in (JOBS, RUNS, WORKSPACES):
        for blob in list(store.blobs.list(container, "")):
            store.blobs.delete(container, blob.name)
    own = Settings(storage, heartbeat_s=settings.heartbeat_s, claim_timeout_s=settings.claim_timeout_s)
    deployment = Deployment(store, own, workspace, tmp_path)
    deployment.looks = LastLooks(policies=Policies(max_age_s=-1))
    return deployment


def make_pass(alone: Deployment) -> Repaired:
    return repair(alone.store, alone.settings, alone.looks)


def put(alone: Deployment, body: bytes, name: str = "") -> None:
    alone.store.blobs.put(WORKSPACES, workspace_file(name or alone.workspace), body)


def limit(alone: Deployment, name: str = "", **limits: int) -> None:
    put(alone, json.dumps({"limits": limits}).encode(), name)


def files(alone: Deployment) -> list[str]:
    return [file.name for file in alone.store.blobs.list(WORKSPACES, "")]


def ledger(alone: Deployment, name: str = "") -> Ledger:
    return Ledger.from_json(alone.text(quota_ledger(name or alone.workspace)).encode())


def has_ledger(alone: Deployment) -> bool:
    return alone.store.blobs.head(RUNS, quota_ledger(alone.workspace)) is not None


def test_a_broken_file_is_reported_beside_it_until_it_is_mended(alone: Deployment) -> None:
    put(alone, b"limits: {max_jobs: 3}\nretention: 4")
    assert make_pass(alone).num_failed == 0
    blob = alone.store.blobs.read(WORKSPACES, workspace_error(alone.workspace))
    assert blob
    document = json.loads(blob.body)
    assert document["source"] == f"workspaces/{alone.workspace}.yaml"
    assert [problem["path"] for problem in document["problems"]] == ["retention", "limits.max_jobs"]
    make_pass(alone)
    put(alone, b"limits: {max_concurrent_jobs: 3}")
    make_pass(alone)
    assert files(alone) == [workspace_file(alone.workspace)]


def test_the_report_goes_with_the_broken_file(alone: Deployment) -> None:
    put(alone, b"x: 1")
    make_pass(alone)
    alone.store.blobs.delete(WORKSPACES, workspace_file(alone.workspace))
    make_pass(alone)
    assert files(alone) == []


@pytest.mark.parametrize("name", ["vision.yml", "a/b.yaml", "-x.yaml"])
def test_a_file_that_is_no_workspace_s_is_told_so(alone: Deployment, name: str) -> None:
    alone.store.blobs.put(WORKSPACES, name, b"limits: {max_concurrent_jobs: 3}")
    make_pass(alone)
    (report,) = (file for file in files(alone) if file != name)
    blob = alone.store.blobs.read(WORKSPACES, report)
    assert blob
    assert "ends in .yaml" in blob.body.decode()


def test_a_misnamed_file_beside_a_good_one_is_told_and_the_good_one_holds(alone: Deployment) -> None:
    limit(alone, max_concurrent_trials=1)
    misnamed = f"{alone.workspace}.yml"
    alone.store.blobs.put(WORKSPACES, misnamed, b"limits: {max_concurrent_trials: 9}")
    key = alone.drop(sweep(REPORT_X, 3))
    make_pass(alone)
    assert alone.job(key).next_trial == 1
    assert sources(alone) == [f"{WORKSPACES}/{misnamed}"]
    put(alone, b"limits: 4")
    make_pass(alone)
    assert sources(alone) == ["", f"{WORKSPACES}/{misnamed}"]
    alone.store.blobs.delete(WORKSPACES, misnamed)
    make_pass(alone)
    assert sources(alone) == [""]
    limit(alone, max_concurrent_trials=2)
    make_pass(alone)
    assert workspace_error(alone.workspace) not in files(alone)
    assert alone.job(key).next_trial == 2


def sources(alone: Deployment) -> list[str]:
    """Of each problem that is told the misnamed file, or nothing for one within a file."""
    blob = alone.store.blobs.read(WORKSPACES, workspace_error(alone.workspace))
    assert blob
    found = [problem["value"] for problem in json.loads(blob.body)["problems"]]
    return [value if value.startswith(WORKSPACES) else "" for value in found]


def test_a_report_that_says_the_same_is_not_written_again(alone: Deployment) -> None:
    put(alone, b"x: 1")
    make_pass(alone)
    before = alone.store.blobs.head(WORKSPACES, workspace_error(alone.workspace))
    make_pass(alone)
    after = alone.store.blobs.head(WORKSPACES, workspace_error(alone.workspace))
    assert before
    assert after
    assert after.etag == before.etag


def test_a_misnamed_file_of_its_own_keeps_the_default_one_out(alone: Deployment) -> None:
    put(alone, b"retention: {delete_after_days: 1}", DEFAULT_POLICY)
    alone.store.blobs.put(WORKSPACES, f"{alone.workspace}.yml", b"retention: {delete_after_days: 36000}")
    policies = Policies(max_age_s=-1)
    found = policies.of(alone.store, alone.workspace)
    assert found
    assert (found.path, found.reading.policy) == (f"{alone.workspace}.yml", None)
    assert policies.names(alone.store) == [DEFAULT_POLICY, alone.workspace]
    put(alone, b"description: good")
    good = policies.of(alone.store, alone.workspace)
    assert good
    assert (good.path, good.reading.policy is not None) == (workspace_file(alone.workspace), True)


def test_a_file_that_goes_away_while_it_is_read_is_not_taken_for_none(alone: Deployment) -> None:
    put(alone, b"retention: {delete_after_days: 1}", DEFAULT_POLICY)
    put(alone, b"description: first")
    gone = Fault("404", False, status=404, headers={"x-ms-error-code": "BlobNotFound"})
    is_away = True
    path = f"/{WORKSPACES}/{workspace_file(alone.workspace)}"
    faults = Faults(lambda _, request: gone if is_away and path in request.url else None)
    store = Store.connect(alone.settings.storage, faults)
    policies = Policies(max_age_s=-1)
    found = policies.of(store, alone.workspace)
    assert found
    assert (found.path, found.reading.policy) == (workspace_file(alone.workspace), None)
    for description in ("second", "third"):
        is_away = False
        put(alone, f"description: {description}".encode())
        assert described(policies, store, alone.workspace) == description
        is_away = True
        put(alone, b"description: not read")
        assert described(policies, store, alone.workspace) == description
        assert described(policies, store, alone.workspace) == description
    assert faults.num_spoilt >= 5


def described(policies: Policies, store: Store, workspace: str) -> str:
    found = policies.of(store, workspace)
    assert found
    assert found.reading.policy
    return found.reading.policy.description


def test_a_broken_file_that_bounded_nothing_leaves_the_limits_of_the_default_one(alone: Deployment) -> None:
    limit(alone, DEFAULT_POLICY, max_concurrent_trials=2)
    put(alone, b"description: free")
    key = alone.drop(sweep(REPORT_X, 5))
    make_pass(alone)
    assert alone.job(key).next_trial == 5
    put(alone, b"limits: 3")
    other = alone.drop(sweep(REPORT_X, 5), "e/other.json")
    alone.looks = LastLooks(policies=Policies(max_age_s=-1))
    make_pass(alone)
    assert alone.job(other).next_trial == 0
    assert ledger(alone).limits == QuotaLimits(None, 2)


def test_a_file_that_was_broken_from_the_start_leaves_the_limits_of_the_default_one(alone: Deployment) -> None:
    limit(alone, DEFAULT_POLICY, max_concurrent_trials=2)
    put(alone, b"limits: 3")
    assert alone.look(alone.drop(sweep(REPORT_X, 5))).next_trial == 2


def test_the_default_file_holds_for_workspaces_without_their_own(alone: Deployment) -> None:
    limit(alone, DEFAULT_POLICY, max_concurrent_trials=1)
    key = alone.drop(sweep(REPORT_X, 3))
    assert alone.look(key).next_trial == 1
    put(alone, b"")
    assert alone.look(key).next_trial == 3


def test_a_broken_file_leaves_the_limits_that_the_timer_read_before_any_job_ran(alone: Deployment) -> None:
    limit(alone, max_concurrent_trials=1)
    limit(alone, DEFAULT_POLICY, max_concurrent_trials=2)
    make_pass(alone)
    put(alone, b"limits: 3")
    put(alone, b"limits: 3", DEFAULT_POLICY)
    alone.looks = LastLooks(policies=Policies(max_age_s=-1))  # a process that never read them otherwise
    key = alone.drop(sweep(REPORT_X, 4))
    assert alone.look(key).next_trial == 1
    make_pass(alone)
    assert ledger(alone).limits == QuotaLimits(None, 1)
    assert ledger(alone, DEFAULT_POLICY).limits == QuotaLimits(None, 2)


def test_new_limits_are_noted_also_while_no_job_runs(alone: Deployment) -> None:
    for most in (1, 3):
        limit(alone, max_concurrent_trials=most)
        make_pass(alone)
        assert ledger(alone).limits == QuotaLimits(None, most)


def test_new_limits_reach_the_ledger_and_a_waiting_job_within_one_pass(alone: Deployment) -> None:
    limit(alone, max_concurrent_jobs=1)
    first, second = alone.drop(sweep(REPORT_X, 2), "e/a.json"), alone.drop(sweep(REPORT_X, 2), "e/b.json")
    make_pass(alone)
    alone.deliver_hints()
    assert sorted([alone.job(first).next_trial, alone.job(second).next_trial]) == [0, 2]
    limit(alone, max_concurrent_jobs=2)
    make_pass(alone)
    assert ledger(alone).limits == QuotaLimits(2, None)
    assert (alone.job(first).next_trial, alone.job(second).next_trial) == (2, 2)


def test_the_ledger_goes_with_the_limits_and_so_does_the_word_that_a_job_waits(alone: Deployment) -> None:
    limit(alone, max_concurrent_jobs=0)
    key = alone.drop(sweep(REPORT_X, 2))
    assert alone.look(key).message.startswith("waits")
    put(alone, b"description: free")
    make_pass(alone)
    assert not has_ledger(alone)
    job = alone.job(key)
    assert (job.state, job.message) == (JobState.RUNNING, "")


def test_entries_of_jobs_that_are_gone_or_cannot_be_read_hold_up_nobody(alone: Deployment) -> None:
    limit(alone, max_concurrent_trials=2)
    key = alone.drop(sweep(REPORT_X, 2))
    gone, corrupt = JobKey(alone.workspace, "e", "gone-0"), JobKey(alone.workspace, "e", "corrupt-0")
    alone.store.blobs.put(RUNS, corrupt.record, b"{")
    created = time_of("2020-01-01T00:00:00Z")
    entries = {gone: Entry(2, 2, created), corrupt: Entry(0, 2, created)}
    found = Ledger(alone.workspace, QuotaLimits(None, 2), entries)
    alone.store.blobs.put(RUNS, quota_ledger(alone.workspace), found.to_json())
    assert alone.look(key).next_trial == 0
    make_pass(alone)
    assert set(ledger(alone).entries) == {corrupt, key}
    alone.deliver_hints()
    assert alone.job(key).next_trial == 2


def test_a_job_that_ended_while_its_worker_died_leaves_the_ledger(alone: Deployment) -> None:
    limit(alone, max_concurrent_trials=2)
    key = alone.drop(sweep(REPORT_X, 2))
    alone.run(key)
    found = Ledger(alone.workspace, QuotaLimits(None, 2), {key: Entry(2, 2, alone.job(key).created)})
    alone.store.blobs.put(RUNS, quota_ledger(alone.workspace), found.to_json())
    make_pass(alone)
    assert ledger(alone).entries == {}


def test_each_pass_leaves_word_of_when_and_by_which_version(alone: Deployment) -> None:
    alone.drop(sweep(REPORT_X, 2))
    make_pass(alone)
    document = json.loads(alone.text(FUNCTIONS_RECORD))
    head = alone.store.blobs.head(RUNS, FUNCTIONS_RECORD)
    assert head
    assert document["dropsweep"] == __version__
    assert document["num_live"] == 1
    assert abs((time_of(document["at"]) - head.served).total_seconds()) < 10


def test_a_part_that_fails_costs_the_others_nothing(alone: Deployment) -> None:
    key = alone.drop(sweep(REPORT_X, 2))
    denied = Fault("403", False, status=403)
    spoilt = Faults(lambda _, request: denied if "prefix=.quotas" in request.url else None)
    done = repair(Store.connect(alone.settings.storage, spoilt), alone.settings, alone.looks)
    assert spoilt.num_spoilt
    assert (done.num_failed, done.num_live, done.num_drops) == (1, 1, 1)
    assert alone.job(key).next_trial == 2
    assert alone.store.blobs.head(RUNS, FUNCTIONS_RECORD)
