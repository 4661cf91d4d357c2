"""Workspaces, experiments, filters and comparisons, over the storage account and by command line."""

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from dropsweep.cli.exits import ExitCode
from dropsweep.client import Client
from dropsweep.client.compare import Comparison
from dropsweep.client.experiments import ExperimentView
from dropsweep.client.http import HttpClient
from dropsweep.client.listing import JobFilter
from dropsweep.client.workspaces import Use, WorkspaceSummary, WorkspaceView
from dropsweep.errors import DropsweepError, NotFoundError
from dropsweep.names import RUNS, WORKSPACES, JobKey, quota_ledger, workspace_file
from dropsweep.records import Best, JobRecord
from dropsweep.records.ledger import Entry, Ledger, QuotaLimits
from dropsweep.settings import Settings
from dropsweep.states import JobReason, JobState, TrialState
from dropsweep.steps._policies import Policies
from dropsweep.storage import Store
from tests.emulator.client.conftest import BEGAN, Run, World
from tests.emulator.clocks import Ahead

BOTH_WAYS = True

POLICY = b"""
description: pictures
tags: {team: vision}
limits: {max_concurrent_jobs: 2, max_concurrent_trials: 16}
retention: {delete_after_days: 30, keep_last: 5}
"""


def ended(world: World, job: str, metric: float | None, experiment: str = "default", **changes: Any) -> JobRecord:
    """A completed sweep with one trial, and its best.json."""
    key = world.key(job, experiment)
    record = world.job(key, num_trials=1, next_trial=1, **changes)
    parameters: Mapping[str, Any] = {"lr": 0.1, "depth": 3} if "tags" in changes else {"lr": 0.02}
    world.trial(0, metric=metric, key=key, parameters=parameters)
    best = Best(0, metric) if metric is not None else None
    return world.finish(record, counts={TrialState.COMPLETED: 1}, best=best)


@pytest.fixture
def digits(world: World) -> list[JobRecord]:
    """Three jobs of the experiment digits, one of them live, and one of another experiment."""
    return [
        ended(world, "a-1", 0.90, "digits", created=BEGAN - timedelta(days=3)),
        ended(world, "b-2", 0.97, "digits", created=BEGAN - timedelta(days=2), tags={"team": "vision"}),
        world.job(world.key("c-3", "digits"), schedule="nightly", tags={"team": "speech"}),
        ended(world, "d-4", 0.5, "other", created=BEGAN + timedelta(days=1)),
    ]


def document(result: Any) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(result.stdout)
    return told


def test_a_workspace_counts_its_jobs_and_experiments(world: World, digits: list[JobRecord]) -> None:
    before = {one.name: one for one in world.client.workspaces(on_corrupt=lambda _key, _error: None)}
    found = before[world.workspace]
    assert (found.num_experiments, found.num_jobs, found.has_policy) == (2, 4, False)
    assert found.counts == {JobState.RUNNING: 1, JobState.COMPLETED: 3}
    last = max(head.modified for job in digits if (head := world.store.blobs.head(RUNS, job.key.record)) is not None)
    assert found.last_activity == last
    assert WorkspaceSummary.from_json(found.to_json()) == found


def test_a_workspace_shows_its_policy_and_what_of_its_quota_is_used(world: World, digits: list[JobRecord]) -> None:
    world.store.blobs.put(WORKSPACES, workspace_file(world.workspace), POLICY)
    entries = {job.key: Entry(number, 8, BEGAN) for number, job in zip((3, 2, 0), digits, strict=False)}
    ledger = Ledger(world.workspace, QuotaLimits(2, 16), entries)
    world.store.blobs.put(RUNS, quota_ledger(world.workspace), ledger.to_json())
    view = world.client.workspace(world.workspace)
    assert view.use == Use(num_jobs=2, num_trials=5, num_waiting=1, max_jobs=2, max_trials=16)
    assert view.policy is not None
    assert view.policy["retention"] == {"delete_after_days": 30, "keep_last": 5}
    assert [one.name for one in view.experiments] == ["digits", "other"]
    assert WorkspaceView.from_json(json.loads(json.dumps(view.to_json()))) == view


