"""The list of what is inside an image: what it says of each package, and that it keeps CycloneDX's schema."""

import copy
import json
import subprocess
import sys
from importlib import metadata
from typing import Any

import pytest

from dropsweep.errors import ConfigError
from dropsweep_sbom import inventory
from dropsweep_sbom.bill import check, document, licences

IMAGE = {
    "Id": "sha256:" + "ab" * 32,
    "Created": "2026-01-02T03:04:05.678912345Z",
    "Config": {"Labels": {"org.opencontainers.image.revision": "c0ffee", "maintainer": "x"}},
}
INVENTORY = {
    "system": {"id": "debian", "name": "Debian GNU/Linux", "version": "12"},
    "python_version": "3.11.2",
    "python": [
        {
            "name": "Some_Package",
            "version": "1.0",
            "licence_expression": "MIT OR Apache-2.0",
            "licence": "",
            "licence_classifiers": [],
        }
    ],
    "debian": [
        {"name": "bash", "version": "5.2.15-2+b13", "architecture": "amd64", "source": "bash", "source_version": "5"},
        {"name": "libssl3", "version": "3.0.1", "architecture": "amd64", "source": "openssl", "source_version": "3"},
    ],
}


def told() -> Any:
    return json.loads(document(IMAGE, "dropsweep-trainer", INVENTORY))


def named(name: str) -> Any:
    return next(component for component in told()["components"] if component["name"] == name)


def test_every_package_stands_in_the_list_with_its_version_and_its_address() -> None:
    assert named("Some_Package")["purl"] == "pkg:pypi/some-package@1.0"
    assert named("bash")["purl"] == "pkg:deb/debian/bash@5.2.15-2%2Bb13?arch=amd64&distro=debian-12"
    assert named("libssl3")["purl"].endswith("&upstream=openssl")
    assert (named("python")["version"], named("debian")["version"]) == ("3.11.2", "12")


def test_the_image_depends_on_all_of_it() -> None:
    document = told()
    root = document["metadata"]["component"]
    assert (root["type"], root["version"]) == ("container", IMAGE["Id"])
    assert root["properties"] == [{"name": "org.opencontainers.image.revision", "value": "c0ffee"}]
    needs = next(entry for entry in document["dependencies"] if entry["ref"] == root["bom-ref"])["dependsOn"]
    assert sorted(needs) == sorted(component["bom-ref"] for component in document["components"])


def test_the_same_image_gives_the_same_text() -> None:
    turned = copy.deepcopy(INVENTORY)
    turned["debian"] = list(reversed(INVENTORY["debian"]))  # type: ignore[call-overload]
    assert document(IMAGE, "x", INVENTORY) == document(IMAGE, "x", turned)


@pytest.mark.parametrize(
    ("expression", "field", "classifiers", "names"),
    [
        ("MIT", "Apache-2.0", [], ["MIT"]),
        ("MIT OR BSD-3-Clause", "", [], ["MIT OR BSD-3-Clause"]),
        ("", "MIT License", ["License :: OSI Approved :: ISC License (ISCL)"], ["MIT License"]),
        ("", "Copyright (c)\nall of it", ["License :: OSI Approved :: BSD License"], ["BSD License"]),
        ("", "", ["License :: OSI Approved", "License :: OSI Approved :: BSD License"], ["BSD License"]),
        ("", "", [], []),
    ],
)
def test_a_licence_is_what_the_package_says(
    expression: str, field: str, classifiers: list[str], names: list[str]
) -> None:
    found = licences(expression, field, classifiers)
    assert [getattr(one, "value", None) or getattr(one, "id", None) or getattr(one, "name", None) for one in found] == (
        names
    )


@pytest.mark.parametrize("planted", [{"kind": "library"}, {"type": "libary"}, {"version": 5}])
def test_a_document_that_does_not_keep_the_schema_is_refused(planted: dict[str, object]) -> None:
    document = told()
    document["components"][0] |= planted
    with pytest.raises(ConfigError, match="schema"):
        check(json.dumps(document))


def test_the_inventory_names_what_this_python_can_import() -> None:
    done = subprocess.run(
        [sys.executable, "-I", inventory.__file__], capture_output=True, text=True, check=True, timeout=60
    )
    found = {package["name"]: package["version"] for package in json.loads(done.stdout)["python"]}
    assert found["azure-storage-blob"] == metadata.version("azure-storage-blob")
