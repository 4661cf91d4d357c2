"""What stays of checkpoints and what goes: torn uploads, older ones, and a worker that was asleep."""

from collections.abc import Callable
from pathlib import Path

import pytest

from dropsweep.errors import StorageUnavailable
from dropsweep.manifests import Inventory, delete_torn, label_of, whole_labels
from dropsweep.names import RUNS, JobKey
from dropsweep.settings import Settings
from dropsweep.storage import Store, Tally
from dropsweep_trainer.attempt.shipping import Shipper, Stream
from dropsweep_trainer.checkpoints.checkpointer import Checkpointer
from dropsweep_trainer.checkpoints.resuming import fetch_latest
from dropsweep_trainer.files.reported import Reported
from tests.emulator.deployment import until
from tests.emulator.faults import DIE_AFTER, DIE_BEFORE, Died, Fault, Faults


@pytest.fixture
def made(tmp_path: Path) -> Path:
    folder = tmp_path / "made"
    folder.mkdir()
    return folder


def make(folder: Path, name: str, **files: str) -> None:
    """Makes a checkpoint as a script does: under a hidden name, then renamed."""
    hidden = folder / f".{name}"
    hidden.mkdir()
    for file, text in (files or {"state": name}).items():
        (hidden / file).write_text(text)
    hidden.rename(folder / name)


def put_whole(store: Store, key: JobKey, folder: Path, label: str) -> None:
    """Puts a whole checkpoint of an earlier attempt into the storage."""
    attempt, number, name = label.split("-", 2)
    made = folder / f"earlier-{label}"
    made.mkdir()
    make(made, name, state=label)
    other = JobKey(key.workspace, key.experiment, "elsewhere")
    Checkpointer(store, other, 0, int(attempt), made, Reported(folder / "none")).finish()
    [found] = [one for one in whole_labels(store, other, 0) if one.startswith(f"{attempt}-")]
    for blob in list(store.blobs.list(RUNS, other.checkpoints(0))):
        body = store.blobs.read(RUNS, blob.name)
        assert body is not None
        target = blob.name.replace(other.checkpoints(0), key.checkpoints(0)).replace(found, label)
        store.blobs.put(RUNS, target, body.body)
        store.blobs.delete(RUNS, blob.name)
    assert int(number) > 0


def put_torn(store: Store, key: JobKey, label: str) -> None:
    store.blobs.put(RUNS, f"{key.checkpoint(0, label)}state", b"half")


def checkpointer(store: Store, key: JobKey, made: Path, attempt: int, **more: object) -> Checkpointer:
    return Checkpointer(store, key, 0, attempt, made, Reported(made / ".metrics"), **more)  # type: ignore[arg-type]


def folders(store: Store, key: JobKey) -> set[str]:
    """Every label of which anything is there, whole or torn."""
    names = (blob.name.removeprefix(key.checkpoints(0)) for blob in store.blobs.list(RUNS, key.checkpoints(0)))
    return {name.partition("/")[0].removesuffix(".manifest.json") for name in names}


def paths(store: Store, key: JobKey) -> list[str]:
    """Every blob among the checkpoints."""
    return [blob.name.removeprefix(key.checkpoints(0)) for blob in store.blobs.list(RUNS, key.checkpoints(0))]


def test_the_checkpoint_that_the_record_names_is_kept_beside_the_last_two(
    store: Store, key: JobKey, made: Path, tmp_path: Path
) -> None:
    for label in ("0001-000001-a", "0001-000002-b"):
        put_whole(store, key, tmp_path, label)
    second = checkpointer(store, key, made, 2, resumed_from="0001-000002-b")
    make(made, "c")
    second.finish()
    assert folders(store, key) == {"0001-000002-b", "0002-000001-c"}
    for name in "de":
        make(made, name)
        second.finish()
    assert folders(store, key) == {"0001-000002-b", "0002-000002-d", "0002-000003-e"}
    found = fetch_latest(store, key, 0, tmp_path / "resume")
    assert found is not None
    third = checkpointer(store, key, made, 3, resumed_from=found.label)
    make(made, "f")
    third.finish()
    assert folders(store, key) == {"0002-000003-e", "0003-000001-f"}


def test_an_attempt_without_a_checkpoint_removes_what_torn_uploads_left_and_nothing_else(
    store: Store, key: JobKey, made: Path, tmp_path: Path
) -> None:
    for label in ("0001-000001-a", "0001-000002-b"):
        put_whole(store, key, tmp_path, label)
    put_torn(store, key, "0001-000003-c")
    second = checkpointer(store, key, made, 2, resumed_from="0001-000002-b")
    second.finish()
    assert folders(store, key) == {"0001-000001-a", "0001-000002-b"}


def test_a_stale_attempt_deletes_nothing_once_a_later_one_has_begun_a_checkpoint(
    store: Store, key: JobKey, made: Path, tmp_path: Path
) -> None:
    for label in ("0001-000001-a", "0001-000002-b"):
        put_whole(store, key, tmp_path, label)
    put_torn(store, key, "0003-000001-x")  # being uploaded by the attempt that holds the claim
    stale = checkpointer(store, key, made, 2, resumed_from="0001-000002-b")
    make(made, "c")
    stale.finish()
    assert folders(store, key) == {"0001-000001-a", "0001-000002-b", "0002-000001-c", "0003-000001-x"}


