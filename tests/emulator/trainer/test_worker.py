"""The worker against the emulator: live logs, give-backs, take-overs, duplicates, and what it leaves behind."""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from dropsweep.errors import NotFoundError
from dropsweep.messages import TrialMessage
from dropsweep.names import BURIED, CODE, RUNS, JobKey
from dropsweep.states import JobState, TrialReason, TrialState
from dropsweep.steps.attempt import Claim, claim
from dropsweep.storage import Queues, Store
from dropsweep_trainer.messages.settling import Settler
from dropsweep_trainer.worker.worker import Worker
from tests.emulator.deployment import ENDS_WHEN_RESUMED, REPORT_X, Deployment, command, sweep, until
from tests.emulator.faults import Gate

Start = Callable[[Worker], threading.Thread]


@pytest.fixture
def start_process(deployment: Deployment, connection_string: str) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts real trainer processes and ends what is left of them."""
    started: list[subprocess.Popen[bytes]] = []

    def start(name: str, before: str = "") -> subprocess.Popen[bytes]:
        command_line = [sys.executable, "-m", "dropsweep_trainer", "--work"]
        log = (deployment.work / f"{name}.log").open("ab")
        process = subprocess.Popen(
            ["bash", "-c", f'{before} exec "$@"', "bash", *command_line, str(deployment.work / name)],
            env={
                **os.environ,
                "PYTHONPATH": "shared:trainer_image",
                "DROPSWEEP_STORAGE": connection_string,
                "DROPSWEEP_CLUSTERS": deployment.cluster,
                "DROPSWEEP_HEARTBEAT_S": "0.5",
                "DROPSWEEP_CLAIM_TIMEOUT_S": "5",
                "DROPSWEEP_GRACE_S": "2",
            },
            stderr=log,
        )
        log.close()
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.kill()
        process.wait()


def test_a_trial_s_record_and_the_worker_s_log_say_how_it_was_started(
    deployment: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    key = deployment.drop(command("echo hello | cat"))
    deployment.run(key)
    why = "cold: the command is more than a script with arguments"
    assert deployment.trial(key, 0).start == why
    assert f"{key.path} trial 0: succeeded (start: {why})" in caplog.text


def test_a_printed_line_can_be_read_while_the_trial_runs(deployment: Deployment, in_background: Start) -> None:
    key = deployment.drop(command("echo hello; sleep 600"))
    deployment.look(key)
    in_background(deployment.worker(idle_s=None))
    until(lambda: deployment.store.blobs.read_range(RUNS, key.stdout(0, 1), 0) == b"hello\n")
    assert deployment.trial(key, 0).state is TrialState.RUNNING


def test_a_stopped_worker_gives_its_trial_back_and_another_resumes_it(
    deployment: Deployment, in_background: Start
) -> None:
    key = deployment.drop(sweep(ENDS_WHEN_RESUMED, 1))
    deployment.look(key)
    first = deployment.worker(name="first", idle_s=None)
    thread = in_background(first)
    until(lambda: has_manifest(deployment, key.checkpoints(0)))
    first.stopping.set()
    thread.join(60)
    given_back = deployment.trial(key, 0)
    assert (given_back.state, given_back.reason, given_back.num_preempted) == (
        TrialState.QUEUED,
        TrialReason.PREEMPTED,
        1,
    )
    assert deployment.run(key).state is JobState.COMPLETED
    final = deployment.trial(key, 0)
    assert (final.attempt, final.num_lost) == (2, 0)
    assert final.resumed_from.startswith("0001-")
    lines = deployment.text(key.stdout(0, 2)).splitlines()
    resumed = int(lines[0].removeprefix("resumed from "))
    assert resumed >= 2
    assert lines[1:] == [f"step {resumed + number}" for number in (1, 2, 3)]
    assert final.metrics == {"score": resumed + 3.0}


def is_running(pid: int) -> bool:
    """True for a process that is there and not merely waiting to be reaped."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(state.strip()) and not state.strip().startswith("Z")


def has_manifest(deployment: Deployment, folder: str) -> bool:
    return any(blob.name.endswith(".manifest.json") for blob in deployment.store.blobs.list(RUNS, folder))


def test_a_killed_worker_s_trial_is_taken_over_and_resumed(
    deployment: Deployment, start_process: Callable[[str], subprocess.Popen[bytes]]
) -> None:
    key = deployment.drop(sweep(ENDS_WHEN_RESUMED, 1))
    deployment.look(key)
    first = start_process("first")
    until(lambda: has_manifest(deployment, key.checkpoints(0)))
    first.kill()
    start_process("second")
    until(lambda: deployment.look(key).state.is_final)
    final = deployment.trial(key, 0)
    assert (final.reason, final.attempt, final.num_lost) == (TrialReason.SUCCEEDED, 2, 1)
    resumed = int(deployment.text(key.stdout(0, 2)).splitlines()[0].removeprefix("resumed from "))
    assert final.metrics == {"score": resumed + 3.0}


