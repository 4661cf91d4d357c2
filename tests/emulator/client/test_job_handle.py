"""A handle asks, changes and draws one job, and keeps nothing of its own."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from dropsweep.client import Client, Job
from dropsweep.clusters import Cluster
from dropsweep.errors import NotFoundError
from dropsweep.names import RUNS
from dropsweep.records import JobRecord
from dropsweep.spec import JobSpec, read_job
from dropsweep.states import JobReason, JobState, TrialReason, TrialState
from tests.emulator.client.conftest import BEGAN, World

SWEEP = """\
type: sweep
trial: {command: "python train.py ${{search_space.lr}}"}
search_space: {lr: {type: choice, values: [0.1, 0.2, 0.3, 0.4]}}
sampling_algorithm: grid
objective: {goal: maximize, primary_metric: accuracy}
limits: {max_total_trials: 4}
compute: azureml:local
"""


def spec() -> JobSpec:
    found = read_job(
        SWEEP.encode(), file_name="digits.yaml", clusters=[Cluster("local")], seed=1, experiment="default"
    ).spec
    assert found is not None
    return found


@pytest.fixture
def job(world: World, sweep: JobRecord) -> Job:
    """A handle of the completed sweep, with its spec and the learning curve of trial 1, which needed two attempts."""
    world.file(sweep.key.spec, spec().to_json())
    lines = [[(1, 0.5), (2, 0.6), (3, 0.7)], [(3, 0.8), (4, 0.97)]]
    for attempt, points in enumerate(lines, 1):
        text = "".join(json.dumps({"step": step, "accuracy": value}) + "\n" for step, value in points)
        world.file(sweep.key.metrics(1, attempt), text)
    return world.client.job(sweep.key)


def test_a_handle_is_had_by_any_name_and_names_the_job_itself(world: World, job: Job) -> None:
    assert world.client.job(job.path) == job
    assert world.client.job(job) == job
    assert {job: 1}[world.client.job(job.key)] == 1
    assert (str(job), job.id, repr(job)) == (job.key.path, job.key.job, f"Job('{job.key.path}')")
    assert world.client.record(job) == job.record
    with pytest.raises(NotFoundError):
        world.client.job(f"{world.workspace}/default/none-0123456789")


def test_a_handle_tells_of_the_job_as_it_is_now(world: World) -> None:
    record = world.job()
    job = world.client.job(record.key)
    assert job.state is JobState.RUNNING
    world.finish(record, counts={TrialState.COMPLETED: 4})
    assert job.state is JobState.COMPLETED
    assert job.wait(timeout_s=60) is job


def test_waiting_ends_with_the_job_however_it_ended_or_with_the_time(world: World) -> None:
    record = world.job()
    job = world.client.job(record.key)
    with pytest.raises(TimeoutError, match="after 0 s"):
        job.wait(timeout_s=0)
    world.finish(record, JobReason.NO_TRIAL_COMPLETED)
    assert job.wait().state is JobState.FAILED


def test_going_through_a_job_gives_each_trial_with_its_parameters(job: Job) -> None:
    trials = list(job)
    assert [trial.trial for trial in trials] == [0, 1, 2, 3]
    assert [trial.state for trial in trials] == ["completed", "completed", "failed", "completed"]
    assert [trial.parameters["lr"] for trial in trials] == [spec().parameters(k)["lr"] for k in range(4)]
    assert trials[1].metrics == {"accuracy": 0.97}
    assert trials[2].message.startswith("exit code 3")
    assert trials == job.trials()


def test_metrics_that_do_not_fit_into_a_list_are_read_from_the_record(world: World, job: Job) -> None:
    many = {f"metric-{number:04}": float(number) for number in range(300)}
    world.trial(0, metric=0.9, metrics={"accuracy": 0.9, **many})
    [first, *_] = world.client.trials(job)
    assert first.metrics == {}
    assert next(iter(job)).metrics == {"accuracy": 0.9, **many}


def test_the_best_the_leaderboard_and_the_curves_are_those_of_the_client(world: World, job: Job) -> None:
    best = job.best()
    assert best is not None
    assert best.trial == 1
    assert [record.trial for record in job.leaderboard(2)] == [1, 3]
    assert [(point.step, point.values["accuracy"]) for point in job.metrics(1)] == [
        (1, 0.5), (2, 0.6), (3, 0.8), (4, 0.97),
    ]  # fmt: skip
    assert job.trial(2).exit_code == 3
    assert job.spec == spec()
    assert job.progress().num_failed == 1
    assert job.problems == ()


def test_results_and_tables_have_a_row_a_trial(job: Job) -> None:
    pytest.importorskip("pandas")
    rows = job.results()
    assert [row["trial"] for row in rows] == [0, 1, 2, 3]
    assert rows[0]["started"] == BEGAN
    table = job.to_pandas()
    assert table.loc[1, "metric.accuracy"] == 0.97
    assert table["param.lr"].tolist() == [row["param.lr"] for row in rows]
    assert list(job.to_pandas(trials=[3, 1]).index) == [1, 3]
    curves = job.to_pandas(curves=True)
    assert curves[curves.trial == 1]["value"].tolist() == [0.5, 0.6, 0.8, 0.97]
    assert job.to_pandas(curves=True, trials=[0]).empty


def test_a_handle_changes_its_job(world: World) -> None:
    job = world.client.job(world.job().key)
    assert job.pause().state is JobState.PAUSED
    assert job.resume().state is JobState.RUNNING
    assert job.edit(max_concurrent_trials=2).window == 2
    assert job.cancel(3).requests == {3: "cancel"}
    assert job.cancel().state is JobState.CANCELLING


def test_failed_trials_are_retried_through_the_handle(job: Job) -> None:
    assert job.retry(2).state is JobState.RUNNING


def test_logs_and_files_come_through_the_handle(world: World, job: Job, tmp_path: Path) -> None:
    world.file(job.key.stdout(1, 2), "hello\n")
    assert b"".join(job.logs(1)) == b"hello\n"
    done = job.download(tmp_path / "home", trial=1)
    assert (done.folder / "trials/0000001/attempts/2/stdout.txt").read_text() == "hello\n"
    assert (tmp_path / "home" / "job.json").exists()


def test_a_picture_has_the_state_the_best_trial_the_leaderboard_and_the_curves(job: Job) -> None:
    picture = job._repr_html_()
    for part in (
        "highest accuracy",
        "0.97",
        "3 completed",
        "1 failed",
        "Learning curves",
        "Best so far",
        "Leaderboard",
    ):
        assert part in picture
    assert "exit code 3: [bold]no space[/bold]" in picture
    assert picture.count("<svg") == 3


def test_the_picture_of_a_running_job_counts_what_is_to_come(world: World) -> None:
    record = world.job(num_trials=9, next_trial=2)
    world.trial(0, metric=0.9)
    world.trial(1, TrialReason.CLAIMED)
    picture = world.client.job(record.key)._repr_html_()
    assert "7 to come" in picture
    assert "1 running" in picture


def test_the_picture_of_a_rejected_job_tells_each_problem(world: World) -> None:
    record = world.job()
    world.write(replace(record, reason=JobReason.SPEC_INVALID, finished=BEGAN))
    problem = {
        "path": "limits.timeout",
        "value": "-1",
        "rule": "must be <b>",
        "remedy": "Raise it",
        "severity": "error",
    }
    world.file(record.key.error, {"problems": [problem]})
    picture = world.client.job(record.key)._repr_html_()
    assert "limits.timeout is -1: must be &lt;b&gt;. Raise it." in picture


def test_a_job_that_is_gone_is_drawn_as_a_sentence(world: World) -> None:
    assert "there is no such job" in Job(world.client, world.key("gone-0123456789"))._repr_html_()


def test_a_best_trial_and_a_list_of_jobs_are_drawn_too(world: World, job: Job) -> None:
    best = job.best()
    assert best is not None
    assert "highest accuracy" in best._repr_html_()
    jobs = world.client.jobs(world.workspace)
    assert job.path in jobs._repr_html_()  # type: ignore[attr-defined]


def test_watching_outside_a_notebook_writes_a_line_for_each_change(
    world: World, job: Job, capsys: pytest.CaptureFixture[str]
) -> None:
    assert job.watch(timeout_s=60) is job
    line = r"\S+  completed  4 of 4 trials ended, best 0\.97 \(trial 1\)\n"
    assert re.fullmatch(line, capsys.readouterr().out)


def test_a_job_is_submitted_from_a_mapping_and_with_values_over_the_file_s(world: World, tmp_path: Path) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text(f"# kept\n{SWEEP}")
    client: Client = world.client
    job = client.submit(file, workspace=world.workspace, overrides={"limits.max_total_trials": 2})
    assert isinstance(job, Job)
    dropped = world.store.blobs.read("jobs", f"{world.workspace}/default/sweep.yaml")
    assert dropped is not None
    assert dropped.body.decode() == file.read_text().replace("max_total_trials: 4", "max_total_trials: 2")
    other = client.submit({"type": "command", "name": "hello", "command": "true"}, workspace=world.workspace)
    assert other.id.startswith("hello-")
    assert world.store.blobs.read("jobs", f"{world.workspace}/default/job.json") is not None
    assert world.store.blobs.read(RUNS, other.key.record) is None
