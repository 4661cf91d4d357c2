"""At each place that the table of facts names stands what it says, and nothing else where more would be refused."""

import re
from functools import cache
from typing import Any

import pytest

from tests.infra.bicep import Resource
from tests.infra.deployments import INFRA, deployed
from tests.infra.facts import DOCS, FACTS, JOB, OUTPUTS, SETTINGS, SITE, TRAINERS, Fact
from tests.infra.syntax import read
from tests.infra.test_templates import names_used


def plain(value: Any) -> Any:
    """The value with `{T}` for each digest, and a resource as its id."""
    if isinstance(value, Resource):
        return plain(value.id)
    if isinstance(value, dict):
        return {plain(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    return re.sub(r"\d{13}", "{T}", value) if isinstance(value, str) else value


@cache
def bodies() -> dict[str, dict[str, Any]]:
    """By `type name`, what is made of clusters that use everything."""
    made = [each for stage in ("main", "trainers", "events") for each in deployed(stage, "everything").resources]
    return {f"{each.type} {plain(each.name)}": plain(dict(each.body)) for each in made if not each.exists_already}


@pytest.mark.parametrize("fact", FACTS, ids=str)
def test_at_each_place_stands_what_works(fact: Fact) -> None:
    found: Any = bodies()[fact.resource]
    for key in fact.path.split("."):
        found = found[int(key)] if isinstance(found, list) else found[key]
    assert found == fact.value, f"{DOCS}{fact.page}"


def test_the_functions_have_these_settings_and_no_others() -> None:
    """Flex Consumption refuses those of other plans (FUNCTIONS_WORKER_RUNTIME, WEBSITE_RUN_FROM_PACKAGE, ...).

    https://learn.microsoft.com/azure/azure-functions/functions-app-settings#flex-consumption-plan-deprecations
    """
    config = bodies()[SITE]["properties"]["siteConfig"]
    assert set(config) == {"minTlsVersion", "appSettings"}, "the plan refuses linuxFxVersion and its like"
    found = {each["name"]: each["value"] for each in config["appSettings"]}
    assert found.pop("DROPSWEEP_CLUSTERS").startswith("[{")
    assert found == SETTINGS


def test_a_trainer_is_the_image_as_it_is_with_its_arguments() -> None:
    (container,) = bodies()[JOB]["properties"]["template"]["containers"]
    assert set(container) == {"name", "image", "args", "resources", "env", "volumeMounts"}, "no other command"
    environment = {each["name"]: each["value"] for each in container["env"]}
    assert environment["DROPSWEEP_STORAGE__clientId"] == f"<{TRAINERS} properties.clientId>"
    for part in ("blob", "queue"):
        uri = f"</Microsoft.Storage/storageAccounts/st properties.primaryEndpoints.{part}>"
        assert environment[f"DROPSWEEP_STORAGE__{part}ServiceUri"] == uri


def test_no_container_is_open_to_everybody() -> None:
    found = [body for key, body in bodies().items() if "/containers " in key]
    assert found
    assert {body["properties"]["publicAccess"] for body in found} == {"None"}


def test_the_first_stage_gives_out_what_the_others_ask_for() -> None:
    assert plain(deployed("main", "everything").outputs) == OUTPUTS


def test_the_functions_come_after_their_roles() -> None:
    """Nothing else says so: no value of the one is used by the other."""
    declared = read(INFRA / "main.bicep").of("module")["functions"]
    assert declared.value
    (needed,) = [value for key, value in declared.value.parts if key.parts == ("dependsOn",)]
    assert "roles" in names_used(needed)


def test_every_fact_is_of_another_place() -> None:
    places = [(fact.resource, fact.path) for fact in FACTS]
    assert len(set(places)) == len(places)
