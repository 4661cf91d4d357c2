"""Manifests come back as they were, and refer to nothing outside of the checkpoints."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropsweep.errors import CheckpointError, StorageCorrupt
from dropsweep.manifests import Manifest, StoredFile, label_in, label_of
from dropsweep.storage.transfer import MAX_BLOCKS, MAX_FILE_BYTES, block_bytes_of

MIB = 1024 * 1024
PARTS = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=20)
PATHS = st.lists(PARTS.filter(lambda part: part not in (".", "..")), min_size=1, max_size=3).map("/".join)
LABELS = st.builds(label_of, st.integers(1, 99_999), st.integers(1, 9_999_999), st.text(min_size=1, max_size=10))
BLOBS = st.builds("{}/{}".format, LABELS, PATHS)
FILES = st.builds(StoredFile, PATHS, st.integers(0, 2**50), st.text(max_size=64), BLOBS | st.just(""))
MANIFESTS = st.builds(
    Manifest,
    st.text(max_size=20),
    st.integers(1, 99),
    st.dictionaries(st.text(max_size=10), st.floats(allow_nan=False), max_size=3),
    st.lists(FILES, max_size=5).map(tuple),
)


@given(MANIFESTS)
def test_a_manifest_comes_back_as_it_was(manifest: Manifest) -> None:
    assert Manifest.from_json(manifest.to_json()) == manifest


def test_a_manifest_says_by_its_version_whether_an_older_program_can_read_it() -> None:
    own, other = StoredFile("a", 1, "0"), StoredFile("b", 1, "0", "0001-000001-x/b")
    assert json.loads(Manifest("n", 1, {}, (own,)).to_json())["version"] == 1
    assert json.loads(Manifest("n", 1, {}, (own, other)).to_json())["version"] == 2
    newer = json.loads(Manifest("n", 1, {}, (own,)).to_json()) | {"version": 3}
    with pytest.raises(StorageCorrupt, match="1 to 2"):
        Manifest.from_json(json.dumps(newer).encode())


@pytest.mark.parametrize("blob", ["a", "/a", "0001-000001-x", "0001-000001-x/", "0001-000001-x/../../spec.json", "x/y"])
def test_a_manifest_that_refers_to_no_checkpoint_s_file_is_refused(blob: str) -> None:
    manifest = Manifest("n", 1, {}, (StoredFile("a", 1, "0", blob),))
    with pytest.raises(CheckpointError, match="its manifest"):
        Manifest.from_json(manifest.to_json())


@given(LABELS)
def test_a_manifest_s_name_tells_its_label(label: str) -> None:
    assert label_in(f"{label}.manifest.json") == label
    assert label_in(label) == label_in(f"{label}.json") == ""


def test_another_file_s_name_is_no_manifest_s() -> None:
    assert label_in("notes.manifest.json") == ""


@given(st.integers(8 * MIB + 1, MAX_FILE_BYTES))
def test_a_file_has_no_more_blocks_than_a_blob_may_have_and_no_larger_ones_than_it_must(size_bytes: int) -> None:
    block_bytes = block_bytes_of(size_bytes)
    assert math.ceil(size_bytes / block_bytes) <= MAX_BLOCKS
    assert 8 * MIB <= block_bytes <= 64 * MIB
    assert block_bytes <= 16 * MIB or math.ceil(size_bytes / (block_bytes - MIB)) > MAX_BLOCKS
