"""What an examination says of live jobs: which stand still and why, and which only wait."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from dropsweep.client.doctor import jobs
from dropsweep.client.doctor.examination import Status
from dropsweep.names import LIVE, RUNS, JobKey, trials_queue
from dropsweep.quotas import WAITS
from dropsweep.records.job import StateChange
from dropsweep.states import JobReason, JobState, TrialReason
from tests.emulator.doctor.conftest import MOMENT_S, Account

QUEUE = trials_queue("local")


def test_a_job_over_which_no_pass_is_made_is_told(account: Account) -> None:
    job = account.job(JobReason.ACCEPTED, next_trial=0, started=None)
    account.age()
    [found] = account.told("jobs", Status.ERROR, queued_s=MOMENT_S)
    assert found.message.startswith(f"{job.key.path} was accepted ")
    assert "function app" in found.remedy
    assert account.told("jobs", Status.ERROR) == []


def test_a_job_that_waits_for_room_is_told_and_is_no_fault(account: Account) -> None:
    message = f"{WAITS}workspace vision has 4 of its 4 jobs running"
    job = account.job(JobReason.ACCEPTED, next_trial=0, started=None, message=message)
    account.age()
    findings = account.told("jobs", Status.OK, queued_s=MOMENT_S)
    assert f"{job.key.path} {message}" in [found.message for found in findings]
    assert account.told("jobs", Status.ERROR, queued_s=MOMENT_S) == []


def test_messages_that_no_trainer_takes_are_told_with_the_queue_their_age_and_the_jobs(account: Account) -> None:
    job = account.job()
    for _ in range(4):
        account.store.queues.send(QUEUE, "trial")
    account.age()
    [found] = account.told("trainers", Status.ERROR, trainer_s=MOMENT_S)
    assert found.message.startswith(f"{QUEUE}: 4 messages to be taken, 0 trials running; the oldest waits for ")
    assert job.key.path in found.message
    assert "trainers of cluster local" in found.remedy
    assert account.told("jobs", Status.ERROR, trainer_s=MOMENT_S) == [], "its cluster's finding has said it"
    assert account.told("trainers", Status.ERROR) == []


def test_a_long_queue_behind_trainers_at_work_is_no_fault(account: Account) -> None:
    job = account.job()
    account.store.queues.send(QUEUE, "trial")
    account.age()
    account.trial(job, 0)
    assert account.told("trainers", Status.ERROR, trainer_s=MOMENT_S) == []
    [found] = account.told("trainers", Status.OK, trainer_s=MOMENT_S)
    assert found.message == f"{QUEUE}: 1 message to be taken, 1 trial running"
    account.age()
    assert account.told("trainers", Status.ERROR, trainer_s=MOMENT_S, heartbeat_s=MOMENT_S), "its worker is silent now"


def test_a_job_that_waits_behind_another_one_is_no_fault(account: Account) -> None:
    ahead = account.job(job="digits-0")
    account.job(job="digits-1")
    account.store.queues.send(QUEUE, "trial")
    account.age()
    account.trial(ahead, 0)
    assert [found for found in account.examine(trainer_s=MOMENT_S) if found.status is Status.ERROR] == []


def test_a_silent_worker_is_told_with_its_trials_and_the_age(account: Account) -> None:
    job = account.job()
    account.trial(job, 1)
    account.trial(job, 3)
    account.trial(job, 2, TrialReason.SUCCEEDED)
    account.age()
    [found] = account.told("jobs", Status.WARNING, heartbeat_s=MOMENT_S)
    assert found.message.startswith(f"{job.key.path}: no heartbeat of trial 1, 3 for ")
    assert "takes it over by itself" in found.remedy
    assert account.told("jobs", Status.WARNING) == []


def test_a_job_whose_messages_are_gone_is_told(account: Account) -> None:
    job = account.job()
    account.trial(job, 0, TrialReason.SUCCEEDED)
    account.age()
    [found] = account.told("jobs", Status.ERROR, trainer_s=MOMENT_S)
    assert found.message.startswith(f"{job.key.path} has not moved for ")
    assert found.message.endswith("3 trials waiting for a worker")


@pytest.mark.parametrize("sign", ["record", "trial"])
def test_a_sign_of_life_of_the_job_or_of_any_trial_is_enough(account: Account, sign: str) -> None:
    job = account.job()
    account.age()
    if sign == "trial":
        account.trial(job, 0, TrialReason.SUCCEEDED)
    else:
        account.store.blobs.put(RUNS, job.key.record, job.to_json())
    assert account.told("jobs", Status.ERROR, trainer_s=MOMENT_S) == []


def test_a_paused_job_may_stand_still(account: Account) -> None:
    account.job(JobReason.PAUSE_REQUESTED)
    account.age()
    bounds = dict.fromkeys(("queued_s", "trainer_s", "heartbeat_s", "cancelling_s"), MOMENT_S)
    [found] = [found for found in account.examine(**bounds) if found.check == "jobs"]
    assert (found.status, found.message) == (Status.OK, "1 live job (1 paused); none stands still")


def test_a_job_that_is_being_cancelled_for_long_is_told(account: Account) -> None:
    job = account.job(JobReason.CANCEL_REQUESTED)
    account.trial(job, 0)
    account.age()
    [found] = account.told("jobs", Status.ERROR, cancelling_s=MOMENT_S)
    assert found.message.startswith(f"{job.key.path} has been cancelling for ")
    assert found.message.endswith("1 trial running")


def test_changes_that_were_not_told_are_told_here(account: Account) -> None:
    change = StateChange(1, JobState.RUNNING, JobReason.DISPATCHING, "", datetime.now(UTC))
    account.job(reply_to="answers", untold=(change,), num_changes=1)
    account.age()
    [found] = account.told("jobs", Status.WARNING, message_s=MOMENT_S)
    assert "1 change of its state not told on queue answers" in found.message


def test_a_record_that_cannot_be_read_is_told_with_its_job_and_hides_no_other(account: Account) -> None:
    account.job(JobReason.ACCEPTED, "first", next_trial=0)
    broken = account.job(job="second")
    account.store.blobs.put(RUNS, broken.key.record, b"{")
    account.age()
    found = account.told("jobs", Status.ERROR, queued_s=MOMENT_S)
    assert len(found) == 2
    assert any(one.message.startswith(f"{broken.key.path}: ") for one in found)


def test_a_file_among_the_records_that_is_none_is_told_with_its_job(account: Account) -> None:
    job = account.job()
    account.store.blobs.put(RUNS, f"{job.key.shard(0)}notes.json", b"{}")
    [found] = account.told("jobs", Status.ERROR)
    assert found.message.startswith(f"{job.key.path}: ")
    assert "notes" in found.message


def test_markers_that_are_left_over_are_no_fault(account: Account) -> None:
    account.store.blobs.put(RUNS, JobKey("vision", "default", "gone-abc").marker, b"")
    ended = account.job(JobReason.TRIALS_COMPLETED)
    assert ended.state.is_final
    [found] = [found for found in account.examine() if found.check == "jobs"]
    assert (found.status, found.message) == (Status.OK, "0 live jobs; none stands still")


def test_a_marker_that_names_no_job_ends_nothing(account: Account) -> None:
    account.store.blobs.put(RUNS, f"{LIVE}nonsense", b"")
    [found] = account.told("jobs", Status.ERROR)
    assert "nonsense" in found.message


def test_jobs_for_a_cluster_without_a_queue_are_told(account: Account) -> None:
    job = account.job(cluster="gone")
    [found] = account.told("trainers", Status.ERROR)
    assert found.message == "1 job for trials-gone: there is no such queue, so none of their trials can begin"
    assert job.key.path in found.remedy


def test_of_very_many_jobs_the_first_are_looked_at_and_the_finding_says_so(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "MAX_JOBS", 3)
    for number in range(4):
        account.job(JobReason.PAUSE_REQUESTED, f"digits-{number}")
    [found] = [found for found in account.examine() if found.check == "jobs"]
    assert found.status is Status.WARNING
    assert found.message.startswith("only the first 3 live jobs were looked at")


@pytest.mark.parametrize("bound", ["MAX_JOBS", "_MAX_SHARDS"])
def test_a_cluster_is_not_called_idle_when_not_all_its_trials_were_looked_at(
    account: Account, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    first = account.job(job="digits-0", num_trials=1002, next_trial=1002, window=1002)
    second = account.job(job="digits-1")
    account.store.queues.send(QUEUE, "trial")
    account.age()
    [found] = account.told("trainers", Status.ERROR, trainer_s=MOMENT_S)
    assert "1 message to be taken, 0 trials running" in found.message
    monkeypatch.setattr(jobs, bound, 1)
    account.trial(second if bound == "MAX_JOBS" else first, 0 if bound == "MAX_JOBS" else 1001)
    assert account.told("trainers", Status.ERROR, trainer_s=MOMENT_S) == []
    [found] = account.told("trainers", Status.WARNING, trainer_s=MOMENT_S)
    assert "1 message to be taken, at least 0 trials running" in found.message
    assert "Not all trials were looked at" in found.message
    assert account.told("jobs", Status.ERROR, trainer_s=MOMENT_S) == []


def test_of_very_many_faults_the_first_are_told_and_the_others_counted(account: Account) -> None:
    job = account.job(JobReason.ACCEPTED, next_trial=0)
    for number in range(12):
        other = replace(job, key=JobKey("vision", "default", f"other-{number}"))
        account.store.blobs.put(RUNS, other.key.record, other.to_json())
        account.store.blobs.put(RUNS, other.key.marker, b"")
    account.age()
    found = account.told("jobs", Status.ERROR, queued_s=MOMENT_S)
    assert len(found) == 11
    assert found[-1].message == "3 more like these"
