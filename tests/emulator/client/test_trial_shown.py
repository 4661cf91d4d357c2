"""How long a trial ran, which were tried again, and which checkpoints a trial has, as commands and clients tell it."""

import csv
import io
import json
import re
from datetime import timedelta

import pytest

from dropsweep import live
from dropsweep.client.checkpoints import StoredCheckpoint
from dropsweep.client.progress import look
from dropsweep.errors import NotFoundError
from dropsweep.manifests import Manifest, StoredFile, label_of
from dropsweep.names import RUNS
from dropsweep.records import JobRecord, Retried
from dropsweep.states import TrialReason, TrialState
from dropsweep.steps.report import write_report
from tests.emulator.client.conftest import BEGAN, Run, World
from tests.emulator.client.test_job_handle import spec
from tests.emulator.leaping import LeapingClock

BOTH_WAYS = True

FILES = (StoredFile("model.bin", 3_000, "0" * 64), StoredFile("state/optimizer.bin", 96, "1" * 64, "0001-000001-a/x"))


def checkpoint(world: World, record: JobRecord, name: str, *, attempt: int = 1, number: int = 1) -> str:
    label = label_of(attempt, number, name)
    world.file(record.key.manifest(0, label), Manifest(name, attempt, {}, FILES).to_json())
    world.file(f"{record.key.checkpoint(0, label)}model.bin", b"x" * 3_000)
    return label


def test_a_short_trial_is_told_to_the_hundredth_and_the_tenth_of_a_second(run: Run, world: World) -> None:
    record = world.job(counts={TrialState.COMPLETED: 4}, closed_below=1)
    for trial, ran_s in enumerate((0.417, 3.25, 12.4, 0.0)):
        world.trial(trial, metric=0.9 - trial / 10, ran_s=ran_s)
    world.finish(record)
    shown = run("show", record.key.path).stdout
    assert re.findall(r"^ *\d +(\d) +0\.\d+ +(\S+) s ", shown, re.MULTILINE) == [
        *(("0", "0.42"), ("1", "3.2"), ("2", "12"), ("3", "8.0")),
    ]
    assert re.search(r"^finished .*, after 3\.2 s$", run("show", record.key.path, 1).stdout.rstrip(), re.MULTILINE)
    again = world.trial(1, metric=0.8, attempt=3, ran_s=70.0)
    assert "; its 3 attempts took 1 min 10 s" in run("show", record.key.path, 1).stdout
    world.trial(1, metric=0.8, ran_s=3.25)
    assert again.duration_s == 70.0
    assert [trial.duration_s for trial in world.client.trials(record.key)] == [0.417, 3.25, 12.4, 8.0]
    assert json.loads(run("show", record.key.path, 1, "--json").stdout)["trial"]["ran_s"] == 3.25


def test_results_csv_has_the_seconds_with_their_fraction(world: World, connection_string: str) -> None:
    record = world.job(num_trials=2, next_trial=2, closed_below=1)
    world.file(record.key.spec, spec().to_json())
    for trial, ran_s in enumerate((0.417, 0.0)):
        world.trial(trial, metric=0.9, ran_s=ran_s)
    write_report(world.store, record, {})
    blob = world.store.blobs.read(RUNS, record.key.results)
    assert blob is not None
    rows = csv.DictReader(io.StringIO(blob.body.decode()))
    assert [float(row["duration_s"]) for row in rows] == [0.417, 8.0]


def test_a_running_trial_of_a_second_attempt_does_not_count_the_time_in_which_nobody_held_it(
    world: World, service_clock: LeapingClock
) -> None:
    record = world.job()
    world.trial(0, TrialReason.CLAIMED, attempt=2, started=BEGAN - timedelta(days=100), ran_s=30.0)
    service_clock.leap(60.0)
    progress = world.client.progress(record.key)
    ran_s = progress.running[0].running_s(progress.served)
    assert ran_s is not None
    assert 90.0 <= ran_s < 3600.0
    assert live.running_trials(progress, {}, 1).row_count == 1


