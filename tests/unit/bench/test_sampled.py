"""Where processor time goes, as stacks that were written while it was used."""

import subprocess
import sys
from pathlib import Path

import pytest

from bench.sampled import by_own_function, by_package, module_of, package_of, stacks
from local.paths import ROOT

SENT = f"""Stack (most recent call first):
  File "/elsewhere/lib.py", line 12 in send
  File "{ROOT}/shared/dropsweep/storage/blobs.py", line 40 in put
  File "{ROOT}/trainer_image/dropsweep_trainer/__main__.py", line 3 in <module>
"""
WRITTEN = """Stack (most recent call first):
  File "/elsewhere/lib.py", line 12 in write
  ...
"""


def test_a_stack_is_read_from_the_inside_out() -> None:
    assert stacks(SENT + WRITTEN) == [
        ("lib:send", "dropsweep.storage.blobs:put", "dropsweep_trainer.__main__:<module>"),
        ("lib:write",),
    ]


def test_a_sample_counts_for_the_innermost_function_of_the_projects_own_and_for_one_package() -> None:
    found = stacks(SENT + WRITTEN + SENT)
    assert by_own_function(found) == {
        "dropsweep.storage.blobs:put": 2,
        "the interpreter and its libraries by themselves": 1,
    }
    assert by_package(found) == {"lib": 3}


def test_stacks_that_were_cut_or_written_into_by_two_threads_are_left_out() -> None:
    two_at_once = SENT.replace("line 40", "li  Filene 40")
    cut = SENT[: SENT.index("blobs.py")]
    assert stacks(two_at_once + WRITTEN + cut) == [("lib:write",)]
    assert stacks("") == []


def test_what_was_written_before_the_first_whole_stack_is_left_out() -> None:
    _head, _end, lines = SENT.partition("\n")
    assert stacks(SENT[40:] + WRITTEN) == [("lib:write",)]
    assert stacks(lines + WRITTEN) == [("lib:write",)]


@pytest.mark.parametrize(
    ("file", "module"),
    [
        (f"{ROOT}/functions/advance.py", "functions.advance"),
        (f"{ROOT}/shared/dropsweep/storage/__init__.py", "dropsweep.storage"),
        (subprocess.__file__, "subprocess"),
        (pytest.__file__, "pytest"),
        ("<frozen importlib._bootstrap>", "importlib._bootstrap"),
        ("<string>", "<string>"),
    ],
)
def test_a_file_is_named_as_it_is_imported(file: str, module: str) -> None:
    assert module_of(file) == module


@pytest.mark.parametrize(
    ("module", "package"),
    [
        ("azure.core.pipeline.policies", "azure.core"),
        ("azure.storage.blob._shared.models", "azure.storage.blob"),
        ("dropsweep.storage.blobs", "dropsweep.storage"),
        ("dropsweep_trainer.worker", "dropsweep_trainer.worker"),
        ("urllib3.connectionpool", "urllib3"),
        ("socket", "socket"),
    ],
)
def test_a_module_belongs_to_a_package(module: str, package: str) -> None:
    assert package_of(module) == package


WORK = """
import threading, time

def burn():
    while time.thread_time() < 0.5:
        pass

def rest(is_done):
    is_done.wait()

is_done = threading.Event()
threads = [threading.Thread(target=burn), *(threading.Thread(target=rest, args=(is_done,)) for _ in range(3))]
for thread in threads:
    thread.start()
threads[0].join()
is_done.set()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the signal goes to the thread that runs on Linux alone")
def test_threads_that_wait_are_not_seen_however_many_there_are(tmp_path: Path) -> None:
    (tmp_path / "work.py").write_text(WORK)
    command = [sys.executable, "-m", "bench.sampled", str(tmp_path / "out"), "work"]
    path = f"{ROOT}:{ROOT / 'shared'}:{tmp_path}"
    subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": path}, check=True, timeout=300)
    found = stacks((tmp_path / "out").read_text())
    num_burnt = sum("work:burn" in stack for stack in found)
    num_rested = sum("work:rest" in stack for stack in found)
    # Half a second in samples of 10 ms, or of one tick of a kernel with longer ones; waiting takes microseconds.
    assert num_burnt >= 20
    assert num_rested * 10 < num_burnt
