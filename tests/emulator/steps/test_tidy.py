"""What is tidied away of that which only kept things from happening twice, and at which cost."""

import json
from datetime import UTC, datetime

import pytest

from dropsweep.names import DELETED, JOBS, RETENTION_RECORD, RUNS, WORKSPACES, JobKey, ScheduleKey, submission_record
from dropsweep.names import workspace_file as policy_file
from dropsweep.settings import Settings
from dropsweep.steps import _tidy
from dropsweep.steps._passes import Passes
from dropsweep.steps._tidy import Chunk, tidy
from dropsweep.steps.retain import retain
from dropsweep.storage import Store, Tally
from tests.emulator.clocks import AHEAD, Ahead

NOW = datetime.now(UTC) + AHEAD


def tombstone(store: Store, workspace: str, job: str, *, is_dropped: bool = False) -> JobKey:
    """A deleted job; its dropped file may lie there still."""
    key = JobKey(workspace, "e", job)
    path = f"{workspace}/e/{job}.yaml"
    if is_dropped:
        store.blobs.put(JOBS, path, b"x")
    store.blobs.put(RUNS, key.tombstone, json.dumps({"job": key.path, "source": f"{JOBS}/{path}"}).encode())
    return key


def submission(store: Store, workspace: str, name: str, key: JobKey) -> str:
    path = submission_record(workspace, name)
    store.blobs.put(RUNS, path, json.dumps({"job": key.path}).encode())
    return path


def tidied(store: Store, workspace: str, days: int = 1, after: str = "") -> list[Chunk]:
    return list(tidy(store, lambda name: days if name == workspace else None, NOW, after=after))


def num_tidied(store: Store, workspace: str, days: int = 1) -> int:
    return sum(chunk.num_deleted for chunk in tidied(store, workspace, days))


def test_old_bookkeeping_goes_once_it_can_prevent_nothing_any_more(store: Store, workspace: str) -> None:
    gone = tombstone(store, workspace, "a")
    stays = tombstone(store, workspace, "b", is_dropped=True)
    late = gone.stdout(0, 1)
    store.blobs.put(RUNS, late, b"from a worker that was cut off")
    alive = JobKey(workspace, "e", "c")
    store.blobs.put(RUNS, alive.record, b"{}")
    records = [submission(store, workspace, name, key) for name, key in (("1", gone), ("2", alive), ("3", stays))]
    tick = ScheduleKey(workspace, "nightly").tick(NOW)
    store.blobs.put(RUNS, tick, b"{}")
    assert num_tidied(store, workspace, 500) == 0
    assert num_tidied(store, workspace) == 3
    names = [gone.tombstone, late, stays.tombstone, tick, *records]
    left = [store.blobs.head(RUNS, name) is not None for name in names]
    assert left == [False, False, True, False, False, True, True]


def test_what_cannot_be_read_stays_and_holds_up_nothing(store: Store, workspace: str) -> None:
    for junk in (b"no json", b"[]", b'{"job": "no job"}'):
        store.blobs.put(RUNS, f"{DELETED}{workspace}/e/0", junk)
        gone = tombstone(store, workspace, "1")
        assert num_tidied(store, workspace) == 1
        assert store.blobs.head(RUNS, gone.tombstone) is None


def test_a_workspace_without_days_keeps_all_its_notes(store: Store, workspace: str) -> None:
    key = tombstone(store, workspace, "a")
    assert list(tidy(store, lambda _: None, NOW)) == []
    assert store.blobs.head(RUNS, key.tombstone)


def test_a_walk_deletes_in_chunks_and_goes_on_after_the_note_that_it_looked_at_last(
    store: Store, workspace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_tidy, "_CHUNK", 2)
    kept = tombstone(store, workspace, "a", is_dropped=True)
    gone = [tombstone(store, workspace, job) for job in "bcd"]
    record = submission(store, workspace, "s", gone[0])
    walk = tidy(store, lambda name: 1 if name == workspace else None, NOW)
    first = next(walk)
    assert first == Chunk(1, gone[0].tombstone)
    walk.close()
    left = [key.job for key in (kept, *gone) if store.blobs.head(RUNS, key.tombstone)]
    assert left == ["a", "c", "d"]
    assert tidied(store, workspace, after=first.last) == [Chunk(2, gone[2].tombstone), Chunk(1, record)]
    assert store.blobs.head(RUNS, kept.tombstone)


def test_a_pass_whose_time_is_up_notes_how_far_it_came_and_looks_at_no_note_twice(
    store: Store, settings: Settings, workspace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_tidy, "_CHUNK", 8)
    for container, prefix in ((RUNS, DELETED), (WORKSPACES, "")):
        for found in list(store.blobs.list(container, prefix)):
            store.blobs.delete(container, found.name)
    store.blobs.put(RUNS, RETENTION_RECORD, Passes().to_json())
    for number in range(20):
        tombstone(store, workspace, f"j{number:02}", is_dropped=True)
    store.blobs.put(WORKSPACES, policy_file(workspace), b"retention: {delete_after_days: 1}")
    tally = Tally()
    later = Store.connect(settings.storage, Ahead(), tally)
    reads = []
    try:
        for _ in range(4):
            # Without jobs it looks at the clock first when it tidies up, after each chunk.
            times = iter([0.0, *[9.0] * 99])
            before = tally.by_kind().get("HEAD", 0)
            done = retain(later, max_s=5, clock=lambda times=times: next(times))  # type: ignore[misc]
            reads.append(tally.by_kind().get("HEAD", 0) - before)
            if done.is_done:
                break
            blob = store.blobs.read(RUNS, RETENTION_RECORD)
            assert blob is not None
            assert Passes.from_json(blob.body).note.startswith(DELETED)
        assert reads == [8, 8, 4, 0]
        assert done.is_done
        assert retain(later).num_tidied == 0
        assert tally.by_kind()["HEAD"] == 20  # for a week nothing is looked at again
    finally:
        store.blobs.delete(WORKSPACES, policy_file(workspace))
