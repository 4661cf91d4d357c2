"""A job whose worker has gone silent, or whose trials wait for another attempt, as `show` and `watch` tell of it."""

import json
import threading
import time
from dataclasses import replace

import pytest

from dropsweep import live
from dropsweep.client.progress import SILENT_S
from dropsweep.names import RUNS
from dropsweep.states import JobReason, TrialReason
from dropsweep.storage import Blob, Blobs
from tests.emulator.client.conftest import Run, World
from tests.emulator.leaping import LeapingClock

BOTH_WAYS = True

BEAT_S = 1.1
"""The service's times have whole seconds, and `watch` looks once a second."""


def test_trials_without_a_heartbeat_are_named_with_the_longest_silence(
    run: Run, world: World, service_clock: LeapingClock
) -> None:
    record = world.job()
    for trial in (0, 2):
        world.trial(trial, TrialReason.CLAIMED)
    world.trial(1, metric=0.5)
    service_clock.leap(SILENT_S + 60)
    world.trial(3, TrialReason.CLAIMED)
    shown = run("show", record.key.path).stdout
    [line] = [line for line in shown.splitlines() if "heartbeat" in line]
    assert "no heartbeat of trial 0, 2 for 6 min " in line
    assert "another trainer takes over by itself" in line
    assert "2 without a heartbeat" in live.progress_line(world.client.progress(record.key))


def test_a_job_whose_workers_beat_says_nothing_of_them(run: Run, world: World) -> None:
    record = world.job()
    world.trial(0, TrialReason.CLAIMED)
    assert "heartbeat" not in run("show", record.key.path).stdout
    assert "heartbeat" not in live.progress_line(world.client.progress(record.key))


def test_trials_that_wait_for_another_attempt_are_counted(run: Run, world: World) -> None:
    record = world.job()
    world.trial(0, TrialReason.RETRYING, message="exit code 1")
    assert "1 trial waiting for another attempt" in run("show", record.key.path).stdout


def test_a_heartbeat_alone_is_no_news_for_programs(run: Run, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    record = world.job(num_trials=1, next_trial=1)
    trial = world.trial(0, TrialReason.CLAIMED)
    has_looked = threading.Event()
    read_blob = Blobs.read

    def read(blobs: Blobs, container: str, name: str) -> Blob | None:
        found = read_blob(blobs, container, name)
        if name == record.key.record:
            has_looked.set()
        return found

    monkeypatch.setattr(Blobs, "read", read)

    def beat() -> None:
        assert has_looked.wait(60)
        for number in range(2):
            time.sleep(BEAT_S)
            head = world.store.blobs.head(RUNS, record.key.trial(0))
            assert head is not None
            metadata = replace(trial, ran_s=number + 1.0).to_metadata()
            assert world.store.blobs.touch(RUNS, record.key.trial(0), head.etag, metadata)
        time.sleep(BEAT_S)
        world.finish(record, JobReason.TRIALS_COMPLETED)

    worker = threading.Thread(target=beat)
    worker.start()
    lines = [json.loads(line) for line in run("watch", record.key.path, "--json").stdout.splitlines()]
    worker.join()
    assert [line["state"] for line in lines] == ["running", "completed"]
    assert lines[0]["running"][0]["modified"]
