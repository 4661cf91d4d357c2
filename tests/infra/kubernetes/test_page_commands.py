"""The commands of docs/kubernetes.md, run as they stand by programs that only write down what they are asked."""

import json
import os
import re
import subprocess
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from dropsweep.names import trials_queues
from tests.infra.deployments import deployed
from tests.infra.kubernetes.chart import CHART, ROOT, documents, needs_helm
from tests.unit.test_docs import rows, section, spans

PAGE = (ROOT / "docs/kubernetes.md").read_text(encoding="utf-8")
STEPS = ("The Azure side", "The Kubernetes side", "Two identities", "The chart")
PROGRAM = """#!{python} -S
import json, sys, uuid
name, arguments = "{name}", sys.argv[1:]
with open("{calls}", "a") as calls:
    calls.write(json.dumps([name, *arguments]) + "\\n")
if name == "azd" and arguments == ["env", "get-values"]:
    print(open("{outputs}").read())
elif "show-tags" in arguments:
    print("0123456789ab")
elif name == "az" and "--query" in arguments:
    named = arguments[arguments.index("--name") + 1]
    asked = arguments[arguments.index("--query") + 1]
    print(uuid.uuid5(uuid.NAMESPACE_OID, named) if asked == "clientId" else asked + "-of-" + named)
"""
CLUSTERS = {
    "cpu": "name: cpu\nmax_instances: 2\nmounts: [{name: sets, share: datasets, path: /mnt/sets}]\n",
    "spot": "name: spot\ntier: low_priority\nsize: Standard_NC24ads_A100_v4\ngpus_per_node: 1\n",
}


@dataclass(frozen=True)
class Call:
    """One command: its words before the first option, and its options."""

    words: tuple[str, ...]
    options: dict[str, str]


def output(name: str) -> str:
    """What a deployment gives out under a name; one that a storage account may have."""
    return name.lower().replace("_", "")


def client_id(identity: str) -> uuid.UUID:
    return uuid.uuid5(uuid.NAMESPACE_OID, identity)


def blocks(*headings: str) -> str:
    return "\n".join(
        text for heading in headings for text in re.findall(r"```bash\n(.*?)```", section(PAGE, heading), re.S)
    )


def read(command: list[str]) -> Call:
    first = next((index for index, word in enumerate(command) if word.startswith("-")), len(command))
    options: dict[str, str] = {}
    last = ""
    for word in command[first:]:
        if word.startswith("-"):
            last, _, options[last] = word.partition("=")[0], "", word.partition("=")[2]
        else:
            options[last] = word if not options[last] else f"{options[last]} {word}"
    return Call(tuple(command[:first]), options)


