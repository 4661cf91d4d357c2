"""The stack of processes: whatever ends it, none is left."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dropsweep.clusters import parse_clusters
from dropsweep.errors import DropsweepError
from dropsweep.names import JOBS
from dropsweep.settings import StorageSettings
from dropsweep.storage import Store
from local.child import Child, around_proxy
from local.leash import descendants
from local.stack import Stack
from local.up import up

from .conftest import APP, program, wait_until

_FAMILY = """
import os, signal, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
if sys.argv[2] == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
open(sys.argv[1], "a").write(f"{os.getpid()} {child.pid}\\n")
time.sleep(600)
"""
"""Notes its own process id and that of a child in a session of its own, as a trainer has."""

_STACK = """
import signal, sys, time
from pathlib import Path
from local.leash import descendants
from local.stack import Stack
def interrupt(*_): raise KeyboardInterrupt
signal.signal(signal.SIGTERM, interrupt)
data, app, family, pids = sys.argv[1:]
with Stack(Path(data), app=Path(app), num_trainers=2, trainer_command=[sys.executable, "-c", family, pids, "soft"],
           settings={"QUEUE": "stack-test", "CONTAINER": "stack-test", "RECORD": data + "/record"}) as stack:
    print("up", *(child.pid for child in stack.children), flush=True)
    time.sleep(600)
"""


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(process)], capture_output=True, text=True, check=False)
    return bool(state.stdout) and not state.stdout.startswith("Z")


def _in_sessions_of(leaders: list[int]) -> list[str]:
    listing = subprocess.run(["ps", "-A", "-o", "pid=,pgid=,stat=,args="], capture_output=True, text=True, check=True)
    rows = [line.split(None, 3) for line in listing.stdout.splitlines()]
    return [" ".join(row) for row in rows if int(row[1]) in leaders and not row[2].startswith("Z")]


def _start_family(folder: Path, manner: str, grace_s: float) -> tuple[Child, list[int]]:
    pids = folder / "pids"
    command = [sys.executable, "-c", _FAMILY, str(pids), manner]
    child = Child("family", command, log=folder / "log", env=os.environ, cwd=folder, grace_s=grace_s)
    wait_until(lambda: pids.exists() and pids.read_text().endswith("\n"), "the processes")
    return child, [int(pid) for pid in pids.read_text().split()]


@pytest.mark.parametrize(
    ("manner", "grace_s", "status"), [("soft", 60.0, 128 + signal.SIGTERM), ("stubborn", 0.5, 128 + signal.SIGKILL)]
)
def test_a_stopped_child_leaves_no_descendant_even_if_it_will_not_end(
    tmp_path: Path, manner: str, grace_s: float, status: int
) -> None:
    child, family = _start_family(tmp_path, manner, grace_s)
    assert child.exit_status is None
    assert child.stop() == status
    assert child.exit_status == status
    if sys.platform == "linux":
        wait_until(lambda: not any(map(_lives, family)), "all gone")
    else:
        wait_until(lambda: not _lives(family[0]), "gone")


def test_children_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    code = f"""
import os, sys, time
from pathlib import Path
from local.child import Child
Child("family", [sys.executable, "-c", {_FAMILY!r}, {str(tmp_path / "pids")!r}, "soft"],
      log=Path({str(tmp_path / "log")!r}), env=os.environ, cwd=Path("/"), grace_s=1)
