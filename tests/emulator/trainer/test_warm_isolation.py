"""Warm trials of other users than the worker's: they get no further than cold ones do."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from dropsweep.clusters import Cluster
from dropsweep.names import CODE
from dropsweep_trainer.processes import proc
from dropsweep_trainer.processes.users import User
from tests.emulator.deployment import Deployment, command, until
from tests.emulator.trainer.isolated import UID, StartTrainer, needs_root, run, work
from tests.emulator.trainer.warm import EVERYBODY_S, WAIT_S, Bench

__all__ = ["work"]
pytestmark = needs_root
USER, OTHER = User(UID, UID), User(UID + 1, UID + 1)
SPY = """
import ctypes, json, os, sys
def tried(act):
    try:
        return repr(act())
    except OSError as error:
        return type(error).__name__
RIGHTS = ("CapInh", "CapPrm", "CapEff", "CapAmb")
template = os.getppid()
libc = ctypes.CDLL(None, use_errno=True)
found = {
    **{name: tried(lambda: open(f"/proc/{template}/{name}", "rb").read(9)) for name in ("environ", "mem", "maps")},
    **{name: tried(lambda: os.listdir(f"/proc/{template}/{name}")) for name in ("fd", "map_files")},
    "kill": tried(lambda: os.kill(template, 0)), "groups": os.getgroups(),
    "trace": libc.ptrace(16, template, 0, 0),
    "root": tried(lambda: os.open(f"/proc/{template}/root", os.O_RDONLY)),
    "back": [tried(lambda: os.setuid(0)), tried(lambda: os.setresuid(-1, 0, -1)), tried(lambda: os.setgid(0))],
    "rights": sorted({line.split()[1] for line in open("/proc/self/status") if line[:6] in RIGHTS}),
    "of child": os.popen("grep -E '^Cap(Inh|Prm|Eff|Amb)' /proc/self/status | cut -f2 | sort -u").read().split(),
}
print(json.dumps(found))
sys.stdout.flush()
while len(sys.argv) > 1 and not os.path.exists("go"): __import__("time").sleep(0.02)
"""
NOTHING = "0" * 16


@pytest.fixture
def bench(work: Path) -> Iterator[Bench]:
    found = Bench(work, user=USER, **EVERYBODY_S)
    yield found
    found.close()


def test_a_warm_trial_can_neither_read_nor_change_what_it_is_a_copy_of(bench: Bench) -> None:
    bench.write(SPY)
    template = bench.template()
    ended = bench.run()
    assert (ended.exit_code, ended.is_warm) == (0, True), ended.stderr
    found = ended.told
    denied = ("environ", "mem", "maps", "fd", "map_files", "kill", "root")
    assert {found[name] for name in denied} == {"PermissionError"}
    assert (found["trace"], found["back"]) == (-1, ["PermissionError"] * 3)
    assert found["rights"] == found["of child"] == [NOTHING]
    assert template.standing() == "ready"


def test_trials_of_two_users_cannot_reach_each_other(bench: Bench) -> None:
    bench.write("import os, time\nprint('up', flush=True)\nwhile not os.path.exists('go'): time.sleep(0.02)")
    bench.template()
    bench.folder.chmod(0o755)
    victim = bench.start()
    until(lambda: bool(bench.printed()[0]), WAIT_S)
    bench.write(
        f"import os\nfor act in (lambda: os.kill({victim.pid}, 9), lambda: open('/proc/{victim.pid}/mem', 'rb'),\n"
        f"            lambda: open('/proc/{victim.pid}/environ', 'rb').read()):\n"
        "    try: act(); print('reached')\n    except PermissionError: print('denied')"
    )
    (bench.folder / "script.py").chmod(0o644)
    spy = bench.start(user=OTHER)
    assert spy.wait(WAIT_S) == 0
    assert bench.printed()[0] == "denied\n" * 3
    assert victim.wait(0) is None
    (bench.folder / "go").touch()
    assert victim.wait(WAIT_S) == 0


def test_a_warm_trial_has_no_more_processes_than_it_may(deployment: Deployment, start_trainer: StartTrainer) -> None:
    start_trainer(container=True, cluster=Cluster(deployment.cluster, trial_processes=40, preload=()))
    script = (
        "import resource, time\nnum = 0\n"
        "try:\n    while num < 100:\n        if os.fork() == 0: time.sleep(600)\n        num += 1\n"
        "except BlockingIOError: pass\nprint(num, *resource.getrlimit(resource.RLIMIT_NPROC))\n"
    )
    num, *limits = map(int, in_warm_trial(deployment, script).split())
    assert limits == [40, 40]
    assert num < 40


def test_a_worker_that_is_killed_takes_its_warm_trials_and_its_template_with_it(
    deployment: Deployment, start_trainer: StartTrainer
) -> None:
    worker = start_trainer()
    template = int(in_warm_trial(deployment, "print(os.getppid())"))
    key = deployment.drop(job(deployment, "import time; time.sleep(600)"))
    deployment.look(key)

    def copies() -> list[int]:
        return [process.pid for process in proc.seen() if process.parent == template]

    until(lambda: bool(copies()), WAIT_S)
    pids = [template, *copies()]
    worker.kill()
    worker.wait()
    until(lambda: not any(process.pid in pids for process in proc.seen()), WAIT_S)


@pytest.mark.parametrize("turned_off", ["by the job", "by the cluster"])
def test_no_trial_starts_warm_where_that_is_turned_off(
    deployment: Deployment, start_trainer: StartTrainer, turned_off: str
) -> None:
    start_trainer(cluster=Cluster(deployment.cluster, preload=(), warm_start=turned_off != "by the cluster"))
    asked = {"warm_start": False} if turned_off == "by the job" else {}
    for _ in range(3):
        assert not told(deployment, "", **asked)[0]


@pytest.mark.parametrize("is_apart", [True, False], ids=["with four rights", "without"])
def test_a_worker_that_is_not_root_starts_them_too_and_hands_on_no_right(work: Path, is_apart: bool) -> None:
    """As in the image: the worker is user 10001; where the platform gives it no right, its trials are that too."""
    folder = work / "own"
    folder.mkdir()
    os.chown(folder, 10_001, 10_001)
    (work / "script.py").write_text(SPY)
    kept = "+chown,+kill,+setgid,+setuid"
    rights = [f"--inh-caps={kept}", f"--ambient-caps={kept}"] if is_apart else ["--inh-caps=-all"]
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [
            "setpriv",
            "--reuid=10001",
            "--regid=10001",
            "--groups=7,8",
            *rights,
            "/usr/bin/python3",
            "-c",
            NOT_ROOT,
            str(work),
            str(UID),
        ],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{root}/shared:{root}/trainer_image"},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == "", done.stderr
    found = json.loads(done.stdout)
    assert (found["user"], found["groups"]) == ((UID, []) if is_apart else (10_001, [7, 8]))
    assert found["rights"] == found["of child"] == [NOTHING]
    assert {found[name] for name in ("environ", "mem", "maps", "fd")} == {"PermissionError"}
    assert (found["trace"], found["back"]) == (-1, ["PermissionError"] * 3)
    assert found["kill"] == ("PermissionError" if is_apart else "None")


NOT_ROOT = """
import json, os, sys, time
from pathlib import Path
from dropsweep_trainer.processes import capabilities
from dropsweep_trainer.processes.command import clean_environment, hide_from_trials
from dropsweep_trainer.processes.users import User, acting_as, may_switch
from dropsweep_trainer.warm.copy import Copy
from dropsweep_trainer.warm.starter import Start, Starter
from dropsweep_trainer.warm.template import Options
hide_from_trials()
capabilities.seal()
work, user = Path(sys.argv[1]), User(*2 * [int(sys.argv[2])]) if may_switch() else None
starter = Starter(work / "own" / "warm", options=Options())
given = clean_environment(os.environ) | {"PATH": "/usr/bin:/bin"}
while True:
    out, err = work / "own" / "out", work / "own" / "err"
    for path in (out, err):
        path.unlink(missing_ok=True)
        path.touch()
        if user:
            os.chown(path, user.uid, user.gid)
    running = starter.start(Start("python3 script.py", work, given, given, out, err, user))
    status = running.wait(120)
    if isinstance(running, Copy):
        break
    time.sleep(0.05)
