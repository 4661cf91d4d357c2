"""Where a downloaded blob may lie: below the folder, or nowhere."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropsweep.client.targets import fits_windows, target_of, tells_case
from dropsweep.client.transfer import Unreachable, download
from dropsweep.manifests import Manifest, StoredFile
from dropsweep.names import JobKey

KEY = JobKey("w", "e", "j")


@pytest.mark.parametrize(
    "name", ["..", "../x", "a/../../x", "a/..", "/etc/passwd", "a//b", "", "a/", "./a", "a\\..\\b", "a\0b", "a\nb"]
)
def test_a_name_that_leads_out_or_fits_no_file_has_no_place(tmp_path: Path, name: str) -> None:
    assert target_of(tmp_path, name) is None


@pytest.mark.parametrize("name", ["a", "a/b.txt", "...", "a/.hidden", "~/x", "%2e%2e/x", "C:/x"])
def test_any_other_name_has_the_place_that_it_says(tmp_path: Path, name: str) -> None:
    assert target_of(tmp_path, name) == tmp_path / name


@given(st.text(alphabet="./\\~ab\0", max_size=12))
def test_no_name_at_all_leads_out(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    root = tmp_path_factory.getbasetemp().resolve()
    target = target_of(root, name)
    assert target is None or (target.resolve().is_relative_to(root) and target.resolve() != root)


@pytest.mark.parametrize(
    "part",
    ["CON", "con.txt", "nul", "COM1", "lpt9.tar.gz", "COM¹", "AUX .x", "a.", "a ", "a:b", "a?", 'a"', "a|b", "<a>"],
)
def test_windows_has_no_file_of_such_a_name(part: str) -> None:
    assert not fits_windows(part)


@pytest.mark.parametrize("part", ["console", "com", "com0", "com10", "a.con", ".hidden", "a b", "é", "a..b"])
def test_windows_has_files_of_other_names(part: str) -> None:
    assert fits_windows(part)


def say(name: str, file: Path) -> bool:
    """Brings a blob home whose content is its name."""
    if name.endswith("%41"):
        raise Unreachable("it has a %")
    file.write_text(name)
    return True


def names(*paths: str) -> list[str]:
    return [f"{KEY.path}/{path}" for path in paths]


def test_on_a_disk_that_does_not_tell_case_one_of_two_blobs_is_left_out_and_said(tmp_path: Path) -> None:
    both = names("out/Case.txt", "out/case.txt", "out/other", "OUT/third")
    done = download(say, KEY, both, tmp_path, is_case_sensitive=False)
    ((name, reason),) = [(blob.name, blob.reason) for blob in done.refused]
    assert name in both[:2]
    assert "does not tell upper from lower case" in reason
    assert done.num_files == 3
    done = download(say, KEY, names("caf\u00e9", "cafe\u0301"), tmp_path, is_case_sensitive=False)
    assert (done.num_files, len(done.refused)) == (1, 1)


def test_on_a_disk_that_tells_case_both_come_home(tmp_path: Path) -> None:
    done = download(say, KEY, names("Case.txt", "case.txt"), tmp_path, is_case_sensitive=True)
    assert (done.num_files, done.refused) == (2, ())


def test_whether_a_disk_tells_case_is_tried_and_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    assert tells_case(tmp_path) is not (tmp_path / "A").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_each_blob_that_is_left_out_has_its_own_reason(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    done = download(say, KEY, names("../out", "x%41", "fine"), tmp_path)
    told = {blob.name.removeprefix(f"{KEY.path}/"): blob.reason for blob in done.refused}
    assert told == {"../out": "its name leads out of the folder or fits no file", "x%41": "it has a %"}
    assert done.num_files == 1


def test_a_file_that_a_checkpoint_refers_to_and_that_goes_meanwhile_is_said(tmp_path: Path) -> None:
    files = (StoredFile("own", 1, "0"), StoredFile("old", 1, "0", "0001-000001-a/old"))
    manifest = Manifest("b", 1, {}, files).to_json()

    def get(name: str, file: Path) -> bool:
        if name.endswith("/old"):
            return False  # the trial goes on, and has made two newer ones meanwhile
        file.write_bytes(manifest if name.endswith(".json") else b"1")
        return True

    label = "trials/0000000/checkpoints/0001-000002-b"
    done = download(get, KEY, names(f"{label}/own", f"{label}.manifest.json", "error.json"), tmp_path)
    [left_out] = done.refused
    assert left_out.name == f"{KEY.path}/trials/0000000/checkpoints/0001-000001-a/old"
    assert left_out.reason == f"{label}/ refers to it, and it was deleted meanwhile. Download once more"
    assert done.num_files == 3
