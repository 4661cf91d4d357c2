"""Pre-emption with real trainers: what SIGTERM, and SIGKILL after it, cost at each point of an attempt."""

import ctypes
import re
import signal
import sys
from pathlib import Path

import pytest

from dropsweep.names import CODE, MANIFEST_SUFFIX, JobKey
from dropsweep.states import JobState, TrialReason, TrialState
from local.paths import ROOT
from tests.chaos import processes
from tests.chaos.marked import GATES, POINTS, drop_marked, until_all_wait
from tests.chaos.processes import COUNT_UP, PATIENCE_S, QUICK, Trainer, Trainers, group_lives
from tests.chaos.trainer import Plan
from tests.emulator.deployment import command, sweep, until

trainers = processes.trainers


def test_a_pre_empted_network_goes_on_from_its_last_checkpoint_on_the_trainer_that_gets_its_message_next(
    trainers: Trainers,
) -> None:
    code = f"{trainers.deployment.workspace}/src"
    script = (ROOT / "examples" / "digits" / "train.py").read_bytes()
    trainers.deployment.store.blobs.put(CODE, f"{code}/train.py", script)
    # The shell stands for what a person would see of SIGTERM; the network itself is simply ended by it.
    tells = f"trap 'echo SIGTERM came >> {trainers.folder}/told' TERM"
    document = sweep(f"{tells}\npython train.py --epochs 30 --batch-size 8 & wait $!; wait $!", 1)
    document["trial"]["code"] = code
    document["objective"] = {"goal": "maximize", "primary_metric": "accuracy"}
    key = trainers.deployment.drop(document)
    trainers.deployment.look(key)
    first = trainers.start("first", Plan())
    until(lambda: trainers.is_running(key, 1), PATIENCE_S)
    trainers.start("second")
    until(lambda: made_step(trainers) > uploaded_step(trainers, key) > 0, PATIENCE_S)
    step = made_step(trainers)
    first.send(signal.SIGTERM)
    first.send(signal.SIGTERM)
    assert first.exit_status() == 0
    assert (trainers.folder / "told").read_text().startswith("SIGTERM came")
    assert_given_back_in_order(first)

    until(lambda: trainers.has_ended(key), PATIENCE_S)
    final = trainers.deployment.trial(key, 0)
    assert (final.reason, final.attempt, final.num_lost, final.num_preempted) == (TrialReason.SUCCEEDED, 2, 0, 1)
    whole = [r.path for r in first.requests() if r.method == "PUT" and r.path.endswith(MANIFEST_SUFFIX)]
    assert final.resumed_from == Path(whole[-1]).name.removesuffix(MANIFEST_SUFFIX)
    resumed, *epochs = trainers.deployment.text(key.stdout(0, 2)).splitlines()
    before = trainers.deployment.text(key.stdout(0, 1)).splitlines()
    found = re.fullmatch(r"resumed after epoch (\d+) \((\d+) of \d+ steps\)", resumed)
    assert found
    last_epoch, last_step = int(found[1]), int(found[2])
    assert last_step >= step, "a checkpoint that was made before the signal was not uploaded"
    assert last_epoch >= len(before) - 1, "more than the epoch in hand was lost"
    assert epochs[0].startswith(f"epoch {last_epoch + 1}/30 ")
    assert epochs[-1].startswith("epoch 30/30 ")


def made_step(trainers: Trainers) -> int:
    """The step of the newest checkpoint that the first trainer's script has made; 0 before it made one."""
    made = (trainers.folder / "first").glob("worker-*/0000000-*/checkpoints/step-*")
    return max((int(folder.name.removeprefix("step-")) for folder in made), default=0)


def uploaded_step(trainers: Trainers, key: JobKey) -> int:
    """The step of the newest whole checkpoint in the storage; 0 before there is one."""
    return max((int(label.rpartition("-")[2]) for label in trainers.labels(key)), default=0)


def assert_given_back_in_order(trainer: Trainer) -> None:
    """The last checkpoint's manifest, then the record as queued, then the message visible at once, and no more."""
    order = []
    for request in trainer.requests():
        match request.method:
            case "PUT" if request.path.endswith(MANIFEST_SUFFIX):
                order.append("checkpoint")
            case "PUT" if "/records/" in request.path and request.state == "queued":
                order.append("queued")
            case "PUT" if "visibilitytimeout=" in request.query and "queued" in order:
                order.append("hidden" if "visibilitytimeout=0" not in request.query else "visible")
            case "GET" if "/messages" in request.path and "queued" in order:
                order.append("received more")
    # A heartbeat that is under way may still renew the message between the two.
    assert [what for what in order if what != "hidden"][-3:] == ["checkpoint", "queued", "visible"]
    assert order[-1] == "visible"


def test_pre_emptions_cost_no_retry_however_many_there_are(trainers: Trainers) -> None:
    num_preemptions = 4
    waits = f"\nif [ $DROPSWEEP_ATTEMPT -le {num_preemptions} ]; then sleep 600; fi"
    key = trainers.deployment.drop(sweep(COUNT_UP.format(steps=3, pause=0.1) + waits, 1))
    trainers.deployment.look(key)
    for attempt in range(1, num_preemptions + 1):
        trainer = trainers.start(f"trainer-{attempt}", environment={"DROPSWEEP_MAX_LOST_WORKERS": "2"})
        until(lambda attempt=attempt: trainers.is_running(key, attempt), PATIENCE_S)  # type: ignore[misc]
        trainer.send(signal.SIGTERM)
        assert trainer.exit_status() == 0
        given_back = trainers.deployment.trial(key, 0)
        assert (given_back.state, given_back.reason) == (TrialState.QUEUED, TrialReason.PREEMPTED)
        assert (given_back.num_lost, given_back.num_preempted) == (0, attempt)
    trainers.start("last", environment={"DROPSWEEP_MAX_LOST_WORKERS": "2"})
    until(lambda: trainers.has_ended(key), PATIENCE_S)
    final = trainers.deployment.trial(key, 0)
    assert (final.reason, final.attempt, final.num_lost) == (TrialReason.SUCCEEDED, num_preemptions + 1, 0)
    assert final.num_preempted == num_preemptions


