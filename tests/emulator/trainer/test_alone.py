"""Trials that run out of memory beside others: retried once, alone on their node, by a real worker."""

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dropsweep.names import JobKey
from dropsweep.states import JobState, TrialReason, TrialState
from dropsweep.steps.attempt import Claim, claim
from dropsweep.steps.cancel import cancel
from dropsweep_trainer.worker.worker import Worker
from tests.emulator.deployment import REPORT_X, Deployment, command, sweep, until
from tests.emulator.leaping import LeapingClock

Start = Callable[[Worker], threading.Thread]
WAIT = "until [ -e {file} ]; do sleep 0.05; done"
MIB = 2**20


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the trials of a test leave each other signs."""
    folder = tmp_path / "signs"
    folder.mkdir()
    return folder


def by_trial(folder: Path, *scripts: str) -> str:
    """A command that runs a script of its own in each trial: with `$signs` and `$attempt`, told of as `running-k`."""
    cases = "\n".join(f"{number})\n{script}\n;;" for number, script in enumerate(scripts))
    return f"""
signs={folder} attempt=$DROPSWEEP_ATTEMPT me={folder}/running-$DROPSWEEP_TRIAL
touch $me; trap 'rm $me' EXIT
case $DROPSWEEP_TRIAL in
{cases}
esac
{REPORT_X}
"""


STAYS_UNTIL_THE_OTHER_HAS_FAILED = f"touch $signs/began; {WAIT.format(file='$signs/failed')}; sleep 0.5"
NEEDS_THE_NODE = f"""
if [ $attempt = 1 ]; then {WAIT.format(file="$signs/began")}; touch $signs/failed; echo MemoryError >&2; exit 1; fi
[ "$(echo $signs/running-*)" = $me ] || exit 99
"""


def test_it_is_retried_alone_and_completes(deployment: Deployment, folder: Path) -> None:
    more = ["sleep 0.2"] * 4
    text = by_trial(folder, STAYS_UNTIL_THE_OTHER_HAS_FAILED, NEEDS_THE_NODE, *more)
    key = deployment.drop(sweep(text, 6, limits={"max_concurrent_trials": 6}))
    job = deployment.run(key, num_slots=3)
    assert job.counts == {TrialState.COMPLETED: 6}, deployment.trial(key, 1)
    final = deployment.trial(key, 1)
    assert (final.attempt, final.runs_alone, final.num_retries, final.num_lost) == (2, True, 0, 0)
    assert deployment.text(key.stderr(1, 1)) == "MemoryError\n"
    assert not deployment.trial(key, 0).runs_alone


def test_one_that_runs_out_of_memory_alone_too_has_failed(deployment: Deployment, folder: Path) -> None:
    text = by_trial(folder, STAYS_UNTIL_THE_OTHER_HAS_FAILED, f"{NEEDS_THE_NODE} echo MemoryError >&2; exit 1")
    key = deployment.drop(sweep(text, 2))
    job = deployment.run(key, num_slots=2)
    assert job.counts == {TrialState.COMPLETED: 1, TrialState.FAILED: 1}
    final = deployment.trial(key, 1)
    assert (final.reason, final.attempt, final.exit_code) == (TrialReason.OUT_OF_MEMORY, 2, 1)
    assert final.message == "exit code 1: MemoryError; it was alone on its node"


def test_the_retries_that_a_job_asks_for_come_on_top(deployment: Deployment, folder: Path) -> None:
    always = f"{NEEDS_THE_NODE} echo MemoryError >&2; [ $attempt = 3 ] || exit 1"
    text = by_trial(folder, STAYS_UNTIL_THE_OTHER_HAS_FAILED, always)
    key = deployment.drop(sweep(text, 2, retry_settings={"max_retries": 1}))
    assert deployment.run(key, num_slots=2).counts == {TrialState.COMPLETED: 2}
    final = deployment.trial(key, 1)
    assert (final.attempt, final.num_retries, final.runs_alone) == (3, 1, True)


def test_one_that_had_nobody_beside_it_has_failed_at_once(deployment: Deployment) -> None:
    key = deployment.drop(command("echo MemoryError >&2; exit 1"))
    deployment.run(key)
    final = deployment.trial(key, 0)
    assert (final.reason, final.attempt, final.runs_alone) == (TrialReason.OUT_OF_MEMORY, 1, False)
    assert final.message == "exit code 1: MemoryError"


HUNGRY = f"""exec /usr/bin/env python3 -c '
import os, time
held = bytearray(b"x" * {100 * MIB})
time.sleep(600 if os.environ["DROPSWEEP_ATTEMPT"] == "1" else 1.5)
'"""


