"""The templates are Bicep, and every resource in them is one that Azure's provider of it would take."""

import re
from pathlib import Path
from typing import Any

import pycep
import pytest
import tree_sitter
import tree_sitter_bicep

from tests.infra.arm import MODELS, is_known, problems_of
from tests.infra.bicep import FUNCTIONS, Runtime
from tests.infra.deployments import INFRA, SCENARIOS, STAGES, TEMPLATES, deployed
from tests.infra.syntax import Node, nodes, read

every_template = pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(INFRA)))
every_deployment = pytest.mark.parametrize(
    ("stage", "scenario"), [(stage.stem, scenario) for stage in STAGES for scenario in SCENARIOS]
)
KINDS = {
    "param": ("parameter_declaration", "parameters"),
    "var": ("variable_declaration", "variables"),
    "resource": ("resource_declaration", "resources"),
    "module": ("module_declaration", "modules"),
    "output": ("output_declaration", "outputs"),
}


@every_template
def test_three_parsers_read_the_same_declarations(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    ours = {kind: sorted(read(path).of(kind)) for kind in KINDS}
    root = tree_sitter.Parser(tree_sitter.Language(tree_sitter_bicep.language())).parse(source.encode()).root_node
    assert not root.has_error
    by_grammar = {
        kind: sorted(
            next(part.text.decode() for part in node.children if part.type == "identifier" and part.text)
            for node in root.children
            if node.type == type_
        )
        for kind, (type_, _) in KINDS.items()
    }
    by_pycep: dict[str, Any] = dict(pycep.BicepParser().parse(text=source))
    assert ours == by_grammar
    assert ours == {kind: sorted(by_pycep.get(key, {})) for kind, (_, key) in KINDS.items()}
    types = {name: (told["type"], told["api_version"]) for name, told in by_pycep.get("resources", {}).items()}
    assert types == {name: tuple(told.target.split("@")) for name, told in read(path).of("resource").items()}


@every_deployment
def test_every_resource_is_one_that_its_provider_takes(stage: str, scenario: str) -> None:
    found = deployed(stage, scenario).resources
    assert found
    assert [told for resource in found for told in problems_of(resource)] == []


@every_deployment
def test_every_property_that_is_read_from_a_resource_exists(stage: str, scenario: str) -> None:
    looks = set(deployed(stage, scenario).looks)
    assert looks
    assert [look for look in looks if not is_known(*look)] == []


def test_the_scenarios_make_every_resource_of_every_template() -> None:
    """So that none is left unchecked because no scenario has it."""
    made = {
        (found.place.partition(":")[0], found.symbol)
        for stage in STAGES
        for scenario in SCENARIOS
        for found in deployed(stage.stem, scenario).resources
    }
    assert made == {(path.name, name) for path in TEMPLATES for name in read(path).of("resource")}


def test_no_model_is_kept_for_a_resource_that_nothing_declares() -> None:
    declared = {told.target.partition("@")[0] for path in TEMPLATES for told in read(path).of("resource").values()}
    assert declared == set(MODELS)


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_what_is_deployed_first_only_wires_modules(stage: Path) -> None:
    template = read(stage)
    assert template.of("module")
    assert template.of("resource") == {}


def test_every_module_is_wired_once_and_every_path_leads_to_one() -> None:
    wired = [INFRA / told.target for stage in STAGES for told in read(stage).of("module").values()]
    assert sorted(wired) == sorted(INFRA.glob("modules/*.bicep"))


def names_used(value: Node | None, bound: frozenset[str] = frozenset()) -> set[str]:
    """The names in an expression that it does not bind itself."""
    if value is None:
        return set()
    if value.kind == "lambda":
        return names_used(value.parts[1], bound | {value.parts[0]})
    if value.kind == "loop":
        names, over, body = value.parts
        return names_used(over, bound) | names_used(body, bound | set(names))
    own = {value.parts[0]} - bound if value.kind == "name" else set()
    below = [part for part in value.parts if value.kind not in ("name", "constant")]
    flat = [inner for part in below for inner in (nodes_of(part) if isinstance(part, tuple) else [part])]
    return own | {name for part in flat if isinstance(part, Node) for name in names_used(part, bound)}


def nodes_of(part: tuple[object, ...]) -> list[object]:
    return [inner for each in part for inner in (nodes_of(each) if isinstance(each, tuple) else [each])]


@every_template
def test_every_name_is_declared_and_everything_declared_is_used(path: Path) -> None:
    template = read(path)
    declared = {told.name for told in template.declarations if told.kind != "output"}
    used = {name for told in template.declarations for name in names_used(told.value)}
    assert used - declared == set()
    assert (set(template.of("param")) | set(template.of("var"))) - used == set()


@every_template
def test_every_function_that_is_called_is_known(path: Path) -> None:
    calls = {node.parts[0] for told in read(path).declarations for node in nodes(told.value) if node.kind == "call"}
    assert calls - set(FUNCTIONS) == {"loadJsonContent"} & calls


@every_template
def test_loops_stand_only_where_bicep_allows_them(path: Path) -> None:
    """As what is declared, or as a property; not within another loop of a property, nor as an argument."""

    def misplaced(node: Node, *, may_loop: bool, in_loop: bool) -> list[int]:
        if node.kind == "loop":
            wrong = [] if may_loop and not in_loop else [node.line]
            return wrong + misplaced(node.parts[2], may_loop=False, in_loop=True)
        if node.kind == "object":
            return [line for _, value in node.parts for line in misplaced(value, may_loop=True, in_loop=in_loop)]
        inside = [each for each in nodes_of(node.parts) if isinstance(each, Node)]
        return [line for each in inside for line in misplaced(each, may_loop=False, in_loop=in_loop)]

    for told in read(path).declarations:
        if told.value is None:
            continue
        top = told.value.parts[2] if told.value.kind == "loop" else told.value
        assert misplaced(top, may_loop=False, in_loop=False) == [], told.name


@every_deployment
def test_no_output_holds_a_key(stage: str, scenario: str) -> None:
    for name, value in deployed(stage, scenario).outputs.items():
        assert "keys of" not in str(value)
        assert not re.search("key|secret|password|token", name, re.IGNORECASE)


def test_a_key_is_read_in_one_place_and_only_to_be_given_to_event_grid() -> None:
    readers = [path.name for path in TEMPLATES if re.search(r"\blist\w*\(", path.read_text(encoding="utf-8"))]
    assert readers == ["subscription.bicep"]
    (events,) = deployed("events").of_type("Microsoft.EventGrid/systemTopics/eventSubscriptions")
    assert "<keys of" in events.body["properties"]["destination"]["properties"]["endpointUrl"]


def test_no_output_of_a_module_is_unused() -> None:
    for stage in STAGES:
        source = stage.read_text(encoding="utf-8")
        for name, told in read(stage).of("module").items():
            outputs = read(INFRA / told.target).of("output")
            pattern = rf"\b{name}(?:\[\w+\])?\.\??outputs\.\??(\w+)"
            assert set(re.findall(pattern, source)) == set(outputs), name


def test_every_parameter_that_people_set_is_described() -> None:
    for stage in STAGES:
        assert [name for name, told in read(stage).of("param").items() if "description" not in told.decorators] == []


def test_what_only_azure_knows_is_not_taken_for_a_value() -> None:
    assert isinstance(deployed("main").outputs["DROPSWEEP_REGISTRY_SERVER"], Runtime)