time.sleep(600)
"""
    pids = tmp_path / "pids"
    with program(code, out=tmp_path / "out") as parent:
        wait_until(lambda: pids.exists() and pids.read_text().endswith("\n"), "the processes")
        family = [int(pid) for pid in pids.read_text().split()]
        assert all(map(_lives, family))
        parent.kill()
        parent.wait(60)
        wait_until(lambda: not any(map(_lives, family[:1])), "the child is gone")
        if sys.platform == "linux":
            wait_until(lambda: not any(map(_lives, family)), "all gone")


def test_a_command_that_cannot_be_run_is_a_child_that_ended(tmp_path: Path) -> None:
    child = Child("none", ["/no/such/program"], log=tmp_path / "log", env=os.environ, cwd=tmp_path, grace_s=1)
    wait_until(lambda: child.exit_status is not None, "the end")
    assert child.exit_status == 1
    assert "/no/such/program" in child.last_lines()
    child.stop()


def test_what_a_child_said_is_without_what_stood_in_its_log_before(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("serving cluster gpu\n")
    child = Child("echo", ["echo", "hello"], log=log, env=os.environ, cwd=tmp_path, grace_s=1)
    wait_until(lambda: child.exit_status is not None, "the end")
    assert child.said() == "hello\n"
    child.stop()


def test_a_stack_without_a_host_runs_storage_and_trainers_only(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import time; time.sleep(600)"]
    with Stack(tmp_path, num_trainers=1, trainer_command=command, with_host=False) as stack:
        assert [child.name for child in stack.children] == ["trainer-1", "azurite"]
        assert stack.vital_dead() == []
        store = Store.connect(StorageSettings(connection_string=stack.connection_string))
        assert store.blobs.head(JOBS, "no/such/drop.yaml") is None
    assert stack.children == []


def test_a_trainer_that_dies_is_started_again_after_a_pause_that_grows(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    command = [sys.executable, "-c", _FAMILY, str(pids), "soft"]

    def started() -> list[int]:
        return [int(line.split()[0]) for line in pids.read_text().splitlines()] if pids.exists() else []

    with Stack(tmp_path / "data", num_trainers=1, trainer_command=command, with_host=False) as stack:
        for num_before, pause in ((1, "1 s"), (2, "2 s")):
            wait_until(lambda num=num_before: len(started()) == num, "the trainer")
            assert stack.tend() == []
            os.kill(started()[-1], signal.SIGKILL)
            [line] = wait_until(stack.tend, "the death is told")
            assert line.startswith(f"trainer-1 ended with status 137 and is started again in {pause}; its log is ")
            assert stack.vital_dead() == []
            wait_until(lambda: not stack.tend() and not stack.dead(), "it is back")
    assert stack.tend() == []
    assert not any(map(_lives, started()))


def test_make_up_ends_and_says_what_died_when_the_storage_does(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from local.up import up
sys.exit(up(0, Path(sys.argv[1]), with_host=False))
"""
    out = tmp_path / "out"
    with program(code, str(tmp_path), out=out) as process:
        wait_until(lambda: "announces one" in out.read_text(), "the welcome")
        [leash] = descendants(process.pid)[:1]
        [storage] = descendants(leash)
        os.kill(storage, signal.SIGKILL)
        assert process.wait(60) == 1
    assert "\nThe stack stops: azurite ended with status 137. " in out.read_text()
    assert "Traceback" not in out.read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_make_up_that_is_told_to_end_has_ended_well(tmp_path: Path, number: signal.Signals) -> None:
    code = """
import sys
from pathlib import Path
import local.paths
local.paths.STATE = Path(sys.argv.pop(1))
from local.__main__ import main
sys.exit(main())
"""
    out = tmp_path / "out"
    with program(code, str(tmp_path), "up", "--trainers", "0", "--no-host", out=out) as process:
        wait_until(lambda: "announces one" in out.read_text(), "the welcome")
        process.send_signal(number)
        assert process.wait(60) == 0
    assert out.read_text().endswith("\nStopped; no process is left.\n")
    assert (tmp_path / "up" / "connection.env").exists()


