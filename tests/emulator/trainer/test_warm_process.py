"""Warm trials are processes of their own: what becomes of one, or of the template, becomes of no other."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dropsweep_trainer.processes import proc
from dropsweep_trainer.warm import copy, starter
from dropsweep_trainer.warm.starter import Starter
from dropsweep_trainer.warm.template import Options
from tests.emulator.deployment import until
from tests.emulator.trainer.warm import WAIT_S, Bench, MakeBench

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="warm starts need Linux")
WAITS = "import os, sys, time\nprint(os.getpid(), flush=True)\nwhile not os.path.exists('go'): time.sleep(0.02)\n"
EARLY = "the variable {} must be there before the interpreter starts"


def lives(pid: int) -> bool:
    return any(process.pid == pid for process in proc.seen())


def test_the_first_trial_does_not_wait_for_the_template_and_others_are_its_copies(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.write("import os; print(os.getppid())")
    assert bench.starter.template is None
    assert not bench.run("python3 script.py; true").is_warm
    assert bench.starter.template is None, "a command that needs a shell starts no template"
    assert bench.run().start == "cold: the template was getting ready"
    template = bench.template()
    assert bench.run().stdout == f"{template.pid}\n"


def test_trials_run_side_by_side_and_each_has_its_own_end(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.write(WAITS + "sys.exit(int(sys.argv[1]))")
    bench.template()
    first = bench.num_started
    running = [bench.start(f"python3 script.py {number}") for number in range(8)]
    assert len({one.pid for one in running}) == 8
    until(lambda: all(bench.printed(first + 1 + number)[0] for number in range(8)), WAIT_S)
    for number, one in enumerate(running):
        assert bench.printed(first + 1 + number)[0] == f"{one.pid}\n"
        assert one.wait(0) is None
    running[3].signal(signal.SIGKILL)
    assert running[3].wait(WAIT_S) == -signal.SIGKILL
    assert running[4].wait(0.1) is None
    (bench.folder / "go").touch()
    assert [one.wait(WAIT_S) for one in running] == [0, 1, 2, -9, 4, 5, 6, 7]
    assert [one.wait(0) for one in running] == [0, 1, 2, -9, 4, 5, 6, 7], "asked again, it is the same"


def test_a_trial_is_given_its_grace_and_then_ended_with_all_of_its_group(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.write(
        "import os, signal, sys, time\nchild = os.fork()\n"
        "def hear(*_):\n    if child: print('told', flush=True); sys.exit(3)\n"
        "signal.signal(signal.SIGTERM, hear)\nprint('up', flush=True)\nwhile True: time.sleep(1)"
    )
    bench.template()
    running = bench.start()
    until(lambda: bench.printed()[0].count("up") == 2, WAIT_S)
    assert running.stop(0.5) == 3
    assert "told" in bench.printed()[0]
    until(lambda: not any(process.group == running.pid for process in proc.seen()), WAIT_S)


def test_when_the_template_is_killed_its_trials_go_on_and_their_status_is_known(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.write(WAITS + "sys.exit(7)")
    template = bench.template()
    running = [bench.start() for _ in range(2)]
    until(lambda: bool(bench.printed()[0]), WAIT_S)
    os.kill(template.pid, signal.SIGKILL)
    assert [one.wait(0.3) for one in running] == [None, None]
    assert not bench.run("python3 nothing.py").is_warm, "the next one does not wait for another template"
    assert bench.template().pid != template.pid
    (bench.folder / "go").touch()
    assert [one.wait(WAIT_S) for one in running] == [7, 7]


def test_nobody_knows_how_a_trial_ended_that_was_killed_after_its_template(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.write(WAITS)
    template = bench.template()
    lost, stopped, killed = (bench.start() for _ in range(3))
    until(lambda: bool(bench.printed()[0]), WAIT_S)
    os.kill(template.pid, signal.SIGKILL)
    os.kill(lost.pid, signal.SIGKILL)
    with pytest.raises(ChildProcessError, match="nobody knows how"):
        lost.wait(WAIT_S)
    # What the worker did itself, it knows.
    assert stopped.stop(WAIT_S) == -signal.SIGTERM
    assert killed.kill() == -signal.SIGKILL


def test_a_template_that_does_not_answer_costs_one_trial_some_seconds_and_nothing_twice(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = make_bench()
    bench.write("open('ran', 'a').write('x')")
    template = bench.template()
    monkeypatch.setattr(copy, "HELLO_S", 0.3)
    os.kill(template.pid, signal.SIGSTOP)
    for _ in range(3):
        assert bench.starter.template is template, "one that was busy for a while is none the worse for it"
        assert not bench.run().is_warm
    # It makes the copies now, which nobody wants any more.
    os.kill(template.pid, signal.SIGCONT)
    monkeypatch.undo()
    second = bench.template()
    assert second.pid != template.pid
    until(lambda: not lives(template.pid), WAIT_S)
    assert (bench.folder / "ran").read_text() == "xxx"


def test_a_template_is_renewed_and_the_old_one_ends_with_its_last_trial(make_bench: MakeBench) -> None:
    bench = make_bench(options=Options(max_copies=4))
    bench.write(WAITS)
    first = bench.template()
    running = bench.start()
    bench.write("", "nothing.py")

    def is_renewed() -> bool:
        assert bench.run("python3 nothing.py").is_warm, "meanwhile the old one serves"
        return bench.starter.template is not first

    until(is_renewed, WAIT_S)
    time.sleep(0.2)
    assert lives(first.pid)
    (bench.folder / "go").touch()
    assert running.wait(WAIT_S) == 0
    until(lambda: not lives(first.pid), WAIT_S)


def test_a_template_that_loses_memory_is_renewed(make_bench: MakeBench, tmp_path: Path) -> None:
    (tmp_path / "leaks.py").write_text(
        "import os\nkept = []\nos.register_at_fork(before=lambda: kept.append(bytearray(1 << 20)))\n"
    )
    bench = make_bench(options=Options(("leaks",), max_growth_bytes=8 << 20), PYTHONPATH=str(tmp_path))
    first = bench.template()
    sizes = []

    def is_renewed() -> bool:
        assert bench.run("python3 nothing.py").is_warm
        sizes.extend(process.rss_bytes for process in proc.seen() if process.pid == first.pid)
        return bench.starter.template is not first

    until(is_renewed, WAIT_S)
    assert max(sizes) - min(sizes) < 64 << 20


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can look at the template's files")
def test_a_template_has_as_many_files_open_after_many_trials_as_before(make_bench: MakeBench) -> None:
    bench = make_bench()
    files = Path(f"/proc/{bench.template().pid}/fd")
    before = len(list(files.iterdir()))
    for _ in range(10):
        assert bench.run("python3 nothing.py").is_warm
    # Whoever hears of a trial's end hears it before the last file is closed, and so `before` may count that one too.
    until(lambda: len(list(files.iterdir())) <= before, WAIT_S)


def test_nothing_of_one_trial_is_in_the_template_when_the_next_one_is_copied(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.template()
    bench.write(
        "import os, sys, json\njson.mark = os.environ['MARK'] = 'x'\nsys.path.append('mark')\nopen('left', 'w')"
    )
    assert bench.run().exit_code == 0
    bench.write("import os, sys, json\nprint(hasattr(json, 'mark'), 'MARK' in os.environ, 'mark' in sys.path)")
    assert bench.run().stdout == "False False False\n"


def test_dice_are_thrown_anew_in_each_trial(make_bench: MakeBench) -> None:
    bench = make_bench("numpy.random", "multiprocessing", "tempfile", "uuid")
    bench.write(
        "import multiprocessing, random, tempfile, uuid\nimport numpy\n"
        "print(random.random(), numpy.random.rand(), uuid.uuid4(), multiprocessing.current_process().authkey.hex(),"
        " tempfile.mktemp(), numpy.random.default_rng().random())"
    )
    bench.template()
    rows = [bench.run().stdout.split() for _ in range(3)]
    assert [len(set(column)) for column in zip(*rows, strict=True)] == [3] * 6


@pytest.mark.parametrize(
    ("module", "why"),
    [
        (
            "import threading, time\nthreading.Thread(target=time.sleep, args=(900,), daemon=True).start()",
            "2 threads run",
        ),
        ("import os\nkept = os.open('/', os.O_RDONLY)", "a module has opened files"),
        ("1 / 0", "odd cannot be imported: ZeroDivisionError"),
        ("import nowhere_to_be_found", "odd cannot be imported: No module named 'nowhere_to_be_found'"),
    ],
)
def test_a_template_that_would_make_bad_copies_says_so_and_trials_start_cold(
    make_bench: MakeBench, tmp_path: Path, caplog: pytest.LogCaptureFixture, module: str, why: str
) -> None:
    (tmp_path / "odd.py").write_text(module)
    bench = make_bench("odd", PYTHONPATH=str(tmp_path))
    bench.write("print(1)")

    def is_given_up() -> bool:
        ended = bench.run()
        assert (ended.exit_code, ended.is_warm) == (0, False)
        return why in caplog.text

    until(is_given_up, WAIT_S)
    assert caplog.text.count("started the ordinary way") == 1
    assert bench.starter.template is None
    assert bench.run().start.startswith("cold: no template can be copied here: ")


def test_a_template_that_ends_by_itself_is_tried_three_times_and_again_after_a_rest(
    make_bench: MakeBench, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tries = tmp_path / "tries"
    (tmp_path / "odd.py").write_text(
        f"open({str(tries)!r}, 'a').write('x')\nprint('last words', flush=True)\nimport os\nos._exit(1)"
    )
    bench = make_bench("odd", PYTHONPATH=str(tmp_path))
    bench.write("print(1)")
    until(lambda: not bench.run().is_warm and "fails: last words" in caplog.text, WAIT_S)
    assert tries.read_text() == "xxx"
    (tmp_path / "odd.py").write_text("")
    failed = "cold: the template fails, and is tried again after some minutes: last words"
    assert bench.run().start == failed
    bench.starter._not_before -= starter._REST_S  # as if it were over
    assert bench.template().standing() == "ready"


@pytest.mark.parametrize(
    ("command", "environment", "why"),
    [
        ("python3 -u script.py", {}, "the command is more than a script with arguments"),
        ("python3 none.py", {}, "none.py is no file"),
        ("python3 .", {}, ". is no file"),
        ("python3 script.py", {"PYTHONHASHSEED": "0"}, EARLY.format("PYTHONHASHSEED")),
        ("python3 script.py", {"LD_BIND_NOW": "1"}, EARLY.format("LD_BIND_NOW")),
        ("python3 script.py", {"OMP_NUM_THREADS": "3"}, EARLY.format("OMP_NUM_THREADS")),
        ("python3 script.py", {"BASH_ENV": "x"}, EARLY.format("BASH_ENV")),
        ("python3 script.py", {"PATH": "bin:/usr/bin:/bin"}, "PATH has an entry that is not absolute"),
        ("python3 script.py", {"LD_\udc80": "1"}, EARLY.format("LD_?")),
    ],
)
def test_what_a_copy_cannot_be_is_started_by_a_shell_and_it_is_known_why(
    make_bench: MakeBench, command: str, environment: dict[str, str], why: str
) -> None:
    bench = make_bench()
    bench.write("print(1)")
    bench.template()
    ended = bench.run(command, **environment)
    assert (ended.is_warm, ended.start) == (False, f"cold: {why}")
    ended = bench.run(is_warm=False)
    assert (ended.is_warm, ended.start) == (False, "cold: the job has warm_start: false")
    ended = bench.run()
    assert (ended.is_warm, ended.start) == (True, "warm")


def test_what_a_preloaded_module_has_looked_for_must_be_as_it_was(make_bench: MakeBench, tmp_path: Path) -> None:
    (tmp_path / "looks.py").write_text(
        "import os\nmode = os.environ.get('ODD_MODE'), 'SECOND' in os.environ, os.getenv('HOME')\n"
    )
    bench = make_bench("looks", PYTHONPATH=str(tmp_path))
    bench.write("import looks; print(looks.mode[:2])")
    bench.template()
    assert bench.run(THIRD="x").is_warm
    odd, second = bench.run(ODD_MODE="x"), bench.run(SECOND="x")
    assert (odd.is_warm, odd.stdout, second.is_warm, second.stdout) == (
        False,
        "('x', False)\n",
        False,
        "(None, True)\n",
    )


def test_a_home_folder_with_packages_is_for_an_interpreter_of_its_own(make_bench: MakeBench, tmp_path: Path) -> None:
    bench = make_bench()
    bench.write("print(1)")
    bench.template()
    (tmp_path / "home" / ".local" / "lib").mkdir(parents=True)
    assert not bench.run(HOME=f"{tmp_path}/home").is_warm
    assert bench.run(HOME=f"{tmp_path}/none").is_warm


def test_another_interpreter_is_started_by_a_shell(make_bench: MakeBench, tmp_path: Path) -> None:
    bench = make_bench()
    bench.write("import sys; print(sys.prefix)")
    bench.template()
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "env"], check=True)
    other = bench.run(PATH=f"{tmp_path}/env/bin:{bench.given['PATH']}")
    assert (other.is_warm, other.stdout) == (False, f"{tmp_path}/env\n")


def test_no_template_runs_an_interpreter_of_a_job_s(make_bench: MakeBench, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    evil = tmp_path / "bin" / "python3"
    evil.write_text(f"#!/bin/sh\necho $0 $PPID $* >> {tmp_path}/ran\n")
    evil.chmod(0o755)
    bench = make_bench()
    bench.write("print(1)")
    for _ in range(3):
        assert not bench.run(PATH=f"{tmp_path}/bin:{bench.given['PATH']}").is_warm
    assert (tmp_path / "ran").read_text().splitlines() == [f"{evil} {os.getpid()} script.py"] * 3
    assert bench.starter.template is None


def test_a_template_that_is_stopped_keeps_no_trial_from_its_end(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = make_bench()
    bench.write(WAITS + "sys.exit(6)")
    template = bench.template()
    running = bench.start()
    until(lambda: bool(bench.printed()[0]), WAIT_S)
    os.kill(template.pid, signal.SIGSTOP)
    monkeypatch.setattr(copy, "REPORT_S", 0.5)
    (bench.folder / "go").touch()
    assert running.wait(WAIT_S) == 6


def test_a_script_with_a_module_that_the_template_has_from_elsewhere_starts_cold(
    make_bench: MakeBench,
) -> None:
    bench = make_bench()
    bench.write("import json; print(json.mine)")
    bench.template()
    bench.write("mine = 1", "json.py")
    assert (bench.run().stdout, bench.run().is_warm) == ("1\n", False)
    (bench.folder / "json.py").unlink()
    bench.write("mine = 2", "json/__init__.py")
    assert (bench.run().stdout, bench.run().is_warm) == ("2\n", False)


def test_a_script_that_is_an_archive_runs_as_one(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.template()
    bench.write("print('in the archive')", "__main__.py")
    subprocess.run([sys.executable, "-m", "zipfile", "-c", "script.py", "__main__.py"], cwd=bench.folder, check=True)
    ended = bench.run()
    assert (ended.is_warm, ended.exit_code, ended.stdout) == (True, 0, "in the archive\n")


def test_nothing_is_started_warm_where_it_is_turned_off(tmp_path: Path) -> None:
    starter = Starter(tmp_path / "warm", options=Options(), is_on=False)
    bench = Bench(tmp_path)
    bench.starter.close()
    bench.starter = starter
    bench.write("print(1)")
    assert {bench.run().start for _ in range(3)} == {"cold: the cluster has warm_start: false"}
    assert not (tmp_path / "warm").exists()


def test_when_the_starter_is_closed_nothing_of_it_is_left(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.write(WAITS)
    template, running = bench.template(), bench.start()
    until(lambda: bool(bench.printed()[0]), WAIT_S)
    bench.close()
    assert not lives(template.pid)
    until(lambda: not lives(running.pid), WAIT_S)
    assert running.kill() == -signal.SIGKILL
    assert not bench.run("python3 nothing.py").is_warm
