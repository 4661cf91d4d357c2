"""Claims of real trainers: asleep, in crowds, beside busy processes, without their messages, killed by their trials."""

import os
import re
import signal
import time
from typing import Final

from dropsweep.names import CODE, NODES, RUNS, JobKey
from dropsweep.states import JobState, TrialReason
from tests.chaos import processes
from tests.chaos.marked import GATES, POINTS, drop_marked, until_all_wait
from tests.chaos.processes import PATIENCE_S, QUICK, Request, Trainer, Trainers, group_lives
from tests.chaos.trainer import LOST_ANSWER, UNAVAILABLE, Plan
from tests.emulator.deployment import REPORT_X, command, sweep, until

trainers = processes.trainers

BUSY_S: Final = 60.0 if os.environ.get("DROPSWEEP_CHAOS") == "full" else 10.0
"""How long a process keeps everything to itself: two claim timeouts, or a minute."""


def test_a_trainer_that_slept_past_its_claims_writes_nothing_more_wherever_it_was(trainers: Trainers) -> None:
    keys = drop_marked(trainers)
    sleeper = trainers.start("sleeper", Plan(gates=GATES), num_slots=len(POINTS))
    until_all_wait(sleeper)
    sleeper.send(signal.SIGSTOP)
    (trainers.folder / "asleep").touch()
    fresh = trainers.start("fresh", num_slots=len(POINTS))
    until(lambda: all(trainers.is_running(key, 2) for key in keys.values()), PATIENCE_S)
    until(lambda: all(has_checkpoint_of(trainers, keys[point], 2) for point in POINTS), PATIENCE_S)
    before = {point: trainers.versions(key) for point, key in keys.items()}
    owners = {point: trainers.owner(key) for point, key in keys.items()}

    continued_s = time.monotonic()
    sleeper.send(signal.SIGCONT)
    sleeper.open_gates()
    until(lambda: not any((trainers.folder / "sleeper").glob("worker-*/0000000-*")), PATIENCE_S)
    for point in ("training", "checkpoint", "manifest"):
        assert not group_lives(int(trainers.pid_file(f"{point}-1").read_text())), point
    assert not trainers.pid_file("staging-1").exists()
    assert sleeper.log.count("has lost its claim") >= len(POINTS)
    assert written_after(sleeper.requests(), continued_s) == []
    for point, key in keys.items():
        assert trainers.owner(key) == owners[point], point
        assert {name: etag for name, etag in trainers.versions(key).items() if is_of_attempt(name, 2)} == {
            name: etag for name, etag in before[point].items() if is_of_attempt(name, 2)
        }, point

    (trainers.folder / "finish").touch()
    until(lambda: trainers.has_ended(*keys.values()), PATIENCE_S)
    for point, key in keys.items():
        final = trainers.deployment.trial(key, 0)
        assert (final.reason, final.attempt, final.num_lost) == (TrialReason.SUCCEEDED, 2, 1), point
    fresh.send(signal.SIGTERM)
    assert fresh.exit_status() == 0
    assert_serves(trainers, keys["training"].job)
    sleeper.send(signal.SIGTERM)
    assert sleeper.exit_status() == 0


def assert_serves(trainers: Trainers, name: str) -> None:
    later = trainers.deployment.drop(sweep(REPORT_X, 1), f"e/after-{name[:20]}.json")
    until(lambda: trainers.has_ended(later), PATIENCE_S)
    assert trainers.deployment.trial(later, 0).reason is TrialReason.SUCCEEDED


def has_checkpoint_of(trainers: Trainers, key: JobKey, attempt: int) -> bool:
    return any(label.startswith(f"{attempt:04}-") for label in trainers.labels(key))


def is_of_attempt(name: str, attempt: int) -> bool:
    return f"/attempts/{attempt}/" in name or f"/checkpoints/{attempt:04}-" in name


