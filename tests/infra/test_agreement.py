"""What the templates make is what the code reads: names of containers, queues and settings, arguments, and roles."""

import ast
import importlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from dropsweep import names
from dropsweep.clusters import Cluster
from dropsweep.settings import BLOB_URI, CLIENT_ID, QUEUE_URI, STORAGE, Settings
from dropsweep_trainer.worker.serve import _parser
from tests.infra.bicep import Resource, content_of, evaluate
from tests.infra.deployments import INFRA, PARAMETERS, ROOT, SCENARIOS, deploy, deployed
from tests.infra.syntax import BicepError

every_scenario = pytest.mark.parametrize("scenario", SCENARIOS)
HOST_CONTAINER = "function-package"
MAX_STOP_S = 30
"""After that many seconds Container Apps kills what it asked to stop, when it is a job."""


def made(stage: str, scenario: str, type_: str) -> list[Resource]:
    return deployed(stage, scenario).of_type(type_)


def one(stage: str, scenario: str, type_: str) -> Resource:
    (found,) = made(stage, scenario, type_)
    return found


def pairs(listed: list[dict[str, str]]) -> dict[str, str]:
    found = {each["name"]: each["value"] for each in listed}
    assert len(found) == len(listed)
    return found


def jobs(scenario: str) -> list[tuple[Cluster, dict[str, Any], Resource]]:
    """Each cluster with the properties of its job."""
    found = made("trainers", scenario, "Microsoft.App/jobs")
    return [(c, dict(job.body["properties"]), job) for c, job in zip(SCENARIOS[scenario], found, strict=True)]


def container(properties: dict[str, Any]) -> dict[str, Any]:
    (found,) = properties["template"]["containers"]
    return dict(found)


@every_scenario
def test_the_account_has_the_containers_of_the_code(scenario: str) -> None:
    found = [each.name for each in made("main", scenario, "Microsoft.Storage/storageAccounts/blobServices/containers")]
    assert found == [*names.CONTAINERS, "data", HOST_CONTAINER]


@every_scenario
def test_the_account_has_the_queues_of_the_code(scenario: str) -> None:
    found = [each.name for each in made("main", scenario, "Microsoft.Storage/storageAccounts/queueServices/queues")]
    own = (names.SUBMISSIONS_QUEUE, names.ADVANCE_QUEUE)
    trials = [queue for cluster in SCENARIOS[scenario] for queue in names.trials_queues(cluster.name)]
    assert sorted(found) == sorted([*own, *map(names.poison_queue, own), names.DROP_POISON_QUEUE, *trials])


@every_scenario
def test_no_key_opens_the_accounts_and_nothing_in_them_is_public(scenario: str) -> None:
    for account in made("main", scenario, "Microsoft.Storage/storageAccounts"):
        properties = account.body["properties"]
        assert properties["allowSharedKeyAccess"] is False
        assert properties["allowBlobPublicAccess"] is False
        assert properties["minimumTlsVersion"] == "TLS1_2"
        is_open = properties.get("networkAcls", {}).get("defaultAction") != "Deny"
        assert properties["supportsHttpsTrafficOnly"] is is_open


@every_scenario
def test_a_job_is_scaled_by_the_visible_messages_of_its_cluster_s_queues(scenario: str) -> None:
    for cluster, properties, job in jobs(scenario):
        configuration = properties["configuration"]
        scale = configuration["eventTriggerConfig"]["scale"]
        slots = cluster.slots_per_node or max(1, cluster.gpus_per_node)
        metadata = [rule["metadata"] for rule in scale["rules"]]
        assert [each.pop("queueName") for each in map(dict, metadata)] == list(names.trials_queues(cluster.name))
        for each in metadata:
            told = {key: value for key, value in each.items() if key != "queueName"}
            account = PARAMETERS["trainers.bicep"]["storageName"]
            assert told == {"accountName": account, "queueLength": str(slots), "queueLengthStrategy": "visibleonly"}
        (identity,) = job.body["identity"]["userAssignedIdentities"]
        assert {rule["identity"] for rule in scale["rules"]} == {identity}
        assert (scale["minExecutions"], scale["maxExecutions"]) == (cluster.min_instances, cluster.max_instances)
        assert configuration["replicaRetryLimit"] == 0
        assert configuration["eventTriggerConfig"]["parallelism"] == 1


def test_the_messages_that_start_trainers_can_be_chosen() -> None:
    given = {**PARAMETERS["trainers.bicep"], "queueLengthStrategy": "all"}
    for job in evaluate(INFRA / "trainers.bicep", given).of_type("Microsoft.App/jobs"):
        rules = job.body["properties"]["configuration"]["eventTriggerConfig"]["scale"]["rules"]
        assert {rule["metadata"]["queueLengthStrategy"] for rule in rules} == {"all"}
    with pytest.raises(BicepError, match="queueLengthStrategy is 'visible', against its allowed"):
        evaluate(INFRA / "trainers.bicep", {**given, "queueLengthStrategy": "visible"})


