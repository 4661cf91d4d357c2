"""The live view tells what happens, on a terminal and elsewhere, and shows users' words as they stand."""

import io
import re
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from dropsweep import live
from dropsweep.client import Client
from dropsweep.client.lookup import JobRef
from dropsweep.errors import NotFoundError, Problem, StorageUnavailable
from dropsweep.records import Best, JobRecord
from dropsweep.states import JobReason, JobState, TrialReason, TrialState
from dropsweep.storage import Store
from tests.emulator.client.conftest import World

BOTH_WAYS = True


def console(*, is_terminal: bool, width: int = 160) -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    made = Console(
        file=out, force_terminal=is_terminal, width=width, height=40, highlight=False, _environ={"TERM": "xterm"}
    )
    return made, out


def wait_for(out: io.StringIO, text: str) -> None:
    deadline = time.monotonic() + 60
    while text not in out.getvalue():
        assert time.monotonic() < deadline, out.getvalue()
        time.sleep(0.02)


def run_a_sweep(world: World, out: io.StringIO, running: str) -> None:
    """Lets a sweep of two trials happen, each step once the one before is on the screen (`running`: a trial is)."""
    wait_for(out, "waiting for its file")
    record = world.job(num_trials=2, next_trial=2)
    world.trial(0, TrialReason.CLAIMED, 0.25, step=3)
    wait_for(out, running)
    world.trial(0, metric=0.75)
    world.trial(1, TrialReason.EXIT_CODE, message="exit code 1: [red]boom[/red]\x1b[2J")
    counts = {TrialState.COMPLETED: 1, TrialState.FAILED: 1}
    world.finish(record, counts=counts, closed_counts=counts, closed_below=1, best=Best(0, 0.75), message="1 completed")


def watch(world: World, *, is_terminal: bool) -> tuple[JobRecord, str]:
    screen, out = console(is_terminal=is_terminal)
    running = "lr=0.01 optimizer=adam" if is_terminal else "trial 0 running"
    happens = threading.Thread(target=run_a_sweep, args=(world, out, running))
    happens.start()
    try:
        record = live.watch(world.client, world.key(), screen, interval_s=0.02, appear_s=30)
    finally:
        happens.join()
    return record, out.getvalue()


def test_off_a_terminal_there_is_one_plain_line_for_each_change(world: World) -> None:
    record, text = watch(world, is_terminal=False)
    path = world.key().path
    assert record.state is JobState.COMPLETED
    lines = text.splitlines()
    assert lines[:3] == [f"{path}: waiting for its file to be taken up", f"{path}  running", "trial 0 running"]
    # How many trials have ended by then depends on which look saw it.
    assert {re.sub(r"  \[[12]/2\]$", "", line) for line in lines[3:]} == {
        "trial 0 completed, accuracy 0.75",
        "trial 1 failed: exit code 1: [red]boom[/red]\\x1b[2J",
        f"{path}  completed  1 completed",
    }


def test_on_a_terminal_there_is_a_bar_and_a_table_of_running_trials(world: World) -> None:
    record, text = watch(world, is_terminal=True)
    assert record.state is JobState.COMPLETED
    for part in ("━━", "0/2 trials, 1 running", "lr=0.01 optimizer=adam", "accuracy", "0.25"):
        assert part in text
    assert "\x1b[2J" not in text


def test_a_job_that_never_appears_is_told(world: World) -> None:
    for is_terminal in (True, False):
        screen, _ = console(is_terminal=is_terminal)
        with pytest.raises(NotFoundError, match="no such job"):
            live.watch(world.client, world.key("never"), screen, appear_s=0.05, interval_s=0.02)


def test_the_summary_names_leaders_failures_the_best_trial_and_every_place(world: World, sweep: JobRecord) -> None:
    screen, out = console(is_terminal=False)
    live.summary(world.client, sweep.key, screen)
    text = out.getvalue()
    rows = [line.split()[:3] for line in text.splitlines() if line.strip()[:1].isdigit()]
    assert rows == [["1", "1", "0.97"], ["2", "3", "0.97"], ["3", "0", "0.9"]]
    assert "trial 2 failed: exit code 3: [bold]no space[/bold]" in text
    assert f"runs/{sweep.key.checkpoints(1)}" in text
    assert f"runs/{sweep.key.stdout(1, 2)}" in text
    assert f"runs/{sweep.key.report}" in text
    assert f"dropsweep download {sweep.key.path} --best" in text


