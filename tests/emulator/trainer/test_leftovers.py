"""Trials that leave something behind, or try to stay, in a container of the worker's own."""

import os
import subprocess
from pathlib import Path

import pytest

from dropsweep.clusters import Cluster
from dropsweep.names import RUNS
from dropsweep.states import TrialReason
from dropsweep_trainer.attempt import leftovers
from tests.emulator.deployment import Deployment, command, sweep, until
from tests.emulator.trainer.isolated import UID, StartTrainer, needs_root, run

pytestmark = needs_root
PYTHON = "/usr/bin/python3"
STOPPER = """\
import os, signal, sys, time
leader, end = int(sys.argv[1]), time.monotonic() + 60
while os.path.exists(f"/proc/{leader}"):
    pass
while time.monotonic() < end:
    try:
        os.kill(-1, signal.SIGSTOP)
    except OSError:
        pass
"""
BREEDER = """\
import os, sys, time
file, end = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND), time.monotonic() + 120
while time.monotonic() < end:
    os.write(file, b"x")
    if os.fork():
        os._exit(0)
"""
"""Most looks through the processes miss it: the one that there was has ended, and the next was not there yet."""
HEADLESS = """\
import ctypes, os, sys, threading, time
file, end = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND), time.monotonic() + 120
def go_on():
    while time.monotonic() < end:
        os.write(file, b"x")
        time.sleep(0.001)
threading.Thread(target=go_on).start()
ctypes.CDLL(None).pthread_exit(None)
"""
"""Its main thread has ended, so that it looks like a process that waits to be reaped."""


def script(folder: Path, text: str) -> Path:
    file = folder / "script.py"
    file.write_text(text)
    file.chmod(0o644)
    return file


def processes_of(uid: int) -> list[int]:
    found = subprocess.run(["pgrep", "-U", str(uid)], capture_output=True, text=True, check=False).stdout
    return [int(pid) for pid in found.split()]


def test_a_process_that_stops_whatever_would_end_it_is_ended(
    deployment: Deployment, start_trainer: StartTrainer, work: Path
) -> None:
    start_trainer(container=True)
    text = f"(setsid setsid {PYTHON} {script(work, STOPPER)} $$ &) ; sleep 0.5; exec true"
    _, final = run(deployment, command(text))
    assert (final.reason, final.attempt) == (TrialReason.SUCCEEDED, 1), final.message
    assert processes_of(UID) == []
    _, after = run(deployment, command("true") | {"name": "after"})
    assert after.reason is TrialReason.SUCCEEDED


@pytest.mark.parametrize("text", [BREEDER, HEADLESS], ids=["never the same", "without its main thread"])
def test_a_process_that_looks_miss_is_ended(
    deployment: Deployment, start_trainer: StartTrainer, work: Path, text: str
) -> None:
    start_trainer(container=True)
    signs = work / "signs"
    signs.touch()
    signs.chmod(0o666)
    leave = f"(setsid setsid {PYTHON} {script(work, text)} {signs} &)"
    wait = f"until [ $(stat -c %s {signs}) -gt 100 ]; do sleep 0.1; done"
    _, final = run(deployment, command(f"{leave} ; {wait}"))
    assert final.reason is TrialReason.SUCCEEDED, final.message
    num_signs = signs.stat().st_size
    _, after = run(deployment, command("sleep 1") | {"name": "after"})
    assert after.reason is TrialReason.SUCCEEDED
    assert signs.stat().st_size == num_signs, "it went on beside the next trial of its user"


def test_what_a_trial_leaves_with_the_system_does_not_reach_the_next_one(
    deployment: Deployment, start_trainer: StartTrainer, work: Path
) -> None:
    start_trainer(container=True)
    key, final = run(deployment, command("ipcmk -M 4096 -p 0600; ipcmk -Q; ipcmk -S 2; mkdir /run/lock/$USER-x"))
    assert final.reason is TrialReason.SUCCEEDED, deployment.text(key.stderr(0, 1))
    assert deployment.text(key.stdout(0, 1)).count(" id: ") == 3
    key, _ = run(deployment, command(f"cat /proc/sysvipc/*; ls /run/lock; test -e {work}") | {"name": "after"})
    left = deployment.text(key.stdout(0, 1))
    assert "shmid" in left
    assert str(UID) not in left
    assert "trial-x" not in left


def test_trials_put_nothing_into_a_work_folder_that_was_open_to_all(
    deployment: Deployment, start_trainer: StartTrainer, work: Path
) -> None:
    (work / "work").mkdir()
    (work / "work").chmod(0o1777)
    start_trainer(container=True)
    key, final = run(deployment, command('cd ../../..; touch .fill || echo "shut in $PWD"'))
    assert (final.reason, deployment.text(key.stdout(0, 1))) == (TrialReason.SUCCEEDED, f"shut in {work}/work\n")


def test_a_work_folder_that_must_stay_open_to_all_is_cleared(
    deployment: Deployment, start_trainer: StartTrainer, work: Path
) -> None:
    (work / "work").mkdir()
    (work / "work").chmod(0o1777)
    os.chown(work / "work", 10_001, 10_001)  # a platform's, and not the worker's to change
    start_trainer(container=True)
    key, final = run(deployment, command("cd ../../..; mkdir -p kept/deep; touch .fill; ls -A | sort"))
    assert final.reason is TrialReason.SUCCEEDED
    assert {".fill", "kept"} <= set(deployment.text(key.stdout(0, 1)).split())
    assert not {".fill", "kept"} & set(os.listdir(work / "work"))


def test_programs_in_the_job_s_variables_run_within_the_limits(
    deployment: Deployment, start_trainer: StartTrainer, work: Path
) -> None:
    start_trainer(container=True, cluster=Cluster(deployment.cluster, trial_processes=40))
    file = script(work, "echo $(ulimit -u) $(cat /proc/self/oom_score_adj)\n")
    key, final = run(deployment, command("echo command", environment_variables={"BASH_ENV": str(file)}))
    assert final.reason is TrialReason.SUCCEEDED
    assert deployment.text(key.stdout(0, 1)) == "40 1000\ncommand\n"


def test_a_worker_that_may_have_company_in_its_slots_says_so(start_trainer: StartTrainer, work: Path) -> None:
    told = "the worker is not below process 1 of a container of its own"
    for name, container in (("alone", True), ("beside", False)):
        start_trainer(name, container=container)
        until(lambda name=name: "serving cluster" in (work / f"{name}.log").read_text())  # type: ignore[misc]
        assert (told in (work / f"{name}.log").read_text()) is not container


def test_a_worker_whose_slot_cannot_be_cleared_takes_no_further_trial(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leftovers, "clear", lambda _user, _work: False)
    key = deployment.drop(sweep("""printf '{"score": 1}\\n' >> "$DROPSWEEP_METRICS" """, 2))
    deployment.look(key)
    deployment.worker(idle_s=None).run()
    ended = [trial for trial in (0, 1) if deployment.store.blobs.head(RUNS, key.trial(trial)) is not None]
    assert len(ended) == 1
    assert deployment.trial(key, ended[0]).reason is TrialReason.SUCCEEDED
