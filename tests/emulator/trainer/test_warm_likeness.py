"""A trial that was started warm sees what one sees that was not; what differs is listed here, and in the docs."""

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dropsweep_trainer.processes.users import User
from dropsweep_trainer.warm.copy import Copy
from tests.emulator.trainer.isolated import UID, needs_root, work
from tests.emulator.trainer.warm import EVERYBODY_S, WAIT_S, Bench, lines

__all__ = ["work"]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="warm starts need Linux")

PROBE = r"""
# -*- coding: utf-8 -*-
variables = {name: repr(value) for name, value in list(globals().items()) if name not in ("__builtins__", "__loader__")}
loader = __loader__
import json, locale, os, resource, signal, stat, sys, threading, warnings, gc
status = dict(line.split(":\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\t" in line)
files = {}
for name in sorted(os.listdir("/proc/self/fd"), key=int):
    try:
        files[name] = [stat.S_IFMT(os.fstat(int(name)).st_mode), os.get_inheritable(int(name))]
    except OSError:
        pass
def stream(it):
    return [it.name, it.mode, it.encoding, it.errors, it.line_buffering, it.write_through, it.newlines, it.isatty()]
frame = sys._getframe()
told = {
    "variables": variables,
    "loader": [type(loader).__name__, loader.name, loader.path],
    "builtins": type(__builtins__).__name__,
    "main": sys.modules["__main__"].__dict__ is globals(),
    "argv": sys.argv, "orig_argv": sys.orig_argv, "path": sys.path, "flags": repr(sys.flags),
    "executable": sys.executable, "base": sys._base_executable, "prefix": sys.prefix, "warnoptions": sys.warnoptions,
    "xoptions": sys._xoptions, "bytecode": sys.dont_write_bytecode, "recursion": sys.getrecursionlimit(),
    "switch": sys.getswitchinterval(), "hooks": [sys.excepthook is sys.__excepthook__, sys.gettrace() is None],
    "cwd": os.getcwd(), "environ": sorted(os.environ.items()), "umask": os.umask(0o22), "nice": os.nice(0),
    "c environ": os.popen("env | grep -v -e ^_= -e ^SHLVL= | sort").read(),
    "limits": {name: resource.getrlimit(getattr(resource, name)) for name in dir(resource) if name[:7] == "RLIMIT_"},
    "signals": {str(number): str(signal.getsignal(number)).split(" at ")[0] for number in signal.valid_signals()},
    "dispositions": {name: status[name] for name in ("SigIgn", "SigCgt", "SigBlk", "SigPnd", "ShdPnd")},
    "mask": sorted(map(str, signal.pthread_sigmask(signal.SIG_BLOCK, ()))),
    "wakeup": signal.set_wakeup_fd(-1),
    "files": files, "folders": [os.readlink("/proc/self/fd/0"), os.readlink("/proc/self/root")],
    "leads": [os.getpgid(0) == os.getpid(), os.getsid(0) == os.getpid()],
    "ids": [os.getresuid(), os.getresgid(), os.getgroups()],
    "rights": {name: status[name] for name in ("CapPrm", "CapEff", "CapAmb", "NoNewPrivs", "Seccomp")},
    "processors": sorted(os.sched_getaffinity(0)), "policy": os.sched_getscheduler(0),
    "oom": open("/proc/self/oom_score_adj").read(), "name": open("/proc/self/comm").read(),
    "owner": os.stat("/proc/self/environ").st_uid, "meta": len(sys.meta_path),
    "tty": open("/proc/self/stat").read().rpartition(")")[2].split()[4],
    "threads": [threading.active_count(), threading.current_thread() is threading.main_thread(), threading.stack_size(),
                threading.main_thread().native_id == os.getpid(),
                threading.main_thread().ident == threading.get_ident(),
                len(os.listdir("/proc/self/task"))],
    "stdin": [*stream(sys.stdin), sys.stdin.read()], "stdout": stream(sys.stdout), "stderr": stream(sys.stderr),
    "streams": [sys.stdin is sys.__stdin__, sys.stdout is sys.__stdout__, sys.stderr is sys.__stderr__],
    "encodings": [sys.getdefaultencoding(), sys.getfilesystemencoding(), sys.getfilesystemencodeerrors(),
                  locale.getpreferredencoding(), locale.setlocale(locale.LC_ALL)],
    "warnings": [str(entry) for entry in warnings.filters], "gc": [gc.isenabled(), gc.get_threshold(), gc.get_debug()],
    "exhausted": [sys.getrefcount(None) > 0, hasattr(sys, "last_type"), hasattr(sys, "ps1")],
}
import multiprocessing, random, tempfile, time
told |= {
    "multiprocessing": [multiprocessing.process.ORIGINAL_DIR, multiprocessing.current_process().name,
                        multiprocessing.get_start_method(allow_none=True), multiprocessing.parent_process() is None],
    "temporary": [tempfile.tempdir, tempfile.gettempdir()], "zone": [time.tzname, time.timezone],
    "children": [multiprocessing.active_children()],
}
print(json.dumps(told))
"""


