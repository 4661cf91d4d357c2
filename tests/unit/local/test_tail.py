"""Following log files."""

from pathlib import Path

from local.tail import Tail


def test_only_whole_new_lines_are_read_each_once(tmp_path: Path) -> None:
    host, trainer = tmp_path / "host.log", tmp_path / "trainer-1.log"
    host.write_text("old\n")
    tail = Tail([host, trainer])
    assert tail.read() == []
    with host.open("a") as log:
        log.write("one\ntw")
    trainer.write_text("first\n")
    assert tail.read() == [("host", "one"), ("trainer-1", "first")]
    with host.open("a") as log:
        log.write("o\n")
    assert tail.read() == [("host", "two")]
    assert tail.read() == []


def test_a_file_that_is_added_is_read_from_its_start_and_one_that_is_followed_goes_on(tmp_path: Path) -> None:
    known, new = tmp_path / "trainer-gpu-1.log", tmp_path / "trainer-gpu-2.log"
    known.write_text("old\n")
    tail = Tail([known])
    new.write_text("first\n")
    for log in (known, new):
        tail.follow(log)
    assert tail.read() == [("trainer-gpu-2", "first")]
