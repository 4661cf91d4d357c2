"""Jobs that are paused, resumed and retried, as those see them who watch and wait."""

import io
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from dropsweep import live
from dropsweep.client import Client
from dropsweep.records import JobRecord
from dropsweep.states import JobReason, JobState, TrialReason, TrialState
from dropsweep_trainer.worker.worker import Worker
from tests.emulator.client.conftest import World
from tests.emulator.deployment import REPORT_X, Deployment, sweep, until

BOTH_WAYS = True

Start = Callable[[Worker], threading.Thread]
FAILS_ONCE = 'test -e "$FLAG" && ' + REPORT_X + ' || { touch "$FLAG"; exit 3; }'


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_paused_job_is_watched_on_until_somebody_resumes_it(world: World, is_terminal: bool) -> None:
    record = world.job(num_trials=1, next_trial=1)
    world.trial(0, TrialReason.PAUSED, message="paused by request")
    world.client.pause(record.key)
    out = io.StringIO()
    screen = Console(
        file=out, force_terminal=is_terminal, width=160, height=40, highlight=False, _environ={"TERM": "xterm"}
    )
    ended: list[JobRecord] = []
    watching = threading.Thread(
        target=lambda: ended.append(live.watch(world.client, record.key, screen, interval_s=0.02))
    )
    watching.start()
    wait_for(out, f"dropsweep resume {record.key.path}")
    wait_for(out, "1 paused" if is_terminal else "trial 0 paused: paused by request")
    assert watching.is_alive()
    world.client.resume(record.key)
    wait_for(out, "running")
    world.client.pause(record.key)
    if not is_terminal:
        wait_for(out, f"{record.key.path}  paused  paused by request\n", num=2)
    running = world.client.resume(record.key)
    counts = {TrialState.COMPLETED: 1}
    world.finish(running, counts=counts, closed_counts=counts, closed_below=1, message="1 completed")
    watching.join(60)
    assert [record.state for record in ended] == [JobState.COMPLETED]


def wait_for(out: io.StringIO, text: str, num: int = 1) -> None:
    deadline = time.monotonic() + 60
    while out.getvalue().count(text) < num:
        assert time.monotonic() < deadline, out.getvalue()
        time.sleep(0.02)


def test_a_trial_that_waits_for_a_retry_or_was_queued_anew_is_told_so(world: World) -> None:
    record = world.job()
    world.trial(0, TrialReason.RETRYING, message="exit code 3; retry 1 of 2 follows")
    world.trial(1, TrialReason.RETRY_REQUESTED)
    world.trial(2, TrialReason.PAUSED)
    progress = world.client.progress(record.key)
    assert live.progress_line(progress).startswith("0/4 trials, 1 paused, 1 waiting for a retry, ")
    assert [live._told(progress, trial) for trial in progress.trials] == [
        "trial 0 queued: exit code 3; retry 1 of 2 follows",
        "trial 1 queued: retry requested",
        "trial 2 paused: paused",
    ]


def test_waiting_longer_than_allowed_for_a_paused_job_names_the_way_on(world: World) -> None:
    record = world.job(reason=JobReason.PAUSE_REQUESTED)
    with pytest.raises(TimeoutError, match=r"paused after 0\.05 s\. Wait longer, or resume it"):
        world.client.wait(record.key, timeout_s=0.05)


def test_a_failed_sweep_that_is_retried_runs_again_to_a_better_end(
    client: Client, deployment: Deployment, tmp_path: Path
) -> None:
    environment = {"FLAG": str(tmp_path / "flag")}
    document = sweep(FAILS_ONCE, 1)
    document["trial"]["environment_variables"] = environment
    key = deployment.drop(document)
    assert deployment.run(key).state is JobState.FAILED
    client.retry(key)
    ended: list[JobRecord] = []
    watching = threading.Thread(target=lambda: ended.append(client.wait(key, 60)))
    watching.start()
    assert deployment.run(key).state is JobState.COMPLETED
    watching.join(60)
    assert [record.reason for record in ended] == [JobReason.TRIALS_COMPLETED]
    best = client.best(key)
    assert best is not None
    assert (best.trial, best.attempt) == (0, 2)
    assert client.trial(key, 0).num_retries == 0


def test_a_running_job_that_is_paused_gives_its_worker_back_and_goes_on_when_resumed(
    client: Client, deployment: Deployment, in_background: Start
) -> None:
    key = deployment.drop(sweep(f"[ $DROPSWEEP_ATTEMPT -gt 1 ] || sleep 600; {REPORT_X}", 1))
    deployment.look(key)
    in_background(deployment.worker(idle_s=None))
    until(lambda: len(client.running_trials(key)) == 1)
    client.pause(key)
    until(lambda: deployment.look(key).counts.get(TrialState.PAUSED) == 1)
    assert not client.running_trials(key)
    with pytest.raises(TimeoutError):
        client.wait(key, timeout_s=1.0)
    client.resume(key)
    until(lambda: deployment.look(key).state.is_final)
    assert client.trial(key, 0).attempt == 2
    assert client.record(key).state is JobState.COMPLETED
