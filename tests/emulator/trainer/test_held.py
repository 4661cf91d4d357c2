"""Trials that a process of their own holds back: it is told of their end first, and tells nobody."""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dropsweep.names import RUNS
from dropsweep.states import TrialReason
from dropsweep.steps.cancel import cancel
from dropsweep_trainer.processes import command as command_module
from dropsweep_trainer.processes import running
from dropsweep_trainer.warm import copy
from tests.emulator.deployment import Deployment, command, until
from tests.emulator.trainer.isolated import UID, StartTrainer, needs_root, run, work
from tests.emulator.trainer.test_leftovers import processes_of
from tests.emulator.trainer.warm import WAIT_S, Bench

__all__ = ["work"]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="tracing as on Linux")
HELD = """
import ctypes, os, sys, time
trace, r, w = 0x4206, *os.pipe()
libc, leader = ctypes.CDLL(None), os.getpid()
libc.prctl(0x59616d61, ctypes.c_ulong(-1), 0, 0, 0)
if os.fork() == 0:
    os.setsid()
    assert libc.ptrace(trace, leader, None, ctypes.c_void_p({options})) == 0
    os.write(w, b"x")
    open("tracer", "w").write(str(os.getpid()))
    while True: time.sleep(1)
os.read(r, 1)
print("up", flush=True)
while {waits}: time.sleep(1)
os._exit(5)
"""
"""PTRACE_SEIZE, by one that has left its session; PR_SET_PTRACER, where no child may trace its parent."""
SHORT_S = 0.5
TRACE_EXIT = 1 << 6
"""PTRACE_O_TRACEEXIT: what is traced stops before its end, even by SIGKILL."""


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    for module in (command_module, copy):
        monkeypatch.setattr(module, "REPORT_S", SHORT_S)
    monkeypatch.setattr(running, "KILL_S", 2 * SHORT_S)
    found = Bench(tmp_path)
    yield found
    with contextlib.suppress(OSError, ValueError):
        os.kill(int((found.folder / "tracer").read_text()), signal.SIGKILL)
    found.close()


def tracer(bench: Bench) -> int:
    file = bench.folder / "tracer"
    until(lambda: file.exists() and bool(file.read_text()), WAIT_S)
    return int(file.read_text())


def is_there(pid: int) -> bool:
    """Whether there is such a process, be it one that only waits to be reaped."""
    return Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize("is_warm", [False, True], ids=["cold", "warm"])
@pytest.mark.parametrize("options", [0, TRACE_EXIT], ids=["its end", "before its end"])
def test_it_can_be_ended_and_is_reaped_when_that_process_is_gone(bench: Bench, is_warm: bool, options: int) -> None:
    bench.write(HELD.format(options=options, waits=True))
    bench.template()
    held = bench.start(is_warm=is_warm)
    holder = tracer(bench)
    assert held.kill() == held.wait(0) == -signal.SIGKILL
    assert is_there(held.pid)
    os.kill(holder, signal.SIGKILL)
    until(lambda: not is_there(held.pid), WAIT_S)


@pytest.mark.parametrize(("is_warm", "told"), [(False, -signal.SIGKILL), (True, None)], ids=["cold", "warm"])
def test_its_own_end_is_noticed_and_holds_up_no_other(bench: Bench, is_warm: bool, told: int | None) -> None:
    bench.write(HELD.format(options=0, waits=False))
    template = bench.template()
    held = bench.start(is_warm=is_warm)
    holder = tracer(bench)
    for _ in range(3):
        ended = bench.run("python3 nothing.py")
        assert (ended.exit_code, ended.is_warm) == (0, True)
    if told is None:
        with pytest.raises(ChildProcessError, match="nobody knows how"):
            held.wait(WAIT_S)
    else:
        assert held.wait(WAIT_S) == told
    os.kill(holder, signal.SIGKILL)
    until(lambda: not is_there(held.pid), WAIT_S)
    assert bench.starter.template is template


@needs_root
@pytest.mark.parametrize("options", [0, TRACE_EXIT], ids=["its end", "before its end"])
def test_the_slot_s_next_trial_begins_without_it(
    deployment: Deployment, start_trainer: StartTrainer, work: Path, options: int
) -> None:
    start_trainer(container=True)
    script = work / "script.py"
    script.write_text(HELD.format(options=options, waits=False))
    script.chmod(0o644)
    key = deployment.drop(command(f"exec /usr/bin/python3 {script}"))
    deployment.look(key)
    if options:
        until(lambda: deployment.store.blobs.read_range(RUNS, key.stdout(0, 1), 0) == b"up\n")
        cancel(deployment.store, key)
    until(lambda: deployment.look(key).state.is_final, WAIT_S)
    assert deployment.trial(key, 0).reason is (TrialReason.JOB_CANCELLED if options else TrialReason.SIGNAL)
    assert processes_of(UID) == []
    _, after = run(deployment, command("true") | {"name": "after"})
    assert after.reason is TrialReason.SUCCEEDED
