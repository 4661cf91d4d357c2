"""`azd up` finds what it needs: files, parameters, and hooks that call what is there with what it asks for."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from dropsweep.clusters import Cluster
from dropsweep.settings import DEFAULT_REPAIR_SCHEDULE, DEFAULT_RETAIN_SCHEDULE, DEFAULT_TICK_SCHEDULE
from tests.infra.arm import MODELS
from tests.infra.bicep import content_of
from tests.infra.deployments import INFRA, ROOT, STAGES, deployed
from tests.infra.syntax import Node, nodes, read
from tests.infra.test_agreement import assignments

AZD = yaml.safe_load(content_of(ROOT / "azure.yaml"))
HOOKS = sorted(INFRA.glob("hooks/*.sh"))
SET_BY_AZD = {"AZURE_ENV_NAME", "AZURE_SUBSCRIPTION_ID", "AZURE_LOCATION", "AZURE_PRINCIPAL_ID", "AZURE_PRINCIPAL_TYPE"}
SET_BY_PEOPLE = {
    "DROPSWEEP_BASE_IMAGE",
    "DROPSWEEP_BUDGET_START",
    "DROPSWEEP_MONTHLY_BUDGET",
    "DROPSWEEP_PACKAGES",
    "DROPSWEEP_TRAINERS",
    "DROPSWEEP_TRAINER_IMAGE",
}


def test_azure_yaml_names_what_is_there() -> None:
    infra = AZD["infra"]
    assert (ROOT / infra["path"] / f"{infra['module']}.bicep").is_file()
    assert {name: hook["run"] for name, hook in AZD["hooks"].items()} == {
        file.stem: file.relative_to(ROOT).as_posix() for file in HOOKS
    }
    assert {hook["shell"] for hook in AZD["hooks"].values()} == {"sh"}
    (service,) = AZD["services"]
    project = ROOT / AZD["services"][service]["project"]
    assert all((project / file).is_file() for file in ("function_app.py", "host.json", "requirements.txt"))
    (site,) = deployed("main").of_type("Microsoft.Web/sites")
    assert site.body["tags"]["azd-service-name"] == service


def test_the_parameters_are_those_of_the_template() -> None:
    given = json.loads(content_of(INFRA / "main.parameters.json"))["parameters"]
    declared = read(INFRA / "main.bicep").of("param")
    assert set(given) - set(declared) == set()
    assert {name for name, told in declared.items() if told.value is None} - set(given) == set()
    for parameter in given.values():
        assert re.fullmatch(r"\$\{(\w+)(=\w+)?\}", parameter["value"])[1] in SET_BY_AZD | SET_BY_PEOPLE  # type: ignore[index]


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook.name)
def test_shellcheck_finds_nothing_in_a_hook(hook: Path) -> None:
    shellcheck = Path(sys.executable).with_name("shellcheck")
    found = subprocess.run(
        [shellcheck, "--norc", "--enable=quote-safe-variables", hook], capture_output=True, text=True
    )
    assert found.returncode == 0, found.stdout
    assert os.access(hook, os.X_OK)


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook.name)
def test_a_hook_reads_only_what_the_first_stage_gives_out_or_people_set(hook: Path) -> None:
    read_ = set(re.findall(r"\$\{?((?:AZURE|DROPSWEEP)_\w+)", content_of(hook)))
    assert read_ - SET_BY_AZD - SET_BY_PEOPLE - set(deployed("main").outputs) == set()
    for name in read_ & SET_BY_PEOPLE:
        assert re.search(rf"\$\{{{name}:-", content_of(hook)), f"{name} may not be set"


@pytest.mark.parametrize(("hook", "stage"), [("postprovision", "trainers"), ("postdeploy", "events")])
def test_a_hook_gives_its_stage_every_parameter_that_it_needs(hook: str, stage: str) -> None:
    source = content_of(INFRA / f"hooks/{hook}.sh")
    assert f"--template-file infra/{stage}.bicep" in source
    given = set(re.findall(r'^  "(\w+)=\$', source, re.M))
    assert given == {name for name, told in read(INFRA / f"{stage}.bicep").of("param").items() if told.value is None}


@pytest.fixture
def azure(tmp_path: Path) -> dict[str, str]:
    """An environment in which `az` and `azd` only write down what they are asked; `az` knows no image yet."""
    for name in ("az", "azd"):
        program = tmp_path / name
        program.write_text(
            f'#!/bin/sh\nprintf "%s " "{name}" "$@" >>"{tmp_path}/calls"\nprintf "\\n" >>"{tmp_path}/calls"\n'
            'case "$*" in *"repository show"*) exit 3;; *"keys list"*) echo true;; esac\n'
        )
        program.chmod(0o755)
    outputs = {name: f"{name.lower()}-value" for name in deployed("main").outputs}
    azd = {name: f"{name.lower()}-value" for name in SET_BY_AZD}
    return {**outputs, **azd, "PATH": f"{tmp_path}:{os.environ['PATH']}", "CALLS": str(tmp_path / "calls")}


def run(hook: str, environment: dict[str, str], root: Path = ROOT) -> list[str]:
    subprocess.run([root / f"infra/hooks/{hook}.sh"], env=environment, check=True, capture_output=True, cwd="/")
    calls = Path(environment["CALLS"])
    made = calls.read_text().splitlines()
    calls.unlink()
    return made


@pytest.fixture
def checkout(azure: dict[str, str], tmp_path: Path) -> Path:
    """The hooks and the cluster files in a folder of their own, with the real command on the path."""
    shutil.copytree(INFRA / "hooks", tmp_path / "infra/hooks")
    shutil.copytree(ROOT / "clusters", tmp_path / "clusters")
    azure["PATH"] += f":{Path(sys.executable).parent}"
    return tmp_path


def test_the_clusters_are_put_together_before_anything_is_made(azure: dict[str, str], checkout: Path) -> None:
    azure.update(DROPSWEEP_BUDGET_START="")
    (chosen,) = run("preprovision", azure, checkout)
    assert content_of(checkout / "infra/clusters.json") == content_of(INFRA / "clusters.json")
    assert re.fullmatch(r"azd env set DROPSWEEP_BUDGET_START \d{4}-\d\d-01 ", chosen)


def test_a_cluster_that_container_apps_has_not_stops_it_unless_trainers_run_elsewhere(
    azure: dict[str, str], checkout: Path
) -> None:
    azure.update(DROPSWEEP_BUDGET_START="2030-01-01")
    (checkout / "infra/clusters.json").write_text("as it was")
    (checkout / "clusters/spot.yaml").write_text("name: spot\ntier: low_priority\nworkload_profile: Consumption\n")
    hook = checkout / "infra/hooks/preprovision.sh"
    refused = subprocess.run([hook], env=azure, capture_output=True, text=True)
    assert refused.returncode != 0
    assert "low priority" in refused.stderr
    assert content_of(checkout / "infra/clusters.json") == "as it was"
    assert list(checkout.glob("infra/*.new")) == []
    subprocess.run([hook], env={**azure, "DROPSWEEP_TRAINERS": "kubernetes"}, check=True, capture_output=True)
    assert '"name": "spot"' in content_of(checkout / "infra/clusters.json")


def test_without_the_command_a_hook_says_how_to_get_it(azure: dict[str, str], checkout: Path, tmp_path: Path) -> None:
    path = f"{tmp_path}:/usr/bin:/bin"
    found = subprocess.run(
        [checkout / "infra/hooks/preprovision.sh"], env={**azure, "PATH": path}, capture_output=True, text=True
    )
    assert found.returncode == 1
    assert "make install" in found.stderr


def test_the_trainer_s_image_is_built_under_a_name_that_says_what_is_in_it(azure: dict[str, str]) -> None:
    show, build, deploy = run("postprovision", azure)
    assert "acr repository show" in show
    image = re.search(r"--image (dropsweep-trainer:[0-9a-f]{12}) ", build)
    assert image
    assert f"image={azure['DROPSWEEP_REGISTRY_SERVER']}/{image[1]} " in deploy
    assert image[1] in run("postprovision", azure)[1]
    other = run("postprovision", {**azure, "DROPSWEEP_PACKAGES": "torch scikit-learn", "DROPSWEEP_BASE_IMAGE": "b:1"})
    assert "--build-arg PACKAGES=torch scikit-learn --build-arg BASE_IMAGE=b:1 " in other[1]
    assert image[1] not in other[1]


def test_another_source_makes_another_image(azure: dict[str, str], tmp_path: Path) -> None:
    for path in (
        "trainer_image/Dockerfile",
        "shared/dropsweep/names.py",
        "pyproject.toml",
        "constraints.txt",
        "README.md",
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("as it was")
    shutil.copytree(INFRA / "hooks", tmp_path / "infra/hooks")
    before = run("postprovision", azure, tmp_path)
    (tmp_path / "shared/dropsweep/names.py").write_text("as it is now")
    after = run("postprovision", azure, tmp_path)
    tags = [re.search(r"dropsweep-trainer:(\w{12}) ", calls[1])[1] for calls in (before, after)]  # type: ignore[index]
    assert tags[0] != tags[1]


def test_an_image_that_is_named_is_not_built(azure: dict[str, str]) -> None:
    (deploy,) = run("postprovision", {**azure, "DROPSWEEP_TRAINER_IMAGE": "registry.example/mine:1"})
    assert "image=registry.example/mine:1 " in deploy


def test_no_jobs_are_made_where_the_trainers_run_on_kubernetes(azure: dict[str, str]) -> None:
    calls = run("postprovision", {**azure, "DROPSWEEP_TRAINERS": "kubernetes"})
    assert [call for call in calls if "deployment" in call] == []


def test_events_are_subscribed_to_once_the_host_has_its_key(azure: dict[str, str]) -> None:
    keys, deploy = run("postdeploy", azure)
    assert "!= null" in keys, "the key itself must not be printed"
    assert "events.bicep" in deploy


def table(heading: str, number: int = 0) -> list[list[str]]:
    """The rows of a table of docs/deploy.md."""
    page = content_of(ROOT / "docs/deploy.md")
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", page, re.M | re.S)
    assert found, heading
    lines = re.findall(r"(?:^\|.*\n)+", found[1], re.M)[number].splitlines()[2:]
    return [[cell.strip().strip("`") for cell in line.removeprefix("|").split("|")] for line in lines]


def test_the_page_tells_every_parameter_with_its_default() -> None:
    def shown(value: Node | None) -> str:
        parts = [part for node in nodes(value) if node.kind in ("constant", "text") for part in node.parts]
        return ", ".join(map(str, parts))

    declared = {name: shown(told.value) for name, told in read(INFRA / "main.bicep").of("param").items()}
    assert {row[0]: row[1] for row in table("Parameters")} == declared


def test_the_page_tells_every_variable_that_people_set() -> None:
    assert {row[0] for row in table("Parameters", 1)} == SET_BY_PEOPLE


def test_the_page_tells_every_type_of_resource_and_every_role() -> None:
    assert {row[0] for row in table("What is made")} == set(MODELS)
    told = {(row[0], row[1]) for row in table("Roles")}
    assert told == {(who, role) for who, role, _ in assignments("everything")}


def test_the_page_tells_every_stage() -> None:
    assert [row[1] for row in table("What happens in which order")] == [f"infra/{stage.name}" for stage in STAGES]


def test_the_page_tells_every_key_of_a_cluster_file_that_means_something_here() -> None:
    told = {key.partition(":")[0] for row in table("Clusters on Container Apps") for key in row[0].split("`, `")}
    free = {"name", "description", "tags", "serves", "gpus_per_node"}
    assert told == set(Cluster("c").to_dict()) - free


def test_the_page_counts_what_happens_when_nothing_does() -> None:
    minutes = 30 * 24 * 60
    costs = {row[0]: row[1] for row in table("Costs")}
    assert DEFAULT_REPAIR_SCHEDULE == DEFAULT_TICK_SCHEDULE == "0 * * * * *"
    assert re.fullmatch(r"0 \d+ \* \* \* \*", DEFAULT_RETAIN_SCHEDULE)
    executions = 2 * minutes + minutes // 60
    assert [f"{number:,}" for number in (executions, 2 * executions, executions // 2)] == re.findall(
        r"\d+,\d+", costs["functions"]
    )
    (job, *_) = deployed("trainers").of_type("Microsoft.App/jobs")
    polling = job.body["properties"]["configuration"]["eventTriggerConfig"]["scale"]["pollingInterval"]
    assert f"{3 * minutes * 60 // polling:,}" in costs["scaler"]
