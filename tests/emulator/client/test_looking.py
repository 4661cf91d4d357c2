"""What the client says of jobs and trials agrees with the records."""

import threading
import uuid

import pytest

from dropsweep.client import Client, Match
from dropsweep.documents import of_best_trial
from dropsweep.errors import DropsweepError, NotFoundError, Problem, Severity
from dropsweep.metrics import Point
from dropsweep.names import RUNS, JobKey
from dropsweep.records import Best, JobRecord
from dropsweep.states import JobReason, JobState, TrialReason, TrialState
from tests.emulator.client.conftest import BEGAN, World

BOTH_WAYS = True


def test_a_record_is_returned_as_it_was_written(world: World, sweep: JobRecord) -> None:
    assert world.client.record(sweep.key) == sweep
    assert world.client.trial(sweep.key, 1).parameters == {"lr": 0.02, "optimizer": "adam"}
    assert world.client.parameters(sweep.key, 0) == {"lr": 0.01, "optimizer": "adam"}


def test_jobs_are_listed_newest_first_and_by_workspace_and_experiment(world: World) -> None:

    old = world.job(world.key("a-old"), created=BEGAN.replace(hour=1))
    new = world.job(world.key("b-new"), created=BEGAN.replace(hour=3))
    other = world.job(world.key("c-mid", "other"), created=BEGAN.replace(hour=2))
    assert [job.key for job in world.client.jobs(world.workspace)] == [new.key, other.key, old.key]
    assert [job.key for job in world.client.jobs(world.workspace, "other")] == [other.key]
    assert other.key in [job.key for job in world.client.jobs(experiment="other")]
    assert world.client.jobs("nothing-here") == []


def test_a_folder_without_a_record_is_no_job(world: World) -> None:
    world.file(f"{world.key('half').path}/spec.json", b"{}")
    assert world.client.jobs(world.workspace) == []


def test_a_job_is_found_by_its_path_its_id_and_the_beginning_of_either(world: World) -> None:
    mark = uuid.uuid4().hex[:8]
    key = world.key(f"{mark}-abc", "exp")
    world.job(key)
    whole = (key.path, f"runs/{key.path}/", key.job, f"exp/{key.job}")
    for text in (*whole, mark, f"exp/{mark}", f"{world.workspace}/exp/{mark}", f"{world.workspace}/exp/{mark}-a"):
        assert world.client.resolve(text) == key
    assert world.client.resolve(key) is key


def test_a_beginning_that_fits_two_jobs_is_refused_with_both_names(world: World) -> None:
    mark = uuid.uuid4().hex[:8]
    keys = [world.key(f"{mark}-a"), world.key(f"{mark}-ab")]
    for key in keys:
        world.job(key)
    with pytest.raises(DropsweepError, match="fits 2 jobs") as told:
        world.client.resolve(mark)
    assert all(key.path in str(told.value) for key in keys)
    assert world.client.resolve(f"{mark}-a") == keys[0]  # a whole id wins over a longer one that begins with it


def test_a_name_that_several_jobs_have_means_the_newest_to_those_who_only_look(world: World) -> None:
    name = f"n{uuid.uuid4().hex[:8]}"
    new, old = world.key(f"{name}-0000000000"), world.key(f"{name}-zzzzzzzzzz")
    world.job(old, created=BEGAN)
    world.job(world.key(f"{name}er-0000000000"), created=BEGAN.replace(hour=23))  # another name
    assert world.client.find(name) == Match(old)
    world.job(new, created=BEGAN.replace(hour=15))
    for text in (name, f"default/{name}", f"{world.workspace}/default/{name}"):
        assert world.client.find(text) == Match(new, 2)
        with pytest.raises(DropsweepError, match="fits 2 jobs") as told:
            world.client.resolve(text)
        assert old.path in str(told.value)
        with pytest.raises(DropsweepError, match="fits 3 jobs"):
            world.client.find(text[:-1])  # the beginning of an id is not a name


def test_a_whole_path_without_a_job_is_told_at_once_with_what_is_near(world: World) -> None:
    near = world.job(world.key("words-0123456789")).key
    for text in (f"{world.workspace}/default/words-0123456780", f"{world.workspace}/other/wrods"):
        with pytest.raises(NotFoundError, match=rf"no such job\. Near it: {near.path}"):
            world.client.find(text)


@pytest.mark.parametrize("text", ["", "../x", "a/../b", "a b", "a/b/c/d"])
def test_what_cannot_be_a_job_is_refused_before_anything_is_read(world: World, text: str) -> None:
    with pytest.raises(DropsweepError, match="names no job"):
        world.client.resolve(text)


