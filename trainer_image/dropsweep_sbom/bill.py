"""Turns what an image told about itself into a CycloneDX document."""

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import Property
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import DisjunctiveLicense, LicenseAcknowledgement, LicenseExpression
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

from dropsweep.errors import ConfigError

_VERSION: Final = SchemaVersion.V1_6
_LABELS: Final = "org.opencontainers.image."
_DECLARED: Final = LicenseAcknowledgement.DECLARED


def document(image: Mapping[str, Any], name: str, inventory: Mapping[str, Any]) -> str:
    """Returns the list of what is inside an image, as CycloneDX 1.6 JSON; the same image gives the same text.

    Args:
        image: what `docker image inspect` or `podman image inspect` says of it.
        name: the image's name, as a person types it.
        inventory: what `inventory.py` printed inside it.

    Raises:
        ConfigError: the document does not keep CycloneDX's schema.
    """
    identity = image["Id"].removeprefix("sha256:")
    labels = image.get("Config", {}).get("Labels") or {}
    root = Component(
        name=name,
        type=ComponentType.CONTAINER,
        version=f"sha256:{identity}",
        bom_ref=f"image:{identity}",
        properties=[
            Property(name=key, value=value) for key, value in sorted(labels.items()) if key.startswith(_LABELS)
        ],
    )
    system = inventory["system"]
    components = [
        _system(system),
        _python(inventory["python_version"]),
        *(_python_package(package) for package in inventory["python"]),
        *(_debian_package(package, system) for package in inventory["debian"]),
    ]
    bom = Bom(
        components=components,
        # The image's own time and identity, and not those of this list.
        serial_number=uuid.uuid5(uuid.NAMESPACE_OID, identity),
        metadata=BomMetaData(component=root, timestamp=datetime.fromisoformat(image["Created"])),
    )
    bom.register_dependency(root, components)
    text = JsonV1Dot6(bom).output_as_string(indent=2) + "\n"
    check(text)
    return text


def check(text: str) -> None:
    """Holds a document against CycloneDX's schema, which knows no further keys.

    Raises:
        ConfigError: it does not keep it.
    """
    problem = JsonStrictValidator(_VERSION).validate_str(text)
    if problem is not None:
        raise ConfigError(f"the list does not keep the schema of CycloneDX {_VERSION.to_version()}: {problem}")


def _system(system: Mapping[str, str]) -> Component:
    return Component(
        name=system["id"],
        type=ComponentType.OPERATING_SYSTEM,
        version=system["version"],
        description=system["name"],
        bom_ref=f"system:{system['id']}",
    )


def _python(version: str) -> Component:
    """The interpreter: a package of the distribution, or built from source by the base image; both can be."""
    purl = PackageURL("generic", name="python", version=version)
    return Component(name="python", type=ComponentType.PLATFORM, version=version, purl=purl, bom_ref=purl.to_string())


def _python_package(package: Mapping[str, Any]) -> Component:
    # The normal form of a name in PyPI's package URLs.
    purl = PackageURL("pypi", name=package["name"].lower().replace("_", "-"), version=package["version"])
    return Component(
        name=package["name"],
        version=package["version"],
        licenses=licences(package["licence_expression"], package["licence"], package["licence_classifiers"]),
        purl=purl,
        bom_ref=purl.to_string(),
    )


def _debian_package(package: Mapping[str, str], system: Mapping[str, str]) -> Component:
    qualifiers = {"arch": package["architecture"], "distro": f"{system['id']}-{system['version']}"}
    if package["source"] != package["name"]:
        qualifiers["upstream"] = package["source"]
    purl = PackageURL("deb", system["id"], package["name"], package["version"], qualifiers)
    return Component(name=package["name"], version=package["version"], purl=purl, bom_ref=purl.to_string())


def licences(expression: str, field: str, classifiers: Sequence[str]) -> list[LicenseExpression | DisjunctiveLicense]:
    """Returns what a package's metadata say of its licence: the newest of three ways to say it that is used.

    Args:
        expression: `License-Expression`, an SPDX expression.
        field: `License`, free text; some packages put the whole text of their licence there, which is no name.
        classifiers: those that begin with `License :: `.
    """
    factory = LicenseFactory()
    if expression or (field and "\n" not in field.strip()):
        return [factory.make_from_string(expression or field.strip(), license_acknowledgement=_DECLARED)]
    names = sorted({name.rpartition(" :: ")[2] for name in classifiers} - {"OSI Approved"})
    return [factory.make_with_name(name, acknowledgement=_DECLARED) for name in names]
