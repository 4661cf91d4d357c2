"""Who may do what, on what, and no more than that."""

import re

from dropsweep import names
from tests.infra.bicep import content_of, evaluate
from tests.infra.deployments import INFRA, PARAMETERS, SCENARIOS
from tests.infra.test_agreement import HOST_CONTAINER, every_scenario, made

# https://learn.microsoft.com/azure/role-based-access-control/built-in-roles
ROLES = {
    "Storage Blob Data Owner": "b7e6dc6d-f1e8-4753-8033-0f276bb0955b",
    "Storage Blob Data Contributor": "ba92f5b4-2d11-453d-a403-e96b0029c9fe",
    "Storage Blob Data Reader": "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1",
    "Storage Queue Data Contributor": "974c5e8b-45b9-4653-ba55-5f855dd0fb88",
    "Storage Queue Data Reader": "19e7f393-937e-4f77-808e-94535e297925",
    "Storage Queue Data Message Sender": "c6a89b2d-59bc-44d0-9896-0f6e12d7b80a",
    "Storage Table Data Contributor": "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3",
    "Monitoring Metrics Publisher": "3913510d-42f4-4e42-8a64-420c390055eb",
    "AcrPull": "7f951dda-4ed3-4680-a7ca-43fe172d538d",
}


def assignments(scenario: str) -> list[tuple[str, str, str]]:
    """Who, which role, on what."""
    by_id = {value: name for name, value in ROLES.items()}
    found = []
    for each in made("main", scenario, "Microsoft.Authorization/roleAssignments"):
        properties = each.body["properties"]
        who = str(properties["principalId"]).partition("/id-")[2].partition("-")[0] or "person"
        above, _, role = properties["roleDefinitionId"].rpartition("/")
        assert above == "/subscriptions/s/providers/Microsoft.Authorization/roleDefinitions"
        found.append((who, by_id[role], re.sub(r"\d{13}", "", each.body["scope"].id)))
    return found


ACCOUNT = "/Microsoft.Storage/storageAccounts/st"


def container_of(name: str) -> str:
    return f"{ACCOUNT}/blobServices/default/containers/{name}"


def queue_of(name: str) -> str:
    return f"{ACCOUNT}/queueServices/default/queues/{name}"


def queues_of(scenario: str) -> list[str]:
    return [queue for cluster in SCENARIOS[scenario] for queue in names.trials_queues(cluster.name)]


@every_scenario
def test_trainers_may_do_what_they_do_and_no_more(scenario: str) -> None:
    found = {(role, scope) for who, role, scope in assignments(scenario) if who == "trainers"}
    assert found == {
        ("Storage Blob Data Contributor", container_of(names.RUNS)),
        ("Storage Blob Data Reader", container_of(names.CODE)),
        ("Storage Blob Data Reader", container_of("data")),
        ("Storage Queue Data Message Sender", queue_of(names.ADVANCE_QUEUE)),
        *(("Storage Queue Data Contributor", queue_of(queue)) for queue in queues_of(scenario)),
        ("AcrPull", "/Microsoft.ContainerRegistry/registries/cr"),
    }


@every_scenario
def test_the_functions_may_do_what_they_do_and_no_more(scenario: str) -> None:
    assert {(role, scope) for who, role, scope in assignments(scenario) if who == "functions"} == {
        ("Storage Blob Data Owner", ACCOUNT),
        ("Storage Queue Data Contributor", ACCOUNT),
        ("Storage Table Data Contributor", ACCOUNT),
        ("Monitoring Metrics Publisher", "/Microsoft.Insights/components/appi-"),
    }


@every_scenario
def test_a_person_uses_the_containers_of_the_code_and_sends_to_its_queues(scenario: str) -> None:
    sent = (names.SUBMISSIONS_QUEUE, names.ADVANCE_QUEUE, *queues_of(scenario))
    assert {(role, scope) for who, role, scope in assignments(scenario) if who == "person"} == {
        *(("Storage Blob Data Contributor", container_of(name)) for name in (*names.CONTAINERS, "data")),
        ("Storage Queue Data Reader", ACCOUNT),
        *(("Storage Queue Data Message Sender", queue_of(queue)) for queue in sent),
    }


@every_scenario
def test_the_functions_alone_reach_their_package_and_their_keys(scenario: str) -> None:
    """Who may write the package runs as the functions do; who may read the host's secrets may call them."""
    others = {scope for who, role, scope in assignments(scenario) if who != "functions" and "Blob" in role}
    assert others == {container_of(name) for name in (*names.CONTAINERS, "data")} & others
    assert not [scope for scope in others if HOST_CONTAINER in scope or names.HOST_CONTAINERS in scope]


@every_scenario
def test_the_name_of_an_assignment_is_a_digest_of_where_who_and_what(scenario: str) -> None:
    found = made("main", scenario, "Microsoft.Authorization/roleAssignments")
    for each in found:
        properties = each.body["properties"]
        role = properties["roleDefinitionId"].rpartition("/")[2]
        assert each.name == f"guid of {each.body['scope'].id} {properties['principalId']} {role}"
    assert len({each.name for each in found}) == len(found)


def test_nobody_gets_a_role_when_no_person_is_named() -> None:
    assert {who for who, _, _ in assignments("ours")} == {"functions", "trainers", "person"}
    parameters = {**PARAMETERS["main.bicep"], "principalId": ""}
    alone = evaluate(INFRA / "main.bicep", parameters).of_type("Microsoft.Authorization/roleAssignments")
    assert {each.symbol for each in alone} == {
        each
        for each in re.findall(r"^resource (\w+) 'Microsoft.Authorization/", roles_source(), re.M)
        if "person" not in each
    }


def roles_source() -> str:
    return content_of(INFRA / "modules/roles.bicep")


def test_every_role_stands_in_the_template_under_its_name() -> None:
    told = dict(re.findall(r"^  (\w+): '([0-9a-f-]{36})'$", roles_source(), re.M))
    by_symbol = {re.sub(r" ", "", name[0].lower() + name[1:]): value for name, value in ROLES.items()}
    assert told == by_symbol


def test_a_comment_says_why_each_role_is_given() -> None:
    for name in re.findall(r"^resource (\w+) 'Microsoft.Authorization/", roles_source(), re.M):
        assert re.search(rf"^// [^\n]+\nresource {name} ", roles_source(), re.M), name
