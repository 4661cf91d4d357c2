"""Whatever comes in, a reader tells problems that a person can read: no traceback, little time, little memory."""

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.fuzz.mutations import bounded, inputs_like
from tests.unit.fuzz.readers import READERS, check

_WITH_LITTLE_MEMORY = """
import resource, time
from tests.unit.fuzz.attacks import bodies
from tests.unit.fuzz.readers import READERS, check
resource.setrlimit(resource.RLIMIT_AS, (768 * 1024 * 1024,) * 2)
for name, reader in READERS.items():
    for attack, body in bodies().items():
        if attack.startswith("command") and name != "job file, JSON":
            continue
        began = time.process_time()
        check(reader.read(body))
        if (took_s := time.process_time() - began) > 3:
            print(f"{name} takes {took_s:.1f} s for {attack}")
"""
"""An address space of 768 MiB, of which the interpreter and what it loads take 300."""


@pytest.mark.parametrize("name", READERS)
def test_no_input_makes_a_reader_raise(name: str) -> None:
    reader = READERS[name]

    @bounded(120)
    @given(inputs_like(reader.files))
    def holds(body: bytes) -> None:
        check(reader.read(body))

    holds()


def test_no_attack_takes_long_or_much_memory() -> None:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", _WITH_LITTLE_MEMORY], env=env, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr[-2000:]


@bounded(60)
@given(st.sampled_from(sorted(READERS)), st.binary(max_size=2000))
def test_a_reader_tells_the_same_twice(name: str, body: bytes) -> None:
    assert [*READERS[name].read(body)] == [*READERS[name].read(body)]
