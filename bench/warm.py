"""From a claim to the script's first step, started warm and the ordinary way, and the memory that each takes."""

import json
import re
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from bench.results import Breakdown, Measured, Row, quantile
from bench.system import System, folder
from dropsweep.errors import DropsweepError
from dropsweep.names import JobKey

_NUM_WARM: Final = 40
_NUM_COLD: Final = 10
_NUM_WARM_QUICK: Final = 16
_NUM_COLD_QUICK: Final = 5
_TIMEOUT_S: Final = 300.0
_READY_S: Final = 120.0
_BAR_MS: Final = 60.0
_CLAIMED: Final = re.compile(r"^(\S+ \S+) \w+ (\S+) trial (\d+) attempt 1 starts in slot", re.MULTILINE)
"""What a trainer logs as soon as a claim is its own."""
_SCRIPT: Final = """\
import time
first_line = time.time()
import torch
layer = torch.nn.Linear(8, 8)
optimizer = torch.optim.Adam(layer.parameters())
ready = time.time()
layer(torch.ones(8)).sum().backward()
optimizer.step()
import json, os, sys
import dropsweep
dropsweep.report(step=1, score=1.0)
fields = [line.split() for line in open("/proc/self/smaps_rollup")]
kib = {field[0]: int(field[1]) for field in fields if field[-1] == "kB"}
private = kib["Private_Clean:"] + kib["Private_Dirty:"]
is_warm = b"template.py" in open(f"/proc/{os.getppid()}/cmdline", "rb").read()
with open(sys.argv[1], "w") as file:
    json.dump({"first_line": first_line, "ready": ready, "private_mib": private / 1024, "is_warm": is_warm}, file)
"""


@dataclass(frozen=True, slots=True)
class _Start:
    """How one trial began.

    Attributes:
        first_line_ms: from its claim to its script's first line.
        ready_ms: from its claim until it had imported PyTorch and built an optimizer.
        private_mib: memory that it shared with no other process then.
        is_warm: it was a copy of the template.
    """

    first_line_ms: float
    ready_ms: float
    private_mib: float
    is_warm: bool


def measure(*, is_quick: bool) -> Measured:
    """Runs a sweep one trial at a time whose script imports PyTorch, builds an optimizer and tells when that was done.

    First trials are run until every trainer has a template that is ready, and not counted; then the same sweep with
    `warm_start: false`, and then with it. A claim's moment is that of the trainer's log, so what comes between is all
    in it: folders, code, variables, the process.

    Raises:
        DropsweepError: a trial failed, or no template became ready.
    """
    code = folder("warm-code")
    (code / "first.py").write_text(_SCRIPT, encoding="utf-8")
    with System() as system:
        until = time.monotonic() + _READY_S
        while not all(start.is_warm for start in _starts(system, code, 6)):
            if time.monotonic() > until:
                raise DropsweepError(f"no trial started warm within {_READY_S:g} s. Read {system.stack.logs}")
        cold = _starts(system, code, _NUM_COLD_QUICK if is_quick else _NUM_COLD, warm_start=False)
        warm = _starts(system, code, _NUM_WARM_QUICK if is_quick else _NUM_WARM)
    warm = [start for start in warm if start.is_warm]

    def median(starts: list[_Start], name: str) -> float:
        return quantile([getattr(start, name) for start in starts], 0.5)

    return Measured(
        (
            Row("claim to PyTorch imported and optimizer built, warm, p50", median(warm, "ready_ms"), "ms", _BAR_MS),
            Row(
                "claim to PyTorch imported and optimizer built, warm, p95",
                quantile([start.ready_ms for start in warm], 0.95),
                "ms",
            ),
            Row("claim to PyTorch imported and optimizer built, cold, p50", median(cold, "ready_ms"), "ms"),
            Row("memory that is a trial's own after its first step, warm", median(warm, "private_mib"), "MiB"),
            Row("memory that is a trial's own after its first step, cold", median(cold, "private_mib"), "MiB"),
        ),
        tuple(
            Breakdown(
                f"From claim to optimizer, {how}, medians",
                "ms",
                {
                    "claim until the script's first line": median(starts, "first_line_ms"),
                    "imports and optimizer": quantile([start.ready_ms - start.first_line_ms for start in starts], 0.5),
                },
            )
            for how, starts in (("warm", warm), ("cold", cold))
        ),
    )


def _starts(system: System, code: Path, num_trials: int, **more: Any) -> list[_Start]:
    """Runs a sweep, and returns how each of its trials began."""
    marks = folder("warm-marks")
    for mark in marks.iterdir():
        mark.unlink()
    document = {
        "type": "sweep",
        "trial": {"code": str(code), "command": f"python first.py {marks}/${{{{search_space.x}}}}"},
        "search_space": {"x": {"type": "choice", "values": list(range(num_trials))}},
        "sampling_algorithm": "grid",
        "objective": {"goal": "maximize", "primary_metric": "score"},
        "limits": {"max_concurrent_trials": 1},
        **more,
    }
    key = system.run(document, timeout_s=_TIMEOUT_S).key
    claimed = _claims(system.stack.logs, key)
    starts = []
    for trial in range(num_trials):
        told = json.loads((marks / str(trial)).read_text(encoding="utf-8"))
        starts.append(
            _Start(
                first_line_ms=(told["first_line"] - claimed[trial]) * 1000,
                ready_ms=(told["ready"] - claimed[trial]) * 1000,
                private_mib=told["private_mib"],
                is_warm=told["is_warm"],
            )
        )
    return starts


def _claims(logs: Path, key: JobKey) -> dict[int, float]:
    """When each trial of a job was claimed, in seconds since 1970, as the trainers' logs tell it in local time."""
    text = "\n".join(log.read_text(encoding="utf-8", errors="replace") for log in logs.glob("trainer-*.log"))
    return {
        int(trial): datetime.strptime(moment, "%Y-%m-%d %H:%M:%S,%f").astimezone().timestamp()
        for moment, path, trial in _CLAIMED.findall(text)
        if path == key.path
    }
