"""What an examination says of buried messages and of files that their authors have to mend."""

import json
from datetime import UTC, datetime

import pytest

from dropsweep.client.doctor import files
from dropsweep.client.doctor.examination import Status
from dropsweep.errors import Problem
from dropsweep.names import (
    ADVANCE_QUEUE,
    RUNS,
    SCHEDULES,
    WORKSPACES,
    JobKey,
    ScheduleKey,
    poison_queue,
    quota_ledger,
    workspace_error,
)
from dropsweep.records.ledger import Entry, Ledger, QuotaLimits
from dropsweep.steps.bury import bury
from tests.emulator.doctor.conftest import MOMENT_S, Account

PROBLEM = Problem("trigger.expression", "a b c", "it must have five fields", "Write minute hour day month weekday")
WHERE = [
    (SCHEDULES, "schedules", ScheduleKey("vision", "nightly").error, "schedules/vision/nightly"),
    (WORKSPACES, "workspaces", workspace_error("vision"), "workspaces/vision"),
]


def test_buried_messages_are_told_with_their_number_and_the_commands(account: Account) -> None:
    for number in range(3):
        assert bury(account.store, ADVANCE_QUEUE, f"id-{number}", b"x", "why", 5)
    [found] = account.told("poison", Status.WARNING)
    assert found.message.startswith("3 messages buried, the latest at ")
    assert "dropsweep poison list" in found.remedy


def test_a_poison_queue_that_nobody_reads_is_told(account: Account) -> None:
    account.store.queues.send(poison_queue(ADVANCE_QUEUE), "x")
    account.age()
    [found] = account.told("poison", Status.ERROR, message_s=MOMENT_S)
    assert found.message.startswith("about 1 message on queue advance-poison, the oldest for ")
    assert account.told("poison", Status.ERROR) == []


def test_the_poison_queues_of_others_are_theirs(account: Account) -> None:
    account.store.queues.create_queue("invoices-poison")
    account.store.queues.send("invoices-poison", "x")
    account.age()
    assert account.told("poison", Status.ERROR, message_s=MOMENT_S) == []


@pytest.mark.parametrize(("container", "check", "error", "stem"), WHERE)
def test_a_broken_file_is_told_with_its_first_problem_and_remedy(
    account: Account, container: str, check: str, error: str, stem: str
) -> None:
    account.store.blobs.put(container, f"{stem.partition('/')[2]}.yaml", b"x")
    document = {"version": 1, "problems": [PROBLEM.to_json(), PROBLEM.to_json()]}
    account.store.blobs.put(container, error, json.dumps(document).encode())
    [found] = account.told(check, Status.ERROR)
    assert found.message == f"{stem}: trigger.expression is a b c: it must have five fields (2 problems in all)"
    assert found.remedy == PROBLEM.remedy
    account.store.blobs.delete(container, error)
    [found] = [found for found in account.examine() if found.check == check]
    assert found.status is Status.OK
    assert found.message.startswith("1 ")


@pytest.mark.parametrize("body", [b"", b"[]", b'{"problems": [1]}', b'{"problems": 3}', b"\xff", b"[" * 100_000])
def test_a_file_beside_it_that_cannot_be_read_is_named(account: Account, body: bytes) -> None:
    account.store.blobs.put(SCHEDULES, "vision/nightly.error.json", body)
    [found] = account.told("schedules", Status.ERROR)
    assert found.message == "schedules/vision/nightly: vision/nightly.error.json beside it tells what is wrong"
    assert "Mend the file" in found.remedy


def ledger(workspace: str, **granted: int) -> Ledger:
    """At most four trials at once; each job wants four."""
    made = Ledger(workspace, QuotaLimits(max_concurrent_trials=4))
    for job, number in granted.items():
        made = made.having(JobKey(workspace, "default", job), Entry(number, 4, datetime(2026, 1, 1, tzinfo=UTC)))
    return made


def test_a_quota_is_told_with_who_has_what_and_who_waits(account: Account) -> None:
    account.store.blobs.put(RUNS, quota_ledger("vision"), ledger("vision", first=4, second=0, third=0).to_json())
    [found] = account.told("quotas", Status.OK)
    assert found.message == "workspace vision: jobs at work 1, trials 4 of 4; 2 jobs waiting"


def test_a_quota_of_which_nobody_takes_what_is_free_is_told(account: Account) -> None:
    account.store.blobs.put(RUNS, quota_ledger("vision"), ledger("vision", first=2, second=0).to_json())
    assert account.told("quotas", Status.ERROR) == []
    account.age()
    [found] = account.told("quotas", Status.ERROR, queued_s=MOMENT_S)
    assert "vision/default/first could have more and has not asked for " in found.message


def test_a_ledger_that_cannot_be_read_is_told_and_hides_no_other(account: Account) -> None:
    account.store.blobs.put(RUNS, quota_ledger("audio"), b"{}")
    account.store.blobs.put(RUNS, quota_ledger("vision"), ledger("vision", first=4).to_json())
    [found] = account.told("quotas", Status.ERROR)
    assert found.message.startswith(f"runs/{quota_ledger('audio')}: ")
    assert len(account.told("quotas", Status.OK)) == 1


def test_of_very_many_files_the_first_are_looked_at_and_the_finding_says_so(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MAX_FILES", 2)
    for number in range(3):
        account.store.blobs.put(SCHEDULES, f"vision/s{number}.yaml", b"x")
        assert bury(account.store, ADVANCE_QUEUE, f"id-{number}", b"x", "why", 5)
    [found] = account.told("schedules", Status.WARNING)
    assert found.message == "only the first 2 files of schedules were looked at"
    [found] = account.told("poison", Status.WARNING)
    assert found.message.startswith("at least 2 messages buried")


def test_nothing_is_written_by_an_examination(account: Account) -> None:
    job = account.job()
    account.store.queues.send("trials-local", "x")

    def everything() -> list[tuple[str, str, str]]:
        return [
            (container, blob.name, blob.etag)
            for container in (SCHEDULES, WORKSPACES, RUNS)
            for blob in account.store.blobs.list(container, "")
        ]

    before = everything()
    account.examine(trainer_s=0.0, heartbeat_s=0.0)
    assert everything() == before
    assert (RUNS, job.key.record) in {(container, name) for container, name, _ in before}
    [message] = account.store.queues.receive("trials-local", visibility_s=1)
    assert message.dequeue_count == 1, "an examination receives nothing"