def test_the_summary_beside_a_copy_names_the_files_in_it_and_nothing_that_needs_the_account(
    world: World, sweep: JobRecord, tmp_path: Path
) -> None:
    world.file(sweep.key.report, "<html>")
    world.file(sweep.key.stdout(1, 2), "hello")
    folder = world.client.download(sweep.key, tmp_path, trial=1).folder
    screen, out = console(is_terminal=False)
    live.summary(world.client, sweep.key, screen, copy=folder)
    text = out.getvalue()
    assert "runs/" not in text
    assert "dropsweep" not in text
    places = {line.split()[0]: Path(line.split()[-1]) for line in text.splitlines() if f"  {folder}/" in line}
    assert set(places) == {"stdout", "report", "copied"}  # what the trial did not write is in no copy
    assert places["copied"] == folder
    assert places["report"].read_text() == "<html>"
    assert places["stdout"].read_text() == "hello"


def test_the_summary_of_a_rejected_job_lists_every_problem_once(world: World) -> None:
    record = world.job(
        kind="unknown", reason=JobReason.SPEC_INVALID, num_trials=0, next_trial=0, goal=None, message="a is [b]: it mu"
    )
    problems = [Problem("a", "[b]", "it must be so", "Do so"), Problem("c", "", "it must be", "Do it")]
    world.file(record.key.error, {"problems": [problem.to_json() for problem in problems]})
    screen, out = console(is_terminal=False)
    assert live.watch(world.client, record.key, screen) == record
    live.summary(world.client, record.key, screen)
    assert out.getvalue().count("a is [b]") == 1
    assert "error: a is [b]: it must be so. Do so." in out.getvalue()
    assert "error: c: it must be. Do it." in out.getvalue()


def test_the_table_of_running_trials_fits_80_columns_with_every_number_whole(world: World) -> None:
    name = "validation_accuracy"
    record = world.job(primary_metric=name, num_trials=2**20, next_trial=1)
    world.trial(0, TrialReason.CLAIMED, 0.123456789, step=1234567, attempt=12, key=record.key)
    progress = world.client.progress(record.key)
    screen, out = console(is_terminal=False, width=80)
    screen.print(live.running_trials(progress, {0: "optimizer=adam lr=0.0123 " * 9}, 20))
    head, row = out.getvalue().splitlines()
    assert head.split() == ["trial", "attempt", "step", name, "running", "for", "parameters"]
    cells = [live.figure(number) for number in (0, 12, 1234567, 0.123456789)]
    assert row.split()[:4] == cells
    assert "  optimizer=adam" in row
    assert row.endswith("…")
    assert len(row.rstrip()) <= 80


def test_trials_that_were_cancelled_before_they_began_are_one_line(world: World) -> None:
    record = world.job(reason=JobReason.CANCEL_REQUESTED)
    for trial in range(3):
        world.trial(trial, TrialReason.JOB_CANCELLED, attempt=0, message="the job was cancelled before")
    world.trial(3, TrialReason.JOB_CANCELLED, message="its job was cancelled")
    screen, out = console(is_terminal=False)

    def end() -> None:
        wait_for(out, "cancelled before starting")
        world.finish(record, JobReason.CANCELLED_BY_REQUEST)

    ending = threading.Thread(target=end)
    ending.start()
    live.watch(world.client, record.key, screen, interval_s=0.02)
    ending.join()
    path = record.key.path
    assert out.getvalue().splitlines() == [
        f"{path}  cancelling",
        "trial 3 cancelled: its job was cancelled  [4/4]",
        "3 trials cancelled before starting  [4/4]",
        f"{path}  cancelled",
    ]


class Unanswered(Client):
    """The same account, of which a trial's record cannot be read once."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.num_failures = 0

    def parameters(self, job: JobRef, trial: int) -> dict[str, Any]:
        if self.num_failures == 0:
            self.num_failures += 1
            raise StorageUnavailable("no answer")
        return super().parameters(job, trial)


def test_a_trial_whose_parameters_cannot_be_read_just_now_does_not_end_the_watch(world: World) -> None:
    client = Unanswered(world.store)
    record, text = watch(World(client, world.store, world.workspace), is_terminal=True)
    assert record.state is JobState.COMPLETED
    assert client.num_failures == 1
    assert "0/2 trials, 1 running" in text


def test_a_sweep_with_more_running_trials_than_lines_shows_some_and_counts_the_rest(world: World) -> None:
    record = world.job(num_trials=60, next_trial=60)
    for trial in range(30):
        world.trial(trial, TrialReason.CLAIMED, key=record.key)
    progress = world.client.progress(record.key)
    screen, out = console(is_terminal=False)
    screen.print(live._view(progress, {}, 20))
    assert "and 10 more" in out.getvalue()
    assert "0/60 trials, 30 running" in out.getvalue()
