"""What is seen of processes is all that can use memory and time."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from dropsweep_trainer.processes import proc

_WITHOUT_ITS_MAIN_THREAD = """
import ctypes, threading, time
held = bytearray(b"x" * (60 << 20))
threading.Thread(target=time.sleep, args=(600,)).start()
print("ready", flush=True)
ctypes.CDLL(None).pthread_exit(None)
"""


pytestmark = pytest.mark.skipif(not proc.IS_THERE, reason="processes are seen in /proc")


def until_its_main_thread_has_ended(pid: int) -> None:
    end = time.monotonic() + 60.0
    while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_process_whose_main_thread_has_ended_is_seen_with_its_memory() -> None:
    with subprocess.Popen([sys.executable, "-c", _WITHOUT_ITS_MAIN_THREAD], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == b"ready\n"
            until_its_main_thread_has_ended(process.pid)
            (found,) = [one for one in proc.seen() if one.pid == process.pid]
            assert found.rss_bytes > 60 << 20
        finally:
            process.kill()


def test_a_process_that_only_waits_to_be_reaped_is_not_seen() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        until_its_main_thread_has_ended(process.pid)
        assert all(one.pid != process.pid for one in proc.seen())