@every_scenario
def test_the_trainer_reads_its_arguments_and_its_settings(scenario: str) -> None:
    for cluster, properties, _ in jobs(scenario):
        given = container(properties)["args"]
        longest_s = properties["configuration"]["replicaTimeout"]
        leave = ["--leave-after", str(longest_s // 2)]
        assert given == ["--cluster", cluster.name, "--scaled", *leave], "a shortened option would be taken too"
        arguments = _parser().parse_args(given)
        assert (arguments.cluster, arguments.scaled, arguments.leave_after) == (cluster.name, True, longest_s / 2)
        environment = pairs(container(properties)["env"])
        settings = Settings.from_env(environment)
        assert settings.clusters == SCENARIOS[scenario]
        assert (settings.storage.blob_uri, settings.storage.queue_uri) == (
            environment[BLOB_URI],
            environment[QUEUE_URI],
        )
        assert settings.storage.client_id == environment[CLIENT_ID]
        assert settings.grace_s <= MAX_STOP_S / 2
        assert "$" not in environment["DROPSWEEP_CLUSTERS"], "Kubernetes would expand it"


@every_scenario
def test_a_node_is_what_the_cluster_says(scenario: str) -> None:
    for cluster, properties, _ in jobs(scenario):
        found = container(properties)
        assert found["image"] == (cluster.image or PARAMETERS["trainers.bicep"]["image"])
        assert found["resources"]["cpu"] == cluster.cpus_per_node
        assert float(found["resources"]["memory"].removesuffix("Gi")) * 2**30 == cluster.memory_per_node_bytes
        assert properties["workloadProfileName"] == (cluster.workload_profile or "Consumption")


@every_scenario
def test_the_environment_has_the_profiles_and_the_shares_of_the_jobs(scenario: str) -> None:
    profiles = one("main", scenario, "Microsoft.App/managedEnvironments").body["properties"]["workloadProfiles"]
    offered = [profile["name"] for profile in profiles]
    assert sorted(offered) == sorted({"Consumption"} | {job["workloadProfileName"] for _, job, _ in jobs(scenario)})
    for profile in profiles:
        assert ("maximumCount" in profile) is not profile["name"].startswith("Consumption")
    storages = {
        each.name: each.body["properties"]["nfsAzureFile"]
        for each in made("main", scenario, "Microsoft.App/managedEnvironments/storages")
    }
    shares = {each.name for each in made("main", scenario, "Microsoft.Storage/storageAccounts/fileServices/shares")}
    for cluster, job, _ in jobs(scenario):
        volumes = {volume["name"]: volume["storageName"] for volume in job["template"]["volumes"]}
        places = {mount["volumeName"]: mount["mountPath"] for mount in container(job)["volumeMounts"]}
        assert places == {mount.name: mount.path for mount in cluster.mounts}
        assert set(volumes) == set(places)
        for mount in cluster.mounts:
            storage = storages[volumes[mount.name]]
            assert storage["accessMode"] == ("ReadOnly" if mount.read_only else "ReadWrite")
            assert storage["shareName"].rpartition("/")[2] == mount.share
            assert mount.share in shares


def test_without_mounts_there_is_no_share_and_no_network_to_pay_for() -> None:
    assert not any(cluster.mounts for cluster in SCENARIOS["ours"])
    types = {each.type for each in deployed("main", "ours").resources}
    assert not [type_ for type_ in types if "fileServices" in type_ or type_.startswith("Microsoft.Network")]
    assert len(made("main", "ours", "Microsoft.Storage/storageAccounts")) == 1


@every_scenario
def test_jobs_have_names_that_container_apps_takes(scenario: str) -> None:
    for cluster, _, job in jobs(scenario):
        assert job.body["tags"] == {"azd-env-name": "try", "dropsweep-cluster": cluster.name}
    found = [job.name for _, _, job in jobs(scenario)]
    assert len(set(found)) == len(found)
    assert [name for name in found if not re.fullmatch(r"(?!.*--)[a-z][a-z0-9-]{0,30}[a-z0-9]", name)] == []


def functions_settings(scenario: str) -> dict[str, str]:
    return pairs(one("main", scenario, "Microsoft.Web/sites").body["properties"]["siteConfig"]["appSettings"])


@every_scenario
def test_the_functions_read_their_settings(scenario: str) -> None:
    found = functions_settings(scenario)
    settings = Settings.from_env(found)
    assert settings.clusters == SCENARIOS[scenario]
    assert settings.storage.client_id == found[CLIENT_ID]
    assert not [name for name, value in found.items() if re.search("AccountKey|SharedAccess", value) or name == STORAGE]


@every_scenario
def test_functions_and_trainers_get_the_settings_that_they_share(scenario: str) -> None:
    """Two that disagree on when a claim is lost would take trials from each other."""
    told = {"DROPSWEEP_HEARTBEAT_S": "20", "DROPSWEEP_CLAIM_TIMEOUT_S": "120"}

    def content(path: Path) -> str:
        return json.dumps(told) if path.name == "settings.json" else content_of(path)

    clusters = SCENARIOS[scenario]
    (site,) = deploy(INFRA / "main.bicep", clusters, content).of_type("Microsoft.Web/sites")
    found = [pairs(site.body["properties"]["siteConfig"]["appSettings"])]
    for job in deploy(INFRA / "trainers.bicep", clusters, content).of_type("Microsoft.App/jobs"):
        found.append(pairs(container(job.body["properties"])["env"]))
    assert len(found) == 1 + len(clusters)
    for environment in found:
        settings = Settings.from_env(environment)
        assert (settings.heartbeat_s, settings.claim_timeout_s) == (20, 120)


def test_the_settings_of_the_repository_are_such_as_the_code_reads() -> None:
    told = json.loads(content_of(INFRA / "settings.json"))
    assert all(isinstance(value, str) for value in told.values())
    known = set(re.findall(r"DROPSWEEP_\w+", content_of(ROOT / "shared/dropsweep/settings.py")))
    assert set(told) - known == set()


def triggers() -> list[tuple[str, str, dict[str, Any]]]:
    """Function, kind of trigger, and what its decorator is given, of all that function_app.py registers."""
    found = []
    for file in sorted((ROOT / "functions").glob("*.py")):
        module = importlib.import_module(f"functions.{file.stem}")
        for function in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            for call in getattr(function, "decorator_list", ()):
                kind = call.func.attr if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) else ""
                if kind.endswith("_trigger"):
                    given = {word.arg: eval(ast.unparse(word.value), vars(module)) for word in call.keywords}
                    found.append((function.name, kind, given))  # type: ignore[attr-defined]
    return found


def test_the_connection_of_every_trigger_is_configured_with_an_identity() -> None:
    settings = functions_settings("ours")
    connections = {given["connection"] for _, kind, given in triggers() if kind in ("blob_trigger", "queue_trigger")}
    assert connections == {STORAGE}
    wanted = {f"{STORAGE}__{part}" for part in ("blobServiceUri", "queueServiceUri", "credential", "clientId")}
    assert wanted == {name for name in settings if name.startswith(f"{STORAGE}__")}
    assert settings[f"{STORAGE}__credential"] == "managedidentity"
    assert settings["AzureWebJobsStorage__credential"] == "managedidentity"
    assert settings["AzureWebJobsStorage__accountName"] == deployed("main").outputs["DROPSWEEP_STORAGE_ACCOUNT"]


def test_every_queue_that_a_function_reads_is_made() -> None:
    made_queues = {each.name for each in made("main", "ours", "Microsoft.Storage/storageAccounts/queueServices/queues")}
    read = {given["queue_name"] for _, kind, given in triggers() if kind == "queue_trigger"}
    assert read
    assert read - made_queues == set()


def test_events_of_dropped_files_alone_go_to_the_function_that_takes_them() -> None:
    (drop,) = [(name, given) for name, kind, given in triggers() if kind == "blob_trigger"]
    properties = one("events", "ours", "Microsoft.EventGrid/systemTopics/eventSubscriptions").body["properties"]
    url = properties["destination"]["properties"]["endpointUrl"]
    assert f"/runtime/webhooks/blobs?functionName=Host.Functions.{drop[0]}&code=" in url
    watched = drop[1]["path"].partition("/")[0]
    assert properties["filter"]["subjectBeginsWith"] == f"/blobServices/default/containers/{watched}/blobs/"
    assert properties["filter"]["includedEventTypes"] == ["Microsoft.Storage.BlobCreated"]


def test_the_functions_run_what_host_json_and_the_package_ask_for() -> None:
    config = one("main", "ours", "Microsoft.Web/sites").body["properties"]["functionAppConfig"]
    package = config["deployment"]["storage"]["value"].rpartition(">")[2]
    assert package == HOST_CONTAINER
    low, high = re.findall(r"[<>]=?3\.(\d+)", content_of(ROOT / "pyproject.toml"))[:2]
    assert int(low) <= int(config["runtime"]["version"].partition(".")[2]) < int(high)
    host = json.loads(content_of(ROOT / "host.json"))
    assert host["extensionBundle"]["version"].startswith("[4.")
    hours, minutes, _ = map(int, host["functionTimeout"].split(":"))
    assert hours * 60 + minutes <= 30, "Flex Consumption gives a function half an hour unless told otherwise"