@dataclass(frozen=True)
class Told:
    folder: Path
    calls: tuple[Call, ...]

    def of(self, *words: str) -> list[Call]:
        return [call for call in self.calls if call.words[: len(words)] == words]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """What the commands of the installation asked, and the folder that they ran in."""
    folder = tmp_path_factory.mktemp("checkout")
    programs, checkout = folder / "bin", folder / "checkout"
    programs.mkdir()
    for name in ("az", "azd", "kubectl", "helm", "make"):
        program = programs / name
        values = {"python": sys.executable, "name": name, "calls": folder / "calls", "outputs": folder / "outputs"}
        program.write_text(PROGRAM.format(**values))
        program.chmod(0o755)
    # As azd prints them. Each has a value of its own.
    (folder / "outputs").write_text("".join(f'{name}="{output(name)}"\n' for name in deployed("main").outputs))
    for path in ("clusters", "infra", ".venv/bin", "examples"):
        (checkout / path).mkdir(parents=True)
    (checkout / ".venv/bin/activate").write_text(f"PATH={programs}:{Path(sys.executable).parent}:$PATH\n")
    for name, text in CLUSTERS.items():
        (checkout / f"clusters/{name}.yaml").write_text(text)
    script = blocks(*STEPS)
    assert "\ndropsweep submit " in script
    # There is no account to submit to.
    script = re.sub(r"^dropsweep submit .*\n", "", script, flags=re.M)
    done = subprocess.run(
        ["bash", "-eu", "-c", script],
        cwd=checkout,
        env={"PATH": f"{programs}:{os.environ['PATH']}", "HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    calls = [read(json.loads(line)) for line in (folder / "calls").read_text().splitlines()]
    return Told(checkout, tuple(calls))


def values(told: Told) -> dict[str, Any]:
    return dict(yaml.safe_load((told.folder / "kubernetes-values.yaml").read_text()))


def test_the_trainers_go_to_kubernetes_before_anything_is_deployed(told: Told) -> None:
    words = [" ".join(call.words) for call in told.of("azd")]
    assert words.index("azd env set DROPSWEEP_TRAINERS kubernetes") < words.index("azd up")
    assert words[-1] == "azd env get-values"


def test_each_service_account_may_be_its_identity(told: Told) -> None:
    trainers, keda = told.of("az", "identity", "federated-credential", "create")
    assert trainers.options["--identity-name"] == output("DROPSWEEP_TRAINERS_IDENTITY")
    assert trainers.options["--subject"] == "system:serviceaccount:dropsweep:dropsweep-trainer"
    assert keda.options["--identity-name"] == told.of("az", "identity", "create")[0].options["--name"]
    assert keda.options["--subject"] == "system:serviceaccount:kube-system:keda-operator"
    for credential in (trainers, keda):
        assert credential.options["--issuer"] == "oidcIssuerProfile.issuerUrl-of-my-kubernetes"
        assert credential.options["--audiences"] == "api://AzureADTokenExchange"
        assert credential.options["--resource-group"] == output("AZURE_RESOURCE_GROUP")


def test_keda_may_look_into_every_queue_of_every_cluster_and_nowhere_else(told: Told) -> None:
    assigned = told.of("az", "role", "assignment", "create")
    account = f"id-of-{output('DROPSWEEP_STORAGE_ACCOUNT')}/queueServices/default/queues/"
    assert [call.options["--scope"] for call in assigned] == [
        f"{account}{queue}" for name in CLUSTERS for queue in trials_queues(name)
    ]
    (row,) = [row for row in rows(section(PAGE, "Roles")) if row[0] == "KEDA"]
    assert {call.options["--role"] for call in assigned} == {row[1]}
    assert {call.options["--assignee-object-id"] for call in assigned} == {"principalId-of-id-keda-dropsweep"}


@needs_helm
def test_what_helm_is_given_makes_an_installation_that_knows_account_image_and_identities(told: Told) -> None:
    dry, real = told.of("helm", "template")[0], told.of("helm", "upgrade")[0]
    assert dry.words == ("helm", "template", "dropsweep", "infra/kubernetes")
    assert (ROOT / dry.words[3]) == CHART
    assert real.options.pop("--install") == "dropsweep infra/kubernetes"
    assert dry.options == real.options
    assert real.options["--set-file"] == "clusters=infra/clusters.json"
    assert real.options["--values"] == "kubernetes-values.yaml"
    made = documents((told.folder / "infra/clusters.json").read_text(), **values(told))
    text = json.dumps(made)
    assert {each["metadata"]["name"] for each in made if each["kind"] == "ScaledJob"} == {"sweeps-cpu", "sweeps-spot"}
    for needed in (
        f"https://{output('DROPSWEEP_STORAGE_ACCOUNT')}.blob.core.windows.net/",
        f'"{client_id(output("DROPSWEEP_TRAINERS_IDENTITY"))}"',
        f'"identityId": "{client_id("id-keda-dropsweep")}"',
        f'"{output("DROPSWEEP_REGISTRY_SERVER")}/dropsweep-trainer:0123456789ab"',
    ):
        assert needed in text


def test_the_image_is_the_newest_of_the_name_that_a_deployment_builds(told: Told) -> None:
    (tags,) = told.of("az", "acr", "repository", "show-tags")
    assert (tags.options["--orderby"], tags.options["--top"]) == ("time_desc", "1")
    hook = (ROOT / "infra/hooks/postprovision.sh").read_text()
    assert f"/{tags.options['--repository']}:$tag" in hook
    assert f"/{tags.options['--repository']}:" in values(told)["image"]


def test_a_dry_run_comes_before_the_installation(told: Told) -> None:
    words = [call.words[:2] for call in told.calls if call.words[0] in ("helm", "kubectl")]
    assert words.index(("helm", "template")) < words.index(("kubectl", "apply")) < words.index(("helm", "upgrade"))


def test_every_name_that_the_commands_read_is_one_that_a_deployment_gives_out() -> None:
    everything = "\n".join(re.findall(r"```(?:ba)?sh\n(.*?)```", PAGE, re.S))
    used = set(re.findall(r"\$\{?((?:AZURE|DROPSWEEP)_\w+)", everything))
    exported = set(re.findall(r"DROPSWEEP_STORAGE__\w+", everything))
    assert len(exported) == 2
    assert (used | exported) - set(deployed("main").outputs) == set()


def test_the_labels_by_which_pods_are_picked_are_those_of_the_chart() -> None:
    template = (CHART / "templates/scaledjob.yaml").read_text()
    labels = set(re.findall(r"--selector ([\w/.]+)=", PAGE))
    assert labels
    assert all(f" {label}: {{{{ $cluster.name }}}}" in template for label in labels)


def test_what_is_installed_is_what_is_uninstalled(told: Told) -> None:
    """Identities and credentials that the installation makes are named where it is undone."""
    undone = section(PAGE, "Every day")
    for call in told.of("az", "identity"):
        if call.words[-1] == "create":
            assert f"{' '.join(call.words[:-1])} delete" in undone
            assert f"--name {call.options['--name']}" in undone or call.options["--name"] == "keda-operator"
    assert "helm uninstall dropsweep --namespace dropsweep" in undone


def test_the_settings_that_trainers_share_are_those_that_the_chart_takes() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    (row,) = [row for row in rows(section(PAGE, "Values")) if spans(row[0]) == ["settings"]]
    assert set(spans(row[2])) == set(schema["properties"]["settings"]["properties"])


def test_shellcheck_finds_nothing_in_the_commands(tmp_path: Path) -> None:
    shellcheck = Path(sys.executable).with_name("shellcheck")
    script = tmp_path / "install.bash"
    # The variables of azd, and a file that make install makes.
    script.write_text(f"#!/bin/bash\n# shellcheck disable=SC1091,SC2154\n{blocks(*STEPS)}")
    done = subprocess.run([shellcheck, "--norc", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")
