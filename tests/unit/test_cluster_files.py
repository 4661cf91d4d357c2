"""The repository's own cluster files, and the list of them that is deployed."""

import json
from pathlib import Path

from dropsweep.clusters import dump_clusters, parse_clusters
from dropsweep.spec.cluster_folder import read_cluster_folder

ROOT = Path(__file__).parents[2]


def test_the_cluster_files_can_be_deployed_on_container_apps() -> None:
    assert read_cluster_folder(ROOT / "clusters", for_container_apps=True).warnings == ()


def test_the_list_that_is_deployed_is_the_bundle_of_the_cluster_files() -> None:
    bundle = (ROOT / "infra/clusters.json").read_text(encoding="utf-8")
    found = read_cluster_folder(ROOT / "clusters").clusters
    remedy = "run: dropsweep cluster bundle clusters > infra/clusters.json"
    assert bundle == dump_clusters(found, is_for_people=True) + "\n", remedy
    assert parse_clusters(bundle) == found
    assert json.loads(bundle)[0]["name"] == found[0].name
