"""Signals that ask a process to end, in a process of their own."""

import subprocess
import sys

import pytest

_SCRIPT = """
import os, signal, threading
from dropsweep.signals import set_on
event = threading.Event()
set_on(event, (signal.SIGTERM, signal.SIGINT), lambda number: print(number.name, flush=True))
{body}
print("set" if event.wait(60) else "not set")
"""


def run(body: str) -> list[str]:
    script = _SCRIPT.format(body=body)
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True)
    return ended.stdout.split("\n")[:-1]


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_signal_sets_the_event(name: str) -> None:
    assert run(f"os.kill(os.getpid(), signal.{name})") == [name, "set"]


def test_a_signal_that_finds_the_main_thread_within_the_event_does_not_hang_it() -> None:
    assert run("with event._cond: signal.raise_signal(signal.SIGTERM)") == ["SIGTERM", "set"]


def test_another_signal_that_has_a_handler_does_not_set_it() -> None:
    body = (
        "signal.signal(signal.SIGUSR1, lambda *_: None)\n"
        "signal.raise_signal(signal.SIGUSR1)\n"
        "signal.raise_signal(signal.SIGTERM)"
    )
    assert run(body) == ["SIGTERM", "set"]
