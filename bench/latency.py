"""From the drop of a job file to the first instruction of its trial."""

import random
import shlex
import time
from typing import Final

from bench.results import Measured, Row, quantile
from bench.system import System, folder

_NUM_DROPS: Final = 10
_PAUSE_S: Final = (2.0, 4.0)
"""A person drops files into a system that is at rest: after two seconds, every poller is at its slowest."""
_TIMEOUT_S: Final = 60.0
_BAR_S: Final = 0.7


def measure(*, is_quick: bool) -> Measured:
    """Drops ten small command jobs, one after the other, each into an idle stack (five when quick).

    The trial's first act is to create an empty file; that file's modification time, which the kernel sets from this
    machine's clock (a few milliseconds coarse), ends the measurement. It begins before the job file is written.
    """
    marks = folder("marks")
    dice = random.Random(0)
    seconds: list[float] = []
    with System() as system:
        for number in range(_NUM_DROPS // 2 if is_quick else _NUM_DROPS):
            time.sleep(dice.uniform(*_PAUSE_S))
            mark = marks / str(number)
            dropped = time.time()
            key = system.drop({"type": "command", "command": f": > {shlex.quote(str(mark))}"})
            system.wait(mark.exists, timeout_s=_TIMEOUT_S, what=f"{key.path} has a running trial")
            seconds.append(mark.stat().st_mtime - dropped)
            system.client.wait(key, timeout_s=_TIMEOUT_S)
    return Measured(
        (
            Row("drop to first trial running, p50", quantile(seconds, 0.5), "s", _BAR_S),
            Row("drop to first trial running, p95", quantile(seconds, 0.95), "s"),
        )
    )
