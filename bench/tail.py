"""From the line that a trial prints to the moment at which somebody who follows its log reads it."""

import shlex
import sys
import threading
import time
from collections.abc import Mapping
from typing import Final

from bench.results import Measured, Row, quantile
from bench.system import System
from dropsweep.client.base import BaseClient
from dropsweep.client.http import HttpClient
from dropsweep.errors import DropsweepError
from dropsweep.names import JobKey

_NUM_LINES: Final = 60
_NUM_LINES_QUICK: Final = 30
_PAUSE_S: Final = (0.1, 0.9)
"""Between two lines: no rhythm that could keep step with what carries them."""
_TIMEOUT_S: Final = 180.0
_BAR_S: Final = 2.0
_PROGRAM: Final = """
import random, time
dice = random.Random(0)
for number in range({num_lines}):
    time.sleep(dice.uniform{pause_s})
    print(time.time(), flush=True)
"""


def measure(*, is_quick: bool) -> Measured:
    """Runs one trial that prints what time it is, 60 times (quick: 30), followed by two readers at once.

    One reader goes to the storage account, the other through the HTTP API. A line's latency is this machine's time at
    which the reader has it, less the time that it tells; trial and readers are on one machine, so on one clock.

    Raises:
        DropsweepError: the trial failed, or a reader did not get every line.
    """
    num_lines = _NUM_LINES_QUICK if is_quick else _NUM_LINES
    program = _PROGRAM.format(num_lines=num_lines, pause_s=_PAUSE_S)
    with System() as system:
        key = system.drop({"type": "command", "command": f"{shlex.quote(sys.executable)} -c {shlex.quote(program)}"})
        ways: Mapping[str, BaseClient] = {"storage": system.client, "HTTP": HttpClient(system.url)}
        # Both begin with a look at the job's record, which a dropped file does not have yet.
        system.wait(lambda: system.client.created(key) is not None, timeout_s=_TIMEOUT_S, what=f"{key.path} is a job")
        followers = {way: _Follower(client, key) for way, client in ways.items()}

        def is_over() -> bool:
            return not any(follower.is_alive() for follower in followers.values())

        system.wait(is_over, timeout_s=_TIMEOUT_S, what=f"the log of {key.path} has ended")
    rows: list[Row] = []
    for way, follower in followers.items():
        if follower.error is not None or len(follower.latencies_s) != num_lines:
            got = f"{len(follower.latencies_s)} of {num_lines} lines came over {way}"
            raise DropsweepError(f"{got}: the numbers say nothing. {follower.error or 'Read the logs of the stack'}")
        rows += [
            Row(f"line printed to line followed over {way}, p50", quantile(follower.latencies_s, 0.5), "s", _BAR_S),
            Row(f"line printed to line followed over {way}, p95", quantile(follower.latencies_s, 0.95), "s"),
        ]
    return Measured(tuple(rows))


class _Follower(threading.Thread):
    """Follows the log of a job's only trial to its end."""

    def __init__(self, client: BaseClient, key: JobKey) -> None:
        super().__init__(name="follower", daemon=True)
        self._client = client
        self._key = key
        self.latencies_s: list[float] = []
        self.error: DropsweepError | None = None
        self.start()

    def run(self) -> None:
        rest = b""
        try:
            for piece in self._client.logs(self._key, 0, follow=True):
                now = time.time()
                *lines, rest = (rest + piece).split(b"\n")
                self.latencies_s += [now - float(line) for line in lines]
        except DropsweepError as error:
            self.error = error
