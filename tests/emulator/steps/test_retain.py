"""What policies delete, and what they leave alone."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dropsweep.names import (
    DELETED,
    JOBS,
    RETENTION_RECORD,
    RUNS,
    WORKSPACES,
    JobKey,
    ScheduleKey,
    submission_record,
    workspace_file,
)
from dropsweep.records import Best, JobRecord
from dropsweep.settings import Settings
from dropsweep.spec.workspace import Retention
from dropsweep.states import JobReason, TrialState
from dropsweep.steps._tidy import tidy
from dropsweep.steps.delete import delete
from dropsweep.steps.retain import policy_of, retain, retain_in
from dropsweep.storage import Store, Tally
from tests.emulator.clocks import AHEAD, Ahead

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
        retain(old.store, is_due=True)
        assert old.jobs() == ["a"], policy


def test_a_policy_deletes_what_it_says_and_leaves_a_tombstone(old: Place) -> None:
    old.policy("retention: {delete_after_days: 1}")
    old.store.blobs.put(JOBS, f"{old.workspace}/e/a.yaml", b"x")
    key = old.job("a", source=f"{JOBS}/{old.workspace}/e/a.yaml")
    old.job("live", reason=JobReason.DISPATCHING, finished=None)
    old.job("keep", tags={"keep": ""})
    old.job("young", finished=datetime.now(UTC) + AHEAD - timedelta(hours=12))
    done = retain(old.store, is_due=True)
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


def test_a_call_deletes_no_more_than_it_may_and_the_next_goes_on(old: Place) -> None:
    for number in range(5):
        old.job(f"j{number}", finished=OLD + timedelta(hours=number))
    done = retain_in(old.store, old.workspace, DAYS, max_blobs=4)
    assert (done.num_jobs, done.num_blobs, done.is_done) == (2, 4, False)
    assert old.jobs() == ["j2", "j3", "j4"]
    assert retain_in(old.store, old.workspace, DAYS).is_done
    assert old.jobs() == []


def test_a_pass_is_made_once_an_hour_and_by_one_of_two_timers(store: Store) -> None:
    retain(store, is_due=True)
    before = store.blobs.read(RUNS, RETENTION_RECORD)
    assert before is not None
    retain(store)
    after = store.blobs.read(RUNS, RETENTION_RECORD)
    assert after is not None
    assert after.etag == before.etag
    store.blobs.put(RUNS, RETENTION_RECORD, b"no json")
    retain(store)
    mended = store.blobs.read(RUNS, RETENTION_RECORD)
    assert mended is not None
    assert b"looked" in mended.body


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


def test_old_bookkeeping_goes_once_it_can_prevent_nothing_any_more(old: Place) -> None:
    store, workspace = old.store, old.workspace
    gone, stays = (
        old.job("a", source=f"{JOBS}/{workspace}/e/a.yaml"),
        old.job("b", source=f"{JOBS}/{workspace}/e/b.yaml"),
    )
    store.blobs.put(JOBS, f"{workspace}/e/b.yaml", b"x")
    for key in (gone, stays):
        delete(store, key)
    late = f"{gone.path}/trials/0000000/attempts/1/stdout.txt"
    store.blobs.put(RUNS, late, b"from a worker that was cut off")
    alive = old.job("c")
    for name, key in (("one", gone), ("two", alive), ("three", stays)):
        store.blobs.put(RUNS, submission_record(workspace, name), f'{{"job": "{key.path}"}}'.encode())
    tick = ScheduleKey(workspace, "nightly").tick(OLD)
    store.blobs.put(RUNS, tick, b"{}")
    now = datetime.now(UTC) + AHEAD
    assert tidy(store, workspace, 500, now, 100) == 0
    assert tidy(store, workspace, 1, now, 100) == 3
    assert store.blobs.head(RUNS, gone.tombstone) is None
    assert store.blobs.head(RUNS, late) is None
    assert store.blobs.head(RUNS, stays.tombstone)
    assert store.blobs.head(RUNS, tick) is None
    left = [store.blobs.head(RUNS, submission_record(workspace, name)) is not None for name in ("one", "two", "three")]
    assert left == [False, True, True]
    store.blobs.put(RUNS, f"{DELETED}{workspace}/junk", b"no json")
    assert tidy(store, workspace, 1, now, 100) == 0


def test_what_ended_is_only_deleted_by_its_end_not_by_its_acceptance(old: Place) -> None:
    old.job("a", created=OLD, finished=datetime.now(UTC) + AHEAD - timedelta(minutes=5))
    retain_in(old.store, old.workspace, DAYS)
    assert old.jobs() == ["a"]
