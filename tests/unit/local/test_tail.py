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