def test_an_unknown_job_or_trial_is_told_as_such(world: World, sweep: JobRecord) -> None:
    with pytest.raises(NotFoundError, match=r"no such job\. Near it: "):
        world.client.resolve(f"no{uuid.uuid4().hex}")
    with pytest.raises(NotFoundError, match="no such job"):
        world.client.record(world.key("absent"))
    with pytest.raises(NotFoundError, match="has no trial 4"):
        world.client.trial(sweep.key, 4)
    with pytest.raises(NotFoundError, match="has no trial -1"):
        world.client.trial(sweep.key, -1)


def test_trials_are_listed_and_running_ones_only_in_open_shards(world: World) -> None:
    record = world.job(num_trials=3000, next_trial=2002, closed_below=1, closed_counts={TrialState.COMPLETED: 1000})
    for trial, reason in ((5, TrialReason.SUCCEEDED), (1000, TrialReason.CLAIMED), (2001, TrialReason.CLAIMED)):
        world.trial(trial, reason, 0.5)
    assert [trial.trial for trial in world.client.trials(record.key)] == [5, 1000, 2001]
    assert [trial.trial for trial in world.client.running_trials(record.key)] == [1000, 2001]
    progress = world.client.progress(record.key)
    assert progress.counts == {TrialState.COMPLETED: 1000, TrialState.RUNNING: 2, TrialState.QUEUED: 1000}
    assert progress.num_final == 1000


def test_counts_and_best_are_fresher_than_the_record(world: World) -> None:
    record = world.job(best=Best(0, 0.1))
    world.trial(0, metric=0.1)
    world.trial(1, metric=0.8)
    world.trial(2, TrialReason.SIGNAL)
    progress = world.client.progress(record.key)
    assert progress.best == Best(1, 0.8)
    best = world.client.best(record.key)
    assert best is not None
    assert (best.trial, best.metric) == (1, 0.8)
    assert (progress.num_final, progress.num_failed) == (3, 1)


def test_the_leaderboard_ranks_by_the_goal_and_then_by_number(world: World, sweep: JobRecord) -> None:
    assert [trial.trial for trial in world.client.leaderboard(sweep.key)] == [1, 3, 0]
    assert [trial.trial for trial in world.client.leaderboard(sweep.key, 1)] == [1]
    low = world.job(world.key("low"), goal="minimize")
    for trial, metric in enumerate((3.0, float("nan"), 1.0, float("-inf"))):
        world.trial(trial, metric=metric, key=low.key)
    assert [trial.trial for trial in world.client.leaderboard(low.key)] == [2, 0, 1, 3]


def test_the_best_trial_of_a_running_job_comes_from_the_records(world: World) -> None:
    record = world.job()
    assert world.client.best(record.key) is None
    world.trial(2, metric=0.8)
    world.write(record.moved(JobReason.DISPATCHING, best=Best(2, 0.8)))
    best = world.client.best(record.key)
    assert (best.trial, best.metric, best.goal) == (2, 0.8, "maximize")
    assert best.files["stdout"] == f"runs/{record.key.stdout(2, 1)}"


def test_the_best_trial_of_an_ended_job_is_what_best_json_says(world: World, sweep: JobRecord) -> None:
    before = world.client.best(sweep.key)
    document = of_best_trial(before) | {"parameters": {"lr": 7}, "metrics": {"loss": "NaN"}}
    world.file(sweep.key.best, document)
    best = world.client.best(sweep.key)
    assert best.parameters == {"lr": 7}
    assert best.metrics["loss"] != best.metrics["loss"]
    assert (best.trial, best.attempt, best.files) == (1, 2, before.files)


def test_the_best_trial_of_a_command_is_its_only_one(world: World) -> None:
    record = world.job(kind="command", num_trials=1, next_trial=1, goal=None, primary_metric=None)
    world.trial(0)
    world.finish(record, counts={TrialState.COMPLETED: 1})
    best = world.client.best(record.key)
    assert (best.trial, best.metric, best.primary_metric) == (0, None, None)


