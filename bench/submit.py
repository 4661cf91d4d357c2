"""A job handed in over the HTTP API."""

import json
import time
import uuid
from typing import Final

from bench.results import Measured, Row, quantile
from bench.system import WORKSPACE, System, folder
from dropsweep.client.http import HttpClient

_NUM_JOBS: Final = 60
_NUM_JOBS_QUICK: Final = 20
_BAR_MS: Final = 150.0


def measure(*, is_quick: bool) -> Measured:
    """Hands 60 small command jobs in (quick: 20), one after the other, through the Python client.

    One is from the call to its answer: the request, the checks of the file, and the writes that make the job. The first
    one, which makes the connection, is told apart from the others. The trainers work meanwhile, on the same cores.
    """
    file = folder("submit") / "job.json"
    file.write_text(json.dumps({"type": "command", "command": "true"}), encoding="utf-8")
    milliseconds: list[float] = []
    with System() as system:
        client = HttpClient(system.url)
        for _ in range(1 + (_NUM_JOBS_QUICK if is_quick else _NUM_JOBS)):
            submission_id = uuid.uuid4().hex
            began = time.monotonic()
            client.submit(file, workspace=WORKSPACE, submission_id=submission_id)
            milliseconds.append(1000 * (time.monotonic() - began))
    first, *others = milliseconds
    return Measured(
        (
            Row("job handed in over HTTP, p50", quantile(others, 0.5), "ms", _BAR_MS),
            Row("job handed in over HTTP, p95", quantile(others, 0.95), "ms"),
            Row("job handed in over HTTP, the first", first, "ms"),
        )
    )
