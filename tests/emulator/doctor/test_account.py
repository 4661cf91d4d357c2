"""What an examination says of the account and of the functions, each trouble made to happen."""

import time
from datetime import UTC, datetime, timedelta

import pytest
from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueServiceClient

from dropsweep import __version__
from dropsweep.client.doctor.examination import Bounds, Health, Status, examine, health_of, to_document
from dropsweep.client.doctor.findings import CONNECTION, Finding
from dropsweep.names import (
    ADVANCE_QUEUE,
    CODE,
    CONTAINERS,
    FUNCTIONS_RECORD,
    RUNS,
    SUBMISSIONS_QUEUE,
    trials_queue,
    trials_queues,
)
from dropsweep.settings import AZURITE_KEY, Settings, StorageSettings
from dropsweep.steps.advance import LastLooks
from dropsweep.steps.repair import repair
from dropsweep.storage import Store
from dropsweep.storage.retrying import PATIENCE_S
from tests.emulator.doctor.conftest import MOMENT_S, Account
from tests.emulator.proxy import Proxy

ALL_CHECKS = ["connection", "clock", "containers", "queues", "functions", "clusters", "trainers", "jobs", "poison"]


def opened(account: Account, blob_port: int, queue_port: int, key: str = AZURITE_KEY) -> Store:
    endpoints = f"BlobEndpoint=http://127.0.0.1:{blob_port}/devstoreaccount1;QueueEndpoint=http://127.0.0.1:{queue_port}/devstoreaccount1"
    return Store.connect(StorageSettings(f"AccountName=devstoreaccount1;AccountKey={key};{endpoints}"))


def ports(account: Account) -> tuple[int, int]:
    parts = dict(part.partition("=")[::2] for part in account.connection_string.split(";") if part)
    return tuple(int(parts[name].split(":")[2].split("/")[0]) for name in ("BlobEndpoint", "QueueEndpoint"))  # type: ignore[return-value]


def test_of_a_deployment_that_is_well_every_check_says_so_and_what_it_saw(account: Account) -> None:
    findings = account.examine()
    assert [found for found in findings if found.status is not Status.OK or found.remedy] == []
    checks = list(dict.fromkeys(found.check for found in findings))
    assert checks == [*ALL_CHECKS, "schedules", "workspaces", "quotas"]
    assert health_of(findings) is Health.OK
    assert any("account key" in found.message and " ms" in found.message for found in findings)
    assert all(AZURITE_KEY not in found.message for found in findings)
    assert any(__version__ in found.message for found in findings if found.check == "functions")


def test_findings_survive_json(account: Account) -> None:
    findings = account.examine()
    document = to_document([*findings, Finding("jobs", Status.ERROR, "m", "r")])
    assert document["status"] == "degraded"
    assert [Finding.from_json(one) for one in document["findings"]][:-1] == findings


def test_a_missing_container_is_named_with_the_rule_and_the_remedy(account: Account) -> None:
    with BlobServiceClient.from_connection_string(account.connection_string) as blobs:
        blobs.delete_container(CODE)
    [found] = account.told("containers", Status.ERROR)
    assert found.message.startswith(f"there is no container {CODE}:")
    assert all(name in found.message for name in CONTAINERS)
    assert "make up" in found.remedy


def test_without_the_container_of_the_runs_everything_else_is_still_told(account: Account) -> None:
    with BlobServiceClient.from_connection_string(account.connection_string) as blobs:
        blobs.delete_container(RUNS)
    findings = account.examine()
    assert {found.check for found in findings if found.status is Status.ERROR} >= {"containers", "functions"}
    assert {found.check for found in findings} >= {"queues", "schedules", "workspaces"}


@pytest.mark.parametrize("queue", [ADVANCE_QUEUE, SUBMISSIONS_QUEUE, *trials_queues("local")])
def test_a_missing_queue_is_named(account: Account, queue: str) -> None:
    with QueueServiceClient.from_connection_string(account.connection_string) as queues:
        queues.delete_queue(queue)
    [found] = account.told("queues", Status.ERROR)
    assert found.message.startswith(f"there is no queue {queue}:")


def test_the_clusters_that_the_functions_name_must_have_their_queues(account: Account) -> None:
    account.timer(clusters=["gpu", "local"])
    findings = examine(account.store)
    [found] = [found for found in findings if found.status is Status.ERROR]
    told = "there is no queue trials-gpu-high, trials-gpu, trials-gpu-low"
    assert (found.check, found.message.partition(":")[0]) == ("queues", told)


def test_without_any_cluster_jobs_have_nowhere_to_go(account: Account) -> None:
    with QueueServiceClient.from_connection_string(account.connection_string) as queues:
        queues.delete_queue(trials_queue("local"))
    [found] = [found for found in examine(account.store) if found.status is Status.ERROR]
    assert found.check == "queues"
    assert "trials-" in found.message