def test_make_up_without_a_host_says_how_a_drop_is_announced(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from local.up import up; up(0, Path(sys.argv[1]), with_host=False)"
    out = tmp_path / "out"
    with program(code, str(tmp_path), out=out) as process:
        wait_until(lambda: "announces one" in out.read_text(), "the welcome")
        process.send_signal(signal.SIGINT)
        process.wait(60)
    assert "function host" not in out.read_text()
    assert "func start" in out.read_text()
    assert not (tmp_path / "logs" / "host.log").exists()


def test_make_up_serves_the_clusters_of_a_folder_and_tells_what_is_odd_about_them(tmp_path: Path) -> None:
    folder = tmp_path / "clusters"
    folder.mkdir()
    (folder / "gpu.yaml").write_text("max_instances: 3\nidle_time_before_scale_down: 60\nlocation: westeurope\n")
    code = """
import sys
from pathlib import Path
from local.up import up
up(2, Path(sys.argv[1]), clusters=Path(sys.argv[2]), with_host=False)
"""
    out = tmp_path / "out"
    with program(code, str(tmp_path / "data"), str(folder), out=out) as process:
        wait_until(lambda: "announces one" in out.read_text(), "the welcome")
        process.send_signal(signal.SIGINT)
        process.wait(60)
    text = out.read_text()
    assert "location" in text.partition("Starting")[0]
    assert "Cluster gpu: 0 to 3 trainers" in text
    assert "idle for 60 s" in text
    bundle = re.search(r"DROPSWEEP_CLUSTERS must be, as one text: (.+)\n", text)
    assert bundle
    assert [cluster.name for cluster in parse_clusters(bundle[1])] == ["gpu"]
    assert list((tmp_path / "data" / "logs").glob("trainer-*")) == []


def test_make_up_refuses_a_folder_that_has_no_cluster_before_anything_is_started(tmp_path: Path) -> None:
    for folder, why in ((tmp_path / "none", "must be a folder of cluster files"), (tmp_path, "has no cluster file")):
        with pytest.raises(DropsweepError, match=why):
            up(2, tmp_path / "data", clusters=folder)
    assert not (tmp_path / "data").exists()


def test_trainers_that_stay_are_a_cluster_that_always_has_as_many(tmp_path: Path) -> None:
    [cluster] = Stack(tmp_path, num_trainers=3, num_slots=2).clusters
    assert (cluster.name, cluster.min_instances, cluster.max_instances, cluster.slots_per_node) == ("local", 3, 3, 2)


def test_a_proxy_in_the_environment_does_not_come_between_the_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    seen = tmp_path / "seen"
    code = "import os, sys, time; open(sys.argv[1], 'w').write(os.environ['no_proxy'] + '\\n'); time.sleep(600)"
    command = [sys.executable, "-c", code, str(seen)]
    settings = {"QUEUE": "proxy-test", "CONTAINER": "proxy-test", "RECORD": str(tmp_path / "record")}
    with Stack(tmp_path / "data", app=APP, num_trainers=1, trainer_command=command, settings=settings) as stack:
        wait_until(lambda: seen.exists() and seen.read_text().endswith("\n"), "the trainer")
        account = StorageSettings(connection_string=stack.connection_string)
        queues = Store.connect(account).queues
        queues.create_queue("proxy-test")
        queues.send("proxy-test", "hello")
        record = tmp_path / "record"
        wait_until(lambda: record.exists() and "hello" in record.read_text(), "the host takes the message")
    assert seen.read_text() == "127.0.0.1,localhost\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, "127.0.0.1,localhost"),
        ({"NO_PROXY": "corp.example"}, "corp.example,127.0.0.1,localhost"),
        ({"NO_PROXY": "a", "no_proxy": "b, localhost"}, "b, localhost,127.0.0.1"),
        ({"no_proxy": "*"}, "*"),
    ],
)
def test_addresses_of_this_machine_are_added_to_those_without_a_proxy(before: dict[str, str], after: str) -> None:
    env = around_proxy({**before, "http_proxy": "http://proxy"})
    assert env == {"http_proxy": "http://proxy", "no_proxy": after, "NO_PROXY": after}


@contextmanager
def _stack(folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    arguments = (str(folder / "data"), str(APP), _FAMILY, str(folder / "pids"))
    with program(_STACK, *arguments, out=folder / "out") as process:
        yield process


def _leaders(out: Path) -> list[int]:
    found = re.search(r"^up (.+)\n", out.read_text(), re.MULTILINE)
    return [int(pid) for pid in found[1].split()] if found else []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_running_stack_leaves_no_process_and_its_folder_can_be_used_again(
    tmp_path: Path, number: signal.Signals
) -> None:
    for _ in range(2):
        with _stack(tmp_path) as process:
            leaders = wait_until(lambda: _leaders(tmp_path / "out"), "the stack")
            assert len(leaders) == 4
            assert len(_in_sessions_of(leaders)) == 8
            process.send_signal(number)
            if number == signal.SIGINT:
                time.sleep(0.02)
                process.send_signal(number)
            process.wait(60)
        wait_until(lambda seen=leaders: not _in_sessions_of(seen), "no process left")
    family = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    if sys.platform == "linux":
        wait_until(lambda: not any(map(_lives, family)), "no trial left")


@pytest.mark.parametrize("after_s", [0.3, 0.6, 1.0])
def test_ctrl_c_during_the_start_leaves_no_process(tmp_path: Path, after_s: float) -> None:
    with _stack(tmp_path) as process:
        time.sleep(after_s)
        process.send_signal(signal.SIGINT)
        process.wait(60)
    wait_until(lambda: not _naming(tmp_path), "no process left")


def _naming(folder: Path) -> list[str]:
    listing = subprocess.run(["ps", "-A", "-o", "args="], capture_output=True, text=True, check=True).stdout
    return [line for line in listing.splitlines() if str(folder) in line]
