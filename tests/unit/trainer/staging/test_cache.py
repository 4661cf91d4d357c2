import logging
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from dropsweep_trainer.files.folders import remove
from dropsweep_trainer.staging.cache import Cache, Check, Use
from dropsweep_trainer.staging.objects import Objects
from dropsweep_trainer.staging.seals import BLOCK_BYTES, SEALED_AT_NS, Content, seal

Spoil = Callable[[Path], object]


@dataclass
class Written:
    """Fills a folder with files that it writes itself; those that a cache has by now are linked."""

    objects: Objects
    files: dict[str, bytes]
    what: str = "data"
    fails_with: BaseException | None = None
    fetched: list[str] = field(default_factory=list)

    @property
    def content(self) -> Content:
        return Content(len(self.files), sum(map(len, self.files.values())))

    def link(self, folder: Path) -> Content:
        self._missing = {
            name: body for name, body in self.files.items() if not self.objects.link(_name(body), folder / name)
        }
        return Content(len(self._missing), sum(map(len, self._missing.values())))

    def fetch(self, folder: Path, check: Check) -> None:
        for name, body in self._missing.items():
            self.fetched.append(name)
            (folder / name).write_bytes(body)
            seal(folder / name)
            self.objects.keep(_name(body), folder / name)
        if self.fails_with is not None:
            raise self.fails_with


def _name(body: bytes) -> str:
    return f"{body[:8].hex()}-{len(body)}"


def add(cache: Cache, key: str, *, is_exposed: bool = False, **files: bytes) -> Use:
    return cache.add(key, Written(cache.objects, files, key), lambda: None, is_exposed=is_exposed)


def find(cache: Cache, key: str, *, is_exposed: bool = False) -> Use | None:
    return cache.find(key, lambda: None, is_exposed=is_exposed)


def keys(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "trees").iterdir())


def blocks(num_blocks: int, first: bytes) -> bytes:
    """Content that with what is known about it takes so many blocks."""
    return first.ljust(BLOCK_BYTES * (num_blocks - 1), b".")