def test_a_workspace_with_only_a_policy_file_is_there_and_one_with_nothing_is_not(run: Run, world: World) -> None:
    assert run("workspace", "show", world.workspace).exit_code == ExitCode.NOT_FOUND
    with pytest.raises(NotFoundError, match="neither a job nor a policy file"):
        world.client.workspace(world.workspace)
    world.store.blobs.put(WORKSPACES, workspace_file(world.workspace), POLICY)
    assert world.client.workspace(world.workspace).summary.num_jobs == 0
    shown = run("workspace", "show", world.workspace)
    assert "deleted 30 days after the end, but the last 5 of each experiment stay" in shown.stdout
    assert f"workspace retain {world.workspace} --dry-run" in shown.stderr
    assert "2 jobs at once, 16 trials at once" in shown.stdout
    assert f"\n{world.workspace} " in run("workspace", "list").stdout


def test_a_broken_policy_file_is_told_with_all_its_problems(run: Run, world: World) -> None:
    world.store.blobs.put(WORKSPACES, workspace_file(world.workspace), b"limits: {max_concurrent_jobs: -1}\ncolour: 1")
    shown = run("workspace", "show", world.workspace)
    assert f"workspaces/{world.workspace}.yaml (broken)" in shown.stdout
    assert "limits.max_concurrent_jobs" in shown.stderr
    assert "colour" in shown.stderr


def test_an_experiment_shows_its_jobs_and_the_best_for_each_objective(run: Run, world: World) -> None:
    ended(world, "a-1", 0.90)
    ended(world, "b-2", 0.97)
    ended(world, "c-3", 0.10, goal="minimize", primary_metric="loss")
    ended(world, "d-4", 0.05, goal="minimize", primary_metric="loss")
    ended(world, "e-5", None)
    view = world.client.experiment_view(world.workspace, "default")
    assert [(one.job.job, one.metric) for one in view.best] == [("b-2", 0.97), ("d-4", 0.05)]
    assert len(view.jobs) == 5
    again = ExperimentView.from_json(json.loads(json.dumps(view.to_json())))
    assert (again.summary, again.best) == (view.summary, view.best)
    shown = run("experiment", "show", f"{world.workspace}/default").stdout
    assert "minimize loss" in shown
    assert document(run("experiment", "show", f"{world.workspace}/default", "--json"))["num_jobs"] == 5
    assert f"{world.workspace}/default" in run("experiment", "list", "-w", world.workspace).stdout
    assert run("experiment", "show", f"{world.workspace}/nothing").exit_code == ExitCode.NOT_FOUND


def test_what_cannot_be_read_hides_no_other_and_is_told(run: Run, world: World) -> None:
    ended(world, "a-1", 0.90)
    world.file(world.key("broken").record, b"{")
    for arguments in (
        ("workspace", "show", world.workspace),
        ("experiment", "show", f"{world.workspace}/default"),
        ("experiment", "list", "-w", world.workspace),
        ("experiment", "compare", f"{world.workspace}/default"),
    ):
        done = run(*arguments)
        assert done.exit_code == ExitCode.FAILED, arguments
        assert "broken" in done.stderr
        assert done.stdout
        told = document(run(*arguments, "--json"))["errors"]
        assert [entry["job"] for entry in told] == [world.key("broken").path]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (JobFilter(), ["d-4", "c-3", "b-2", "a-1"]),
        (JobFilter(states=frozenset({JobState.RUNNING})), ["c-3"]),
        (JobFilter(tags={"team": "vision"}), ["b-2"]),
        (JobFilter(tags={"team": None}), ["c-3", "b-2"]),
        (JobFilter(tags={"team": None, "no": None}), []),
        (JobFilter(schedule="nightly"), ["c-3"]),
        (JobFilter(since=BEGAN), ["d-4", "c-3"]),
        (JobFilter(since=timedelta(weeks=5000)), ["d-4", "c-3", "b-2", "a-1"]),
        (JobFilter(limit=2), ["d-4", "c-3"]),
        (JobFilter(states=frozenset({JobState.COMPLETED}), limit=1), ["d-4"]),
    ],
    ids=str,
)
def test_a_filter_lets_through_what_meets_all_its_conditions(
    world: World, digits: list[JobRecord], where: JobFilter, expected: list[str]
) -> None:
    assert len(digits) == 4
    assert [job.key.job for job in world.client.jobs(world.workspace, where=where)] == expected


