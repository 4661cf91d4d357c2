"""Trials that mean harm, in the container as it is by default: each runs as a user of its own."""

import json
import os
import time
from pathlib import Path

import yaml

from dropsweep.client import Client
from dropsweep.clusters import Cluster, dump_clusters
from dropsweep.names import JobKey
from dropsweep.states import JobState, TrialReason
from tests.image.trainer import TRIAL, USER, Trainers, finish

TOKEN = "/run/secrets/azure/tokens/azure-identity-token"
LIMITED = dump_clusters([Cluster("local", trial_memory_bytes=256 << 20, trial_processes=40)])
THIEF = f"""
mkdir -p outputs/folder logs
for place in outputs/token outputs/folder/token logs/token $DROPSWEEP_CHECKPOINTS/token; do ln -s {TOKEN} $place; done
ln -s / outputs/root
ln -s /proc/1/environ outputs/environ
ln -sf {TOKEN} ../stdout.txt; ln -sf {TOKEN} ../stderr.txt; ln -sf {TOKEN} $DROPSWEEP_METRICS
cat {TOKEN} || echo closed > outputs/tried.txt
"""
GREEDY = """
import json, subprocess
from pathlib import Path
started = 0
try:
    while started < 200:
        subprocess.Popen(["sleep", "600"])
        started += 1
except OSError:
    pass
Path("outputs/started.json").write_text(json.dumps(started))
"""


def submit(client: Client, folder: Path, command: str, **files: str) -> JobKey:
    code = folder / "code"
    code.mkdir()
    (code / "run.sh").write_text(command)
    for name, text in files.items():
        (code / f"{name}.py").write_text(text)
    file = folder / "job.yaml"
    file.write_text(yaml.safe_dump({"type": "command", "code": str(code), "command": "bash run.sh"}))
    return client.submit(file, workspace="image").key


def test_links_that_a_trial_leaves_bring_out_nothing_that_it_cannot_read(
    trainers: Trainers, client: Client, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("planted-token")
    os.chown(token, 0, USER)
    token.chmod(0o440)
    key = submit(client, tmp_path, THIEF)
    container = trainers.start("--cluster", "local", options=[f"--volume={token}:{TOKEN}:ro"])
    state = finish(client, key, container)
    folder = client.download(key, tmp_path / "results", trial=0, everything=True).folder
    kept = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert state in (JobState.COMPLETED, JobState.FAILED), container.log
    assert [name for name in kept if name.endswith("outputs/tried.txt")], kept
    assert [name for name, data in kept.items() if b"planted" in data or b"AccountKey" in data] == []
    assert "planted-token" not in container.log


def test_a_process_that_leaves_its_group_does_not_outlive_its_trial(
    trainers: Trainers, client: Client, tmp_path: Path
) -> None:
    key = submit(
        client, tmp_path, "setsid bash -c 'trap \"\" TERM; sleep 4321' > /dev/null 2>&1 < /dev/null &\nsleep 1\n"
    )
    container = trainers.start("--cluster", "local")
    assert finish(client, key, container) is JobState.COMPLETED, container.log
    end = time.monotonic() + 20
    while any("4321" in command or TRIAL in users for command, users in container.processes().items()):
        assert time.monotonic() < end, container.processes()
        time.sleep(0.2)
    assert container.exit_status is None


def test_a_trial_that_takes_more_memory_than_its_cluster_allows_is_failed_with_that_reason(
    trainers: Trainers, client: Client, tmp_path: Path
) -> None:
    key = submit(client, tmp_path, 'python -c "import time; kept = bytearray(b\\"x\\") * (400 << 20); time.sleep(60)"')
    container = trainers.start("--cluster", "local", options=[f"--env=DROPSWEEP_CLUSTERS={LIMITED}"])
    assert finish(client, key, container) is JobState.FAILED, container.log
    assert client.trial(key, 0).reason is TrialReason.OUT_OF_MEMORY


def test_a_trial_cannot_start_more_processes_than_its_cluster_allows(
    trainers: Trainers, client: Client, tmp_path: Path
) -> None:
    key = submit(client, tmp_path, "mkdir -p outputs; python greedy.py", greedy=GREEDY)
    container = trainers.start("--cluster", "local", options=[f"--env=DROPSWEEP_CLUSTERS={LIMITED}"])
    assert finish(client, key, container) is JobState.COMPLETED, container.log
    folder = client.download(key, tmp_path / "results", trial=0).folder
    started = json.loads(next(folder.rglob("started.json")).read_text())
    assert 30 <= started < 40
