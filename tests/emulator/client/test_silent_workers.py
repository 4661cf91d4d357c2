"""A job whose worker has gone silent, or whose trials wait for another attempt, as `show` and `watch` tell of it."""

import json
import threading
import time

import pytest

from dropsweep import live
from dropsweep.client import progress as progress_module
from dropsweep.names import RUNS
from dropsweep.states import JobReason, TrialReason
from tests.emulator.client.conftest import Run, World

BOTH_WAYS = True

BEAT_S = 1.1
"""The service's times have whole seconds."""


@pytest.fixture(autouse=True)
def quick_to_judge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_module, "SILENT_S", 0.5)


def test_trials_without_a_heartbeat_are_named_with_the_longest_silence(
    run: Run, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Between the two lie the whole seconds of the service's times, and a slow machine.
    monkeypatch.setattr(progress_module, "SILENT_S", 3.0)
    record = world.job()
    for trial in (0, 2):
        world.trial(trial, TrialReason.CLAIMED)
    world.trial(1, metric=0.5)
    time.sleep(4 * BEAT_S)
    world.trial(3, TrialReason.CLAIMED)
    shown = run("show", record.key.path).stdout
    [line] = [line for line in shown.splitlines() if "heartbeat" in line]
    assert "no heartbeat of trial 0, 2 for " in line
    assert "another trainer takes over by itself" in line
    assert "2 without a heartbeat" in live.progress_line(world.client.progress(record.key))


def test_a_job_whose_workers_beat_says_nothing_of_them(run: Run, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_module, "SILENT_S", 3.0)  # a heartbeat of this moment may look a second old
    record = world.job()
    world.trial(0, TrialReason.CLAIMED)
    assert "heartbeat" not in run("show", record.key.path).stdout
    assert "heartbeat" not in live.progress_line(world.client.progress(record.key))


def test_trials_that_wait_for_another_attempt_are_counted(run: Run, world: World) -> None:
    record = world.job()
    world.trial(0, TrialReason.RETRYING, message="exit code 1")
    assert "1 trial waiting for another attempt" in run("show", record.key.path).stdout


def test_a_heartbeat_alone_is_no_news_for_programs(run: Run, world: World) -> None:
    record = world.job(num_trials=1, next_trial=1)
    trial = world.trial(0, TrialReason.CLAIMED)

    def beat() -> None:
        for _ in range(2):
            time.sleep(BEAT_S)
            head = world.store.blobs.head(RUNS, record.key.trial(0))
            assert head is not None
            assert world.store.blobs.touch(RUNS, record.key.trial(0), head.etag, trial.to_metadata())
        time.sleep(BEAT_S)
        world.finish(record, JobReason.TRIALS_COMPLETED)

    worker = threading.Thread(target=beat)
    worker.start()
    lines = [json.loads(line) for line in run("watch", record.key.path, "--json").stdout.splitlines()]
    worker.join()
    assert [line["state"] for line in lines] == ["running", "completed"]
    assert lines[0]["running"][0]["modified"]
