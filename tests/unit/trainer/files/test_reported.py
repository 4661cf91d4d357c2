import os
import tracemalloc
from pathlib import Path

from dropsweep_trainer.files.reported import Reported


def test_only_whole_lines_count_while_the_writer_lives(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    reported = Reported(file)
    assert reported.latest().values == {}
    file.write_bytes(b'{"step": 1, "a": 1}\n{"step": 2, "a"')
    assert (reported.latest().values, reported.latest().step) == ({"a": 1.0}, 1.0)
    with file.open("ab") as stream:
        stream.write(b': 2}\nbroken\n{"a": 3}')
    assert reported.latest().values == {"a": 2.0}
    ended = reported.latest(is_ended=True)
    assert (ended.values, ended.num_lines, ended.num_unreadable) == ({"a": 3.0}, 4, 1)


def test_what_an_earlier_attempt_reported_stands_until_it_is_reported_again(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_bytes(b'{"a": 2}\n')
    reported = Reported(file)
    reported.latest()
    reported.carry_over({"a": 1.0, "b": 5.0})
    assert reported.latest().values == {"a": 2.0, "b": 5.0}


def test_a_file_that_is_written_anew_is_read_anew_and_one_that_is_gone_does_no_harm(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    reported = Reported(file)
    file.write_bytes(b'{"a": 1}\n{"a": 2}\n')
    assert reported.latest().values == {"a": 2.0}
    file.write_bytes(b'{"a": 3}\n')
    assert reported.latest().values == {"a": 3.0}
    file.unlink()
    file.mkdir()
    assert reported.latest(is_ended=True).values == {"a": 3.0}


def test_a_line_without_an_end_is_passed_over_in_little_memory_and_time(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    reported = Reported(file)
    file.write_bytes(b'{"a": 1}\n')
    os.truncate(file, 50 * 1024**3)
    tracemalloc.start()
    for _ in range(3):
        assert reported.latest().values == {"a": 1.0}
    with file.open("ab") as stream:
        stream.write(b'\n{"a": 2}\n')
    ended = reported.latest(is_ended=True)
    assert (ended.values, ended.num_lines, ended.num_unreadable) == ({"a": 2.0}, 3, 1)
    assert tracemalloc.get_traced_memory()[1] < 10 * 1024 * 1024
    tracemalloc.stop()
