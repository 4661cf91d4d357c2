"""Each operation under each kind of trouble ends as it does without: the same outcome, the same content."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from azure.core.rest import HttpRequest

from dropsweep.names import RUNS
from dropsweep.settings import Settings
from dropsweep.storage import Blobs, Store
from tests.emulator.faults import (
    APPLIED,
    BUSY,
    DIE_AFTER,
    DIE_BEFORE,
    LOST_ANSWER,
    NOT_APPLIED,
    RESET,
    Died,
    FastClock,
    Fault,
    Faults,
)

Trouble = Sequence[Fault]
Script = Callable[[int, HttpRequest], Fault | None]


@pytest.fixture
def folder(workspace: str) -> str:
    """A new one each time that the test runs an operation."""
    return f"{workspace}/"


def burst(trouble: Trouble) -> Script:
    num_faults = max(4, len(trouble))
    return lambda number, _: trouble[number % len(trouble)] if number < num_faults else None


def by_turns(trouble: Trouble) -> Script:
    """Every second request, so that the second step of an operation and its second thoughts are hit too."""
    num_faults = max(6, len(trouble))
    return lambda number, _: (
        trouble[number // 2 % len(trouble)] if number % 2 == 0 and number < 2 * num_faults else None
    )


def second(trouble: Trouble) -> Script:
    return lambda number, _: trouble[number - 1] if 1 <= number <= len(trouble) else None


PATTERNS = (burst, by_turns, second)


class Ground:
    """A folder with what an operation finds, made without faults."""

    def __init__(self, blobs: Blobs, prefix: str, local: Path) -> None:
        self.prefix = prefix
        self.record = f"{prefix}record.json"
        self.log = f"{prefix}log.txt"
        self.new = f"{prefix}new"
        self.file = local / "file"
        self.file.write_bytes(bytes(range(256)) * 100)
        self.target = local / "target"
        written = blobs.create(RUNS, self.record, b"old", {"state": "queued"}, owner="me")
        assert written is not None
        self.etag = written.etag
        assert blobs.append(RUNS, self.log, b"one\n", 0)

    def content(self, blobs: Blobs) -> Iterator[tuple[str, bytes, str]]:
        for found in blobs.list(RUNS, self.prefix):
            blob = blobs.read(RUNS, found.name)
            assert blob is not None
            yield found.name.removeprefix(self.prefix), blob.body, blob.metadata.get("state", "")


def _downloaded(blobs: Blobs, ground: Ground) -> tuple[bool, bytes]:
    is_there = blobs.download(RUNS, ground.record, ground.target)
    return is_there, ground.target.read_bytes()


def _read(blobs: Blobs, ground: Ground) -> tuple[bytes, bool]:
    blob = blobs.read(RUNS, ground.record)
    assert blob is not None
    return blob.body, 0 <= blob.age_s < 60


def _head(blobs: Blobs, ground: Ground) -> tuple[int, bool]:
    head = blobs.head(RUNS, ground.record)
    assert head is not None
    return head.size_bytes, 0 <= head.age_s < 60


OPERATIONS: dict[str, Callable[[Blobs, Ground], Any]] = {
    "read": _read,
    "read nothing": lambda blobs, ground: blobs.read(RUNS, ground.new),
    "read_range": lambda blobs, ground: blobs.read_range(RUNS, ground.log, 1, 2),
    "read_range past the end": lambda blobs, ground: blobs.read_range(RUNS, ground.log, 9),
    "head": _head,
    "create": lambda blobs, ground: blobs.create(RUNS, ground.new, b"new", {"state": "running"}) is not None,
    "create what is there": lambda blobs, ground: blobs.create(RUNS, ground.record, b"new"),
    "replace": lambda blobs, ground: blobs.replace(RUNS, ground.record, b"new", ground.etag) is not None,
    "replace what changed": lambda blobs, ground: blobs.replace(RUNS, ground.record, b"new", '"0x0"'),
    "touch": lambda blobs, ground: (
        blobs.touch(RUNS, ground.record, ground.etag, {"state": "running"}, owner="me") is not None
    ),
    "put": lambda blobs, ground: blobs.put(RUNS, ground.record, b"new") is not None,
    "append at the start": lambda blobs, ground: blobs.append(RUNS, ground.new, b"one\n", 0),
    "append": lambda blobs, ground: blobs.append(RUNS, ground.log, b"two\n", 4),
    "append elsewhere": lambda blobs, ground: blobs.append(RUNS, ground.log, b"two\n", 3),
    "list": lambda blobs, ground: [found.size_bytes for found in blobs.list(RUNS, ground.prefix, metadata=True)],
    "folders": lambda blobs, ground: len(list(blobs.folders(RUNS, ground.prefix))),
    "upload": lambda blobs, ground: blobs.upload(RUNS, ground.new, ground.file),
    "download": _downloaded,
    "delete": lambda blobs, ground: blobs.delete(RUNS, ground.record),
    "create_container": lambda blobs, ground: blobs.create_container(RUNS),
}


@pytest.mark.parametrize("trouble", [*((fault,) for fault in APPLIED), NOT_APPLIED], ids=[*map(str, APPLIED), "mixed"])
@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS.keys())
def test_an_operation_on_blobs_ends_as_if_there_had_been_no_trouble(
    settings: Settings,
    store: Store,
    folder: str,
    operation: Callable[[Blobs, Ground], Any],
    trouble: Trouble,
    tmp_path: Path,
) -> None:
    calm = Ground(store.blobs, f"{folder}calm/", tmp_path)
    expected = operation(store.blobs, calm), list(calm.content(store.blobs))
    for pattern in PATTERNS:
        ground = Ground(store.blobs, f"{folder}{pattern.__name__}/", tmp_path)
        faults = Faults(pattern(trouble))
        troubled = Store.connect(settings.storage, faults, clock=FastClock())
        assert (operation(troubled.blobs, ground), list(ground.content(store.blobs))) == expected, pattern
        assert faults.num_spoilt or pattern is second


@pytest.mark.parametrize("fault", [LOST_ANSWER, RESET, BUSY], ids=str)
def test_a_file_that_goes_up_in_blocks_is_whole_in_spite_of_trouble(
    settings: Settings, store: Store, folder: str, fault: Fault, tmp_path: Path
) -> None:
    (tmp_path / "large").write_bytes(bytes(range(256)) * 36_000)
    faults = Faults(by_turns([fault]))
    Store.connect(settings.storage, faults, clock=FastClock()).blobs.upload(RUNS, f"{folder}a", tmp_path / "large")
    assert faults.num_spoilt >= 2
    assert store.blobs.download(RUNS, f"{folder}a", tmp_path / "found")
    assert (tmp_path / "found").read_bytes() == (tmp_path / "large").read_bytes()


@pytest.mark.parametrize("fault", [DIE_BEFORE, DIE_AFTER], ids=str)
@pytest.mark.parametrize("name", ["create", "replace", "touch", "append", "append at the start", "put", "upload"])
def test_a_write_whose_writer_died_is_there_as_a_whole_or_not_at_all(
    settings: Settings, store: Store, folder: str, name: str, fault: Fault, tmp_path: Path
) -> None:
    before = Ground(store.blobs, f"{folder}before/", tmp_path)
    after = Ground(store.blobs, f"{folder}after/", tmp_path)
    OPERATIONS[name](store.blobs, after)
    ground = Ground(store.blobs, f"{folder}died/", tmp_path)
    # The last request of each of these operations is the write; "append at the start" makes the log by one before it.
    last = 1 if name == "append at the start" else 0
    faults = Faults(lambda number, _: fault if number == last else None)
    with pytest.raises(Died):
        OPERATIONS[name](Store.connect(settings.storage, faults).blobs, ground)
    found = [part for part in ground.content(store.blobs) if part[1]]
    assert found == list((after if fault is DIE_AFTER else before).content(store.blobs))
