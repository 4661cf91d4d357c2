import contextlib
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dropsweep.clusters import Cluster
from dropsweep.spec.job import Retry
from dropsweep.states import TrialReason
from dropsweep_trainer.attempt.outcome import exceeded, retried
from dropsweep_trainer.processes.command import Process, clean_environment
from dropsweep_trainer.sharing.limits import Excess, Limits, Watch

MIB = 2**20
needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's /proc")


def test_the_limits_are_those_of_the_cluster_s_file() -> None:
    assert Limits.of(Cluster("c", trial_memory_bytes=5, trial_processes=6)) == Limits(5, 6)


def test_what_is_too_much_is_told_with_the_numbers_and_where_they_stand() -> None:
    limits = Limits(8 * 2**30, 512)
    assert limits.excess(512, 8 * 2**30) is None
    memory = limits.excess(513, int(9.1 * 2**30))
    assert memory == Excess(
        is_memory=True,
        message="its processes used 9.1 GiB of memory together; "
        "the cluster allows a trial 8 GiB: limits.memory in its file",
    )
    assert "used 8.1 GiB of memory together; the cluster allows a trial 8 GiB" in str(limits.excess(1, 2**33 + 1))
    assert "used 512 MiB of memory together; the cluster allows a trial 500 MiB" in str(
        Limits(500 * MIB).excess(1, 512 * MIB)
    )
    processes = limits.excess(513, 0)
    assert processes is not None
    assert "513 processes and threads; the cluster allows a trial 512" in processes.message
    assert Limits().excess(10**6, 2**50) is None


def test_memory_is_a_reason_of_its_own_and_counts_as_the_signal_that_it_is_when_retries_are_asked_for() -> None:
    outcome = exceeded(Excess(is_memory=True, message="much"), -9)
    assert (outcome.reason, outcome.exit_code) == (TrialReason.OUT_OF_MEMORY, -9)
    assert retried(outcome, None, 0).reason is TrialReason.OUT_OF_MEMORY
    assert retried(outcome, Retry(max_retries=1), 0).reason is TrialReason.RETRYING
    assert retried(outcome, Retry(max_retries=1, exit_codes=(137,)), 0).reason is TrialReason.RETRYING
    assert retried(outcome, Retry(max_retries=1, exit_codes=(1,)), 0).reason is TrialReason.OUT_OF_MEMORY
    assert exceeded(Excess(is_memory=False, message="many"), -9).reason is TrialReason.SIGNAL


@pytest.mark.parametrize(
    ("message", "is_told"),
    [
        ("exit code 1: bash: fork: Resource temporarily unavailable", True),
        ("exit code 1: RuntimeError: can't start new thread", True),
        ("exit code 1: KeyError: 'x'", False),
    ],
)
def test_a_command_that_could_start_nothing_more_is_told_of_the_limit(message: str, is_told: bool) -> None:
    assert ("512 processes" in Limits(None, 512).hint(message)) is is_told
    assert Limits().hint(message) == message


def last_argument(pid: int) -> bytes:
    """Empty for a process that has just begun or ended."""
    try:
        return (Path("/proc") / str(pid) / "cmdline").read_bytes().rstrip(b"\0").rpartition(b"\0")[2]
    except OSError:
        return b""


@needs_proc
def test_the_processes_of_a_trial_are_its_session_s_and_what_these_started(tmp_path: Path) -> None:
    process = Process(
        "sleep 60 & setsid sleep 61 & echo up; wait",
        folder=tmp_path,
        environment=clean_environment(os.environ),
        stdout=tmp_path / "out",
        stderr=tmp_path / "err",
    )
    watch = Watch(Limits(None, 2), process.pid, interval_s=0)
    end = time.monotonic() + 60
    while not {b"60", b"61"} <= {last_argument(seen.pid) for seen in watch.processes()}:
        assert time.monotonic() < end
        time.sleep(0.01)
    found = watch.excess()
    assert found is not None
    assert not found.is_memory
    for seen in watch.processes():
        with contextlib.suppress(ProcessLookupError):
            os.kill(seen.pid, 9)
    assert process.kill() == -9


@needs_proc
def test_memory_that_processes_share_counts_once() -> None:
    # 300 MiB, mapped by four: together more than 1 GiB is mapped, and 300 MiB are there.
    program = (
        "import os, time, sys\n"
        "held = bytearray(os.urandom(1) * (300 << 20))\n"
        "children = [os.fork() for _ in range(2)]\n"
        "os.write(1, b'up\\n')\n"
        "time.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-S", "-c", program], start_new_session=True, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        for _ in range(4):
            assert process.stdout.readline() == "up\n"
        process.stdout.close()
        mapped = sum(seen.rss_bytes for seen in Watch(Limits(), process.pid).processes())
        assert mapped > 1100 * MIB
        assert Watch(Limits(600 * MIB), process.pid, interval_s=0).excess() is None
        excess = Watch(Limits(200 * MIB), process.pid, interval_s=0).excess()
        assert excess is not None
        assert re.search(r"used 3\d\d MiB", excess.message)
    finally:
        os.killpg(process.pid, 9)
        process.wait()
