"""What Azure's resource providers take, from the models of their Python packages; and what a resource breaks of it.

The packages are generated from the providers' own specifications, in two styles: fields with `rest_field`, and before
them `_attribute_map`. Both become one `Field` here.
"""

import importlib
import inspect
import re
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import Enum
from functools import cache
from types import ModuleType
from typing import Any

from tests.infra.bicep import Resource, Runtime

# The class that describes each type of resource, and the version of the provider's interface that its package speaks.
MODELS: dict[str, tuple[str, str, str]] = {
    "Microsoft.App/jobs": ("appcontainers", "Job", "2026-07-01"),
    "Microsoft.App/managedEnvironments": ("appcontainers", "ManagedEnvironment", "2026-07-01"),
    "Microsoft.App/managedEnvironments/storages": ("appcontainers", "ManagedEnvironmentStorage", "2026-07-01"),
    "Microsoft.Authorization/roleAssignments": (
        "authorization.v2022_04_01",
        "RoleAssignmentCreateParameters",
        "2022-04-01",
    ),
    "Microsoft.Consumption/budgets": ("consumption", "Budget", "2024-08-01"),
    "Microsoft.ContainerRegistry/registries": ("containerregistry", "Registry", "2025-11-01"),
    "Microsoft.EventGrid/systemTopics": ("eventgrid", "SystemTopic", "2025-02-15"),
    "Microsoft.EventGrid/systemTopics/eventSubscriptions": ("eventgrid", "EventSubscription", "2025-02-15"),
    "Microsoft.Insights/components": (
        "applicationinsights.v2020_02_02",
        "ApplicationInsightsComponent",
        "2020-02-02",
    ),
    "Microsoft.Insights/diagnosticSettings": (
        "monitor.v2021_05_01_preview",
        "DiagnosticSettingsResource",
        "2021-05-01-preview",
    ),
    "Microsoft.ManagedIdentity/userAssignedIdentities": ("msi.v2024_11_30", "Identity", "2024-11-30"),
    "Microsoft.Network/virtualNetworks": ("network", "VirtualNetwork", "2026-03-01"),
    "Microsoft.OperationalInsights/workspaces": ("loganalytics", "Workspace", "2025-07-01"),
    "Microsoft.Resources/resourceGroups": ("resource.resources", "ResourceGroup", "2025-04-01"),
    "Microsoft.Storage/storageAccounts": ("storage", "StorageAccountCreateParameters", "2026-09-01"),
    "Microsoft.Storage/storageAccounts/blobServices": ("storage", "BlobServiceProperties", "2026-09-01"),
    "Microsoft.Storage/storageAccounts/blobServices/containers": ("storage", "BlobContainer", "2026-09-01"),
    "Microsoft.Storage/storageAccounts/fileServices": ("storage", "FileServiceProperties", "2026-09-01"),
    "Microsoft.Storage/storageAccounts/fileServices/shares": ("storage", "FileShare", "2026-09-01"),
    "Microsoft.Storage/storageAccounts/managementPolicies": ("storage", "ManagementPolicy", "2026-09-01"),
    "Microsoft.Storage/storageAccounts/queueServices": ("storage", "QueueServiceProperties", "2026-09-01"),
    "Microsoft.Storage/storageAccounts/queueServices/queues": ("storage", "StorageQueue", "2026-09-01"),
    "Microsoft.Web/serverfarms": ("web", "AppServicePlan", "2025-05-01"),
    "Microsoft.Web/sites": ("web", "Site", "2025-05-01"),
}
SEEN_AS = {"Microsoft.Storage/storageAccounts": "StorageAccount"}
"""Where another class describes what is there than what is asked for."""
BICEP_S_OWN = {"name", "scope", "dependsOn"}
NOTHING = Runtime("<nothing>")