def test_metrics_of_a_resumed_trial_are_one_course(world: World, sweep: JobRecord) -> None:
    key = sweep.key
    world.file(key.metrics(1, 1), '{"step": 1, "a": 1}\n{"step": 2, "a": 2}\n{"step": 3, "a": 3}\n{"st')
    world.file(key.metrics(1, 2), 'not JSON\n{"step": 2, "a": 20}\n{"step": 3, "a": "NaN"}\n')
    course = world.client.metrics(key, 1)
    assert [point.step for point in course] == [1, 2, 3]
    assert course[1] == Point(2, {"a": 20})
    assert [point.step for point in world.client.metrics(key, 1, attempt=1)] == [1, 2, 3]
    assert world.client.metrics(key, 0) == []
    for attempt in (0, -1, 3, 2**40):
        with pytest.raises(NotFoundError, match=f"has 2 attempts, and not {attempt}"):
            world.client.metrics(key, 1, attempt=attempt)
        with pytest.raises(NotFoundError, match=f"has 2 attempts, and not {attempt}"):
            list(world.client.logs(key, 1, attempt=attempt))


def test_a_trial_s_number_beyond_all_bounds_is_told_as_any_other(world: World, sweep: JobRecord) -> None:
    for trial in (-1, 4, 2**60):
        with pytest.raises(NotFoundError, match=f"has no trial {trial}"):
            world.client.trial(sweep.key, trial)


def test_what_is_no_name_is_told_before_anything_is_asked(world: World) -> None:
    asked = (
        lambda: world.client.jobs("a/b"),
        lambda: world.client.jobs("a", "b c"),
        lambda: world.client.workspace("a/b"),
        lambda: world.client.experiments("a/b"),
        lambda: world.client.experiment_view("a", ""),
        lambda: world.client.schedules.all("a/b"),
    )
    for ask in asked:
        with pytest.raises(DropsweepError, match="is no name: it must be 1 to 64 letters"):
            ask()


def test_a_workspace_without_a_job_has_no_experiments(world: World) -> None:
    assert world.client.experiments(world.workspace) == []


def test_problems_of_a_rejected_job_are_those_of_its_error_file(world: World) -> None:
    key = world.key("bad")
    problems = (
        Problem("limits.timeout", "-1", "it must be positive", "Correct it"),
        Problem("x", "", "it is not known", "Remove it", Severity.WARNING),
    )
    world.job(key, kind="unknown", reason=JobReason.SPEC_INVALID, num_trials=0, next_trial=0)
    world.file(key.error, {"version": 1, "problems": [problem.to_json() for problem in problems]})
    assert world.client.problems(key) == problems
    assert world.client.problems(world.job(world.key("other")).key) == ()
    for absent in (world.key("absent"), world.key("absent").path):
        with pytest.raises(NotFoundError, match="there is no such job"):
            world.client.problems(absent)


def test_waiting_returns_the_final_record_even_of_a_job_that_is_not_there_yet(world: World) -> None:
    key = world.key("late")
    timer = threading.Timer(0.3, lambda: world.finish(world.job(key)))
    timer.start()
    assert world.client.wait(key, 30).state is JobState.COMPLETED
    timer.join()


def test_waiting_too_long_is_an_error_and_so_is_a_job_that_never_appears(world: World) -> None:
    record = world.job()
    with pytest.raises(TimeoutError, match="running after"):
        world.client.wait(record.key, 0.05)
    with pytest.raises(NotFoundError, match="no such job"):
        world.client.wait(world.key("never"), appear_s=0.05)


def test_cancelling_marks_the_record_and_repeats_and_spares_a_final_job(world: World, sweep: JobRecord) -> None:
    record = world.job(world.key("going"))
    assert world.client.cancel(record.key).state is JobState.CANCELLING
    assert world.client.cancel(record.key).state is JobState.CANCELLING
    assert world.client.record(record.key).reason is JobReason.CANCEL_REQUESTED
    assert world.client.cancel(sweep.key) == sweep
    with pytest.raises(NotFoundError):
        world.client.cancel(world.key("absent"))


def test_the_last_look_at_a_job_shows_how_its_trials_ended(world: World) -> None:
    record = world.job(num_trials=1, next_trial=1)
    world.trial(0, TrialReason.CLAIMED)
    updates = world.client.updates(record.key, interval_s=0.01)
    assert [trial.state for trial in next(updates).trials] == [TrialState.RUNNING]
    world.trial(0, metric=0.5)
    counts = {TrialState.COMPLETED: 1}
    world.finish(record, counts=counts, closed_counts=counts, closed_below=1)
    last = list(updates)[-1]
    assert last.record.state is JobState.COMPLETED
    assert [trial.state for trial in last.trials] == [TrialState.COMPLETED]


def test_a_client_is_made_from_the_environment(connection_string: str) -> None:
    client = Client.from_env({"DROPSWEEP_STORAGE": connection_string})
    assert client.store.blobs.head(RUNS, JobKey("w", "e", "none").record) is None
