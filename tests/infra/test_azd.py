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
from tests.infra.test_agreement import triggers
from tests.infra.test_roles import assignments

AZD = yaml.safe_load(content_of(ROOT / "azure.yaml"))
HOOKS = sorted(INFRA.glob("hooks/*.sh"))
SET_BY_AZD = {"AZURE_ENV_NAME", "AZURE_SUBSCRIPTION_ID", "AZURE_LOCATION", "AZURE_PRINCIPAL_ID", "AZURE_PRINCIPAL_TYPE"}
SET_BY_PEOPLE = {
    "DROPSWEEP_BASE_IMAGE",
    "DROPSWEEP_BUDGET_START",
    "DROPSWEEP_MONTHLY_BUDGET",
    "DROPSWEEP_PACKAGES",
    "DROPSWEEP_QUEUE_LENGTH_STRATEGY",
    "DROPSWEEP_TRAINERS",
    "DROPSWEEP_TRAINER_IMAGE",
    "DROPSWEEP_TRAINER_TIMEOUT_S",
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


def shown(value: Node | None) -> str:
    parts = [part for node in nodes(value) if node.kind in ("constant", "text") for part in node.parts]
    return ", ".join(map(str, parts))


@pytest.mark.parametrize(("hook", "stage"), [("postprovision", "trainers"), ("postdeploy", "events")])
def test_a_hook_gives_its_stage_every_parameter(hook: str, stage: str) -> None:
    source = content_of(INFRA / f"hooks/{hook}.sh")
    assert f"--template-file infra/{stage}.bicep" in source
    given = set(re.findall(r'^  "(\w+)=\$', source, re.M))
    declared = read(INFRA / f"{stage}.bicep").of("param")
    assert given == set(declared)
    defaults = dict(re.findall(r'^  "(\w+)=\$\{\w+:-(\w+)\}"', source, re.M))
    assert defaults == {name: shown(told.value) for name, told in declared.items() if told.value is not None}


@pytest.fixture
def azure(tmp_path: Path) -> dict[str, str]:
    """An environment in which `az` and `azd` only write down what they are asked; `az` knows no image yet."""
    for name in ("az", "azd"):
        program = tmp_path / name
        program.write_text(
            f'#!/bin/sh\nprintf "%s " "{name}" "$@" >>"{tmp_path}/calls"\nprintf "\\n" >>"{tmp_path}/calls"\n'
            'case "$*" in *"repository show"*) exit 3;; *"keys list"*) echo "${KEY-true}"; echo "${SAID-}" >&2;;\n'
            '*"group exists"*) echo "${EXISTS-false}";; *"resource list"*) printf "${JOBS-}";; esac\n'
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
    shutil.copy(INFRA / "settings.json", tmp_path / "infra")
    azure["PATH"] += f":{Path(sys.executable).parent}"
    return tmp_path


def test_the_clusters_are_put_together_before_anything_is_made(azure: dict[str, str], checkout: Path) -> None:
    azure.update(DROPSWEEP_BUDGET_START="")
    looked, chosen = run("preprovision", azure, checkout)
    assert "az group exists" in looked
    assert content_of(checkout / "infra/clusters.json") == content_of(INFRA / "clusters.json")
    assert re.fullmatch(r"azd env set DROPSWEEP_BUDGET_START \d{4}-\d\d-01 ", chosen)


JOBS = r"cpu\t/jobs/job-cpu\nc\t/jobs/job-c\ngpu\t/jobs/job-gpu\ngpu-old\t/jobs/job-gpu-old\n"


def deleted(calls: list[str]) -> list[str]:
    return re.findall(r"^az resource delete .* --ids (\S+) ", "\n".join(calls), re.M)


def test_jobs_of_clusters_that_are_gone_are_deleted(azure: dict[str, str], checkout: Path) -> None:
    azure.update(DROPSWEEP_BUDGET_START="2030-01-01", EXISTS="true", JOBS=JOBS)
    calls = run("preprovision", azure, checkout)
    assert deleted(calls) == ["/jobs/job-c", "/jobs/job-gpu-old"]
    (listed,) = [call for call in calls if "resource list" in call]
    assert f"--resource-group {azure['AZURE_RESOURCE_GROUP']} --resource-type Microsoft.App/jobs " in listed
    assert f"""[?tags."azd-env-name"=='{azure["AZURE_ENV_NAME"]}' && tags."dropsweep-cluster"]""" in listed
    (job, *_) = deployed("trainers").of_type("Microsoft.App/jobs")
    assert set(re.findall(r'tags\."([\w-]+)"', listed)) == set(job.body["tags"])


def test_all_jobs_are_deleted_where_the_trainers_run_on_kubernetes(azure: dict[str, str], checkout: Path) -> None:
    azure.update(DROPSWEEP_BUDGET_START="2030-01-01", EXISTS="true", JOBS=JOBS, DROPSWEEP_TRAINERS="kubernetes")
    assert len(deleted(run("preprovision", azure, checkout))) == 4


def test_nothing_is_deleted_where_nothing_is_or_everything_is_served(azure: dict[str, str], checkout: Path) -> None:
    azure.update(DROPSWEEP_BUDGET_START="2030-01-01", JOBS=JOBS)
    for told in ({"AZURE_RESOURCE_GROUP": "", "EXISTS": "true"}, {"EXISTS": "false"}, {"EXISTS": "true", "JOBS": ""}):
        hook = checkout / "infra/hooks/preprovision.sh"
        subprocess.run([hook], env={**azure, **told}, check=True, capture_output=True)
    calls = Path(azure["CALLS"]).read_text().splitlines()
    assert deleted(calls) == []
    assert len(calls) == 0 + 1 + 2


def test_a_setting_that_the_templates_set_themselves_is_refused(azure: dict[str, str], checkout: Path) -> None:
    azure.update(DROPSWEEP_BUDGET_START="2030-01-01")
    settings = checkout / "infra/settings.json"
    settings.write_text('{"DROPSWEEP_HEARTBEAT_S": "20", "DROPSWEEP_GRACE_S": "60"}')
    hook = checkout / "infra/hooks/preprovision.sh"
    refused = subprocess.run([hook], env=azure, capture_output=True, text=True)
    assert refused.returncode == 1
    assert 'infra/settings.json sets "DROPSWEEP_GRACE_S", which' in refused.stderr
    settings.write_text('{"DROPSWEEP_HEARTBEAT_S": "20"}')
    subprocess.run([hook], env=azure, check=True, capture_output=True)
    own = {each["name"] for each in site_settings()} | {"DROPSWEEP_GRACE_S"}
    settings.write_text(json.dumps(dict.fromkeys(own, "")))
    refused = subprocess.run([hook], env=azure, capture_output=True, text=True)
    assert set(re.findall(r'"(\w+)"', refused.stderr)) == own


def site_settings() -> list[dict[str, str]]:
    (site,) = deployed("main").of_type("Microsoft.Web/sites")
    return list(site.body["properties"]["siteConfig"]["appSettings"])


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
    app = f"--resource-group {azure['AZURE_RESOURCE_GROUP']} --name {azure['DROPSWEEP_FUNCTION_APP']} "
    assert app in keys
    assert f"--resource-group {azure['AZURE_RESOURCE_GROUP']} --name events " in deploy
    assert "events.bicep" in deploy


def test_what_az_said_last_is_told_when_the_host_gets_no_key(azure: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "sleep").symlink_to("/bin/true")
    azure.update(KEY="", SAID="Please run 'az login'", TMPDIR=str(tmp_path / "files"))
    (tmp_path / "files").mkdir()
    hook = INFRA / "hooks/postdeploy.sh"
    found = subprocess.run([hook], env=azure, capture_output=True, text=True)
    assert found.returncode == 1
    assert "What az said last: Please run 'az login'" in found.stderr
    assert list((tmp_path / "files").iterdir()) == []


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook.name)
def test_az_is_always_told_the_subscription_and_the_resource_group(hook: Path) -> None:
    """What `az account set` and `az configure` chose may be another one."""
    calls = re.findall(r"\baz (?!said)(?:[^\n]*\\\n)*[^\n]*", content_of(hook))
    for call in calls:
        assert '--subscription "$AZURE_SUBSCRIPTION_ID"' in call
        wanted = r'--(?:resource-group|name) "\$AZURE_RESOURCE_GROUP"|--registry|--name "\$DROPSWEEP_REGISTRY"|--ids'
        assert re.search(wanted, call), call


def table(heading: str, number: int = 0) -> list[list[str]]:
    """The rows of a table of docs/deploy.md."""
    page = content_of(ROOT / "docs/deploy.md")
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", page, re.M | re.S)
    assert found, heading
    lines = re.findall(r"(?:^\|.*\n)+", found[1], re.M)[number].splitlines()[2:]
    return [[cell.strip().strip("`") for cell in line.removeprefix("|").split("|")] for line in lines]


def test_the_page_tells_every_parameter_with_its_default() -> None:
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
    host = json.loads(content_of(ROOT / "host.json"))["extensions"]["queues"]
    every_s = int(host["maxPollingInterval"].rpartition(":")[2])
    assert f"every {every_s} seconds" in costs["functions, queues"]
    assert f"{minutes * 60 // every_s:,} queue operations" in costs["functions, queues"]
    # And the one that the host makes for dropped files.
    num_queues = 1 + sum(kind == "queue_trigger" for _, kind, _ in triggers())
    assert (
        f"each of {('no', 'one', 'two', 'three', 'four', 'five', 'six')[num_queues]} queues"
        in costs["functions, queues"]
    )
    (job, *_) = deployed("trainers").of_type("Microsoft.App/jobs")
    polling = job.body["properties"]["configuration"]["eventTriggerConfig"]["scale"]["pollingInterval"]
    assert f"{3 * minutes * 60 // polling:,}" in costs["scaler"]
