"""What a trial can see and change in its container: it looks for itself, and for marks that were planted for it."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from dropsweep.client import Client
from dropsweep.states import JobState
from local.stack import Stack
from tests.image.podman import Podman
from tests.image.trainer import TRIAL, USER, Trainers, finish

SHM_BYTES = 96 << 20
TOKEN = "/run/secrets/azure/tokens/azure-identity-token"
IDENTITY = {
    "IDENTITY_ENDPOINT": "http://127.0.0.1:9/planted-identity_endpoint",
    "IDENTITY_HEADER": "planted-identity_header",
    "MSI_ENDPOINT": "http://127.0.0.1:9/planted-msi_endpoint",
    "MSI_SECRET": "planted-msi_secret",
    "AZURE_CLIENT_SECRET": "planted-client_secret",
    "AZURE_FEDERATED_TOKEN_FILE": TOKEN,
    "APPLICATIONINSIGHTS_CONNECTION_STRING": "planted-insights",
}
# The emulator's well-known key is in Dropsweep's source and in the storage SDK's, and so in the image.
KNOWN = "/opt/dropsweep/lib/"


NEEDED = ("CHOWN", "KILL", "SETGID", "SETUID")
OTHERS = (
    *("AUDIT_WRITE", "DAC_OVERRIDE", "FOWNER", "FSETID", "MKNOD", "NET_BIND_SERVICE", "NET_RAW"),
    *("SETFCAP", "SETPCAP", "SYS_CHROOT"),
)
PLATFORMS = {
    # The container may have the four, as Kubernetes adds them: the worker has them once it has raised them itself.
    "allowed": tuple(f"--cap-drop={name}" for name in OTHERS),
    # podman gives what is added by name to the worker's user from the start.
    "given": ("--cap-drop=ALL", *(f"--cap-add={name}" for name in NEEDED)),
    # The image asks for users of their own, and the platform forbids it.
    "forbidden": ("--cap-drop=ALL", "--security-opt=no-new-privileges"),
    "off": ("--env=DROPSWEEP_TRIAL_UID=",),
}


def look(trainers: Trainers, client: Client, folder: Path, *options: str) -> dict[str, Any]:
    """Runs the trial that looks, in a container with planted credentials; returns what it found."""
    token = folder / "token"
    token.write_text("planted-token")
    # As Kubernetes projects it: root's, and readable for the group of the pod.
    os.chown(token, 0, USER)
    token.chmod(0o440)
    file = folder / "probe.yaml"
    job = {"type": "command", "code": str(Path(__file__).parent / "probe"), "command": "python probe.py"}
    file.write_text(yaml.safe_dump(job))
    key = client.submit(file, workspace="image").key
    planted = [f"--env={name}={value}" for name, value in IDENTITY.items()]
    container = trainers.start(
        *("--cluster", "local"),
        options=[*planted, f"--volume={token}:{TOKEN}:ro", f"--shm-size={SHM_BYTES}", *options],
    )
    state = finish(client, key, container)
    assert state is JobState.COMPLETED, container.log + b"".join(client.logs(key, 0, stream="stderr")).decode()
    downloaded = client.download(key, folder / "results", trial=0).folder
    found: dict[str, Any] = json.loads(next(downloaded.rglob("told.json")).read_text())
    return found


@pytest.fixture(scope="module", params=PLATFORMS)
def told(
    request: pytest.FixtureRequest,
    podman: Podman,
    stack: Stack,
    client: Client,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Any]:
    """What a trial found, on each platform; on the first two it runs as a user of its own, else as its worker's."""
    folder = tmp_path_factory.mktemp("told")
    with Trainers(podman, stack.connection_string, folder / "work") as trainers:
        found = look(trainers, client, folder, *PLATFORMS[request.param])
    return found | {"is_apart": request.param in ("allowed", "given")}


def test_a_trial_s_user_is_its_own_where_the_platform_lets_the_worker_switch(told: dict[str, Any]) -> None:
    number = TRIAL if told["is_apart"] else USER
    assert (told["user"], told["group"]) == (number, number)
    assert set(told["groups"]) <= {number}


def test_a_trial_s_environment_holds_no_credential(told: dict[str, Any]) -> None:
    assert told["environment"] == {}
    assert "DROPSWEEP_PARAMS" in told["names"]
    assert not {"DROPSWEEP_STORAGE", *IDENTITY} & set(told["names"])


def test_no_file_that_a_trial_can_read_holds_a_credential(told: dict[str, Any]) -> None:
    found = {name: marks for name, marks in told["files"].items() if not name.startswith(KNOWN)}
    # A file of the platform that its worker can read, a trial of the same user can.
    assert found == ({} if told["is_apart"] else {TOKEN: ["planted-token"]})


def test_the_worker_s_environment_and_memory_are_closed_to_a_trial(told: dict[str, Any]) -> None:
    assert told["processes"] == {}
    assert told["open"] == []


def test_a_trial_can_send_its_worker_a_signal_only_as_the_same_user(told: dict[str, Any]) -> None:
    assert bool(told["killable"]) is not told["is_apart"]


def test_nothing_but_the_work_folder_and_shared_memory_can_be_written(told: dict[str, Any]) -> None:
    assert told["writable"] == []
    assert told["own"] == [True, True, True, True]


def test_shared_memory_has_the_size_that_the_platform_was_asked_for(told: dict[str, Any]) -> None:
    assert told["shm_bytes"] == SHM_BYTES


def test_a_trial_holds_no_capability_and_cannot_get_one(told: dict[str, Any]) -> None:
    status = {name: value.strip() for name, value in told["status"].items()}
    # What is inheritable counts for programs with capabilities of their own alone, and these count no longer.
    assert {status[name] for name in ("CapPrm", "CapEff", "CapAmb")} == {"0" * 16}
    assert status["NoNewPrivs"] == "1"