CORES = "import os; print(os.sched_getaffinity(0))"


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    found = Bench(tmp_path)
    yield found
    found.close()


def compared(bench: Bench, command: str, **environment: str) -> tuple[list[str], list[str]]:
    """What the probe tells cold and warm, without what is known to differ."""
    cold, warm = bench.both(PROBE, command, **environment)
    assert (cold.exit_code, warm.exit_code) == (0, 0), (cold.stderr, warm.stderr)
    assert (cold.stderr, warm.stderr) == ("", "")
    told = [cold.told, warm.told]
    # One file more is open in a warm one, for its exit status; programs that it starts do not have it.
    extra = set(told[1]["files"]) - set(told[0]["files"])
    assert [told[1]["files"].pop(name)[1] for name in extra] == [False]
    assert min(map(int, extra)) >= 100
    return lines(told[0]), lines(told[1])


def test_a_warm_trial_sees_what_a_cold_one_sees(bench: Bench) -> None:
    cold, warm = compared(
        bench, "python script.py --lr 0.1 'two words' ''", TZ="Asia/Kolkata", TMPDIR=str(bench.folder)
    )
    assert warm == cold


def test_that_holds_for_a_script_in_a_folder_and_behind_a_link(bench: Bench) -> None:
    bench.template()
    bench.write(PROBE, "below/real.py")
    (bench.folder / "link.py").symlink_to("below/real.py")
    for command in ("python3 ./below/../below/real.py x", "python link.py", f"python {bench.folder}/link.py"):
        cold, warm = bench.run(command, is_warm=False), bench.run(command)
        assert warm.is_warm
        shown = ("variables", "loader", "path", "argv", "orig_argv", "executable", "environ", "cwd")
        assert {name: warm.told[name] for name in shown} == {name: cold.told[name] for name in shown}


def test_that_holds_where_modules_are_found_by_relative_paths(tmp_path: Path) -> None:
    bench = Bench(tmp_path, PYTHONPATH="own:/opt/else:deep/er")
    try:
        bench.write("print('mine')", "own/mine.py")
        cold, warm = bench.both("import mine, sys; print(sys.path)")
        assert warm.stdout == cold.stdout
        assert cold.stdout.startswith("mine\n")
        bench.write("", "own/json.py")
        assert not bench.run().is_warm
    finally:
        bench.close()


@needs_root
def test_a_trial_whose_user_cannot_reach_the_interpreter_is_told_so_by_a_shell(work: Path) -> None:
    (work / "shut").mkdir(mode=0o700)
    (work / "shut" / "python3").symlink_to("/usr/bin/python3")
    bench = Bench(work, user=User(UID, UID), PATH=f"{work}/shut")
    try:
        bench.write("print(1)")
        for _ in range(2):
            ended = bench.run()
            assert (ended.exit_code, ended.is_warm, bench.starter.template) == (127, False, None)
    finally:
        bench.close()


@needs_root
def test_a_warm_trial_of_another_user_sees_what_a_cold_one_sees(work: Path) -> None:
    bench = Bench(work, user=User(UID, UID), **EVERYBODY_S)
    try:
        cold, warm = compared(bench, "python3 script.py a", TMPDIR=str(bench.folder))
        assert warm == cold
    finally:
        bench.close()


@pytest.mark.parametrize("is_warm", [True, False])
def test_a_trial_runs_on_the_cores_of_its_slot(bench: Bench, is_warm: bool) -> None:
    bench.write(CORES)
    bench.template()
    for core in sorted(os.sched_getaffinity(0)):
        running = bench.start(is_warm=is_warm, cores=[core])
        assert running.wait(WAIT_S) == 0
        assert isinstance(running, Copy) is is_warm
        assert bench.printed() == (f"{{{core}}}\n", "")


def test_what_is_logged_counts_its_time_from_the_trial_s_start(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ("logging",))
    script = "import logging, time; print(time.time() - getattr(logging, '_startTime') / {})"
    try:
        bench.write(script.format("(1e9 if isinstance(logging._startTime, int) else 1)"))
        template = bench.template()
        time.sleep(1)
        began_s = time.monotonic()
        ended = bench.run()
        took_s = time.monotonic() - began_s
        assert ended.is_warm
        assert template.standing() == "ready"
        assert 0 <= float(ended.stdout) <= took_s
    finally:
        bench.close()
