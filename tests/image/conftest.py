"""The image, built once, and a stack without trainers of its own: those that these tests start run in containers."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from dropsweep.client import Client
from local.paths import ROOT
from local.stack import Stack
from tests.image.machine import Machine, this_machine
from tests.image.podman import FOLDER, Podman, missing, timed
from tests.image.trainer import Trainers

SWITCH = "DROPSWEEP_IMAGE_TEST"


def why_not() -> str:
    """Why these tests cannot run here; empty when they can."""
    if not os.environ.get(SWITCH):
        return "tests of the trainer's image run by themselves: make image-test"
    if absent := missing():
        return f"not installed here: {', '.join(absent)} (packages of Debian and Ubuntu); the image is tested with them"
    if os.geteuid() != 0:
        return "root is needed here: the image is tested with containers whose work folders belong to other users"
    if this_machine() is None:
        return "this machine is neither Debian nor Ubuntu: the base image is made from its packages"
    return ""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """By a mark, so that all skipped tests of a file are one line of the summary."""
    if reason := why_not():
        for item in items:
            if item.path.is_relative_to(Path(__file__).parent):
                item.add_marker(pytest.mark.skip(reason))


@pytest.fixture(scope="session")
def machine() -> Machine:
    found = this_machine()
    assert found
    return found


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What the tests printed on the way, without a word where they printed nothing."""
    folder = Path(__file__).parent.relative_to(terminalreporter.config.rootpath).as_posix()
    lines = [
        line
        for report in terminalreporter.stats.get("passed", [])
        if report.nodeid.startswith(f"{folder}/")
        for title, text in report.sections
        if title == "Captured stdout call"
        for line in text.splitlines()
    ]
    if lines:
        terminalreporter.section("measured")
        terminalreporter.write_line("\n".join(lines))


@pytest.fixture(scope="session")
def podman(machine: Machine, pytestconfig: pytest.Config) -> Iterator[Podman]:
    """podman, with the image built as `TAG`."""
    podman = Podman(machine)
    podman.remove_containers()
    # It takes a minute or more, and a person should see that something happens.
    with pytestconfig.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print(f"\nBuilding the image; the first time also its base, into {FOLDER.relative_to(ROOT)} ...", flush=True)
        with timed("The build"):
            podman.build()
    yield podman
    podman.remove_containers()


@pytest.fixture(scope="session")
def stack(podman: Podman, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("stack"), num_trainers=0) as stack:
        yield stack


@pytest.fixture(scope="session")
def client(stack: Stack) -> Client:
    return Client.from_connection_string(stack.connection_string)


@pytest.fixture
def trainers(podman: Podman, stack: Stack, tmp_path: Path) -> Iterator[Trainers]:
    """Starts trainers in containers; those that still run at the end are removed."""
    with Trainers(podman, stack.connection_string, tmp_path / "work") as trainers:
        yield trainers