def test_a_worker_that_was_asleep_too_long_ends_its_process_and_writes_nothing(
    deployment: Deployment, start_process: Callable[[str], subprocess.Popen[bytes]]
) -> None:
    key = deployment.drop(sweep(f"echo $DROPSWEEP_ATTEMPT >> {deployment.work}/ran; sleep 4; {REPORT_X}", 1))
    deployment.look(key)
    sleeper = start_process("sleeper")
    until((deployment.work / "ran").exists)
    sleeper.send_signal(signal.SIGSTOP)
    start_process("fresh")
    until(lambda: deployment.trial(key, 0).attempt == 2)
    sleeper.send_signal(signal.SIGCONT)
    until(lambda: deployment.look(key).state.is_final)
    final = deployment.trial(key, 0)
    assert (final.reason, final.attempt, final.num_lost) == (TrialReason.SUCCEEDED, 2, 1)
    assert (deployment.work / "ran").read_text().split() == ["1", "2"]
    until(lambda: "has lost its claim" in (deployment.work / "sleeper.log").read_text())


def test_sigterm_ends_a_trainer_with_status_zero_and_no_process_left(
    deployment: Deployment, start_process: Callable[[str], subprocess.Popen[bytes]]
) -> None:
    key = deployment.drop(
        command(f"sleep 600 & echo $! > {deployment.work}/pid; echo $$ >> {deployment.work}/pid; wait")
    )
    deployment.look(key)
    process = start_process("only")
    until(lambda: (deployment.work / "pid").exists() and len((deployment.work / "pid").read_text().split()) == 2)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    for pid in (deployment.work / "pid").read_text().split():
        assert not is_running(int(pid))
    assert deployment.trial(key, 0).reason is TrialReason.PREEMPTED


def test_eight_copies_of_a_message_give_one_attempt(deployment: Deployment) -> None:
    key = deployment.drop(sweep(f"echo ran >> {deployment.work}/ran; sleep 1; {REPORT_X}", 1))
    deployment.look(key)
    for _ in range(7):
        deployment.store.queues.send(f"trials-{deployment.cluster}", TrialMessage(key, 0).to_text())
    deployment.worker(num_slots=8, idle_s=2 * deployment.settings.claim_timeout_s).run()
    assert deployment.look(key).state is JobState.COMPLETED
    assert (deployment.work / "ran").read_text() == "ran\n"
    assert deployment.trial(key, 0).attempt == 1
    assert deployment.store.queues.count(f"trials-{deployment.cluster}") == 0


def test_a_late_message_of_a_deleted_job_is_nobody_s_trouble(deployment: Deployment, key: JobKey) -> None:
    queue = f"trials-{deployment.cluster}"
    deployment.store.blobs.put(RUNS, key.tombstone, b"")
    deployment.store.queues.send(queue, TrialMessage(key, 0).to_text())
    deployment.worker().run()
    assert deployment.store.queues.count(queue) == 0
    assert list(deployment.store.blobs.list(RUNS, f"{BURIED}{queue}/")) == []


def test_a_message_that_cannot_be_read_is_buried_at_once(deployment: Deployment) -> None:
    queue = f"trials-{deployment.cluster}"
    deployment.store.queues.send(queue, "not ours")
    deployment.store.queues.send(queue, '{"version": 1, "job": "no/such/job", "trial": 0}')
    deployment.store.queues.send(queue, "not ours")
    deployment.worker().run()
    assert deployment.store.queues.count(queue) == 0
    paths = [found.name for found in deployment.store.blobs.list(RUNS, f"{BURIED}{queue}/")]
    buried = [json.loads(deployment.text(path)) for path in paths]
    assert sorted((message["body"], message["reason"].split(": ")[0]) for message in buried) == [
        ("not ours", "a message is 'not ours'"),
        ('{"version": 1, "job": "no/such/job", "trial": 0}', "no/such/job has no record"),
    ]


def test_the_work_folder_is_empty_afterwards_but_for_the_cache(deployment: Deployment) -> None:
    key = deployment.drop(sweep(f"echo data > big; {REPORT_X}", 3))
    deployment.run(key)
    left = [path for path in (deployment.work / "worker").rglob("*") if path.is_file()]
    assert left == []


def test_what_a_trial_leaves_running_ends_with_it(deployment: Deployment) -> None:
    key = deployment.drop(command(f"(sleep 600 & echo $! > {deployment.work}/pid); exit 0"))
    started = time.monotonic()
    deployment.run(key)
    assert time.monotonic() - started < 60
    assert not is_running(int((deployment.work / "pid").read_text()))