def test_the_age_of_a_job_counts_by_the_services_clock(world: World) -> None:
    head = world.store.blobs.head(RUNS, world.job().key.record)
    assert head is not None
    world.write(replace(world.client.record(world.key()), created=head.served - timedelta(hours=3)))
    for since, num in (("2h", 0), ("4h", 1), ("2d", 1)):
        assert len(world.client.jobs(world.workspace, where=JobFilter.parse(since=since))) == num


def test_list_takes_filters_and_says_what_is_wrong_with_one(run: Run, world: World, digits: list[JobRecord]) -> None:
    def listed(*arguments: str) -> list[str]:
        told = document(run("list", "-w", world.workspace, "--json", *arguments))["jobs"]
        return [job["job"].rpartition("/")[2] for job in told]

    assert len(digits) == 4
    assert listed("--state", "completed", "--tag", "team=vision") == ["b-2"]
    assert listed("--state", "completed", "--state", "running", "--limit", "3") == ["d-4", "c-3", "b-2"]
    assert listed("--schedule", f"{world.workspace}/nightly") == ["c-3"]
    assert listed("--since", "2026-03-01T14:00:00Z") == ["d-4", "c-3"]
    assert "no job is as you ask" in run("list", "-w", world.workspace, "--tag", "x=y").stderr
    for wrong in (("--state", "runing"), ("--since", "2 days"), ("--tag", "=x")):
        assert run("list", *wrong).exit_code == ExitCode.USAGE


def test_jobs_stand_side_by_side_the_best_first_and_what_one_does_not_have_is_told(run: Run, world: World) -> None:
    ended(world, "a-1", 0.90)
    ended(world, "b-2", 0.97, tags={"x": "y"})
    world.job(world.key("c-3"))
    found = world.client.compare(world.key(job) for job in ("a-1", "b-2", "c-3", "a-1"))
    assert [row.job.job for row in found.rows] == ["b-2", "a-1", "c-3"]
    assert found.parameters == ("lr", "depth")
    assert (found.rows[0].duration_s, found.rows[2].trial) == (40.0, None)
    assert [row.job.job for row in found.sorted_by("lr").rows] == ["a-1", "b-2", "c-3"]
    assert [row.job.job for row in found.sorted_by("lr", is_descending=True).rows] == ["b-2", "a-1", "c-3"]
    with pytest.raises(DropsweepError, match="no column"):
        found.sorted_by("colour")
    place = f"{world.workspace}/default"
    rows = list(csv.DictReader(io.StringIO(run("experiment", "compare", place, "--csv").stdout)))
    assert [(row["job"][-3:], row["param.depth"], row["metric"]) for row in rows] == [
        ("b-2", "3", "0.97"),
        ("a-1", "", "0.9"),
        ("c-3", "", ""),
    ]
    lines = run("experiment", "compare", place, "--sort", "metric").stdout.splitlines()
    assert lines[0].split() == ["job", "state", "accuracy", "trial", "lr", "depth", "duration"]
    assert lines[1].split()[:6] == ["a-1", "completed", "0.9", "0", "0.02", "–"]
    told = document(
        run("experiment", "compare", "--job", world.key("a-1").path, "--job", world.key("b-2").path, "--json")
    )
    assert [row["job"] for row in told["jobs"]] == [world.key("b-2").path, world.key("a-1").path]


def test_the_csv_of_a_comparison_names_parameters_as_results_csv_does(world: World) -> None:
    key = world.key("a-1")
    record = world.job(key, num_trials=1, next_trial=1)
    world.trial(0, metric=0.5, key=key, parameters={"model": {"name": "net", "layers": [3, 4]}, "lr": 0.1})
    world.finish(record, counts={TrialState.COMPLETED: 1}, best=Best(0, 0.5))
    [row] = csv.DictReader(io.StringIO(world.client.compare([key]).to_csv()))
    told = {name: value for name, value in row.items() if name.startswith("param.")}
    assert told == {"param.model.name": "net", "param.model.layers": "[3, 4]", "param.lr": "0.1"}


def test_different_objectives_are_told_apart(run: Run, world: World) -> None:
    ended(world, "a-1", 0.90)
    ended(world, "b-2", 0.05, goal="minimize", primary_metric="loss")
    ended(world, "c-3", 0.95)
    ended(world, "d-4", 0.01, goal="minimize", primary_metric="loss")
    done = run("experiment", "compare", f"{world.workspace}/default")
    assert "different objectives" in done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()[1:]] == ["c-3", "a-1", "d-4", "b-2"]
    assert "objective" in done.stdout.splitlines()[0]


