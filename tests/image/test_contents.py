"""What the image is, and what `make sbom` says is in it."""

import json
import os
import re
import subprocess
from typing import Any, Final

import pytest

from dropsweep.version import __version__
from dropsweep_sbom.bill import check
from local.paths import ROOT
from tests.image.podman import TAG, Podman
from tests.image.trainer import TRIAL, USER

OWN_BYTES: Final = 12 << 20
ADDED_BYTES: Final = 300 << 20
LABELS: Final = "org.opencontainers.image."
# In the Python packages, in the distribution, and in it because the base image brings it.
ESSENTIAL: Final = ("azure-storage-blob", "azure-storage-queue", "azure-identity", "pydantic", "scipy", "pip")
DEBIAN: Final = ("bash", "libssl3", "libc6", "ca-certificates")


def layers(podman: Podman) -> list[tuple[str, int]]:
    """What each layer was made by, and its size; the newest first."""
    listed = json.loads(podman.call("history", "--format=json", "--no-trunc", TAG))
    return [(layer["CreatedBy"], layer["size"]) for layer in listed]


def test_the_image_says_what_it_is(podman: Podman) -> None:
    labels = podman.inspect()["Config"]["Labels"]
    assert labels[f"{LABELS}version"] == __version__
    assert labels[f"{LABELS}revision"].removesuffix("-changed") == podman.revision
    assert labels[f"{LABELS}base.name"].startswith("localhost/dropsweep-base:")


def test_the_image_runs_the_worker_with_the_code_of_this_checkout(podman: Podman) -> None:
    script = "import dropsweep, dropsweep_trainer; print(dropsweep.__version__, *dropsweep_trainer.__path__)"
    version, folder = podman.answer("python", "-P", "-c", script).split()
    assert version == __version__
    assert folder.startswith("/opt/dropsweep/")
    assert "--cluster" in podman.call("run", "--rm", TAG, "--help")
    assert podman.answer("pip", "check").strip() == "No broken requirements found."


def test_a_new_version_of_dropsweep_is_a_small_layer_on_the_packages(podman: Podman) -> None:
    found = layers(podman)
    base = podman.inspect()["Config"]["Labels"][f"{LABELS}base.name"]
    base_bytes = json.loads(podman.call("image", "inspect", base))[0]["Size"]
    copied = [size for made_by, size in found if "COPY" in made_by]
    print(f"image {podman.inspect()['Size'] / 1e6:.0f} MB, of which the base {base_bytes / 1e6:.0f} MB")
    print(f"layers copied, the newest first: {[f'{size / 1e6:.1f} MB' for size in copied]}")
    assert copied[0] < OWN_BYTES
    assert podman.inspect()["Size"] - base_bytes < ADDED_BYTES


def test_nothing_that_builds_it_is_left_in_the_image(podman: Podman) -> None:
    found = podman.answer("sh", "-c", "ls -d /build /own 2>/dev/null; command -v gcc cc; pip list --format=freeze")
    assert not re.search(r"^/|^hatchling|^setuptools|^torch==", found, re.MULTILINE), found
    # The settings of this machine were lent to the build.
    assert podman.answer("sh", "-c", "cat /etc/pip.conf 2>/dev/null || echo none").strip() in ("", "none")


def test_the_image_s_one_setting_is_whom_trials_run_as(podman: Podman) -> None:
    config = podman.inspect()["Config"]
    assert [line for line in config["Env"] if line.upper().startswith(("DROPSWEEP_", "AZURE"))] == [
        f"DROPSWEEP_TRIAL_UID={TRIAL}"
    ]
    assert config["User"] == f"{USER}:{USER}"
    assert config["StopSignal"] == "SIGTERM"


@pytest.fixture(scope="module")
def components(podman: Podman) -> dict[str, Any]:
    done = subprocess.run(
        ["make", "--silent", "sbom"],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | podman.environment,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    text = (ROOT / done.stdout.strip().splitlines()[-1].partition(":")[0]).read_text(encoding="utf-8")
    check(text)
    return {component["purl"]: component for component in json.loads(text)["components"] if "purl" in component}


@pytest.mark.parametrize("name", ESSENTIAL)
def test_the_list_names_a_python_package_with_the_version_that_runs(
    podman: Podman, components: dict[str, Any], name: str
) -> None:
    script = f"from importlib.metadata import version; print(version({name!r}))"
    assert f"pkg:pypi/{name}@{podman.answer('python', '-c', script).strip()}" in components


@pytest.mark.parametrize("name", DEBIAN)
def test_the_list_names_a_debian_package_with_the_version_that_is_installed(
    podman: Podman, components: dict[str, Any], name: str
) -> None:
    version = podman.answer("dpkg-query", "--show", "--showformat=${Version}", name).strip()
    found = [one for purl, one in components.items() if purl.startswith(f"pkg:deb/debian/{name}@")]
    assert [component["version"] for component in found] == [version]


def test_the_list_names_all_that_pip_and_dpkg_know(podman: Podman, components: dict[str, Any]) -> None:
    freeze = podman.answer("pip", "list", "--format=freeze").split()
    packages = {re.sub("[_.]", "-", name).lower() for name in (line.partition("==")[0] for line in freeze)}
    assert {re.sub("[_.]", "-", purl[9:].partition("@")[0]) for purl in components if purl.startswith("pkg:pypi/")} == (
        packages
    )
    num_debian = len(podman.answer("dpkg-query", "--show").splitlines())
    assert len([purl for purl in components if purl.startswith("pkg:deb/")]) == num_debian