def test_a_trial_that_ignores_sigterm_is_killed_after_its_grace(deployment: Deployment, in_background: Start) -> None:
    key = deployment.drop(command("trap '' TERM; echo up; while :; do sleep 0.1; done"))
    deployment.look(key)
    worker = deployment.worker(idle_s=None)
    thread = in_background(worker)
    until(lambda: deployment.store.blobs.read_range(RUNS, key.stdout(0, 1), 0) == b"up\n")
    worker.stopping.set()
    thread.join(60)
    given_back = deployment.trial(key, 0)
    assert (given_back.reason, given_back.exit_code) == (TrialReason.PREEMPTED, -signal.SIGKILL)


@pytest.mark.parametrize(
    ("mischief", "reason"),
    [
        ('mkdir -p "$DROPSWEEP_METRICS"; sleep 1', TrialReason.NO_METRIC),
        (f'{REPORT_X}; rm -rf "$DROPSWEEP_CHECKPOINTS"', TrialReason.SUCCEEDED),
        (f"{REPORT_X}; touch outputs/$'caf\\xe9.txt'", TrialReason.SUCCEEDED),
        (f"""{REPORT_X}; echo '{{"\\ud800": 1}}' >> "$DROPSWEEP_METRICS" """, TrialReason.SUCCEEDED),
        (f'{REPORT_X}; rm -rf outputs logs "$HOME"', TrialReason.SUCCEEDED),
        (f"{REPORT_X}; mkdir -p shut/in; chmod 0 shut", TrialReason.SUCCEEDED),
        (
            f"{REPORT_X}; setsid sh -c 'for i in 1 2 3 4 5 6 7 8; do echo $i; sleep 0.1; done' & sleep 0.3",
            TrialReason.SUCCEEDED,
        ),
    ],
)
def test_a_script_may_do_odd_things_without_being_called_a_lost_worker(
    deployment: Deployment, mischief: str, reason: TrialReason
) -> None:
    key = deployment.drop(sweep(mischief, 1))
    deployment.run(key)
    final = deployment.trial(key, 0)
    assert (final.reason, final.attempt, final.num_lost) == (reason, 1, 0), final.message


def test_the_grace_is_the_programs_also_behind_a_shell(deployment: Deployment, in_background: Start) -> None:
    saving = (
        "import signal, sys, time, os\n"
        "def save(*_):\n"
        "    time.sleep(0.7)\n"
        "    folder = os.environ['DROPSWEEP_CHECKPOINTS'] + '/last'\n"
        "    os.mkdir(folder)\n"
        "    open(folder + '/state', 'w').write('saved')\n"
        "    sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, save)\n"
        "print('up', flush=True)\n"
        "time.sleep(600)\n"
    )
    deployment.settings = replace(deployment.settings, grace_s=30.0)
    deployment.store.blobs.put(CODE, f"{deployment.workspace}/src/t.py", saving.encode())
    key = deployment.drop(command("python t.py | cat\necho done", code=f"{deployment.workspace}/src"))
    deployment.look(key)
    worker = deployment.worker(idle_s=None)
    thread = in_background(worker)
    until(lambda: deployment.store.blobs.read_range(RUNS, key.stdout(0, 1), 0) == b"up\n")
    worker.stopping.set()
    thread.join(60)
    assert deployment.text(f"{key.checkpoint(0, '0001-000001-last')}state") == "saved"


def test_a_node_that_cannot_go_on_leaves_its_trials_to_another(
    deployment: Deployment, start_process: Callable[..., subprocess.Popen[bytes]]
) -> None:
    deployment.store.blobs.put(CODE, f"{deployment.workspace}/src/large", b"x" * 300_000)
    key = deployment.drop(sweep(REPORT_X, 1) | {"trial": {"command": REPORT_X, "code": f"{deployment.workspace}/src"}})
    deployment.look(key)
    start_process("sick", "ulimit -f 64;")
    until(lambda: deployment.store.blobs.head(RUNS, key.trial(0)) is not None)
    until(lambda: deployment.trial(key, 0).reason is TrialReason.NODE_ERROR)
    assert "File too large" in deployment.trial(key, 0).message
    start_process("well")
    until(lambda: deployment.look(key).state.is_final)
    final = deployment.trial(key, 0)
    assert final.reason is TrialReason.SUCCEEDED
    assert "well" in (deployment.work / "well.log").read_text() or final.num_lost < 3