def test_a_comparison_survives_its_way_as_json(world: World) -> None:
    ended(world, "a-1", 0.90, tags={"x": "y"})
    row = world.client.compare([world.key("a-1")]).rows[0]
    assert type(row).from_json(json.loads(json.dumps(row.to_json()))) == row
    assert Comparison.of([row]).objectives == ("maximize accuracy",)


def test_nothing_or_two_things_to_compare_are_refused(run: Run, world: World) -> None:
    place = f"{world.workspace}/default"
    for arguments in ((), (place, "--job", "x"), (place, "--csv", "--json")):
        assert run("experiment", "compare", *arguments).exit_code == ExitCode.USAGE


@pytest.mark.parametrize("name", ["pause", "cancel"])
def test_all_jobs_of_an_experiment_are_changed_by_its_name(run: Run, world: World, name: str) -> None:
    keys = [world.job(world.key(f"a-{number}")).key for number in range(2)]
    done = run("experiment", name, f"{world.workspace}/default")
    assert done.exit_code == 0
    assert all(key.path in done.stdout for key in keys)
    states = {world.client.record(key).state for key in keys}
    assert states == {JobState.PAUSED if name == "pause" else JobState.CANCELLING}


def live_and_ended(world: World) -> tuple[JobKey, JobKey]:
    return world.job(world.key("live-1")).key, ended(world, "ended-2", 0.5).key


def test_deleting_asks_and_refuses_where_nobody_can_answer(run: Run, world: World) -> None:
    key = ended(world, "a-1", 0.9).key
    for arguments in (("delete", key.path), ("experiment", "delete", f"{world.workspace}/default")):
        for more in ((), ("--json",)):
            done = run(*arguments, *more)
            assert done.exit_code == ExitCode.USAGE
            assert "--yes" in done.stderr
    assert world.client.record(key).deleted is None


def test_a_job_is_deleted_with_everything_that_belongs_to_it(run: Run, world: World) -> None:
    key = ended(world, "a-1", 0.9).key
    done = run("delete", key.path, "--yes")
    assert done.stdout == f"{key.path}  deleted  2 blobs\n"
    assert list(world.store.blobs.list(RUNS, f"{key.path}/")) == []
    assert run("delete", key.path, "--yes").exit_code == ExitCode.NOT_FOUND
    other = ended(world, "b-2", 0.9).key
    assert document(run("delete", other.path, "--yes", "--json")) == {
        **{"job": other.path, "num_blobs": 2},
        **{"is_done": True, "source": ""},
    }


def test_what_has_not_ended_is_deleted_only_after_it_was_cancelled(run: Run, world: World) -> None:
    live, done = live_and_ended(world)
    for arguments in (("delete", live.path), ("experiment", "delete", f"{world.workspace}/default")):
        refused = run(*arguments, "--yes")
        assert refused.exit_code == ExitCode.USAGE
        assert "--cancel" in refused.stderr
    with pytest.raises(DropsweepError, match="has 1 job not ended yet"):
        world.client.experiment(world.workspace, "default").delete(timeout_s=1)
    assert world.client.record(live).state is JobState.RUNNING
    assert world.client.record(done).state is JobState.COMPLETED


def test_a_whole_experiment_is_deleted_and_no_other(run: Run, world: World) -> None:
    stays = ended(world, "a-1", 0.9, "other").key
    gone = [ended(world, f"a-{number}", 0.9).key for number in range(3)]
    done = run("experiment", "delete", f"{world.workspace}/default", "--yes")
    assert done.exit_code == 0
    assert sorted(done.stdout.splitlines()) == [f"{key.path}  deleted  2 blobs" for key in gone]
    assert "deleted: 3 jobs, with 6 blobs" in done.stderr
    assert [job.key for job in world.client.jobs(world.workspace)] == [stays]


def test_a_job_whose_record_cannot_be_read_stays_and_is_told(run: Run, world: World) -> None:
    gone = ended(world, "a-1", 0.9).key
    world.file(world.key("broken").record, b"{")
    done = run("experiment", "delete", f"{world.workspace}/default", "--yes", "--json")
    assert done.exit_code == ExitCode.FAILED
    told = document(done)
    assert [one["job"] for one in told["jobs"]] == [gone.path]
    assert [one["job"] for one in told["errors"]] == [world.key("broken").path]
    assert world.store.blobs.head(RUNS, world.key("broken").record)