@pytest.mark.parametrize(
    ("memory_per_node", "reason"), [(1024, TrialReason.SUCCEEDED), (80, TrialReason.OUT_OF_MEMORY)]
)
def test_alone_it_may_use_the_memory_of_all_slots_that_the_node_has(
    deployment: Deployment, memory_per_node: int, reason: TrialReason
) -> None:
    cluster = replace(
        deployment.settings.clusters[0], trial_memory_bytes=80 * MIB, memory_per_node_bytes=memory_per_node * MIB
    )
    deployment.settings = replace(deployment.settings, clusters=(cluster,))
    key = deployment.drop(command(HUNGRY))
    deployment.run(key, num_slots=2)
    final = deployment.trial(key, 0)
    # With nobody beside it and nothing more to be had there is no second attempt.
    assert (final.reason, final.attempt) == (reason, 2 if reason is TrialReason.SUCCEEDED else 1)


def wait_for_the_node(deployment: Deployment, folder: Path, in_background: Start) -> tuple[JobKey, Worker]:
    """Has a trial wait until the node is empty, which it is once `end` is there."""
    stays = f"touch $signs/began; {WAIT.format(file='$signs/end')}"
    alone = f"{NEEDS_THE_NODE} touch $signs/alone; {WAIT.format(file='$signs/go-on')}"
    key = deployment.drop(sweep(by_trial(folder, stays, alone), 2))
    deployment.look(key)
    worker = deployment.worker(num_slots=2, idle_s=None)
    in_background(worker)
    until(lambda: (folder / "failed").exists())
    until(lambda: record_of(deployment, key).get("attempt") == 2)
    return key, worker


def record_of(deployment: Deployment, key: JobKey) -> dict[str, Any]:
    record = deployment.trial(key, 1)
    return {"attempt": record.attempt, "state": record.state}


def test_no_other_trial_begins_on_its_node_before_it_has_ended(
    deployment: Deployment, folder: Path, in_background: Start
) -> None:
    key, _ = wait_for_the_node(deployment, folder, in_background)
    assert not (folder / "alone").exists()
    later = deployment.drop(command("true") | {"name": "later"})
    deployment.look(later)
    (folder / "end").touch()
    until(lambda: (folder / "alone").exists())
    assert deployment.state(later, 0) is TrialState.QUEUED
    (folder / "go-on").touch()
    assert deployment.finish(later).state is JobState.COMPLETED
    assert deployment.finish(key).counts == {TrialState.COMPLETED: 2}
    assert deployment.trial(key, 1).num_lost == 0


def test_one_that_waits_is_given_back_when_its_worker_is_stopped_and_another_runs_it_alone(
    deployment: Deployment, folder: Path, in_background: Start
) -> None:
    key, worker = wait_for_the_node(deployment, folder, in_background)
    worker.stopping.set()
    until(lambda: deployment.state(key, 1) is TrialState.QUEUED)
    given_back = deployment.trial(key, 1)
    assert (given_back.reason, given_back.num_preempted, given_back.runs_alone) == (TrialReason.PREEMPTED, 1, True)
    for sign in ("end", "go-on"):
        (folder / sign).touch()
    assert deployment.run(key, num_slots=2).counts == {TrialState.COMPLETED: 2}
    assert deployment.trial(key, 1).attempt == 3


def test_one_that_waits_is_cancelled_when_its_job_is(
    deployment: Deployment, folder: Path, in_background: Start
) -> None:
    key, _ = wait_for_the_node(deployment, folder, in_background)
    cancel(deployment.store, key)
    assert deployment.finish(key).counts == {TrialState.CANCELLED: 2}


def test_whoever_takes_it_over_runs_it_alone_as_well(
    deployment: Deployment, key: JobKey, service_clock: LeapingClock
) -> None:
    def claimed(worker: str) -> Claim:
        found = claim(deployment.store, key, 0, {}, worker=worker, claim_timeout_s=5.0, max_lost_workers=3)
        assert isinstance(found, Claim)
        return found

    claimed("first").end(TrialReason.RETRYING, "retried alone on its node", runs_alone=True)
    assert claimed("second").record.runs_alone
    service_clock.leap(10)  # the second was lost
    third = claimed("third")
    assert (third.record.attempt, third.record.num_lost, third.record.runs_alone) == (3, 1, True)