def test_what_was_added_is_found_and_filled_once(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    assert find(cache, "k") is None
    filling = Written(cache.objects, {"a": b"1", "b": b"2"})
    for _ in range(2):
        with cache.add("k", filling, lambda: None, is_exposed=True) as use:
            assert (use.path / "a").read_bytes() == b"1"
    assert filling.fetched == ["a", "b"]
    found = find(Cache(tmp_path), "k")
    assert found is not None
    found.close()
    found.close()


def test_folders_share_the_files_that_are_the_same(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    add(cache, "one", a=b"same", b=b"old").close()
    filling = Written(cache.objects, {"a": b"same", "b": b"new"})
    with cache.add("two", filling, lambda: None, is_exposed=False) as use:
        assert filling.fetched == ["b"]
        assert (use.path / "a").stat().st_ino == (tmp_path / "trees" / "one" / "a").stat().st_ino


def test_what_was_used_last_stays(tmp_path: Path) -> None:
    cache = Cache(tmp_path, max_bytes=3 * 10 * BLOCK_BYTES)
    for key in "abc":
        add(cache, key, file=blocks(10, key.encode())).close()
    used = find(cache, "a")
    assert used is not None
    used.close()
    add(cache, "d", file=blocks(10, b"d")).close()
    assert keys(tmp_path) == ["a", "c", "d"]
    assert len(list((tmp_path / "objects").iterdir())) == 3
    assert len(list((tmp_path / "uses").iterdir())) == 3


def test_a_file_counts_once_however_many_folders_have_it(tmp_path: Path) -> None:
    cache = Cache(tmp_path, max_bytes=20 * BLOCK_BYTES)
    large = blocks(15, b"large")
    add(cache, "one", large=large, small=blocks(1, b"")).close()
    add(cache, "two", large=large, small=blocks(2, b"2")).close()
    add(cache, "three", large=large, other=blocks(2, b"3")).close()
    assert keys(tmp_path) == ["one", "three", "two"]
    # To remove them frees next to nothing as long as one of them stays: all go that are not in use.
    add(cache, "four", file=blocks(15, b"four")).close()
    assert keys(tmp_path) == ["four"]


def test_what_is_in_use_stays_and_goes_when_that_ends(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = Cache(tmp_path, max_bytes=15 * BLOCK_BYTES)
    with add(cache, "one", file=blocks(10, b"1")):
        two = add(Cache(tmp_path, max_bytes=15 * BLOCK_BYTES), "two", file=blocks(10, b"2"))
        assert keys(tmp_path) == ["one", "two"]
        assert "cache_size in the cluster's file may be too small" in caplog.text
        two.close()
        # The worker that saw too much in the cache removes what it does not use itself.
        assert keys(tmp_path) == ["one"]


def test_more_than_the_cache_may_hold_is_kept_while_it_is_used_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = Cache(tmp_path, max_bytes=BLOCK_BYTES)
    with add(cache, "k", file=blocks(300, b"1")) as use:
        assert (use.path / "file").exists()
        assert "cache: with k it holds 1.2 MiB, more than its 0.0 MiB" in caplog.text
    assert keys(tmp_path) == []


def test_of_many_small_folders_a_thousand_stay(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    for number in range(1000):
        (tmp_path / "trees" / f"k{number}").mkdir()
        (tmp_path / "uses" / f"k{number}").touch()
        os.utime(tmp_path / "uses" / f"k{number}", (number, number))
    with add(cache, "new", file=b"1"):
        assert len(keys(tmp_path)) == 1000
        assert not (tmp_path / "trees" / "k0").exists()


def test_a_filling_that_fails_leaves_nothing_but_the_files_that_came(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    failing = Written(cache.objects, {"a": b"1"}, fails_with=RuntimeError("away"))
    with pytest.raises(RuntimeError, match="away"):
        cache.add("k", failing, lambda: None, is_exposed=False)
    assert [keys(tmp_path), os.listdir(tmp_path / "uses"), os.listdir(tmp_path / "partial")] == [[], [], []]
    again = Written(cache.objects, {"a": b"1"})
    cache.add("k", again, lambda: None, is_exposed=False).close()
    assert again.fetched == []


def test_what_dead_workers_had_begun_goes_when_the_next_one_starts(tmp_path: Path) -> None:
    Cache(tmp_path)
    for name in ("filling", "removing"):
        (tmp_path / "partial" / name / "deep").mkdir(parents=True)
        (tmp_path / "partial" / name / "deep" / "file").touch()
    (tmp_path / "uses" / "filling").write_text('{"what": "x", "content": {"num')
    Cache(tmp_path)
    assert os.listdir(tmp_path / "partial") == os.listdir(tmp_path / "uses") == []


def test_a_folder_that_its_worker_did_not_come_to_seal_is_filled_anew(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    add(cache, "k", a=b"1").close()
    (tmp_path / "trees" / "k").chmod(0o755)
    filling = Written(cache.objects, {"a": b"1"})
    cache.add("k", filling, lambda: None, is_exposed=True).close()
    assert (tmp_path / "trees" / "k").stat().st_mode & 0o777 == 0o555


def test_a_folder_with_less_than_was_brought_is_filled_anew(tmp_path: Path) -> None:
    """So a machine leaves it that loses its power before the disk has everything."""
    cache = Cache(tmp_path)
    add(cache, "k", a=b"content").close()
    file = tmp_path / "trees" / "k" / "a"
    file.chmod(0o755)
    os.truncate(file, 0)
    seal(file)
    with add(Cache(tmp_path), "k", a=b"content") as use:
        assert (use.path / "a").read_bytes() == b"content"


def _write(folder: Path) -> None:
    (folder / "a").chmod(0o644)
    (folder / "a").write_bytes(b"x")


def _append_as_root(folder: Path) -> None:
    found = (folder / "a").stat()
    _write(folder)
    (folder / "a").chmod(found.st_mode & 0o777)


def _open(folder: Path) -> None:
    (folder / "a").chmod(0o755)


def _add(folder: Path) -> None:
    folder.chmod(0o755)
    (folder / "more").touch()
    folder.chmod(0o555)


def _remove(folder: Path) -> None:
    folder.chmod(0o755)
    (folder / "a").unlink()


def _replace(folder: Path) -> None:
    _remove(folder)
    (folder / "a").symlink_to("/etc/hostname")
    os.utime(folder / "a", ns=(SEALED_AT_NS, SEALED_AT_NS), follow_symlinks=False)
    seal(folder)


SPOILS: dict[str, Spoil] = {
    "written": _write,
    "written as root does": _append_as_root,
    "opened": _open,
    "added to": _add,
    "taken from": _remove,
    "replaced": _replace,
}


@pytest.mark.parametrize("spoil", SPOILS.values(), ids=SPOILS.keys())
def test_what_a_trial_changed_is_brought_anew(tmp_path: Path, spoil: Spoil, caplog: pytest.LogCaptureFixture) -> None:
    cache = Cache(tmp_path)
    with add(cache, "k", a=b"1", b=b"2") as use:
        spoil(use.path)
    assert find(cache, "k", is_exposed=True) is None
    assert "cache: k was changed by somebody" in caplog.text
    with add(cache, "k", a=b"1", b=b"2") as use:
        assert {path.name: path.read_bytes() for path in use.path.iterdir()} == {"a": b"1", "b": b"2"}


def test_another_folder_does_not_get_a_file_that_was_changed_in_the_first(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    with add(cache, "one", a=b"1") as use:
        _write(use.path)
        with add(cache, "two", a=b"1") as other:
            assert (other.path / "a").read_bytes() == b"1"


def test_where_trials_cannot_change_anything_each_worker_looks_once(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    with add(cache, "k", a=b"1") as use:
        _write(use.path)
    found = find(cache, "k")
    assert found is not None
    found.close()
    assert find(Cache(tmp_path), "k") is None


def test_nobody_else_can_list_the_cache(tmp_path: Path) -> None:
    Cache(tmp_path / "cache")
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "cache").iterdir() if path.is_dir()}
    assert modes == {"trees": 0o711, "objects": 0o700, "partial": 0o700, "uses": 0o700}
    assert (tmp_path / "cache").stat().st_mode & 0o777 == 0o711


class Unsealed(Written):
    """As files are on a file system that forgets what they were sealed with."""

    def fetch(self, folder: Path, check: Check) -> None:
        super().fetch(folder, check)
        for path in folder.iterdir():
            path.chmod(0o755)


def test_a_file_system_that_cannot_keep_seals_is_told(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    with pytest.raises(OSError, match="keeps no modes, or no times, of files: data cannot be told from"):
        cache.add("k", Unsealed(cache.objects, {"a": b"1"}), lambda: None, is_exposed=False)
    assert keys(tmp_path) == []


def test_a_cache_that_somebody_removed_is_made_anew(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    add(cache, "k", a=b"1").close()
    remove(tmp_path / "cache")
    assert find(cache, "k") is None
    with add(cache, "k", a=b"1") as use:
        assert (use.path / "a").read_bytes() == b"1"


def test_what_goes_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    cache = Cache(tmp_path)
    add(cache, "old", a=bytes(2**20)).close()
    cache.clear()
    assert re.search(r"cache: old \(1.0 MiB, last used \d+ s ago\) goes", caplog.text)
    assert keys(tmp_path) == []


def test_files_that_fillings_left_count_and_go_before_any_folder(tmp_path: Path) -> None:
    cache = Cache(tmp_path, max_bytes=30 * BLOCK_BYTES)
    add(cache, "old", file=blocks(10, b"old")).close()
    with pytest.raises(RuntimeError, match="away"):
        cache.add(
            "failed",
            Written(cache.objects, {"a": blocks(15, b"failed")}, fails_with=RuntimeError("away")),
            lambda: None,
            is_exposed=False,
        )
    assert len(list((tmp_path / "objects").iterdir())) == 2
    add(cache, "small", file=blocks(5, b"small")).close()
    assert len(list((tmp_path / "objects").iterdir())) == 3
    add(cache, "new", file=blocks(10, b"new")).close()
    assert keys(tmp_path) == ["new", "old", "small"]
    assert len(list((tmp_path / "objects").iterdir())) == 3


def test_to_clear_a_cache_removes_what_fillings_left_too(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    with pytest.raises(RuntimeError, match="away"):
        cache.add(
            "k", Written(cache.objects, {"a": b"1"}, fails_with=RuntimeError("away")), lambda: None, is_exposed=False
        )
    cache.clear()
    assert list((tmp_path / "objects").iterdir()) == []


def test_what_is_larger_than_the_cache_is_told_from_what_others_leave_no_room_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = Cache(tmp_path, max_bytes=10 * BLOCK_BYTES)
    with add(cache, "large", file=blocks(20, b"1")):
        assert "the rest is in use" not in caplog.text
        add(cache, "other", file=blocks(2, b"2")).close()
        assert "for the rest is in use" in caplog.text
