"""What trials leave that the storage cannot keep, or that takes long to send: it costs them, and never their node."""

from pathlib import Path

import pytest

from dropsweep.names import RUNS
from dropsweep.states import TrialReason
from dropsweep.steps.cancel import cancel
from tests.emulator.deployment import Deployment, command, until
from tests.emulator.trainer.isolated import StartTrainer, needs_root, run

pytestmark = needs_root
CHECKPOINT = 'mkdir "$DROPSWEEP_CHECKPOINTS/.a"; {fill}; mv "$DROPSWEEP_CHECKPOINTS/.a" "$DROPSWEEP_CHECKPOINTS/"{name}'


@pytest.mark.parametrize("name", [r"$'\xff'", r"$'a\nb'", r"$'\x7f'"])
def test_a_checkpoint_whose_name_cannot_be_kept_is_left_out(
    deployment: Deployment, start_trainer: StartTrainer, work: Path, name: str
) -> None:
    start_trainer()
    fill = 'touch "$DROPSWEEP_CHECKPOINTS/.a/x"'
    key, final = run(deployment, command(CHECKPOINT.format(fill=fill, name=name)))
    assert (final.reason, final.attempt) == (TrialReason.SUCCEEDED, 1), final.message
    assert not deployment.has_manifest(key, 0)
    assert "is left out: that is no name for a checkpoint" in (work / "worker.log").read_text()


def test_a_checkpoint_of_holes_is_left_out(deployment: Deployment, start_trainer: StartTrainer, work: Path) -> None:
    start_trainer()
    fill = 'truncate -s 1T "$DROPSWEEP_CHECKPOINTS/.a/x"'
    key, final = run(deployment, command(CHECKPOINT.format(fill=fill, name="one")))
    assert (final.reason, final.attempt) == (TrialReason.SUCCEEDED, 1), final.message
    assert not deployment.has_manifest(key, 0)
    assert "holes are sent as zeros" in (work / "worker.log").read_text()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("truncate -s 1T outputs/x", "files say that they have 1099511627776 bytes, and 0 are there"),
        ("n=$(printf 'a%.0s' $(seq 250)); mkdir -p logs/$n/$n/$n; touch logs/$n/$n/$n/$n", "Shorten the path"),
        ("d=outputs; for i in $(seq 260); do d=$d/a; done; mkdir -p $d; touch $d/x", "Shorten the path"),
    ],
    ids=["holes", "long", "deep"],
)
def test_outputs_that_cannot_be_kept_fail_their_trial_and_no_node(
    deployment: Deployment, start_trainer: StartTrainer, text: str, told: str
) -> None:
    start_trainer()
    _, final = run(deployment, command(text))
    assert (final.reason, final.attempt) == (TrialReason.OUTPUTS_FAILED, 1), final.message
    assert told in final.message


@pytest.mark.parametrize("place", ["outputs/large", '"$DROPSWEEP_CHECKPOINTS"/a/large'])
def test_uploads_end_when_the_grace_after_a_cancellation_is_over(
    deployment: Deployment, start_trainer: StartTrainer, work: Path, place: str
) -> None:
    # Made at once, with too few holes to be refused, and sent for longer than the grace.
    start_trainer(DROPSWEEP_GRACE_S="0.3")
    made = f'mkdir -p "$DROPSWEEP_CHECKPOINTS/a"; truncate -s 6G {place}'
    key = deployment.drop(command(f"{made}; touch done"))
    deployment.look(key)
    until(lambda: any((work / "work").glob("worker-*/0*/*/done")))
    cancel(deployment.store, key)
    until(lambda: deployment.look(key).state.is_final)
    final = deployment.trial(key, 0)
    assert final.reason is TrialReason.JOB_CANCELLED
    assert "(not all that it left was uploaded)" in final.message
    assert deployment.store.blobs.head(RUNS, f"{key.outputs(0, 1)}large") is None
    assert not deployment.has_manifest(key, 0)
