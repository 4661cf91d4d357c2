import os
from pathlib import Path

import pytest
from azure.core.rest import HttpRequest

from dropsweep.names import RUNS, JobKey
from dropsweep.settings import Settings
from dropsweep.storage import Store, Tally
from dropsweep_trainer.attempt import shipping
from dropsweep_trainer.attempt.shipping import Shipper, Stream
from tests.emulator.deployment import until
from tests.emulator.faults import LoseAnswer


def test_what_is_written_can_be_read_while_it_is_written(store: Store, key: JobKey, tmp_path: Path) -> None:
    file, blob = tmp_path / "out", key.stdout(0, 1)
    shipper = Shipper([Stream(store, file, blob)])
    file.write_text("one\n")
    until(lambda: store.blobs.read_range(RUNS, blob, 0) == b"one\n")
    with file.open("a") as stream:
        stream.write("two, unfinished")
    until(lambda: store.blobs.read_range(RUNS, blob, 0) == b"one\ntwo, unfinished")
    with file.open("a") as stream:
        stream.write("\nthree\n")
    shipper.finish()
    assert store.blobs.read_range(RUNS, blob, 0) == b"one\ntwo, unfinished\nthree\n"


def test_a_short_trial_s_log_costs_one_operation_and_an_empty_one_none(
    settings: Settings, store: Store, key: JobKey, tmp_path: Path
) -> None:
    tally = Tally()
    counted = Store.connect(settings.storage, tally)
    (tmp_path / "out").write_text("short\n")
    (tmp_path / "err").write_text("")
    streams = [Stream(counted, tmp_path / name, f"{key.path}/{name}") for name in ("out", "err", "absent")]
    Shipper(streams).finish()
    assert tally.by_kind() == {"PUT": 1}
    assert store.blobs.read_range(RUNS, f"{key.path}/out", 0) == b"short\n"
    assert store.blobs.head(RUNS, f"{key.path}/err") is None


def test_a_large_log_goes_up_in_pieces(store: Store, key: JobKey, tmp_path: Path) -> None:
    text = bytes(range(256)) * 40_000
    (tmp_path / "out").write_bytes(text)
    Shipper([Stream(store, tmp_path / "out", key.stdout(0, 1))]).finish()
    assert store.blobs.read_range(RUNS, key.stdout(0, 1), 0) == text


def test_an_append_whose_answer_was_lost_is_not_repeated(
    settings: Settings, store: Store, key: JobKey, tmp_path: Path
) -> None:
    def is_second_append(request: HttpRequest) -> bool:
        return "appendblock" in request.url and request.headers.get("x-ms-blob-condition-appendpos") == "4"

    fault = LoseAnswer(is_second_append)
    file = tmp_path / "out"
    stream = Stream(Store.connect(settings.storage, fault), file, key.stdout(0, 1))
    file.write_text("one\n")
    stream.ship()
    file.write_text("one\ntwo\n")
    stream.ship()
    file.write_text("one\ntwo\nthree\n")
    stream.finish()
    assert fault.num_lost == 1
    assert store.blobs.read_range(RUNS, key.stdout(0, 1), 0) == b"one\ntwo\nthree\n"


def test_a_log_that_somebody_else_writes_to_is_left_alone(store: Store, key: JobKey, tmp_path: Path) -> None:
    store.blobs.append(RUNS, key.stdout(0, 1), b"theirs", 0)
    (tmp_path / "out").write_text("mine")
    stream = Stream(store, tmp_path / "out", key.stdout(0, 1))
    assert not stream.ship()
    assert store.blobs.read_range(RUNS, key.stdout(0, 1), 0) == b"theirs"


def test_what_is_written_after_the_end_is_left_out_and_does_no_harm(store: Store, key: JobKey, tmp_path: Path) -> None:
    file, blob = tmp_path / "out", key.stdout(0, 1)
    stream = Stream(store, file, blob)
    file.write_text("in time\n")
    stream.finish()
    with file.open("a") as late:
        late.write("too late\n")
    stream.finish()
    assert store.blobs.read_range(RUNS, blob, 0) == b"in time\n"


def test_of_a_file_that_says_it_is_huge_the_beginning_is_kept(
    store: Store, key: JobKey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipping, "_MAX_BYTES", 10_000_000)
    file, blob = tmp_path / "out", key.stdout(0, 1)
    file.write_bytes(b"begins")
    os.truncate(file, 2**40)
    Stream(store, file, blob).finish()
    head = store.blobs.head(RUNS, blob)
    assert head is not None
    assert head.size_bytes == 10_000_000
