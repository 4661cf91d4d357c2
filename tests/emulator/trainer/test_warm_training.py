"""Training that was started warm comes to the same numbers, bit for bit; and what would make it hang is refused."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.emulator.deployment import until
from tests.emulator.trainer.warm import WAIT_S, Bench

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="warm starts need Linux")
TRAINS = """
import hashlib, sys
import numpy, torch
from sklearn.datasets import load_digits
from torch import nn
torch.manual_seed(int(sys.argv[1]))
digits = load_digits()
images = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16
labels = torch.tensor(digits.target)
model = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(512, 600), nn.Tanh(),
                      nn.Linear(600, 10))
optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
for step in range(12):
    batch = torch.randperm(len(images))[:400]
    loss = nn.functional.cross_entropy(model(images[batch]), labels[batch])
    optimizer.zero_grad(); loss.backward(); optimizer.step()
    print(loss.item().hex())
print(hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
values = numpy.random.default_rng(0).random((500, 500))
print(hashlib.sha256((values @ values).tobytes()).hexdigest())
print(torch.linalg.svdvals(torch.tensor(values))[7].item().hex())
print(torch.get_num_threads(), torch.get_num_interop_threads(), torch.is_grad_enabled(), torch.get_default_dtype())
"""


@pytest.fixture(scope="module", params=[1, 2])
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    threads = str(request.param)
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
    found = Bench(tmp_path_factory.mktemp("training"), ("torch",), **dict.fromkeys(names, threads))
    yield found
    found.close()


def test_losses_and_weights_are_the_same_bit_for_bit(bench: Bench) -> None:
    cold, warm = bench.both(TRAINS, "python3 script.py 3")
    assert (cold.exit_code, warm.exit_code) == (0, 0), (cold.stderr, warm.stderr)
    assert warm == type(warm)(0, cold.stdout, cold.stderr, True)
    assert cold.stdout.splitlines()[-1].split()[0] == bench.given["OMP_NUM_THREADS"]
    assert bench.run("python3 script.py 4").stdout != cold.stdout


def test_without_a_seed_every_trial_has_dice_of_its_own(bench: Bench) -> None:
    bench.write("import torch; print(torch.initial_seed(), torch.rand(1).item())")
    bench.template()
    assert len({bench.run().stdout for _ in range(4)}) == 4


def test_pytorch_is_ready_when_the_script_begins(bench: Bench) -> None:
    bench.write(
        "import sys\nbefore = len(sys.modules)\nimport torch\nlayer = torch.nn.Linear(2, 2)\n"
        "optimizer = torch.optim.Adam(layer.parameters())\nlayer(torch.ones(2)).sum().backward()\noptimizer.step()\n"
        "print(len(sys.modules) - before, torch.cuda.is_initialized())"
    )
    bench.template()
    assert bench.run().stdout == "0 False\n"


USES_TWO_THREADS = "import torch\ntorch.set_num_threads(2)\n_ = torch.rand(700, 700) @ torch.rand(700, 700)\n"
COPIES = """
import os
if os.fork() == 0:
    torch.rand(700, 700) @ torch.rand(700, 700)
    print("computed", flush=True)
    os._exit(0)
os.wait()
"""


def test_a_copy_hangs_of_a_process_that_has_computed_with_two_threads(tmp_path: Path) -> None:
    """Why a template has one thread: what it is copied from must never have started another."""
    harmless = USES_TWO_THREADS.replace("_ = ", "# ")
    programs = [f"{first}{COPIES}" for first in (harmless, USES_TWO_THREADS)]
    outputs = [tmp_path / "harmless", tmp_path / "hangs"]
    started = []
    for program, output in zip(programs, outputs, strict=True):
        with output.open("w") as file:
            started.append(
                subprocess.Popen([sys.executable, "-c", program], stdout=file, stderr=file, start_new_session=True)
            )
    try:
        assert started[0].wait(WAIT_S) == 0
        assert outputs[0].read_text() == "computed\n"
        time.sleep(3.0)
        assert (started[1].poll(), outputs[1].read_text()) == (None, "")
    finally:
        for process in started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def test_such_a_process_does_not_become_a_template(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "odd.py").write_text(USES_TWO_THREADS)
    bench = Bench(tmp_path, ("torch", "odd"), PYTHONPATH=str(tmp_path))
    bench.write(f"{USES_TWO_THREADS}print('computed')")
    bench.write("", "nothing.py")
    try:
        until(lambda: not bench.run("python3 nothing.py").is_warm and "threads run in it" in caplog.text, WAIT_S)
        ended = bench.run()
        assert (ended.is_warm, ended.stdout) == (False, "computed\n")
    finally:
        bench.close()