def test_an_experiment_with_live_jobs_is_cancelled_waited_for_and_deleted(world: World) -> None:
    live, _ = live_and_ended(world)
    experiment = world.client.experiment(world.workspace, "default")
    with pytest.raises(TimeoutError):
        experiment.delete(cancels=True, timeout_s=0.1)
    record = world.client.record(live)
    assert record.state is JobState.CANCELLING
    world.finish(record, JobReason.CANCELLED_BY_REQUEST)
    removals = experiment.delete(cancels=True)
    assert all(removal.deleted is not None and removal.deleted.is_done for removal in removals)
    assert world.client.jobs(world.workspace) == []


def test_a_misnamed_policy_file_is_the_workspace_s_own_and_told(run: Run, world: World) -> None:
    path = f"{world.workspace}.yml"
    world.store.blobs.put(WORKSPACES, path, b"limits: {max_concurrent_jobs: 2}")
    view = world.client.workspace(world.workspace)
    assert (view.file, view.policy, view.summary.has_policy) == (path, None, True)
    assert "ends in .yaml" in view.problems[0].rule
    found = world.client.workspaces(on_corrupt=lambda _key, _error: None)
    assert [one.has_policy for one in found if one.name == world.workspace] == [True]
    assert f"{path} (broken)" in run("workspace", "show", world.workspace).stdout
    world.store.blobs.put(WORKSPACES, workspace_file(world.workspace), POLICY)
    assert world.client.workspace(world.workspace).problems == ()


def test_a_list_marks_a_policy_file_beside_which_it_is_told_that_it_is_broken(run: Run, world: World) -> None:
    def found() -> WorkspaceSummary:
        listed = world.client.workspaces(on_corrupt=lambda _key, _error: None)
        return next(one for one in listed if one.name == world.workspace)

    world.store.blobs.put(WORKSPACES, workspace_file(world.workspace), b"limits: 3")
    assert (found().has_policy, found().is_policy_broken) == (True, False), "no pass has looked at it"
    assert world.client.workspace(world.workspace).summary.is_policy_broken, "it is read here"
    Policies().check(world.store)
    assert found().is_policy_broken
    [line] = [line for line in run("workspace", "list").stdout.splitlines() if line.startswith(world.workspace)]
    assert "its own (broken)" in line
    world.store.blobs.put(WORKSPACES, workspace_file(world.workspace), POLICY)
    Policies().check(world.store)
    assert not found().is_policy_broken


def test_a_workspace_that_does_not_exist_has_nothing_due_and_says_so(
    run: Run, world: World, connection_string: str
) -> None:
    done = run("workspace", "retain", world.workspace, "--dry-run")
    assert done.exit_code == ExitCode.NOT_FOUND
    assert "neither a job nor a policy file" in done.stderr
    ended(world, "a-1", 0.5)
    assert "no job is due" in run("workspace", "retain", world.workspace).stderr


def test_what_is_due_is_told_and_deleted_now_but_only_by_who_has_the_account(
    run: Run, world: World, connection_string: str, settings: Settings
) -> None:
    workspace = world.workspace
    gone = ended(world, "a-1", None).key
    ended(world, "b-2", 0.5)
    world.store.blobs.put(WORKSPACES, workspace_file(workspace), b"retention: {delete_after_days: x}")
    broken = run("workspace", "retain", workspace, "--dry-run")
    assert (broken.exit_code, broken.stdout) == (ExitCode.USAGE, "")
    assert "nothing is deleted: retention.delete_after_days is" in broken.stderr
    world.store.blobs.put(WORKSPACES, workspace_file(workspace), b"retention: {delete_after_days: 30}")
    assert "no job is due" in run("workspace", "retain", workspace).stderr
    nothing = {"workspace": workspace, "due": [], "is_dry_run": False, "num_jobs": 0, "num_blobs": 0}
    assert document(run("workspace", "retain", workspace, "--json")) == nothing
    later = Client(Store.connect(settings.storage, Ahead()))
    assert [one.job.key for one in later.due(workspace)] == [gone]
    assert later.retain(workspace).num_jobs == 1
    assert [job.key.job for job in world.client.jobs(workspace)] == ["b-2"]
    assert connection_string
    with pytest.raises(DropsweepError, match="by the storage account alone"):
        HttpClient("http://127.0.0.1:9/api", "k").due(workspace)