def test_trials_that_were_tried_again_are_told_where_there_are_any(run: Run, world: World) -> None:
    plain = world.job(world.key("plain-0"))
    assert "retried" not in run("list", "-w", world.workspace).stdout
    assert "retried" not in run("show", plain.key.path).stdout
    record = world.job(world.key("again-0"), retried=Retried(2, 1))
    world.trial(0, TrialReason.RETRYING, key=record.key, num_retries=1)
    world.trial(1, metric=0.5, key=record.key, runs_alone=True)
    world.trial(2, metric=0.5, key=record.key, num_retries=3)
    head, *lines = run("list", "-w", world.workspace).stdout.splitlines()
    assert head.split()[-1] == "retried"
    told = {line.split()[0]: line.rstrip().partition(" UTC")[2].strip() for line in lines}
    assert told == {plain.key.path: "", record.key.path: "2 (1 alone)"}
    shown = run("show", record.key.path).stdout
    assert "3 trials tried again after a failed attempt, 1 of them alone on a node for want of memory" in shown
    jobs = json.loads(run("list", "-w", world.workspace, "--json").stdout)["jobs"]
    assert {job["job"]: job["retried"]["num_trials"] for job in jobs} == {plain.key.path: 0, record.key.path: 2}


def test_what_was_tried_again_in_closed_shards_counts_once(world: World) -> None:
    record = world.job(num_trials=1_001, next_trial=1_001, closed_below=1, closed_retried=Retried(7, 2))
    world.trial(5, metric=0.5, num_retries=1)
    world.trial(1_000, TrialReason.RETRYING, num_retries=1)
    assert world.client.progress(record.key).retried == Retried(8, 2)
    again = look(world.store, record.key, (0,))  # as a watcher does that saw the shard open
    assert again is not None
    assert again.retried == Retried(8, 2)
    ended = world.finish(record, retried=Retried(8, 2))
    assert world.client.progress(ended.key).retried == Retried(8, 2)


def test_checkpoints_are_shown_with_the_one_that_the_next_attempt_goes_on_from(run: Run, world: World) -> None:
    record = world.job()
    world.trial(0, TrialReason.CLAIMED, attempt=2)
    old = checkpoint(world, record, "step-000004")
    new = checkpoint(world, record, "best of all", attempt=2)
    world.file(f"{record.key.checkpoint(0, label_of(2, 2, 'torn'))}model.bin", b"half")  # no manifest: it is not whole
    first, last = world.client.checkpoints(record.key, 0)
    assert (first.label, first.name, first.attempt, first.step, first.is_next) == (old, "step-000004", 1, 4, False)
    assert (last.label, last.name, last.attempt, last.step, last.is_next) == (new, "best of all", 2, None, True)
    assert (last.num_files, last.size_bytes, last.problem) == (2, 3_096, "")
    assert [StoredCheckpoint.from_json(one.to_json()) for one in (first, last)] == [first, last]
    assert world.client.job(record.key).checkpoints(0) == [first, last]
    lines = [line.split() for line in run("show", record.key.path, 0).stdout.splitlines() if " KiB " in line]
    assert [line[:5] for line in lines] == [[old, "4", "3.0", "KiB", "2"], [new, "–", "3.0", "KiB", "2"]]
    assert " ".join(lines[1][8:]) == "the next attempt resumes from it"
    told = json.loads(run("show", record.key.path, 0, "--json").stdout)["checkpoints"]
    assert [one["label"] for one in told if one["is_next"]] == [new]


@pytest.mark.parametrize(
    ("reason", "words"),
    [(TrialReason.SUCCEEDED, "the last one"), (TrialReason.EXIT_CODE, "a retry would resume from it")],
)
def test_of_a_trial_that_has_ended_no_attempt_is_promised(
    run: Run, world: World, reason: TrialReason, words: str
) -> None:
    record = world.job()
    world.trial(0, reason, 0.5)
    assert "checkpoint" not in run("show", record.key.path, 0).stdout
    checkpoint(world, record, "a")
    assert words in run("show", record.key.path, 0).stdout


def test_a_checkpoint_with_an_unreadable_manifest_is_told_and_the_one_before_it_is_next(run: Run, world: World) -> None:
    record = world.job()
    world.trial(0, TrialReason.PREEMPTED)
    good = checkpoint(world, record, "a")
    world.file(record.key.manifest(0, label_of(1, 2, "b")), b"{}")
    assert [(one.label, one.is_next) for one in world.client.checkpoints(record.key, 0)] == [
        (good, True),
        (label_of(1, 2, "b"), False),
    ]
    assert "unreadable, so nothing resumes from it" in " ".join(run("show", record.key.path, 0).stdout.split())


def test_checkpoints_of_a_trial_that_has_not_begun_are_not_found(world: World) -> None:
    record = world.job()
    for trial, told in ((3, "has not begun"), (4, "has no trial 4")):
        with pytest.raises(NotFoundError, match=told):
            world.client.checkpoints(record.key, trial)
