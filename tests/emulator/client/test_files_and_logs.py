"""Downloads stay below their folder, and logs are followed from attempt to attempt."""

import threading
from pathlib import Path

import pytest

from dropsweep.errors import DropsweepError, NotFoundError
from dropsweep.names import RUNS
from dropsweep.records import JobRecord
from dropsweep.states import JobReason, TrialReason
from tests.emulator.client.conftest import World

BOTH_WAYS = True


def tree(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def results(world: World, sweep: JobRecord) -> JobRecord:
    key = sweep.key
    world.file(key.results, "trial\n")
    world.file(key.report, "<html>")
    world.file(key.stdout(1, 2), "hello\n")
    world.file(f"{key.outputs(1, 2)}model/weights.bin", bytes(range(256)) * 40)
    world.file(f"{key.checkpoints(1)}5/model.pt", "c")
    world.file(key.stdout(0, 1), "other\n")
    return sweep


def test_a_download_holds_the_results_and_no_trial(world: World, results: JobRecord, tmp_path: Path) -> None:
    done = world.client.download(results.key, tmp_path / "new" / "folder")
    assert tree(done.folder) == {"job.json", "results.csv", "report.html"}
    assert (done.num_files, done.refused) == (3, ())
    assert done.size_bytes == sum(path.stat().st_size for path in done.folder.iterdir())


def test_a_trials_files_come_with_it_when_asked_for(world: World, results: JobRecord, tmp_path: Path) -> None:
    world.client.download(results.key, tmp_path, trial=1)
    assert tree(tmp_path) - {"job.json", "results.csv", "report.html"} == {
        "records/0000/0000001.json",
        "trials/0000001/attempts/2/stdout.txt",
        "trials/0000001/attempts/2/outputs/model/weights.bin",
        "trials/0000001/checkpoints/5/model.pt",
    }
    weights = tmp_path / "trials/0000001/attempts/2/outputs/model/weights.bin"
    assert weights.read_bytes() == bytes(range(256)) * 40
    with pytest.raises(NotFoundError, match="has no trial 9"):
        world.client.download(results.key, tmp_path, trial=9)


def test_everything_is_every_blob_of_the_job(world: World, results: JobRecord, tmp_path: Path) -> None:
    world.client.download(results.key, tmp_path, everything=True)
    names = {found.name for found in world.store.blobs.list(RUNS, f"{results.key.path}/")}
    assert {f"{results.key.path}/{name}" for name in tree(tmp_path)} == names


def test_a_file_is_replaced_by_a_later_download(world: World, results: JobRecord, tmp_path: Path) -> None:
    (tmp_path / "results.csv").write_text("old and longer than the new one")
    world.client.download(results.key, tmp_path)
    assert (tmp_path / "results.csv").read_text() == "trial\n"


def test_a_folder_holds_the_files_of_one_job(world: World, results: JobRecord, tmp_path: Path) -> None:
    world.client.download(results.key, tmp_path)
    other = world.job(world.key("other"))
    world.file(other.key.results, "other\n")
    with pytest.raises(DropsweepError, match=f"holds files of {results.key.path}: a folder is for one job"):
        world.client.download(other.key, tmp_path)
    assert (tmp_path / "results.csv").read_text() == "trial\n"
    assert world.client.download(results.key, tmp_path).num_files == 3


@pytest.mark.parametrize(
    "hostile", ["a//b", "a/\\..\\..\\x", "a\tb", "x" * 300, "e/%2e%2e/x", "~/x", "-rf", "a/... /x", "nul\u202ename"]
)
def test_hostile_names_stay_below_the_folder_or_are_left_out(
    world: World, results: JobRecord, tmp_path: Path, hostile: str
) -> None:
    world.file(f"{results.key.outputs(1, 2)}{hostile}", "x")
    destination = tmp_path / "inner" / "destination"
    done = world.client.download(results.key, destination, trial=1)
    assert "trials/0000001/attempts/2/stdout.txt" in tree(destination)
    assert tree(tmp_path) == {f"inner/destination/{name}" for name in tree(destination)}
    assert len(done.refused) + done.num_files == 8


def test_a_link_that_lies_in_the_folder_is_not_written_through(
    world: World, results: JobRecord, tmp_path: Path
) -> None:
    outside, destination = tmp_path / "outside", tmp_path / "destination"
    outside.mkdir()
    destination.mkdir()
    (outside / "secret").write_text("kept")
    (destination / "trials").symlink_to(outside)
    (destination / "results.csv").symlink_to(outside / "secret")
    done = world.client.download(results.key, destination, trial=1)
    assert tree(outside) == {"secret"}
    assert (outside / "secret").read_text() == "kept"
    assert (destination / "results.csv").read_text() == "trial\n"
    assert len(done.refused) == 3


def test_a_blob_beside_a_folder_of_its_name_does_not_stop_the_rest(
    world: World, results: JobRecord, tmp_path: Path
) -> None:
    outputs = results.key.outputs(1, 2)
    for name in ("both", "both/inner", "last"):
        world.file(f"{outputs}{name}", "x")
    done = world.client.download(results.key, tmp_path, trial=1)
    assert len(done.refused) == 1
    assert f"{outputs}last".removeprefix(f"{results.key.path}/") in tree(tmp_path)


def test_logs_are_those_of_the_latest_attempt_unless_one_is_named(world: World, results: JobRecord) -> None:
    key = results.key
    world.file(key.stdout(1, 1), "first\n")
    world.file(key.stderr(1, 2), b"\xff\x00")
    assert b"".join(world.client.logs(key, 1)) == b"hello\n"
    assert b"".join(world.client.logs(key, 1, attempt=1)) == b"first\n"
    assert b"".join(world.client.logs(key, 1, stream="stderr")) == b"\xff\x00"
    assert b"".join(world.client.logs(key, 3)) == b""
    with pytest.raises(NotFoundError, match="has 2 attempts"):
        list(world.client.logs(key, 1, attempt=3))


def test_logs_of_a_trial_that_cannot_have_any_are_refused(world: World) -> None:
    record = world.job()
    with pytest.raises(NotFoundError, match="has not begun"):
        list(world.client.logs(record.key, 0))
    with pytest.raises(NotFoundError, match="no trial 4"):
        list(world.client.logs(record.key, 4, follow=True))
    world.finish(world.write(record.moved(JobReason.CANCEL_REQUESTED)), JobReason.CANCELLED_BY_REQUEST)
    with pytest.raises(NotFoundError, match="has not begun"):
        list(world.client.logs(record.key, 0, follow=True))


def test_following_waits_for_the_trial_and_goes_through_its_attempts_to_the_end(world: World) -> None:
    key = world.job().key
    append = world.store.blobs.append
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.extend(world.client.logs(key, 0, follow=True)))
    reader.start()
    world.trial(0, TrialReason.CLAIMED)
    append(RUNS, key.stdout(0, 1), b"one\n", 0)
    append(RUNS, key.stdout(0, 1), b"two\n", 4)
    while b"".join(got) != b"one\ntwo\n":
        reader.join(0.05)
        assert reader.is_alive()
    append(RUNS, key.stdout(0, 1), b"lost?\n", 8)
    world.trial(0, TrialReason.CLAIMED, attempt=2)
    append(RUNS, key.stdout(0, 2), b"again\n", 0)
    world.trial(0, metric=1.0, attempt=2)
    reader.join(60)
    assert not reader.is_alive()
    assert b"".join(got) == b"one\ntwo\nlost?\nagain\n"