def test_what_others_put_beside_the_checkpoints_is_left_alone(store: Store, key: JobKey, made: Path) -> None:
    store.blobs.put(RUNS, f"{key.checkpoints(0)}notes.txt", b"mine")
    put_torn(store, key, "0001-000001-a")
    checkpointer(store, key, made, 2).finish()
    assert folders(store, key) == {"notes.txt"}


@pytest.mark.usefixtures("store")
def test_a_first_attempt_pays_no_list_for_two_checkpoints_and_nothing_for_none(
    settings: Settings, key: JobKey, made: Path
) -> None:
    tally = Tally()
    first = checkpointer(Store.connect(settings.storage, tally), key, made, 1)
    first.finish()
    assert tally.total == 0
    for name in "ab":
        make(made, name)
        first.finish()
    assert tally.by_kind() == {"PUT": 4}


def test_a_torn_upload_is_tried_again_under_another_label_and_its_files_go(
    store: Store, key: JobKey, made: Path, tmp_path: Path
) -> None:
    is_fresh = False
    # The last heartbeat gets too old once the first of two files is up.
    first = checkpointer(store, key, made, 1, may_write=lambda: is_fresh or not folders(store, key))
    first.finish()  # ends the thread: what follows goes on here
    make(made, "a", one="1", two="2")
    with pytest.raises(StorageUnavailable, match="heartbeat"):
        first.finish()
    assert folders(store, key) == {"0001-000001-a"}
    assert whole_labels(store, key, 0) == []
    is_fresh = True
    make(made, "b", three="3")
    first.finish()
    assert folders(store, key) == {"0001-000002-b"}
    assert fetch_latest(store, key, 0, tmp_path / "resume") is not None
    assert [path.name for path in (tmp_path / "resume").iterdir()] == ["three"]


@pytest.mark.usefixtures("store")
def test_a_worker_that_was_asleep_writes_nothing_until_a_heartbeat_went_through(
    settings: Settings, key: JobKey, made: Path, tmp_path: Path
) -> None:
    tally = Tally()
    store = Store.connect(settings.storage, tally)
    is_fresh = False
    file = tmp_path / "out"
    file.write_text("said\n")
    make(made, "a")
    first = checkpointer(store, key, made, 1, may_write=lambda: is_fresh)
    shipper = Shipper([Stream(store, file, key.stdout(0, 1))], may_write=lambda: is_fresh)
    for finish in (first.finish, shipper.finish):
        with pytest.raises(StorageUnavailable, match="heartbeat"):
            finish()
    assert tally.total == 0
    is_fresh = True
    first.finish()
    shipper.finish()
    assert whole_labels(store, key, 0) == ["0001-000001-a"]
    assert store.blobs.read_range(RUNS, key.stdout(0, 1), 0) == b"said\n"


@pytest.mark.usefixtures("store")
def test_both_threads_wait_while_nothing_may_be_written_and_go_on_afterwards(
    settings: Settings, key: JobKey, made: Path, tmp_path: Path
) -> None:
    tally = Tally()
    store = Store.connect(settings.storage, tally)
    is_fresh, num_asked = False, 0

    def may_write() -> bool:
        nonlocal num_asked
        num_asked += 1
        return is_fresh

    (tmp_path / "out").write_text("said\n")
    make(made, "a")
    first = checkpointer(store, key, made, 1, may_write=may_write)
    shipper = Shipper([Stream(store, tmp_path / "out", key.stdout(0, 1))], may_write=may_write)
    until(lambda: num_asked >= 4)
    assert tally.total == 0
    is_fresh = True
    until(lambda: first.has_progressed)
    until(lambda: store.blobs.read_range(RUNS, key.stdout(0, 1), 0) == b"said\n")
    shipper.stop()
    first.abandon()


@pytest.mark.parametrize("change", ["write", "add", "remove"])
def test_a_checkpoint_that_changes_while_it_is_uploaded_gets_no_manifest(
    store: Store, key: JobKey, made: Path, tmp_path: Path, change: str
) -> None:
    changes: dict[str, Callable[[], object]] = {
        "write": lambda: (made / "a" / "one").write_text("changed"),
        "add": lambda: (made / "a" / "three").write_text("new"),
        "remove": lambda: (made / "a" / "one").unlink(),
    }

    def may_write() -> bool:
        if changes and folders(store, key):  # the first file was hashed and sent
            changes.pop(change)()
            changes.clear()
        return True

    first = checkpointer(store, key, made, 1, may_write=may_write)
    first.finish()  # ends the thread: what follows goes on here
    make(made, "a", one="1", two="2")
    first.finish()
    assert whole_labels(store, key, 0) == []
    first.finish()
    assert not changes
    assert folders(store, key) == {"0001-000002-a"}
    assert fetch_latest(store, key, 0, tmp_path / "resume") is not None
    same = {path.name: path.read_text() for path in (made / "a").iterdir()}
    assert {path.name: path.read_text() for path in (tmp_path / "resume").iterdir()} == same