def test_two_workers_may_share_one_folder(deployment: Deployment) -> None:
    first = deployment.drop(sweep(f"echo first > x; sleep 2; test $(cat x) = first && {REPORT_X}", 1), "e/first.json")
    second = deployment.drop(sweep(f"echo second > x; sleep 2; {REPORT_X}", 1), "e/second.json")
    deployment.look(first)
    deployment.look(second)
    workers = [deployment.worker(name="shared"), deployment.worker(name="shared")]
    threads = [threading.Thread(target=worker.run) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for key in (first, second):
        final = deployment.trial(key, 0)
        assert (final.reason, final.attempt) == (TrialReason.SUCCEEDED, 1), final.message
    assert [path.name for path in (deployment.work / "shared").iterdir() if path.name.startswith("worker-")] == []


def test_what_a_killed_worker_left_goes_when_the_next_one_starts(
    deployment: Deployment, start_process: Callable[..., subprocess.Popen[bytes]]
) -> None:
    work = deployment.work / "killed"
    process = start_process("killed")
    until(lambda: work.exists() and any(work.glob("worker-*/lock")))
    [left] = work.glob("worker-*")
    process.kill()
    process.wait()
    assert left.exists()
    start_process("killed")
    until(lambda: not left.exists())


def test_a_worker_that_is_stopped_while_it_stages_gives_back_without_starting_the_command(
    deployment: Deployment, in_background: Start
) -> None:
    deployment.store.blobs.put(CODE, f"{deployment.workspace}/data/large", bytes(80 * 1024 * 1024))
    path = f"{CODE}/{deployment.workspace}/data/large"
    job = command(f"touch {deployment.work}/ran", inputs={"d": {"type": "uri_file", "path": path}})
    key = deployment.drop(job)
    deployment.look(key)
    gate = Gate(lambda request: request.method == "GET" and "/data/large" in request.url)
    worker = deployment.worker(idle_s=None, store=Store.connect(deployment.settings.storage, gate))
    thread = in_background(worker)
    until(lambda: gate.num_come > 0)
    worker.stopping.set()
    gate.open()
    thread.join(60)
    assert not thread.is_alive()
    assert deployment.trial(key, 0).reason is TrialReason.PREEMPTED
    assert not (deployment.work / "ran").exists()


def test_settling_goes_on_after_the_queue_was_gone_for_a_while(deployment: Deployment) -> None:
    class Gone:
        """Queues of which one is missing once."""

        def __init__(self, queues: Queues) -> None:
            self._queues = queues
            self.is_missing = True

        def __getattr__(self, name: str) -> Any:
            return getattr(self._queues, name)

        def send(self, queue: str, text: str) -> None:
            if self.is_missing:
                self.is_missing = False
                raise NotFoundError("the queue does not exist")
            self._queues.send(queue, text)

    key = deployment.drop(sweep(REPORT_X, 2))
    store = Store(deployment.store.blobs, Gone(deployment.store.queues))  # type: ignore[arg-type]
    settler = Settler(store)
    deployment.store.queues.send(f"trials-{deployment.cluster}", TrialMessage(key, 0).to_text())
    [message] = deployment.store.queues.receive(f"trials-{deployment.cluster}", visibility_s=30)
    settler.settle(key, 0, message)
    until(lambda: not store.queues.is_missing)  # type: ignore[attr-defined]
    before = deployment.store.queues.count("advance")
    settler.settle(key, 0, message)
    until(lambda: deployment.store.queues.count("advance") == before + 1)
    settler.finish()


def test_code_with_a_file_where_a_folder_must_be_is_told_so(deployment: Deployment) -> None:
    deployment.store.blobs.put(CODE, f"{deployment.workspace}/src/outputs", b"a file")
    key = deployment.drop(command("true", code=f"{deployment.workspace}/src"))
    deployment.run(key)
    final = deployment.trial(key, 0)
    assert (final.reason, final.attempt) == (TrialReason.STAGING_FAILED, 1)
    assert "./outputs" in final.message


def test_a_worker_that_is_stopped_while_it_looks_for_a_checkpoint_starts_no_command(
    deployment: Deployment, in_background: Start
) -> None:
    key = deployment.drop(command(f"touch {deployment.work}/ran"))
    deployment.look(key)
    first = claim(deployment.store, key, 0, {}, worker="first", claim_timeout_s=60, max_lost_workers=3)
    assert isinstance(first, Claim)
    first.end(TrialReason.PREEMPTED, "its worker was stopped")
    gate = Gate(lambda request: "comp=list" in request.url and "checkpoints" in request.url)
    worker = deployment.worker(idle_s=None, store=Store.connect(deployment.settings.storage, gate))
    thread = in_background(worker)
    until(lambda: gate.num_come > 0)
    assert deployment.trial(key, 0).attempt == 2
    worker.stopping.set()
    gate.open()
    thread.join(60)
    assert deployment.trial(key, 0).reason is TrialReason.PREEMPTED
    assert not (deployment.work / "ran").exists()
