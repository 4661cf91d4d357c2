"""Real jobs in the real image, on the emulator."""

import sys
import sysconfig
from pathlib import Path

import pytest
import yaml

from dropsweep.client import Client
from dropsweep.names import JobKey
from dropsweep.states import JobState, TrialState
from local.paths import ROOT
from tests.image.podman import Podman, timed
from tests.image.trainer import USER, Trainers, finish

PACKAGES = "/opt/packages"


@pytest.fixture(scope="session")
def torch(podman: Podman) -> list[str]:
    """The options that show PyTorch, installed here, to a container: it need not go into the image."""
    pytest.importorskip("torch")
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    inside = Path(podman.answer("python", "-c", "import os; print(os.__file__)").strip()).parent.name
    if inside != version:
        pytest.skip(f"the image has {inside} and this environment {version}: its PyTorch cannot be lent")
    return [f"--volume={sysconfig.get_path('purelib')}:{PACKAGES}:ro"]


def digits(folder: Path, *, num_epochs: int, num_trials: int) -> Path:
    document = yaml.safe_load((ROOT / "examples/digits/sweep.yaml").read_text())
    document["trial"]["code"] = str(ROOT / "examples/digits")
    document["trial"]["environment_variables"] = {"PYTHONPATH": PACKAGES}
    document["inputs"]["epochs"] = num_epochs
    document["limits"]["max_total_trials"] = num_trials
    file = folder / "digits.yaml"
    file.write_text(yaml.safe_dump(document))
    return file


def wait_for(text: bytes, client: Client, key: JobKey) -> None:
    assert any(update is not None and update.running for update in client.updates(key, timeout_s=90))
    printed = b""
    for part in client.logs(key, 0, follow=True):
        printed += part
        if text in printed:
            return
    raise AssertionError(f"it ended without {text!r}:\n{printed.decode()}")


def test_a_sweep_of_real_training_completes_in_the_image(
    trainers: Trainers, client: Client, torch: list[str], tmp_path: Path
) -> None:
    with timed("a sweep of four trials"):
        key = client.submit(digits(tmp_path, num_epochs=2, num_trials=4), workspace="image").key
        container = trainers.start("--cluster", "local", options=torch)
        state = finish(client, key, container, timeout_s=240)
    assert (state, client.record(key).counts) == (JobState.COMPLETED, {TrialState.COMPLETED: 4}), container.log
    best = client.best(key)
    assert best is not None
    assert best.metric is not None
    assert best.metric > 0.3
    container.stop()
    assert container.exit_status == 0


def test_a_trial_whose_container_is_stopped_goes_on_in_another_from_its_checkpoint(
    trainers: Trainers, client: Client, torch: list[str], tmp_path: Path
) -> None:
    key = client.submit(digits(tmp_path, num_epochs=40, num_trials=1), workspace="image").key
    first = trainers.start("--cluster", "local", options=torch)
    wait_for(b"epoch 3/40", client, key)
    took_s = first.stop()
    print(f"SIGTERM to exit: {took_s:.1f} s")
    assert first.exit_status == 0, first.log
    trial = client.trial(key, 0)
    assert (trial.state, trial.attempt) == (TrialState.QUEUED, 1)

    second = trainers.start("--cluster", "local", options=torch)
    assert finish(client, key, second, timeout_s=240) is JobState.COMPLETED, second.log
    trial = client.trial(key, 0)
    assert (trial.state, trial.attempt) == (TrialState.COMPLETED, 2)
    assert b"resumed after epoch" in b"".join(client.logs(key, 0))
    assert [point.step for point in client.metrics(key, 0)] == list(range(1, 41))


def test_no_process_of_the_container_is_root(trainers: Trainers, client: Client, tmp_path: Path) -> None:
    file = tmp_path / "sleeps.yaml"
    file.write_text("type: command\ncommand: echo up; sleep 600\n")
    key = client.submit(file, workspace="image").key
    container = trainers.start("--cluster", "local")
    wait_for(b"up\n", client, key)
    processes = container.processes()
    assert any(name.endswith(": sleep 600") for name in processes)
    assert {users for found in processes.values() for users in found} >= {USER}
    assert {name: users for name, users in processes.items() if 0 in users} == {}
    client.cancel(key)
    assert client.wait(key, timeout_s=60).state is JobState.CANCELLED


def test_of_three_containers_that_are_started_for_one_message_one_runs_it_and_two_end_by_themselves(
    trainers: Trainers, client: Client, tmp_path: Path
) -> None:
    file = tmp_path / "once.yaml"
    file.write_text("type: command\ncommand: echo up; sleep 600\n")
    key = client.submit(file, workspace="image").key
    first = trainers.start("--cluster", "local", "--scaled")
    wait_for(b"up\n", client, key)
    for _ in range(2):
        with timed("a container that finds no message, from its start to its end"):
            surplus = trainers.start("--cluster", "local", "--scaled")
            assert surplus.wait(timeout_s=60) == 0, surplus.log
    assert client.trial(key, 0).attempt == 1
    client.cancel(key)
    assert finish(client, key, first) is JobState.CANCELLED
    assert first.exit_status is None
    first.stop()
    assert first.exit_status == 0
