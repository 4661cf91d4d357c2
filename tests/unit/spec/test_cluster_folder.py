"""A folder of cluster files is all clusters of a deployment, or every problem of every file."""

from pathlib import Path

import pytest

from dropsweep.errors import DropsweepError, SpecError
from dropsweep.spec.cluster_folder import read_cluster_folder


def folder(path: Path, **files: str) -> Path:
    for name, text in files.items():
        (path / name.replace("_", ".")).write_text(text, encoding="utf-8")
    return path


def test_the_clusters_are_in_the_order_of_their_files(tmp_path: Path) -> None:
    folder(
        tmp_path, gpu_yaml="location: x", cpu_json='{"slots_per_node": 2}', b_yml="", _hidden_yaml="?", notes_txt="?"
    )
    found = read_cluster_folder(tmp_path)
    assert [(cluster.name, cluster.slots_per_node) for cluster in found.clusters] == [("b", 1), ("cpu", 2), ("gpu", 1)]
    assert [problem.path for problem in found.warnings] == ["gpu.yaml: location"]


def test_every_problem_of_every_file_is_told(tmp_path: Path) -> None:
    folder(tmp_path, a_yaml="tier: spot\nlocation: x", b_yaml="max_instances: 0", c_yaml="- 1", d_yaml="")
    with pytest.raises(SpecError) as refused:
        read_cluster_folder(tmp_path)
    assert [problem.path for problem in refused.value.problems] == ["a.yaml: tier", "b.yaml: max_instances", "c.yaml"]


def test_two_files_of_one_cluster_are_refused(tmp_path: Path) -> None:
    folder(tmp_path, a_yaml="", a_json="{}")
    with pytest.raises(SpecError, match=r"a\.yaml: a\.json is of this cluster too"):
        read_cluster_folder(tmp_path)


def test_a_folder_without_a_cluster_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(DropsweepError, match="has no cluster file"):
        read_cluster_folder(tmp_path)


def test_what_container_apps_cannot_do_is_refused_where_that_is_asked(tmp_path: Path) -> None:
    folder(tmp_path, a_yaml="tier: low_priority\nworkload_profile: D4")
    assert len(read_cluster_folder(tmp_path).clusters) == 1
    with pytest.raises(SpecError, match=r"a\.yaml: tier"):
        read_cluster_folder(tmp_path, for_container_apps=True)