def test_a_container_that_is_killed_after_its_grace_loses_at_most_one_checkpoint_interval(trainers: Trainers) -> None:
    steps = f"{trainers.folder}/steps"
    may_go = f"{trainers.folder}/step-$((step + 1))"
    script = "trap '' TERM\n" + COUNT_UP.format(steps=4, pause=f"0.1; until [ -e {may_go} ]; do sleep 0.1; done")
    script = script.replace("echo step $step", f"echo $step >> {steps}")
    key = trainers.deployment.drop(sweep(script, 1))
    trainers.deployment.look(key)
    doomed = trainers.start("doomed", environment={**QUICK, "DROPSWEEP_GRACE_S": "600"})
    (trainers.folder / "step-1").touch()
    until(lambda: len(trainers.labels(key)) == 1, PATIENCE_S)
    doomed.send(signal.SIGTERM)
    # The script goes on within its grace, and what it saves there counts too.
    (trainers.folder / "step-2").touch()
    until(lambda: len(trainers.labels(key)) == 2, PATIENCE_S)
    (trainers.folder / "step-3").touch()
    until(lambda: len(Path(steps).read_text().split()) == 3, PATIENCE_S)
    doomed.kill_container()
    (trainers.folder / "step-4").touch()
    done = [int(line) for line in Path(steps).read_text().split()]
    whole = trainers.labels(key)[-1]
    trainers.start("next", environment=QUICK)
    until(lambda: trainers.has_ended(key), PATIENCE_S)
    final = trainers.deployment.trial(key, 0)
    assert (final.reason, final.attempt, final.num_lost) == (TrialReason.SUCCEEDED, 2, 1)
    assert final.resumed_from == whole
    again = [int(line) for line in Path(steps).read_text().split()][len(done) :]
    assert again[0] >= done[-1], f"steps {again[0]} to {done[-1]} were lost, of which one is allowed"
    assert again[-1] == 4


def test_a_trainer_that_is_stopped_loses_nothing_wherever_its_trials_are(trainers: Trainers) -> None:
    keys = drop_marked(trainers)
    # Nobody takes a claim over here. An answer is waited for as long as a fraction of the claim timeout says.
    patient = {"DROPSWEEP_CLAIM_TIMEOUT_S": "80"}
    stopped = trainers.start("stopped", Plan(gates=GATES), num_slots=len(POINTS), environment=patient)
    until_all_wait(stopped)
    stopped.send(signal.SIGTERM)
    stopped.send(signal.SIGTERM)
    stopped.open_gates()
    assert stopped.exit_status() == 0
    for point, key in keys.items():
        record = trainers.deployment.trial(key, 0)
        has_ended = point in ("outputs", "commit")
        expected = TrialReason.SUCCEEDED if has_ended else TrialReason.PREEMPTED
        assert (record.reason, record.attempt, record.num_lost) == (expected, 1, 0), point
        has_checkpoint = point in ("checkpoint", "manifest")
        assert [label[:4] for label in trainers.labels(key)] == ["0001"] * has_checkpoint, point
    assert not trainers.pid_file("staging-1").exists()
    assert not any(group_lives(int(file.read_text())) for file in trainers.folder.glob("*-1.pid"))

    (trainers.folder / "finish").touch()
    trainers.start("next", num_slots=len(POINTS), environment=patient)
    until(lambda: trainers.has_ended(*keys.values()), PATIENCE_S)
    for point, key in keys.items():
        final = trainers.deployment.trial(key, 0)
        attempt = 1 if point in ("outputs", "commit") else 2
        assert (final.reason, final.attempt, final.num_lost) == (TrialReason.SUCCEEDED, attempt, 0), point
        assert bool(final.resumed_from) == (point in ("checkpoint", "manifest")), point
    until(lambda: trainers.num_messages() == 0, PATIENCE_S)


def test_a_trainer_with_nothing_to_do_ends_at_once_and_takes_no_message_with_it(trainers: Trainers) -> None:
    idle = trainers.start("idle", Plan())
    until(lambda: any("/messages" in request.path for request in idle.requests()), PATIENCE_S)
    idle.send(signal.SIGTERM)
    assert idle.exit_status() == 0
    key = trainers.deployment.drop(command("true"))
    trainers.deployment.look(key)
    trainers.start("next")
    until(lambda: trainers.has_ended(key), PATIENCE_S)
    assert trainers.deployment.job(key).state is JobState.COMPLETED
    assert trainers.deployment.trial(key, 0).attempt == 1


@pytest.mark.skipif(sys.platform != "linux", reason="sends a signal to one thread of another process")
def test_a_signal_that_does_not_wake_the_main_thread_ends_the_trainer_too(trainers: Trainers) -> None:
    idle = trainers.start("idle", Plan())
    until(lambda: any("/messages" in request.path for request in idle.requests()), PATIENCE_S)
    pid = idle.process.pid
    others = {int(entry.name) for entry in Path(f"/proc/{pid}/task").iterdir()} - {pid}
    # As when the signal comes just before the main thread begins to wait: it is noted, and wakes nobody up.
    assert ctypes.CDLL(None).tgkill(pid, min(others), signal.SIGTERM) == 0
    assert idle.exit_status() == 0
