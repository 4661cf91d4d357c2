"""Where a downloaded blob may lie: below the folder, or nowhere."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropsweep.client.targets import target_of


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
