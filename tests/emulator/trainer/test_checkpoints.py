import json
import os
from pathlib import Path

import pytest

from dropsweep.manifests import whole_labels
from dropsweep.names import RUNS, JobKey
from dropsweep.storage import Store
from dropsweep_trainer.checkpoints.checkpointer import Checkpointer
from dropsweep_trainer.checkpoints.resuming import fetch_latest
from dropsweep_trainer.files.reported import Reported


@pytest.fixture
def made(tmp_path: Path) -> Path:
    folder = tmp_path / "made"
    folder.mkdir()
    return folder


@pytest.fixture
def metrics(tmp_path: Path) -> Path:
    return tmp_path / "metrics.jsonl"


def make(folder: Path, name: str, text: str) -> None:
    """Makes a checkpoint as a script does: under a hidden name, then renamed."""
    hidden = folder / f".{name}"
    (hidden / "deep").mkdir(parents=True)
    (hidden / "state").write_text(text)
    (hidden / "deep" / "more").write_text(text * 2)
    hidden.rename(folder / name)


def upload(store: Store, key: JobKey, made: Path, metrics: Path, attempt: int = 1) -> None:
    Checkpointer(store, key, 0, attempt, made, Reported(metrics)).finish()


def test_a_checkpoint_comes_back_as_it_was_with_the_metrics_of_its_time(
    store: Store, key: JobKey, made: Path, metrics: Path, tmp_path: Path
) -> None:
    metrics.write_text('{"step": 1, "score": 0.5}\n{"step": 2, "score": 0.75}\n')
    make(made, "step-2", "two")
    upload(store, key, made, metrics)
    found = fetch_latest(store, key, 0, tmp_path / "resume")
    assert found is not None
    assert (found.label, found.metrics) == ("0001-000001-step-2", {"score": 0.75})
    assert (tmp_path / "resume" / "state").read_text() == "two"
    assert (tmp_path / "resume" / "deep" / "more").read_text() == "twotwo"


def test_what_has_no_manifest_does_not_exist(store: Store, key: JobKey, tmp_path: Path) -> None:
    store.blobs.put(RUNS, f"{key.checkpoint(0, '0001-000001-torn')}state", b"half")
    assert whole_labels(store, key, 0) == []
    assert fetch_latest(store, key, 0, tmp_path / "resume") is None
    assert not (tmp_path / "resume").exists()


def test_hidden_folders_and_plain_files_are_no_checkpoints(
    store: Store, key: JobKey, made: Path, metrics: Path
) -> None:
    (made / ".unfinished").mkdir()
    (made / "file").write_text("x")
    os.symlink("/etc", made / "link")
    upload(store, key, made, metrics)
    assert list(store.blobs.list(RUNS, key.checkpoints(0))) == []


def test_the_last_two_are_kept_here_and_there(store: Store, key: JobKey, made: Path, metrics: Path) -> None:
    checkpointer = Checkpointer(store, key, 0, 1, made, Reported(metrics))
    checkpointer.finish()
    for number in range(4):
        make(made, f"step-{number}", str(number))
        os.utime(made / f"step-{number}", ns=(number, number))
        checkpointer.finish()
    assert whole_labels(store, key, 0) == ["0001-000003-step-2", "0001-000004-step-3"]
    blobs = [blob.name.removeprefix(key.checkpoints(0)) for blob in store.blobs.list(RUNS, key.checkpoints(0))]
    assert all(name.startswith(("0001-000003-step-2", "0001-000004-step-3")) for name in blobs)
    assert sorted(path.name for path in made.iterdir()) == ["step-2", "step-3"]


def test_a_checkpoint_is_uploaded_once_and_again_when_another_takes_its_name(
    store: Store, key: JobKey, made: Path, metrics: Path, tmp_path: Path
) -> None:
    checkpointer = Checkpointer(store, key, 0, 1, made, Reported(metrics))
    make(made, "last", "one")
    checkpointer.finish()
    checkpointer.finish()
    assert whole_labels(store, key, 0) == ["0001-000001-last"]
    (made / "last").rename(made / ".old")
    make(made, "last", "two")
    checkpointer.finish()
    assert whole_labels(store, key, 0) == ["0001-000001-last", "0001-000002-last"]
    assert fetch_latest(store, key, 0, tmp_path / "resume") is not None
    assert (tmp_path / "resume" / "state").read_text() == "two"


@pytest.mark.parametrize(
    "damage", ["other content", "missing file", "manifest that is not JSON", "../../escaped", "a\0b", "x" * 300]
)
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(
    store: Store, key: JobKey, made: Path, metrics: Path, tmp_path: Path, damage: str
) -> None:
    make(made, "good", "good")
    upload(store, key, made, metrics, attempt=1)
    make(made, "later", "later")
    os.utime(made / "later")
    upload(store, key, made, metrics, attempt=2)
    label = "0002-000001-later"
    assert whole_labels(store, key, 0)[-1] == label
    if damage == "other content":
        store.blobs.put(RUNS, f"{key.checkpoint(0, label)}state", b"LATER")
    elif damage == "missing file":
        store.blobs.delete(RUNS, f"{key.checkpoint(0, label)}deep/more")
    elif damage != "manifest that is not JSON":
        manifest = {"version": 1, "files": [{"path": damage, "size_bytes": 1, "sha256": "0"}]}
        store.blobs.put(RUNS, key.manifest(0, label), json.dumps(manifest).encode())
    else:
        store.blobs.put(RUNS, key.manifest(0, label), b"{")
    found = fetch_latest(store, key, 0, tmp_path / "resume")
    assert found is not None
    assert found.label == "0001-000001-good"
    assert (tmp_path / "resume" / "state").read_text() == "good"
    assert not (tmp_path.parent / "escaped").exists()


def test_an_abandoned_upload_leaves_nothing_whole(store: Store, key: JobKey, made: Path, metrics: Path) -> None:
    checkpointer = Checkpointer(store, key, 0, 1, made, Reported(metrics))
    checkpointer.abandon()
    make(made, "late", "late")
    checkpointer.finish()
    assert whole_labels(store, key, 0) == []