assert status == 0, status
owner = out.stat().st_uid
with acting_as(user):
    told = json.loads(out.read_text())
print(json.dumps(told | {"user": owner}))
starter.close()
"""


HEAD = "import os\nprint(b'template.py' in open(f'/proc/{os.getppid()}/cmdline', 'rb').read())\n"


def job(deployment: Deployment, script: str, **more: object) -> dict[str, object]:
    name = f"{deployment.workspace}/{uuid4().hex}"
    deployment.store.blobs.put(CODE, f"{name}/script.py", f"{HEAD}{script}".encode())
    return command("python3 script.py", code=name, **more)


def told(deployment: Deployment, script: str, **more: object) -> tuple[bool, str]:
    """Runs a script as a job; returns whether it was started warm, and what it printed."""
    key, final = run(deployment, job(deployment, script, **more))
    assert final.exit_code == 0, final.message
    first, _, rest = deployment.text(key.stdout(0, 1)).partition("\n")
    return first == "True", rest


def in_warm_trial(deployment: Deployment, script: str) -> str:
    """What a script prints in the first trial that is started warm."""
    printed: list[str] = []

    def is_warm() -> bool:
        is_warm, text = told(deployment, script)
        printed.append(text)
        return is_warm

    until(is_warm, WAIT_S)
    return printed[-1]
