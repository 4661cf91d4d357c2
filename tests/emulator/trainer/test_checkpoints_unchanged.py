"""What has not changed since the checkpoint before does not go up again, and stays for as long as it is needed."""

import logging
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from dropsweep.client import Client
from dropsweep.client.transfer import download
from dropsweep.manifests import Manifest, delete_torn, whole_labels
from dropsweep.names import RUNS, JobKey
from dropsweep.settings import Settings
from dropsweep.storage import SINGLE_PUT_BYTES, Store, Tally
from dropsweep_trainer.checkpoints import checkpointer as checkpointer_module
from dropsweep_trainer.checkpoints.checkpointer import Checkpointer
from dropsweep_trainer.checkpoints.contents import Known
from dropsweep_trainer.checkpoints.rate import Rate
from dropsweep_trainer.checkpoints.resuming import Checkpoint, fetch_latest
from dropsweep_trainer.files.reported import Reported
from tests.emulator.deployment import until

LARGE = bytes(range(256)) * (SINGLE_PUT_BYTES // 256 + 1)
"""A little too large for one request."""


class Trial:
    """One trial whose script makes checkpoints, attempt for attempt."""

    def __init__(self, store: Store, key: JobKey, folder: Path) -> None:
        self.store, self.key, self.folder = store, key, folder
        self.num_made = 0

    def attempt(self, number: int, resumed: Checkpoint | None = None, store: Store | None = None) -> Checkpointer:
        """Begins an attempt, whose thread has ended: what follows goes on here."""
        made = self.folder / f"attempt-{number}"
        made.mkdir()
        checkpointer = Checkpointer(
            store or self.store,
            self.key,
            0,
            number,
            made,
            Reported(made / ".metrics"),
            resumed_from=resumed.label if resumed else "",
            known=resumed.known if resumed else None,
        )
        checkpointer.finish()
        return checkpointer

    def make(self, checkpointer: Checkpointer, attempt: int, **files: str | bytes) -> None:
        """Makes a checkpoint as a script does, and has it uploaded."""
        self.num_made += 1
        made = self.folder / f"attempt-{attempt}"
        hidden = made / ".new"
        hidden.mkdir()
        for name, content in files.items():
            (hidden / name).write_bytes(content.encode() if isinstance(content, str) else content)
        hidden.rename(made / f"step-{self.num_made}")
        os.utime(made / f"step-{self.num_made}", ns=(self.num_made, self.num_made))
        checkpointer.finish()

    def resume(self, name: str = "resume") -> Checkpoint:
        found = fetch_latest(self.store, self.key, 0, self.folder / name)
        assert found is not None
        return found

    def content(self, name: str = "resume") -> dict[str, str]:
        return {path.name: path.read_text() for path in (self.folder / name).iterdir()}

    def blobs(self) -> set[str]:
        """What lies among the checkpoints, without the manifests."""
        folder = self.key.checkpoints(0)
        names = {blob.name.removeprefix(folder) for blob in self.store.blobs.list(RUNS, folder)}
        return {name for name in names if not name.endswith(".manifest.json")}

    def references(self) -> Mapping[str, str]:
        """Where the newest checkpoint's files lie; empty: with itself."""
        blob = self.store.blobs.read(RUNS, self.key.manifest(0, whole_labels(self.store, self.key, 0)[-1]))
        assert blob is not None
        return {file.path: file.blob for file in Manifest.from_json(blob.body).files}


@pytest.fixture
def trial(store: Store, key: JobKey, tmp_path: Path) -> Trial:
    return Trial(store, key, tmp_path)


def test_a_file_that_has_not_changed_goes_up_once_and_comes_back_with_each_checkpoint(
    trial: Trial, settings: Settings
) -> None:
    tally = Tally()
    first = trial.attempt(1, store=Store.connect(settings.storage, tally))
    trial.make(first, 1, frozen="ice", state="one")
    before = tally.total
    trial.make(first, 1, frozen="ice", state="two")
    assert tally.total - before == 2  # what changed, and the manifest
    assert trial.references() == {"frozen": "0001-000001-step-1/frozen", "state": ""}
    assert trial.resume().label == "0001-000002-step-2"
    assert trial.content() == {"frozen": "ice", "state": "two"}


def test_a_first_checkpoint_s_like_files_lie_there_each_by_its_own_name(trial: Trial) -> None:
    trial.make(trial.attempt(1), 1, one="same", two="same", three="")
    assert trial.blobs() == {f"0001-000001-step-1/{name}" for name in ("one", "two", "three")}


def test_a_file_under_another_name_or_written_anew_is_known_by_what_it_holds(trial: Trial) -> None:
    first = trial.attempt(1)
    trial.make(first, 1, a="content", b="other")
    trial.make(first, 1, c="content", b="other")
    assert trial.references() == {"b": "0001-000001-step-1/b", "c": "0001-000001-step-1/a"}
    trial.resume()
    assert trial.content() == {"b": "other", "c": "content"}


def test_a_file_of_the_same_size_time_and_name_that_holds_something_else_goes_up(trial: Trial) -> None:
    first = trial.attempt(1)
    trial.make(first, 1, state="one")
    stat = (trial.folder / "attempt-1/step-1/state").stat()
    new = trial.folder / "attempt-1/.new"
    new.mkdir()
    (new / "state").write_text("two")
    os.utime(new / "state", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    new.rename(trial.folder / "attempt-1/step-2")
    first.finish()
    assert trial.references() == {"state": ""}
    trial.resume()
    assert trial.content() == {"state": "two"}


@pytest.mark.parametrize("changed_at", [None, 0, len(LARGE) - 1], ids=["nowhere", "at its head", "at its end"])
def test_a_large_file_goes_up_again_exactly_when_it_has_changed(
    trial: Trial, settings: Settings, changed_at: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    tally = Tally()
    first = trial.attempt(1, store=Store.connect(settings.storage, tally))
    trial.make(first, 1, large=LARGE)
    new = bytearray(LARGE)
    if changed_at is not None:
        new[changed_at] ^= 1
    before = tally.total
    trial.make(first, 1, large=bytes(new))
    is_same = changed_at is None
    size = f"{len(LARGE) / 2**20:.1f} MiB"
    told = f"0.0 MiB sent and {size} taken over in " if is_same else f"{size} sent and 0.0 MiB taken over in "
    assert f"checkpoint 0001-000002-step-2 is whole: {told}" in caplog.text
    assert tally.total - before == (1 if is_same else 1 + 3)  # the manifest; two blocks, and their list
    assert trial.references() == {"large": "0001-000001-step-1/large" if is_same else ""}
    trial.resume()
    assert (trial.folder / "resume/large").read_bytes() == new


def test_what_a_kept_checkpoint_refers_to_outlives_the_one_that_brought_it_and_then_goes(trial: Trial) -> None:
    first = trial.attempt(1)
    for step in range(5):
        trial.make(first, 1, frozen="ice", state=f"{step}")
    assert whole_labels(trial.store, trial.key, 0) == ["0001-000004-step-4", "0001-000005-step-5"]
    assert trial.blobs() == {
        "0001-000001-step-1/frozen",
        "0001-000004-step-4/state",
        "0001-000005-step-5/state",
    }
    trial.resume()
    assert trial.content() == {"frozen": "ice", "state": "4"}
    for step in range(2):
        trial.make(first, 1, frozen="water", state=f"{step}")
    assert trial.blobs() == {
        "0001-000006-step-6/frozen",
        "0001-000006-step-6/state",
        "0001-000007-step-7/state",
    }


def test_attempt_after_attempt_refers_to_what_the_first_one_brought(trial: Trial) -> None:
    first = trial.attempt(1)
    for step in range(3):
        trial.make(first, 1, frozen="ice", large=LARGE, state=f"{step}")
    for number in range(2, 5):
        resumed = trial.resume(f"resume-{number}")
        later = trial.attempt(number, resumed)
        for step in range(2):
            trial.make(later, number, frozen="ice", large=LARGE, state=f"{number} {step}")
        brought = {name for name in trial.blobs() if not name.endswith("/state")}
        assert brought == {"0001-000001-step-1/frozen", "0001-000001-step-1/large"}
        assert resumed.label in whole_labels(trial.store, trial.key, 0)
    trial.resume("last")
    assert (trial.folder / "last/state").read_text() == "4 1"
    assert (trial.folder / "last/large").read_bytes() == LARGE


def test_after_a_fallback_all_goes_up_anew(trial: Trial) -> None:
    first = trial.attempt(1)
    trial.make(first, 1, frozen="ice", state="one")
    trial.make(first, 1, frozen="ice", state="two")
    trial.store.blobs.delete(RUNS, f"{trial.key.checkpoint(0, '0001-000002-step-2')}state")
    resumed = trial.resume()
    assert (resumed.label, resumed.known) == ("0001-000001-step-1", Known())
    trial.make(trial.attempt(2, resumed), 2, frozen="ice", state="three")
    assert trial.references() == {"frozen": "", "state": ""}


def test_a_checkpoint_whose_older_file_is_gone_is_passed_over(trial: Trial) -> None:
    first = trial.attempt(1)
    trial.make(first, 1, frozen="ice", state="one")
    trial.make(first, 1, frozen="ice", state="two")
    trial.store.blobs.delete(RUNS, f"{trial.key.checkpoint(0, '0001-000001-step-1')}frozen")
    told: list[str] = []
    assert fetch_latest(trial.store, trial.key, 0, trial.folder / "resume", warn=told.append) is None
    assert [line.split()[1] for line in told] == ["0001-000002-step-2", "0001-000001-step-1"]


def test_the_end_of_a_trial_leaves_what_its_checkpoints_refer_to(trial: Trial) -> None:
    first = trial.attempt(1)
    for step in range(3):
        trial.make(first, 1, frozen="ice", state=f"{step}")
    before = trial.blobs()
    trial.store.blobs.put(RUNS, f"{trial.key.checkpoint(0, '0001-000004-torn')}state", b"half")
    delete_torn(trial.store, trial.key, 0)
    assert trial.blobs() == before
    assert "0001-000001-step-1/frozen" in before


def test_when_nobody_can_tell_what_a_kept_checkpoint_refers_to_nothing_is_deleted(trial: Trial) -> None:
    first = trial.attempt(1)
    for step in range(3):
        trial.make(first, 1, frozen="ice", state=f"{step}")
    trial.store.blobs.put(RUNS, trial.key.manifest(0, "0001-000003-step-3"), b'{"version": 99}')
    before = trial.blobs()
    delete_torn(trial.store, trial.key, 0)
    assert trial.blobs() == before


def test_small_checkpoints_that_are_not_kept_go_together_and_cost_next_to_nothing(
    trial: Trial, settings: Settings
) -> None:
    tally = Tally()
    made = trial.folder / "attempt-1"
    made.mkdir()
    store = Store.connect(settings.storage, tally)
    checkpointer = Checkpointer(store, trial.key, 0, 1, made, Reported(made / ".metrics"))
    num = 6
    for number in range(1, num + 1):
        (made / ".new").mkdir()
        (made / ".new/state").write_text(f"{number}")
        (made / ".new").rename(made / f"step-{number}")
        os.utime(made / f"step-{number}", ns=(number, number))
        until(lambda number=number: len(whole_labels(trial.store, trial.key, 0)) == number)  # type: ignore[misc]
    assert tally.by_kind() == {"PUT": 2 * num}
    checkpointer.finish()
    assert tally.by_kind() == {"PUT": 2 * num, "POST batch": 2}
    assert len(whole_labels(trial.store, trial.key, 0)) == 2


def test_a_rate_holds_a_checkpoint_back_until_the_trial_has_ended(trial: Trial) -> None:
    made = trial.folder / "attempt-1"
    made.mkdir()
    (made / "step-1").mkdir()
    for name in "ab":
        (made / "step-1" / name).write_text(name)
    share = Rate(1e-6, now_s=lambda: 0.0).share()  # the first file goes at once, the second one never
    checkpointer = Checkpointer(trial.store, trial.key, 0, 1, made, Reported(made / ".metrics"), share=share)
    until(lambda: trial.blobs() == {"0001-000001-step-1/a"})
    assert not checkpointer.has_progressed
    checkpointer.finish()
    assert checkpointer.has_progressed
    trial.resume()
    assert trial.content() == {"a": "a", "b": "b"}


def test_an_attempt_that_is_abandoned_while_its_rate_holds_it_back_ends(trial: Trial) -> None:
    made = trial.folder / "attempt-1"
    made.mkdir()
    (made / "step-1").mkdir()
    for name in "ab":
        (made / "step-1" / name).write_text(name)
    share = Rate(1e-6, now_s=lambda: 0.0).share()
    checkpointer = Checkpointer(trial.store, trial.key, 0, 1, made, Reported(made / ".metrics"), share=share)
    until(lambda: trial.blobs() == {"0001-000001-step-1/a"})
    checkpointer.abandon()
    assert whole_labels(trial.store, trial.key, 0) == []


def test_a_download_of_the_trial_has_every_checkpoint_as_a_whole(
    trial: Trial, connection_string: str, tmp_path: Path
) -> None:
    first = trial.attempt(1)
    for step in range(4):
        trial.make(first, 1, frozen="ice", state=f"{step}")
    assert "0001-000003-step-3/frozen" not in trial.blobs()
    client = Client.from_connection_string(connection_string)
    names = [blob.name for blob in trial.store.blobs.list(RUNS, trial.key.checkpoints(0))]
    for is_alone in (False, True):  # with the older checkpoint's folder, and without it
        some = [name for name in names if not (is_alone and "/0001-000001-" in name)]
        done = download(client._get, trial.key, some, tmp_path / f"home-{is_alone}")
        assert done.refused == ()
        for step in (2, 3):
            folder = done.folder / "trials/0000000/checkpoints" / f"0001-00000{step + 1}-step-{step + 1}"
            assert {path.name: path.read_text() for path in folder.iterdir()} == {"frozen": "ice", "state": f"{step}"}


@pytest.mark.parametrize("limit", ["_NUM_LATE", "_LATE_BYTES"])
def test_old_checkpoints_that_are_many_or_large_go_while_the_trial_runs(
    trial: Trial, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(checkpointer_module, "_INTERVAL_S", 0.05)
    monkeypatch.setattr(checkpointer_module, limit, 2 if limit == "_NUM_LATE" else 2 * len("1"))
    made = trial.folder / "attempt-1"
    made.mkdir()
    checkpointer = Checkpointer(trial.store, trial.key, 0, 1, made, Reported(made / ".metrics"))
    for number in range(1, 7):
        (made / ".new").mkdir()
        (made / ".new/state").write_text(f"{number}")
        (made / ".new").rename(made / f"step-{number}")
        os.utime(made / f"step-{number}", ns=(number, number))
        num_late = {"_NUM_LATE": (0, 0, 1, 0, 1, 0), "_LATE_BYTES": (0, 0, 1, 2, 0, 1)}[limit][number - 1]
        first = max(1, number - 1 - num_late)
        expected = [f"0001-{one:06}-step-{one}" for one in range(first, number + 1)]
        until(lambda expected=expected: whole_labels(trial.store, trial.key, 0) == expected)  # type: ignore[misc]
    checkpointer.abandon()


def test_what_a_stale_worker_s_last_request_brought_goes_with_the_end_of_the_next_attempt(trial: Trial) -> None:
    first = trial.attempt(1)
    trial.make(first, 1, frozen="ice", state="one")
    resumed = trial.resume()
    second = trial.attempt(2, resumed)
    for name in ("0001-000002-late/state", "0001-000002-late.manifest.json"):
        trial.store.blobs.put(RUNS, f"{trial.key.checkpoints(0)}{name}", b"late")
    for step in ("two", "three"):
        trial.make(second, 2, frozen="ice", state=step)
    assert trial.blobs() == {
        "0001-000001-step-1/frozen",
        "0001-000001-step-1/state",
        "0002-000001-step-2/state",
        "0002-000002-step-3/state",
    }
    assert whole_labels(trial.store, trial.key, 0) == [resumed.label, "0002-000001-step-2", "0002-000002-step-3"]


def test_an_empty_file_does_not_go_up_again_after_a_resume_either(trial: Trial) -> None:
    trial.make(trial.attempt(1), 1, empty="", state="one")
    resumed = trial.resume()
    trial.make(trial.attempt(2, resumed), 2, empty="", state="two")
    assert trial.references() == {"empty": "0001-000001-step-1/empty", "state": ""}