@dataclass(frozen=True)
class Field:
    """What may stand at one place. `kind`: text, whole, number, truth, any, list, map, object or choice."""

    kind: str
    is_required: bool = False
    is_read_only: bool = False
    values: tuple[str, ...] = ()
    item: "Field | None" = None
    model: type | None = None
    inner: Mapping[str, "Field"] = field(default_factory=dict)


SIMPLE = {str: "text", int: "whole", float: "number", Decimal: "number", bool: "truth", object: "any"}
BY_NAME = {"str": "text", "int": "whole", "long": "whole", "float": "number", "bool": "truth", "object": "any"}


def models_of(package: str) -> ModuleType:
    return importlib.import_module(f"azure.mgmt.{package}.models")


@cache
def fields_of(model: type) -> Mapping[str, Field]:
    """The properties of a model by the names that the provider reads."""
    return dict(_old_style(model) if hasattr(model, "_attribute_map") else _new_style(model))


def _new_style(model: type) -> Iterator[tuple[str, Field]]:
    package = importlib.import_module(model.__module__.rpartition(".")[0])
    names = {"_models": package, "_unset": None}
    hints = typing.get_type_hints(model, vars(importlib.import_module(model.__module__)), names)
    for base in reversed(model.__mro__):
        for attribute, rest in vars(base).items():
            if type(rest).__name__ != "_RestField":
                continue
            found, may_lack = _from_hint(hints[attribute])
            is_read_only = rest._visibility == ["read"]
            required = not may_lack and not is_read_only
            yield rest._rest_name_input or attribute, replace(found, is_required=required, is_read_only=is_read_only)


def _from_hint(hint: Any) -> tuple[Field, bool]:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        rest = [argument for argument in arguments if argument is not type(None)]
        choices = [each for each in rest if isinstance(each, type) and issubclass(each, Enum)]
        found = _choice(choices[0]) if choices else _from_hint(rest[0])[0]
        return found, len(rest) < len(arguments)
    if origin is typing.Literal:
        first = arguments[0]
        return _choice(type(first)) if isinstance(first, Enum) else Field("choice", values=arguments), False
    if origin in (list, typing.List):  # noqa: UP006  # as the packages write it
        return Field("list", item=_from_hint(arguments[0])[0]), False
    if origin in (dict, typing.Dict):  # noqa: UP006
        return Field("map", item=_from_hint(arguments[1])[0]), False
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _choice(hint), False
    if isinstance(hint, type) and any(base.__name__ == "Model" for base in hint.__mro__):
        return Field("object", model=hint), False
    return Field(SIMPLE.get(hint, "any" if hint is Any else "text")), False


def _choice(values: type[Enum]) -> Field:
    return Field("choice", values=tuple(str(each.value) for each in values))


def _old_style(model: Any) -> Iterator[tuple[str, Field]]:
    """Keys such as `properties.source` are flattened: the provider reads them one within the other."""
    nested: dict[str, dict[str, Field]] = {}
    package = importlib.import_module(model.__module__.rpartition(".")[0])
    signature = "".join(str(each) for each in inspect.getsource(model.__init__).split("\n"))
    for attribute, told in model._attribute_map.items():
        rules = model._validation.get(attribute, {})
        found = _from_name(told["type"], package)
        choice = re.search(rf"\b{attribute}: (?:Optional\[)?Union\[str, \"?_models\.(\w+)", signature)
        if choice:
            found = _choice(getattr(package, choice[1]))
        found = replace(found, is_required=bool(rules.get("required")), is_read_only=bool(rules.get("readonly")))
        above, dot, name = re.sub(r"\\\.", "\0", told["key"]).partition(".")
        if dot:
            nested.setdefault(above, {})[name.replace("\0", ".")] = found
        else:
            yield above.replace("\0", "."), found
    for name, inner in nested.items():
        yield name, Field("object", inner=inner, is_required=any(each.is_required for each in inner.values()))


def _from_name(name: str, package: ModuleType) -> Field:
    if name.startswith(("[", "{")):
        return Field("list" if name[0] == "[" else "map", item=_from_name(name[1:-1], package))
    model = getattr(package, name, None)
    if isinstance(model, type) and issubclass(model, Enum):
        return _choice(model)
    return Field("object", model=model) if isinstance(model, type) else Field(BY_NAME.get(name, "text"))


