"""The command line as a process of its own that knows the API's URL and nothing of the account."""

import json
import os
import subprocess
import sys
from pathlib import Path

from dropsweep.cli.exits import ExitCode
from local.stack import Stack

TRAIN = "import sys; print('lr', sys.argv[1]); open(sys.argv[2] + '/model.bin', 'wb').write(b'm' * 5_000_000)\n"
SWEEP = """\
type: sweep
name: over-http
trial:
  code: ./src
  command: >-
    python3 train.py ${{search_space.lr}} ./outputs &&
    printf '{"score": %s}\\n' ${{search_space.lr}} >> "$DROPSWEEP_METRICS"
sampling_algorithm: grid
search_space:
  lr:
    type: choice
    values: [1, 2, 3]
objective:
  primary_metric: score
  goal: maximize
limits:
  max_total_trials: 3
  max_concurrent_trials: 2
"""


def dropsweep(url: str, *arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
    """Runs one command with nothing of this process's own settings."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("DROPSWEEP_")}
    command = [sys.executable, "-c", "from dropsweep.cli import main; main()", *map(str, arguments)]
    return subprocess.run(command, env=env | {"DROPSWEEP_URL": url}, capture_output=True, timeout=120, check=False)


def test_a_sweep_goes_its_whole_way_over_http_alone(stack: Stack, tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "train.py").write_text(TRAIN)
    file = tmp_path / "sweep.yaml"
    file.write_text(SWEEP)
    done = dropsweep(stack.url, "submit", file, "-w", "over-http", "--watch", "--json")
    assert done.returncode == ExitCode.OK, done.stderr.decode()
    first, *_, last = [json.loads(line) for line in done.stdout.splitlines()]
    path = first["job"]
    assert (last["job"], last["state"], last["num_final"]) == (path, "completed", 3)
    best = json.loads(dropsweep(stack.url, "best", path, "--json").stdout)
    assert (best["metric"], best["parameters"]) == (3, {"lr": 3})
    assert dropsweep(stack.url, "logs", "over-http", str(best["trial"]), "-f").stdout == b"lr 3\n"
    done = dropsweep(stack.url, "download", path, tmp_path / "home", "--best")
    assert done.returncode == ExitCode.OK, done.stderr.decode()
    (model,) = (tmp_path / "home").rglob("model.bin")
    assert model.stat().st_size == 5_000_000
    assert {"report.html", "results.csv", "best.json"} <= {found.name for found in (tmp_path / "home").iterdir()}
    done = dropsweep(stack.url, "cancel", path)
    assert (done.returncode, b"has ended already" in done.stdout) == (ExitCode.OK, True)