def written_after(requests: list[Request], moment_s: float) -> list[str]:
    """What a trainer began to write of its trials after that moment, and was not refused."""
    return [
        f"{r.method} {r.path} {r.status}"
        for r in requests
        if r.asked_s > moment_s and r.is_applied_write and f"/{RUNS}/{NODES}" not in r.path
    ]


def test_eight_trainers_that_claim_at_the_same_moment_make_one_attempt_and_eight_clean_exits(
    trainers: Trainers,
) -> None:
    key = trainers.deployment.drop(sweep(f"echo ran >> {trainers.folder}/ran; sleep 2.5; {REPORT_X}", 1))
    trainers.deployment.look(key)
    trainers.send(key, num_copies=7)
    claims = Plan(gates=(("claim", r"^PUT .*/records/0000/0000000\.json\? running$"),))
    crowd = [trainers.start(f"trainer-{n}", claims, exit_when_idle_s=8.0) for n in range(8)]
    until(lambda: all(trainer.waits_at("claim") for trainer in crowd), PATIENCE_S)
    for trainer in crowd:
        trainer.open_gates()
    assert [trainer.exit_status() for trainer in crowd] == [0] * 8
    final = trainers.deployment.trial(key, 0)
    assert (final.reason, final.attempt, final.num_lost) == (TrialReason.SUCCEEDED, 1, 0)
    assert (trainers.folder / "ran").read_text() == "ran\n"
    attempts = {found[1] for name in trainers.versions(key) if (found := re.search(r"/attempts/(\d+)/", name))}
    assert attempts <= {"1"}
    assert trainers.num_messages() == 0
    assert trainers.deployment.look(key).state is JobState.COMPLETED


KEEPS_THE_GIL: Final = """
import ctypes, sys
ctypes.PyDLL(None).sleep(int(float(sys.argv[1])))  # PyDLL calls without letting go of the GIL
"""
KEEPS_THE_CPUS: Final = """
import multiprocessing, os, sys, time
def hog(end):
    while time.monotonic() < end:
        sum(range(10**7))
if __name__ == "__main__":
    end = time.monotonic() + float(sys.argv[1])
    hogs = [multiprocessing.Process(target=hog, args=(end,)) for _ in range(os.cpu_count() or 1)]
    for process in hogs:
        process.start()
    hog(end)
    for process in hogs:
        process.join()
"""


def test_heartbeats_go_on_while_trials_keep_the_interpreter_and_every_cpu_to_themselves(trainers: Trainers) -> None:
    code = f"{trainers.deployment.workspace}/src"
    trainers.deployment.store.blobs.put(CODE, f"{code}/gil.py", KEEPS_THE_GIL.encode())
    trainers.deployment.store.blobs.put(CODE, f"{code}/cpus.py", KEEPS_THE_CPUS.encode())
    programs = ("gil", "cpus")
    ready = trainers.folder / "ready"
    keys = []
    for program in programs:
        script = f"until [ -e {ready} ]; do sleep 0.1; done; python {program}.py {BUSY_S}; {REPORT_X}"
        document = sweep(script, 1)
        document["trial"]["code"] = code
        keys.append(trainers.deployment.drop(document, f"e/{program}.json"))
        trainers.deployment.look(keys[-1])
    trainers.start("busy", num_slots=len(programs))
    until(lambda: all(trainers.is_running(key, 1) for key in keys), PATIENCE_S)
    other = trainers.start("other", Plan())
    until(lambda: "serving cluster" in other.log, PATIENCE_S)
    ready.touch()
    for key in keys:
        trainers.send(key)
    until(lambda: trainers.has_ended(*keys), BUSY_S + PATIENCE_S)
    for program, key in zip(programs, keys, strict=True):
        final = trainers.deployment.trial(key, 0)
        assert (final.reason, final.attempt, final.num_lost) == (TrialReason.SUCCEEDED, 1, 0), program
        assert has_looked_at(other, key, 0), program


def has_looked_at(trainer: Trainer, key: JobKey, trial: int) -> bool:
    """True once a trainer has read a trial's record, which it does only to learn whether its claim is stale."""
    return any(request.method == "GET" and key.trial(trial) in request.path for request in trainer.requests())