@pytest.mark.parametrize("how", ["cut", "stall"])
@pytest.mark.parametrize("which", ["blobs", "queues"])
def test_a_service_that_does_not_answer_is_down_and_told_within_seconds_whatever_the_patience(
    account: Account, which: str, how: str
) -> None:
    blob_port, queue_port = ports(account)
    with Proxy(blob_port) as blobs, Proxy(queue_port) as queues:
        store = opened(account, blobs.port, queues.port)
        assert health_of(examine(store, clusters=("local",))) is Health.OK
        proxy = blobs if which == "blobs" else queues
        proxy.cut() if how == "cut" else proxy.stall()
        began = time.monotonic()
        findings = examine(store, clusters=("local",))
        assert time.monotonic() - began < PATIENCE_S / 2, "5 s, or twice that on a slow machine"
        proxy.mend()
    assert health_of(findings) is Health.DOWN
    [found] = [found for found in findings if found.status is Status.ERROR]
    assert found.check == CONNECTION
    assert found.message.startswith(f"the {which} at http://127.0.0.1:")
    assert ("no answer in time" in found.message) == (how == "stall")
    assert found.remedy.startswith("Is the account's name right")
    assert {found.check for found in findings} <= {CONNECTION, "clock"}


def test_a_refused_key_is_told_with_what_to_check_and_without_the_key(account: Account) -> None:
    key = "d3JvbmcgZm9yIHRoaXMgYWNjb3VudA=="
    findings = examine(opened(account, *ports(account), key=key))
    assert health_of(findings) is Health.DOWN
    assert len(findings) == 2
    assert all(found.remedy.startswith("Check the key") for found in findings)
    assert key not in str(findings)


@pytest.mark.parametrize(
    ("ahead_s", "bound_s", "status"),
    [
        (0, 60, Status.OK),
        (20, 60, Status.OK),
        (-40, 60, Status.OK),
        (90, 60, Status.WARNING),
        (-120, 60, Status.WARNING),
        (30, Bounds().skew_s, Status.WARNING),
    ],
)
def test_a_clock_that_is_off_is_told_with_the_way_and_the_bound(
    account: Account, ahead_s: float, bound_s: float, status: Status
) -> None:
    ahead = timedelta(seconds=ahead_s)
    findings = examine(account.store, bounds=Bounds(skew_s=bound_s), now=lambda: datetime.now(UTC) + ahead)
    [found] = [found for found in findings if found.check == "clock"]
    assert found.status is status
    if status is Status.WARNING:
        assert ("ahead of" if ahead_s > 0 else "behind") in found.message
        assert f"more than {bound_s:g} s" in found.message


def test_a_timer_that_never_passed_is_told_and_is_a_fault_once_the_account_is_not_new(account: Account) -> None:
    account.store.blobs.delete(RUNS, FUNCTIONS_RECORD)
    [found] = account.told("functions", Status.OK)
    assert "not made its first pass" in found.message
    assert found.remedy == "Wait a minute"
    account.age()
    [found] = account.told("functions", Status.ERROR, message_s=MOMENT_S)
    assert "not made its first pass" in found.message
    assert "function app" in found.remedy


def test_a_timer_that_has_stopped_is_told_with_its_age(account: Account) -> None:
    account.timer(age_s=3605)
    [found] = account.told("functions", Status.ERROR)
    assert "1 h 00 min" in found.message
    account.timer(age_s=250)
    assert account.told("functions", Status.ERROR) == []


def test_what_the_functions_timer_writes_is_what_is_read(account: Account) -> None:
    account.store.blobs.delete(RUNS, FUNCTIONS_RECORD)
    repair(account.store, Settings(StorageSettings(account.connection_string)), LastLooks())
    assert account.told("functions", Status.ERROR) == []
    [found] = account.told("functions", Status.OK)
    assert found.message.endswith(f"by dropsweep {__version__}")


def test_a_pass_that_could_not_deal_with_everything_is_told(account: Account) -> None:
    account.timer(num_failed=2)
    [found] = account.told("functions", Status.WARNING)
    assert found.message.startswith("2 jobs or files could not be dealt with")


def test_the_moment_in_which_the_first_pass_asks_for_the_time_is_no_fault_of_the_record(account: Account) -> None:
    account.store.blobs.put(RUNS, FUNCTIONS_RECORD, b"")
    [found] = account.told("functions", Status.OK)
    assert "not made its first pass" in found.message
    assert account.told("functions", Status.ERROR) == []


def test_a_record_of_the_timer_that_cannot_be_read_is_told_and_ends_nothing(account: Account) -> None:
    account.store.blobs.put(RUNS, FUNCTIONS_RECORD, b'{"version": 1, "dropsweep": "0.1.0", "at": "soon"}')
    findings = account.examine()
    errors = [found for found in findings if (found.check, found.status) == ("functions", Status.ERROR)]
    assert FUNCTIONS_RECORD in errors[0].message
    assert "workspaces" in {found.check for found in findings}


@pytest.mark.parametrize(
    ("version", "remedy"), [("0.0.9", "Deploy the functions anew"), ("99.0", "Upgrade this installation")]
)
def test_another_version_of_the_functions_is_told_with_who_has_to_move(
    account: Account, version: str, remedy: str
) -> None:
    account.timer(dropsweep=version)
    [found] = account.told("versions", Status.WARNING)
    assert version in found.message
    assert found.remedy == remedy


def test_a_hint_that_nobody_takes_off_its_queue_is_told(account: Account) -> None:
    account.store.queues.send(ADVANCE_QUEUE, "hint")
    account.age()
    [found] = account.told("functions", Status.ERROR, message_s=MOMENT_S)
    assert found.message.startswith("1 message waits on queue advance")
    assert account.told("functions", Status.ERROR) == []


def test_a_hidden_message_is_being_worked_on(account: Account) -> None:
    account.store.queues.send(ADVANCE_QUEUE, "hint")
    assert account.store.queues.receive(ADVANCE_QUEUE, visibility_s=600)
    account.age()
    assert account.told("functions", Status.ERROR, message_s=MOMENT_S) == []