NUM_REQUESTS = {"other": 5, "same": 5}
"""Of a third checkpoint of two files: they, the manifest, and the removal of the first: its manifest, its two files. Of
one with a third file that never changes: the same, for that stays where it is."""


@pytest.mark.parametrize("frozen", ["other", "same"])
@pytest.mark.parametrize("fault", [DIE_BEFORE, DIE_AFTER], ids=str)
def test_wherever_an_upload_dies_the_next_attempt_resumes_from_a_whole_one_and_leaves_no_orphan(
    settings: Settings, store: Store, key: JobKey, made: Path, tmp_path: Path, fault: Fault, frozen: str
) -> None:
    same = {"same": "never changes"} if frozen == "same" else {}
    num_before = 2 * 3 + len(same)
    resumed = []
    for number in range(NUM_REQUESTS[frozen]):
        job = JobKey(key.workspace, key.experiment, f"job-{number}")
        folder = made / f"job-{number}"
        folder.mkdir()
        dying = Faults(lambda at, _, number=number: fault if at == number + num_before else None)  # type: ignore[misc]
        first = checkpointer(Store.connect(settings.storage, dying), job, folder, 1)
        first.finish()  # ends the thread: what follows goes on here
        for name in "ab":
            make(folder, name, one=f"{name} 1", two=f"{name} 2", **same)
            first.finish()
        make(folder, "c", one="c 1", two="c 2", **same)
        with pytest.raises(Died):
            first.finish()
        found = fetch_latest(store, job, 0, tmp_path / f"resume-{number}")
        assert found is not None
        resumed.append(found.label.rpartition("-")[2])
        told = {path.name: path.read_text() for path in (tmp_path / f"resume-{number}").iterdir()}
        assert told == {"one": f"{resumed[-1]} 1", "two": f"{resumed[-1]} 2", **same}
        checkpointer(store, job, folder.parent / "none", 2, resumed_from=found.label).finish()
        whole = whole_labels(store, job, 0)
        assert found.label in whole
        assert len(whole) == 2
        # What is below another label is what these refer to.
        other = [path for path in paths(store, job) if not path.startswith(tuple(whole))]
        assert other == ([f"{label_of(1, 1, 'a')}/same"] if same and "0001-000001-a" not in whole else [])
        assert fetch_latest(store, job, 0, tmp_path / f"again-{number}") is not None
    when_whole = 3 if fault is DIE_BEFORE else 2
    assert resumed == ["b"] * when_whole + ["c"] * (NUM_REQUESTS[frozen] - when_whole)


def test_an_empty_folder_is_no_checkpoint(store: Store, key: JobKey, made: Path) -> None:
    first = checkpointer(store, key, made, 1)
    make(made, "a")
    (made / "a" / "state").unlink()
    first.finish()
    assert folders(store, key) == set()
    assert not first.has_progressed


def test_a_fallback_is_told_to_whom_it_concerns(store: Store, key: JobKey, tmp_path: Path) -> None:
    for label in ("0001-000001-a", "0001-000002-b"):
        put_whole(store, key, tmp_path, label)
    store.blobs.put(RUNS, f"{key.checkpoint(0, '0001-000002-b')}state", b"0001-000002-B")
    told: list[str] = []
    found = fetch_latest(store, key, 0, tmp_path / "resume", warn=told.append)
    assert found is not None
    assert found.label == "0001-000001-a"
    assert told == [
        "checkpoint 0001-000002-b is passed over for the one before it: state does not have the size and hash that its "
        "manifest gives"
    ]
    store.blobs.delete(RUNS, f"{key.checkpoint(0, '0001-000001-a')}state")
    assert fetch_latest(store, key, 0, tmp_path / "again", warn=told.append) is None
    assert told[-1].startswith("checkpoint 0001-000001-a is passed over for a start from the beginning")
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize("fault", [DIE_BEFORE, DIE_AFTER], ids=str)
@pytest.mark.parametrize("at", [0, 1])
def test_a_worker_that_dies_while_it_deletes_leaves_no_checkpoint_whole_that_lacks_a_file(
    settings: Settings, store: Store, key: JobKey, tmp_path: Path, fault: Fault, at: int
) -> None:
    for label in ("0001-000001-a", "0001-000002-b"):
        put_whole(store, key, tmp_path, label)
    faults = Faults(lambda number, _: fault if number == at + 1 else None)  # after the list
    inventory = Inventory(Store.connect(settings.storage, faults), key, 0)
    inventory.look()
    with pytest.raises(Died):
        inventory.delete_all_but([], lambda: None)
    there = paths(store, key)
    for label in whole_labels(store, key, 0):
        assert f"{label}/state" in there
    is_begun = (at, fault) != (0, DIE_BEFORE)
    assert bool(whole_labels(store, key, 0)) is not is_begun
    delete_torn(store, key, 0)
    assert len(paths(store, key)) == (0 if is_begun else 4)