def test_a_message_that_cannot_be_renewed_makes_no_second_run_while_the_first_heartbeats(trainers: Trainers) -> None:
    finish = trainers.folder / "finish"
    script = f"""
        echo $DROPSWEEP_ATTEMPT >> {trainers.folder}/ran-${{{{search_space.x}}}}
        until [ -e {finish} ]; do sleep 0.1; done; {REPORT_X}"""
    plans = (LOST_ANSWER, UNAVAILABLE)
    key = trainers.deployment.drop(sweep(script, len(plans)))
    trainers.deployment.look(key)
    holders = [trainers.start(renewals.replace(" ", "-"), Plan(renewals=renewals)) for renewals in plans]
    until(lambda: all(trainers.is_running(key, 1, trial) for trial in range(len(plans))), PATIENCE_S)
    other = trainers.start("other", Plan())
    # Their messages become visible again and again, for a while that is longer than the claim timeout.
    until(lambda: all(has_looked_at(other, key, trial) for trial in range(len(plans))), PATIENCE_S)
    num_beats = [len(beats(holder)) for holder in holders]
    until(lambda: all(len(beats(h)) >= n + 4 for h, n in zip(holders, num_beats, strict=True)), PATIENCE_S)
    finish.touch()
    until(lambda: trainers.has_ended(key), PATIENCE_S)
    for trial in range(len(plans)):
        final = trainers.deployment.trial(key, trial)
        assert (final.reason, final.attempt, final.num_lost) == (TrialReason.SUCCEEDED, 1, 0), final.worker
        assert (trainers.folder / f"ran-{trial}").read_text() == "1\n"
    until(lambda: trainers.num_messages() == 0, PATIENCE_S)


def beats(trainer: Trainer) -> list[Request]:
    """The heartbeats of a trainer that got through."""
    return [request for request in trainer.requests() if "comp=metadata" in request.query and request.status < 300]


def test_a_trial_whose_message_is_deleted_while_it_runs_ends_as_if_it_were_there(trainers: Trainers) -> None:
    key = trainers.deployment.drop(sweep(f"touch {trainers.folder}/ran; sleep 1.5; {REPORT_X}", 1))
    trainers.deployment.look(key)
    only = trainers.start("only", exit_when_idle_s=1.0)
    until((trainers.folder / "ran").exists, PATIENCE_S)
    trainers.clear_messages()
    assert only.exit_status() == 0
    final = trainers.deployment.trial(key, 0)
    assert (final.reason, final.attempt) == (TrialReason.SUCCEEDED, 1)
    assert trainers.deployment.look(key).state is JobState.COMPLETED


def test_a_trial_that_kills_its_trainer_again_and_again_is_failed_with_that_story(trainers: Trainers) -> None:
    key = trainers.deployment.drop(command(f"echo $DROPSWEEP_ATTEMPT >> {trainers.folder}/ran; kill -9 $PPID"))
    trainers.deployment.look(key)
    quick = {**QUICK, "DROPSWEEP_MAX_LOST_WORKERS": "2"}
    statuses = [trainers.start(f"victim-{n}", environment=quick).exit_status() for n in range(2)]
    assert statuses == [-signal.SIGKILL] * 2
    survivor = trainers.start("survivor", environment=quick)
    until(lambda: trainers.has_ended(key), PATIENCE_S)
    final = trainers.deployment.trial(key, 0)
    assert (final.reason, final.attempt, final.num_lost) == (TrialReason.WORKERS_LOST, 2, 2)
    assert "2 attempts in a row ended with their workers" in final.message
    assert "memory" in final.message
    assert (trainers.folder / "ran").read_text().split() == ["1", "2"]
    assert trainers.deployment.job(key).state is JobState.FAILED
    survivor.send(signal.SIGTERM)
    assert survivor.exit_status() == 0
    assert trainers.num_messages() == 0