def problems_of(resource: Resource) -> list[str]:
    """What is wrong with a resource, each with where it stands; nothing for one that is right.

    Of one that is there already only type and version are looked at.
    """
    where = f"{resource.place} {resource.symbol}"
    if resource.type not in MODELS:
        return [f"{where}: {resource.type} is no type of resource that is known here"]
    package, name, version = MODELS[resource.type]
    if resource.api_version != version:
        return [f"{where}: {resource.type} is checked against version {version}, not {resource.api_version}"]
    if resource.exists_already:
        return []
    fields = {key: told for key, told in fields_of(getattr(models_of(package), name)).items() if key != "name"}
    body = {key: value for key, value in resource.body.items() if key not in BICEP_S_OWN}
    found = [] if "name" in resource.body else [f"{where}: name is missing"]
    return found + [f"{where}: {told}" for told in _object(body, fields, "")]


def _object(body: Mapping[str, Any], fields: Mapping[str, Field], where: str) -> Iterator[str]:
    for key, value in body.items():
        at = f"{where}.{key}".removeprefix(".")
        if key not in fields:
            yield f"{at} is no property; there are {', '.join(sorted(fields))}"
        elif fields[key].is_read_only:
            yield f"{at} is read-only"
        else:
            yield from _value(value, fields[key], at)
    for key, told in fields.items():
        if told.is_required and body.get(key) is None:
            yield f"{where}.{key}".removeprefix(".") + " is required and missing"


def _value(value: Any, told: Field, at: str) -> Iterator[str]:
    if value is None or isinstance(value, Runtime) or told.kind == "any":
        return
    match told.kind:
        case "choice":
            if value not in told.values:
                yield f"{at} is {value!r}, not one of {', '.join(told.values)}"
        case "list" | "map" if not isinstance(value, list if told.kind == "list" else dict):
            yield f"{at} is {value!r:.60}, not a {told.kind}"
        case "list" | "map":
            assert told.item is not None
            for key, item in enumerate(value) if told.kind == "list" else value.items():
                yield from _value(item, told.item, f"{at}[{key}]")
        case "object" if not isinstance(value, dict):
            yield f"{at} is {value!r:.60}, not an object"
        case "object":
            yield from _object(value, _model_for(value, told), at)
        case _:
            wanted = {"text": (str,), "whole": (int,), "number": (int, float), "truth": (bool,)}[told.kind]
            if not isinstance(value, wanted) or (isinstance(value, bool) and told.kind != "truth"):
                yield f"{at} is {value!r:.60}, not {told.kind}"


def _model_for(value: Mapping[str, Any], told: Field) -> Mapping[str, Field]:
    """The fields of an object; where a key tells which of several kinds it is, those of its kind."""
    if told.model is None:
        return told.inner
    kinds: dict[str, Any] = getattr(told.model, "_subtype_map", {})
    for attribute, by_value in kinds.items():
        key = told.model._attribute_map[attribute]["key"]  # type: ignore[attr-defined]
        if value.get(key) in by_value:
            package = importlib.import_module(told.model.__module__.rpartition(".")[0])
            return {**fields_of(getattr(package, by_value[value[key]])), key: Field("text")}
        return {key: Field("choice", is_required=True, values=tuple(by_value))}
    return fields_of(told.model)


def is_known(type_: str, path: tuple[str, ...]) -> bool:
    """True when a resource of this type has such a property, once it is there."""
    package, name, _ = MODELS[type_]
    told: Field | None = Field("object", model=getattr(models_of(package), SEEN_AS.get(type_, name)))
    for key in path:
        if told is None or told.kind == "any":
            return told is not None
        if told.kind in ("map", "list"):
            told = told.item
        else:
            told = (fields_of(told.model) if told.model else told.inner).get(key)
    return told is not None
