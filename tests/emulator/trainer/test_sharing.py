"""What the trials of a real trainer with two slots see of its node, with stand-ins of NVIDIA's tools on PATH."""

import os
import signal
import sys
from pathlib import Path

import pytest

from dropsweep.names import JobKey
from dropsweep.states import JobState
from dropsweep_trainer.sharing.cores import THREAD_VARIABLES, find_cores
from tests.emulator.deployment import REPORT_X, Deployment, sweep
from tests.emulator.trainer.conftest import Nodes, exit_status

needs_affinity = pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="needs Linux's affinity")
TOOLS = {
    "nvidia-smi": r"""
case "$*" in -L) printf 'GPU 0: NVIDIA A (UUID: GPU-a)\n' ;; *) echo 1000 ;; esac
""",
    "nvidia-cuda-mps-control": r"""
read -r command; echo "$* $command" >> "$CUDA_MPS_PIPE_DIRECTORY/../../../mps-ran"
""",
}


def shows(folder: Path) -> str:
    """A command of two trials that wait for each other and then print what they see."""
    return f"""
touch {folder}/$DROPSWEEP_TRIAL
until [ -e {folder}/0 ] && [ -e {folder}/1 ]; do sleep 0.05; done
{sys.executable} -c 'import os; print(sorted(os.sched_getaffinity(0)))'
env | grep -E '_NUM_THREADS|VECLIB|CUDA_|DROPSWEEP_GPU|ALLOC_CONF' | sort
{REPORT_X}
"""


def seen(deployment: Deployment, key: JobKey) -> tuple[list[str], dict[str, str]]:
    """The CPUs of two trials that ran beside each other, and the variables that they have in common."""
    assert deployment.finish(key).state is JobState.COMPLETED
    cpus, variables = [], []
    for trial in range(2):
        first, *rest = deployment.text(key.stdout(trial, 1)).splitlines()
        cpus.append(first)
        variables.append(rest)
    assert variables[0] == variables[1]
    return cpus, dict(line.split("=", 1) for line in variables[0])


@needs_affinity
def test_slots_divide_the_cores_of_their_node(deployment: Deployment, nodes: Nodes, tmp_path: Path) -> None:
    nodes.describe(slots_per_node=2)
    key = deployment.drop(sweep(shows(tmp_path), 2))
    nodes.start("one")
    cpus, variables = seen(deployment, key)
    cores = find_cores()
    everything = tuple(sorted(os.sched_getaffinity(0)))
    assert sorted(cpus) == sorted(str(list(share or everything)) for share in cores.shares(2))
    assert variables == dict.fromkeys(THREAD_VARIABLES, str(cores.num_threads(2)))


@needs_affinity
def test_what_the_job_says_of_threads_stands(deployment: Deployment, nodes: Nodes, tmp_path: Path) -> None:
    nodes.describe(slots_per_node=2)
    document = sweep(shows(tmp_path), 2)
    document["trial"]["environment_variables"] = {"OMP_NUM_THREADS": "3"}
    key = deployment.drop(document)
    nodes.start("one")
    assert seen(deployment, key)[1] == {"OMP_NUM_THREADS": "3"}


@needs_affinity
def test_trials_on_one_gpu_are_told_their_part_and_how_to_run_at_the_same_time(
    deployment: Deployment, nodes: Nodes, tmp_path: Path
) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name, script in TOOLS.items():
        (tools / name).write_text(f"#!/bin/sh\n{script}")
        (tools / name).chmod(0o755)
    nodes.describe(slots_per_node=2, gpus_per_node=1, cuda_mps=True)
    key = deployment.drop(sweep(shows(tmp_path), 2))
    process = nodes.start("one", PATH=f"{tools}:{os.environ['PATH']}")
    variables = seen(deployment, key)[1]
    told = {name: value for name, value in variables.items() if name not in THREAD_VARIABLES}
    pipes = Path(told.pop("CUDA_MPS_PIPE_DIRECTORY"))
    assert pipes.is_relative_to(deployment.work / "one")
    assert Path(told.pop("CUDA_MPS_LOG_DIRECTORY")).parent == pipes.parent
    assert told == {
        "CUDA_VISIBLE_DEVICES": "0",
        "DROPSWEEP_GPU_MEMORY_FRACTION": "0.5",
        "PYTORCH_ALLOC_CONF": "per_process_memory_fraction:0.5",
        "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": "50",
        "CUDA_MPS_PINNED_DEVICE_MEM_LIMIT": "0=500M",
    }
    process.send_signal(signal.SIGTERM)
    assert exit_status(process)[0] == 0
    ran = (deployment.work / "one" / "mps-ran").read_text().splitlines()
    assert ran == ["-d ", " get_server_list", " quit"]
