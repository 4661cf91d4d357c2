"""`dropsweep cluster check` and `bundle`, and what `submit` sets over a file."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dropsweep.cli import app
from dropsweep.cli.exits import ExitCode
from dropsweep.client.jobfile import JobFile
from dropsweep.client.overrides import placed
from dropsweep.clusters import parse_clusters
from dropsweep.names import Priority
from dropsweep.spec import read_document

NO_ACCOUNT = {"DROPSWEEP_STORAGE": None, "DROPSWEEP_URL": None}


@pytest.fixture
def clusters(tmp_path: Path) -> Path:
    (tmp_path / "gpu.yaml").write_text("gpus_per_node: 2\nlocation: x\n", encoding="utf-8")
    (tmp_path / "cpu.yaml").write_text("tier: low_priority\n", encoding="utf-8")
    return tmp_path


def test_a_bundle_is_what_the_setting_takes(clusters: Path) -> None:
    for option in ([], ["--compact"]):
        done = CliRunner().invoke(app, ["cluster", "bundle", str(clusters), *option], env=NO_ACCOUNT)
        assert done.exit_code == ExitCode.OK
        assert "gpu.yaml: location" in done.stderr
        assert [cluster.name for cluster in parse_clusters(done.stdout)] == ["cpu", "gpu"]
        assert (done.stdout.count("\n") == 1) is bool(option)


def test_nothing_is_bundled_of_a_folder_with_a_wrong_file(clusters: Path) -> None:
    done = CliRunner().invoke(app, ["cluster", "bundle", str(clusters), "--container-apps"], env=NO_ACCOUNT)
    assert (done.exit_code, done.stdout) == (ExitCode.REJECTED, "")
    assert "cpu.yaml: tier" in done.stderr
    assert "gpu.yaml: workload_profile" in done.stderr
    as_json = [*("cluster", "bundle", str(clusters), "--container-apps"), "--json"]
    error = json.loads(CliRunner().invoke(app, as_json, env=NO_ACCOUNT).stderr)["error"]
    assert error["problems"][0]["path"] == "cpu.yaml: tier"


def test_a_check_tells_each_file_s_problems_and_what_it_describes(clusters: Path) -> None:
    files = [str(clusters / "gpu.yaml"), str(clusters / "cpu.yaml")]
    done = CliRunner().invoke(app, ["cluster", "check", *files], env=NO_ACCOUNT)
    assert done.exit_code == ExitCode.OK
    told = done.stdout.splitlines()
    assert told[0].startswith(f'{files[0]}: warning: location is "x"')
    assert told[1] == f"{files[0]}: ok: 0 to 4 nodes of 1 core, 2Gi, 2 GPUs, 2 trials at once"
    assert told[2] == f"{files[1]}: ok: 0 to 4 nodes of 1 core, 2Gi, 1 trial at once"


def test_a_check_ends_with_3_when_a_file_cannot_be_used(clusters: Path) -> None:
    files = [str(clusters / "gpu.yaml"), str(clusters / "cpu.yaml")]
    done = CliRunner().invoke(app, ["cluster", "check", *files, "--container-apps", "--json"], env=NO_ACCOUNT)
    assert done.exit_code == ExitCode.REJECTED
    gpu, cpu = json.loads(done.stdout)["files"]
    assert (gpu["file"], gpu["cluster"], cpu["cluster"]) == (files[0], None, None)
    assert [problem["path"] for problem in cpu["problems"]] == ["tier", "workload_profile"]


def test_a_check_refuses_two_files_of_one_cluster_as_a_bundle_does(clusters: Path) -> None:
    (clusters / "gpu.yml").write_text("max_instances: 2\n", encoding="utf-8")
    files = [str(clusters / name) for name in ("gpu.yaml", "gpu.yml", "cpu.yaml", "gpu.yaml")]
    done = CliRunner().invoke(app, ["cluster", "check", *files], env=NO_ACCOUNT)
    assert done.exit_code == ExitCode.REJECTED
    told = [line for line in done.stdout.splitlines() if ": warning: " not in line]
    assert told[0].startswith(f"{files[0]}: ok: ")
    rule = "gpu.yaml is of this cluster too, and a cluster has one file. Remove one of them."
    assert told[1] == f"{files[1]}: error: (file): {rule}"
    assert told[2].startswith(f"{files[2]}: ok: ")
    done = CliRunner().invoke(app, ["cluster", "bundle", str(clusters)], env=NO_ACCOUNT)
    assert (done.exit_code, done.stderr) == (ExitCode.REJECTED, f"error: gpu.yml: {rule}\n")


def test_files_of_one_name_in_different_folders_are_of_different_deployments(clusters: Path) -> None:
    other = clusters / "other"
    other.mkdir()
    (other / "cpu.yml").write_text("", encoding="utf-8")
    files = [str(clusters / "cpu.yaml"), str(other / "cpu.yml")]
    assert CliRunner().invoke(app, ["cluster", "check", *files], env=NO_ACCOUNT).exit_code == ExitCode.OK


def test_each_problem_of_a_bundle_is_told_as_an_error(clusters: Path) -> None:
    (clusters / "big.yaml").write_text("min_instances: 5\nmax: 2\n", encoding="utf-8")
    (clusters / "torn.json").write_text("{", encoding="utf-8")
    told = CliRunner().invoke(app, ["cluster", "bundle", str(clusters)], env=NO_ACCOUNT).stderr.splitlines()
    assert len(told) == 3
    assert all(line.startswith("error: ") for line in told)
    assert "error: big.yaml: min_instances is 5: must be at most max_instances (4). " in told[1] + told[0]
    assert told[2].startswith("error: torn.json: the file is not JSON at line 1, column 2: Expecting property name")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("type: command\ncommand: a\n", {"queue_settings": {"priority": "high"}}),
        ("queue_settings: {priority: low}\n", {"queue_settings": {"priority": "high"}}),
        ("queue_settings:\n  job_tier: spot\n", {"queue_settings": {"job_tier": "spot", "priority": "high"}}),
        ("schedulingPriority: low\n", {"schedulingPriority": "high"}),
        (
            "schedulingPriority: low\nqueue_settings: {priority: low}\n",
            {"schedulingPriority": "high", "queue_settings": {"priority": "high"}},
        ),
    ],
)
def test_a_priority_is_set_wherever_the_file_says_one(text: str, said: dict[str, object]) -> None:
    file = JobFile.from_bytes(Path("a.yaml"), text.encode())
    changed = file.with_overrides(placed(file.values, None, Priority.HIGH))
    data = read_document(changed.body, file_name="a.yaml").data
    assert data is not None
    assert {key: data[key] for key in data if key in ("queue_settings", "schedulingPriority")} == said


def test_a_cluster_is_set_as_azure_ml_writes_it() -> None:
    assert placed((), "gpu", None) == placed((), "azureml:gpu", None) == {"compute": "azureml:gpu"}
    assert placed((), None, None) == {}
