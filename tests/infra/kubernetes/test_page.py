"""docs/kubernetes.md agrees with the chart."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from dropsweep.clusters import Cluster
from tests.infra.kubernetes.chart import CHART, ROOT, needs_helm, pod, scaled_job
from tests.unit.test_docs import named, rows, section, spans

PAGE = (ROOT / "docs/kubernetes.md").read_text(encoding="utf-8")


def flat(values: Mapping[str, Any], where: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from flat(value, f"{where}{name}.")
        else:
            yield f"{where}{name}", value


def test_the_table_names_every_value_with_its_default() -> None:
    told = [(spans(row[0])[0], row[1].strip("`")) for row in rows(section(PAGE, "Values"))]
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert [(name, "" if text == "" else yaml.safe_load(text)) for name, text in told] == list(flat(values))


def test_every_key_of_a_cluster_file_is_accounted_for() -> None:
    told = {name.partition(":")[0] for name in named(section(PAGE, "What becomes of a cluster file"))}
    without = {"description", "tags", "serves"}  # words for people; what routes a job's image is the functions'
    assert told == set(Cluster("x").to_dict()) - without


def test_the_number_of_looks_a_day_is_that_of_the_default() -> None:
    interval_s = yaml.safe_load((CHART / "values.yaml").read_text())["scaler"]["pollingInterval"]
    (told,) = re.findall(r"three peeks a cluster: ([\d,]+) a day at (\d+)", PAGE)
    assert (int(told[0].replace(",", "")), int(told[1])) == (3 * 24 * 3600 // interval_s, interval_s)


@needs_helm
def test_the_subject_that_is_told_is_the_pod_s_account() -> None:
    account = pod(Cluster("cpu"))["spec"]["serviceAccountName"]
    release, _, rest = account.partition("-")
    assert f"system:serviceaccount:{{namespace}}:{{release}}-{rest}" in PAGE
    assert scaled_job(Cluster("cpu"))["metadata"]["name"] == f"{release}-cpu"
