from pathlib import Path

import pytest

from dropsweep_trainer.staging.locks import Lock


def opened(path: Path) -> Lock:
    lock = Lock.open(path)
    assert lock is not None
    return lock


@pytest.mark.parametrize("how", ["shared", "alone"])
def test_who_gets_the_lock_of_a_file_that_was_removed_meanwhile_is_told(tmp_path: Path, how: str) -> None:
    holder, waiter = opened(tmp_path / "lock"), opened(tmp_path / "lock")
    take = waiter.try_shared if how == "shared" else waiter.try_alone
    assert holder.try_alone()
    assert holder.is_current
    assert not take()
    holder.remove()
    holder.close()
    assert take()
    assert not waiter.is_current
    later = opened(tmp_path / "lock")  # another file of that name
    assert later.try_alone()
    assert later.is_current
    assert not waiter.is_current
    waiter.close()
    later.close()


def test_a_lock_is_shared_by_many_or_held_by_one(tmp_path: Path) -> None:
    one, two = opened(tmp_path / "lock"), opened(tmp_path / "lock")
    assert one.try_shared()
    assert two.try_shared()
    two.release()
    assert not two.try_alone()
    one.close()
    assert two.try_alone()
    two.close()


def test_a_lock_that_is_not_to_be_made_is_none(tmp_path: Path) -> None:
    assert Lock.open(tmp_path / "lock", make=False) is None
    assert list(tmp_path.iterdir()) == []


def test_of_two_uses_in_a_row_the_second_one_is_the_later(tmp_path: Path) -> None:
    first, second = opened(tmp_path / "first"), opened(tmp_path / "second")
    for _ in range(20):
        first.touch()
        second.touch()
        assert first.touched_ns < second.touched_ns
    first.close()
    second.close()
