"""A training that is killed again and again gives the losses and the weights of one that never was, bit for bit."""

import hashlib
from functools import partial
from importlib.util import find_spec

import pytest

from dropsweep.client import Client
from dropsweep.names import CODE, RUNS, JobKey
from dropsweep.states import TrialReason
from local.paths import ROOT
from tests.chaos import processes
from tests.chaos.processes import PATIENCE_S, Trainers
from tests.emulator.deployment import sweep, until

trainers = processes.trainers

NUM_EPOCHS = 48
"""Enough for a first checkpoint to be in the account long before the end, however late its upload begins."""

pytestmark = pytest.mark.skipif(
    find_spec("torch") is None or find_spec("sklearn") is None, reason="torch and scikit-learn are not installed"
)


def drop(trainers: Trainers, name: str) -> JobKey:
    """Drops one training of the digits example: epochs of 45 steps; no checkpoint falls on the end of an epoch."""
    code = f"{trainers.deployment.workspace}/src"
    script = (ROOT / "examples" / "digits" / "train.py").read_bytes()
    trainers.deployment.store.blobs.put(CODE, f"{code}/train.py", script)
    train = f"python train.py --epochs {NUM_EPOCHS} --width 8 --lr 0.01 --steps-per-checkpoint 32"
    # On a GPU the order of sums is not fixed. The process id is for the test's end.
    command = f"export CUDA_VISIBLE_DEVICES=; echo $$ > {trainers.folder}/{name}-$DROPSWEEP_ATTEMPT.pid; exec {train}"
    document = sweep(command, 1)
    document["trial"]["code"] = code
    document["objective"] = {"goal": "maximize", "primary_metric": "accuracy"}
    key = trainers.deployment.drop(document, f"e/{name}.json")
    trainers.deployment.look(key)
    return key


def has_checkpoint_of(trainers: Trainers, key: JobKey, attempt: int) -> bool:
    return any(label.startswith(f"{attempt:04}-") for label in trainers.labels(key))


def outcome(trainers: Trainers, key: JobKey) -> tuple[list[tuple[float | None, dict[str, float]]], str]:
    """What a training gave: each epoch's numbers over all attempts, every bit of them, and the hash of the weights."""
    attempt = trainers.deployment.trial(key, 0).attempt
    points = Client(trainers.deployment.store).metrics(key, 0)
    model = trainers.deployment.store.blobs.read(RUNS, f"{key.outputs(0, attempt)}model.pt")
    assert model is not None
    return [(point.step, dict(point.values)) for point in points], hashlib.sha256(model.body).hexdigest()


def test_a_training_killed_twice_in_the_middle_of_epochs_has_the_losses_and_weights_of_an_unbroken_one(
    trainers: Trainers,
) -> None:
    unbroken = drop(trainers, "unbroken")
    trainers.start("calm", exit_when_idle_s=1).exit_status()
    assert trainers.has_ended(unbroken)

    key = drop(trainers, "killed")
    for attempt in (1, 2):
        trainer = trainers.start(f"killed-{attempt}")
        until(partial(has_checkpoint_of, trainers, key, attempt), PATIENCE_S)
        trainer.kill_container()
    trainers.start("last")
    until(lambda: trainers.has_ended(key), PATIENCE_S)

    final = trainers.deployment.trial(key, 0)
    assert (final.reason, final.attempt, final.resumed_from[:5]) == (TrialReason.SUCCEEDED, 3, "0002-"), final.message
    expected, weights = outcome(trainers, unbroken)
    assert [step for step, _ in expected] == list(range(1, NUM_EPOCHS + 1))
    assert outcome(trainers, key) == (expected, weights)
