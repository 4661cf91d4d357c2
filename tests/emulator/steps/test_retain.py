"""What policies delete, and what they leave alone."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from azure.core.rest import HttpRequest

from dropsweep.names import JOBS, NODES, RETENTION_RECORD, RUNS, WORKSPACES, JobKey, workspace_file
from dropsweep.records import Best, JobRecord
from dropsweep.settings import Settings
from dropsweep.spec.workspace import Retention
from dropsweep.states import JobReason, TrialState
from dropsweep.steps import retain as retain_step
from dropsweep.steps._passes import Pass, Passes
from dropsweep.steps.delete import finish_deletions
from dropsweep.steps.retain import MAX_S, Retained, policy_of, retain, retain_in
from dropsweep.storage import Store, Tally
from tests.emulator.clocks import AHEAD, Ahead
from tests.emulator.faults import Fault, Faults

ROOT = Path(__file__).parents[3]
OLD = datetime(2026, 1, 1, tzinfo=UTC)
DAYS = Retention(delete_after_days=1)


@dataclass
class Place:
    """A workspace whose jobs ended long ago."""

    store: Store
    workspace: str

    def policy(self, text: str, name: str = "") -> None:
        self.store.blobs.put(WORKSPACES, workspace_file(name or self.workspace), text.encode())

    def key(self, job: str, experiment: str = "e") -> JobKey:
        return JobKey(self.workspace, experiment, job)

    def job(self, job: str, experiment: str = "e", **changes: Any) -> JobKey:
        key = self.key(job, experiment)
        reason = JobReason.TRIALS_COMPLETED
        record = JobRecord(key, "sweep", reason, job, 1, OLD, finished=OLD, counts={TrialState.COMPLETED: 1})
        record = replace(record, **changes)
        self.store.blobs.put(RUNS, key.stdout(0, 1), b"x")
        assert self.store.blobs.create(RUNS, key.record, record.to_json(), record.to_metadata())
        return key

    def jobs(self) -> list[str]:
        names = [found.name for found in self.store.blobs.list(RUNS, f"{self.workspace}/")]
        return [name.split("/")[2] for name in names if name.endswith("/job.json")]


@pytest.fixture
def place(store: Store, workspace: str) -> Iterator[Place]:
    made = Place(store, workspace)
    yield made
    store.blobs.delete(WORKSPACES, workspace_file(workspace))


@pytest.fixture
def old(place: Place, settings: Settings) -> Place:
    """The same place, and everything in it was written long ago."""
    return Place(Store.connect(settings.storage, Ahead()), place.workspace)


def test_without_a_policy_nothing_is_ever_deleted(old: Place) -> None:
    old.job("a")
    for policy in (None, "description: pictures", "retention: {delete_after_days: -1}", ": : :"):
        if policy is not None:
            old.policy(policy)
        retain(old.store)
        assert old.jobs() == ["a"], policy


def test_a_policy_deletes_what_it_says_and_leaves_a_tombstone(old: Place) -> None:
    old.policy("retention: {delete_after_days: 1}")
    old.store.blobs.put(JOBS, f"{old.workspace}/e/a.yaml", b"x")
    key = old.job("a", source=f"{JOBS}/{old.workspace}/e/a.yaml")
    old.job("live", reason=JobReason.DISPATCHING, finished=None)
    old.job("keep", tags={"keep": ""})
    old.job("young", finished=datetime.now(UTC) + AHEAD - timedelta(hours=12))
    done = retain(old.store)
    assert done.num_jobs >= 1
    assert old.jobs() == ["keep", "live", "young"]
    assert old.store.blobs.head(RUNS, key.tombstone)
    assert list(old.store.blobs.list(RUNS, f"{key.path}/")) == []


def test_the_default_policy_holds_where_there_is_no_own_one_and_a_broken_own_one_stops_it(
    old: Place,
) -> None:
    old.job("a")
    old.policy("retention: {delete_after_days: 1}", "_default")
    try:
        found = policy_of(old.store, old.workspace)
        assert found is not None
        assert found[0] == "_default.yaml"
        old.policy("retention: 1")
        found = policy_of(old.store, old.workspace)
        assert found is not None
        assert (found[0], found[1].policy) == (f"{old.workspace}.yaml", None)
    finally:
        old.store.blobs.delete(WORKSPACES, workspace_file("_default"))


def test_the_last_and_the_best_jobs_of_each_experiment_stay(old: Place) -> None:
    for number in range(4):
        best = Best(0, 0.9 if number == 1 else 0.1)
        ended = OLD + timedelta(hours=number)
        old.job(f"j{number}", goal="maximize", primary_metric="accuracy", best=best, finished=ended)
        old.job(f"o{number}", "other", finished=ended)
    retain_in(old.store, old.workspace, replace(DAYS, keep_last=1))
    assert old.jobs() == ["j1", "j3", "o3"]


class Ticks:
    """A clock that goes on by one second each time it is looked at."""

    def __init__(self) -> None:
        self.num = 0

    def __call__(self) -> float:
        self.num += 1
        return float(self.num)


def passes(store: Store) -> Passes:
    blob = store.blobs.read(RUNS, RETENTION_RECORD)
    assert blob is not None
    return Passes.from_json(blob.body)


def forget(store: Store) -> None:
    """As if there had been no pass yet."""
    store.blobs.delete(RUNS, RETENTION_RECORD)


def test_a_pass_ends_when_its_time_is_up_and_the_next_goes_on_with_that_experiment(old: Place) -> None:
    forget(old.store)
    for number in range(4):
        old.job(f"j{number}", "one", finished=OLD + timedelta(hours=number))
    old.job("k", "two")
    old.policy("retention: {delete_after_days: 1}")
    done = retain(old.store, max_s=4, clock=Ticks())
    assert not done.is_done
    assert 1 <= done.num_jobs < 4
    assert old.jobs() == [f"j{number}" for number in range(done.num_jobs, 4)] + ["k"]
    assert passes(old.store).experiment == f"{old.workspace}/one/"
    early = old.job("early", "before", finished=OLD)
    assert retain(old.store).is_done
    assert old.jobs() == ["early"]
    assert passes(old.store).experiment == ""
    retain(old.store)
    assert old.store.blobs.head(RUNS, early.record) is None


def test_a_pass_without_any_time_deletes_nothing_and_loses_nothing(old: Place) -> None:
    forget(old.store)
    old.job("a")
    old.policy("retention: {delete_after_days: 1}")
    assert not retain(old.store, max_s=0).is_done
    assert old.jobs() == ["a"]
    assert passes(old.store).experiment == f"{old.workspace}/e/"


def test_half_the_time_that_a_function_may_take_is_left() -> None:
    hours, minutes, seconds = map(int, json.loads((ROOT / "host.json").read_text())["functionTimeout"].split(":"))
    assert timedelta(hours=hours, minutes=minutes, seconds=seconds).total_seconds() >= MAX_S * 2


def test_without_any_policy_and_any_node_a_pass_costs_two_requests(place: Place, settings: Settings) -> None:
    for found in list(place.store.blobs.list(WORKSPACES, "")):
        place.store.blobs.delete(WORKSPACES, found.name)
    for found in list(place.store.blobs.list(RUNS, NODES)):
        place.store.blobs.delete(RUNS, found.name)
    tally = Tally()
    assert retain(Store.connect(settings.storage, tally)) == Retained()
    assert tally.total == 2


def test_of_two_passes_the_later_one_goes_on(old: Place) -> None:
    forget(old.store)
    first = Pass.take(old.store)
    second = Pass.take(old.store)
    assert first is not None
    assert second is not None
    assert not first.note_tidied("x")
    assert second.stop_at("w/e/")
    assert second.end()
    assert passes(old.store) == Passes(second.began, second.began)


def test_a_record_of_passes_that_cannot_be_read_is_written_anew(old: Place) -> None:
    old.policy("retention: {delete_after_days: 36000}")
    for junk in (b"no json", b'{"version": 1}', b'{"version": 1, "looked": 1, "tidied": 2}'):
        old.store.blobs.put(RUNS, RETENTION_RECORD, junk)
        assert retain(old.store).is_done
        assert passes(old.store).looked > OLD


def test_a_job_that_ends_again_after_it_was_found_due_stays(old: Place, settings: Settings) -> None:
    first, again = old.job("a"), old.job("b", finished=OLD + timedelta(hours=1))

    def retry(number: int, request: HttpRequest) -> None:
        if request.method == "DELETE" and request.url.endswith(first.record):
            blob = old.store.blobs.read(RUNS, again.record)
            assert blob is not None
            ended = replace(JobRecord.from_json(blob.body), finished=datetime.now(UTC) + AHEAD)
            assert old.store.blobs.replace(RUNS, again.record, ended.to_json(), blob.etag, ended.to_metadata())

    watched = Store.connect(settings.storage, Ahead(), Faults(retry))
    assert retain_in(watched, old.workspace, DAYS).num_jobs == 1
    assert old.jobs() == ["b"]
    assert old.store.blobs.head(RUNS, again.deletion) is None
    assert old.store.blobs.head(RUNS, again.stdout(0, 1))


def test_a_large_job_is_deleted_in_parts_until_the_time_is_up_and_then_by_the_timer(
    old: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retain_step, "_MAX_BLOBS", 1)
    old.job("a")
    assert retain_in(old.store, old.workspace, DAYS) == Retained(num_jobs=1, num_blobs=2)
    assert old.jobs() == []
    forget(old.store)
    key = old.job("b")
    old.policy("retention: {delete_after_days: 1}")
    times = iter([0.0, 0.0])  # one look at the clock before the job, and late is all that comes after
    assert retain(old.store, max_s=5, clock=lambda: next(times, 9.0)).num_blobs == 1
    assert old.store.blobs.head(RUNS, key.record)
    finish_deletions(old.store)
    assert old.jobs() == []


def test_one_broken_experiment_holds_up_no_other(old: Place, settings: Settings) -> None:
    forget(old.store)
    old.job("a", "broken")
    old.job("b", "good")
    old.policy("retention: {delete_after_days: 1}")
    denied = Fault("403", False, status=403, headers={"Date": format_datetime(OLD, usegmt=True)})
    spoilt = Faults(lambda _, request: denied if f"{old.workspace}/broken" in unquote(request.url) else None)
    assert retain(Store.connect(settings.storage, Ahead(), spoilt)).is_done
    assert old.jobs() == ["a"]


@pytest.mark.parametrize("name", ["{}.yml", "{}.json", "{}.yaml.bak"])
def test_a_misnamed_file_keeps_the_default_policy_from_deleting(old: Place, name: str) -> None:
    old.job("a")
    path = name.format(old.workspace)
    old.store.blobs.put(WORKSPACES, path, b"retention: {delete_after_days: 36000}")
    old.policy("retention: {delete_after_days: 1}", "_default")
    try:
        retain(old.store)
        assert old.jobs() == ["a"]
        found = policy_of(old.store, old.workspace)
        assert found is not None
        assert (found[0], found[1].policy) == (path, None)
    finally:
        old.store.blobs.delete(WORKSPACES, path)
        old.store.blobs.delete(WORKSPACES, workspace_file("_default"))


def test_a_job_that_cannot_be_read_stays_and_holds_up_no_other(old: Place) -> None:
    old.store.blobs.put(RUNS, old.key("broken").record, b"{")
    old.job("a")
    assert retain_in(old.store, old.workspace, DAYS).num_jobs == 1
    assert old.jobs() == ["broken"]


def test_young_jobs_cost_one_look_each(place: Place, settings: Settings) -> None:
    for number in range(6):
        place.job(f"j{number}", finished=datetime.now(UTC))
    tally = Tally()
    counted = Store.connect(settings.storage, tally)
    retain_in(counted, place.workspace, Retention(delete_after_days=30))
    assert tally.total <= 6 + 2


def test_what_ended_is_only_deleted_by_its_end_not_by_its_acceptance(old: Place) -> None:
    old.job("a", created=OLD, finished=datetime.now(UTC) + AHEAD - timedelta(minutes=5))
    retain_in(old.store, old.workspace, DAYS)
    assert old.jobs() == ["a"]
