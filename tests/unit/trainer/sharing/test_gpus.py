"""What trials get that share a GPU, from stand-ins of NVIDIA's tools on PATH."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dropsweep_trainer.processes.users import User
from dropsweep_trainer.sharing import mps
from dropsweep_trainer.sharing.cores import THREAD_VARIABLES, Cores
from dropsweep_trainer.sharing.gpus import FRACTION, capped, find_gpus, fraction_variables
from dropsweep_trainer.sharing.slots import Slot, find_slots

Install = Callable[[str, str], Path]
SMI = """
case "$*" in
-L) printf 'GPU 0: NVIDIA A (UUID: GPU-a)\\nGPU 1: NVIDIA A (UUID: GPU-b)\\n' ;;
--id=[01]*) echo 81559 ;;
*) exit 1 ;;
esac
"""
CONTROL = r"""
{ echo "$* $CUDA_MPS_PIPE_DIRECTORY ${CUDA_VISIBLE_DEVICES-none} ${DROPSWEEP_STORAGE-none}"; } \
    >> "$CUDA_MPS_LOG_DIRECTORY/ran"
if [ "$1" = -d ]; then sleep 600 & echo $! > "$CUDA_MPS_PIPE_DIRECTORY/pid"; exit; fi
read -r command; echo "$command" >> "$CUDA_MPS_LOG_DIRECTORY/ran"
case $command in
get_server_list) kill -0 "$(cat "$CUDA_MPS_PIPE_DIRECTORY/pid")" ;;
quit) kill "$(cat "$CUDA_MPS_PIPE_DIRECTORY/pid")" ;;
esac
"""
CORES = Cores(((0,), (1,)), 2)


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Puts a shell script on PATH under a name; without it there is none of NVIDIA's tools."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    for name in ("CUDA_VISIBLE_DEVICES", "CUDA_MPS_PIPE_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)

    def install(name: str, script: str) -> Path:
        program = folder / name
        program.write_text(f"#!/bin/sh\n{script}")
        program.chmod(0o755)
        return program

    return install


def test_slots_take_the_gpus_in_turn_and_equal_parts_of_their_memory(install: Install) -> None:
    install("nvidia-smi", SMI)
    slots = find_slots(3, cores=CORES)
    assert [slot.environment["CUDA_VISIBLE_DEVICES"] for slot in slots] == ["0", "1", "0"]
    assert [dict(slot.shared) for slot in slots] == [{FRACTION: "0.5"}, {}, {FRACTION: "0.5"}]
    assert [slot.shared.get(FRACTION) for slot in find_slots(6, cores=CORES)] == ["0.3333"] * 6


def test_the_cluster_s_file_sets_another_part_or_none(install: Install) -> None:
    install("nvidia-smi", SMI)
    assert all(slot.shared == {FRACTION: "0.4"} for slot in find_slots(2, cores=CORES, gpu_memory_fraction=0.4))
    assert all(not slot.shared for slot in find_slots(4, cores=CORES, gpu_memory_fraction=1.0))


def test_a_node_without_gpus_shares_its_cores_alone(install: Install) -> None:
    assert find_gpus() == []
    slots = find_slots(2, cores=CORES)
    assert [slot.cores for slot in slots] == [(0,), (1,)]
    assert all(slot.environment == dict.fromkeys(THREAD_VARIABLES, "1") and not slot.shared for slot in slots)
    assert find_slots(None, cores=CORES)[0].environment["OMP_NUM_THREADS"] == "2"


def test_gpus_that_are_named_go_before_those_that_are_there(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install("nvidia-smi", SMI)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-b")
    assert [slot.environment["CUDA_VISIBLE_DEVICES"] for slot in find_slots(None, cores=CORES)] == ["GPU-b"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert find_gpus() == []


def torch_of(folder: Path, header: str) -> dict[str, str]:
    """A node whose python finds a PyTorch with such a header, and does not import it."""
    include = folder / "torch" / "include" / "c10" / "cuda"
    include.mkdir(parents=True)
    (folder / "torch" / "__init__.py").write_text("raise SystemExit('imported')\n")
    (include / "CUDAAllocatorConfig.h").write_text(header)
    return {"PATH": str(Path(sys.executable).parent), "PYTHONPATH": str(folder)}


KNOWS = 'get_env("PYTORCH_ALLOC_CONF"); static keys{"backend", "per_process_memory_fraction"};'


def test_pytorch_is_told_where_it_knows_the_option(tmp_path: Path) -> None:
    node = torch_of(tmp_path, KNOWS)
    shared = {FRACTION: "0.25"}
    assert capped(shared, node) == {**shared, "PYTORCH_ALLOC_CONF": "per_process_memory_fraction:0.25"}
    assert capped({}, node) == {}


@pytest.mark.parametrize(
    ("of_the_job", "then"),
    [
        (
            {"PYTORCH_CUDA_ALLOC_CONF": "max_split_size_mb:64"},
            {"PYTORCH_CUDA_ALLOC_CONF": "max_split_size_mb:64,per_process_memory_fraction:0.25"},
        ),
        (
            {"PYTORCH_ALLOC_CONF": "per_process_memory_fraction:0.9"},
            {"PYTORCH_ALLOC_CONF": "per_process_memory_fraction:0.9"},
        ),
        ({"PYTORCH_ALLOC_CONF": ""}, {"PYTORCH_ALLOC_CONF": "per_process_memory_fraction:0.25"}),
    ],
)
def test_what_the_job_tells_pytorch_stands(of_the_job: dict[str, str], then: dict[str, str], tmp_path: Path) -> None:
    shared = {FRACTION: "0.25"}
    assert capped({**shared, **of_the_job}, torch_of(tmp_path, KNOWS)) == {**shared, **then}


def test_a_pytorch_that_does_not_know_the_option_is_left_in_peace(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    node = torch_of(tmp_path, 'get_env("PYTORCH_ALLOC_CONF"); static keys{"backend"};')
    assert capped({FRACTION: "0.25"}, node) == {FRACTION: "0.25"}
    assert "gpu_memory_fraction: 1" in caplog.text
    assert capped({FRACTION: "0.25"}, {"PATH": str(tmp_path)}) == {FRACTION: "0.25"}


def test_the_option_is_one_of_the_installed_pytorch() -> None:
    pytest.importorskip("torch.version")
    node = {"PATH": str(Path(sys.executable).parent)}
    assert "PYTORCH_ALLOC_CONF" in capped({FRACTION: "0.5"}, node)


def test_one_that_is_alone_has_the_gpu_for_itself() -> None:
    slot = Slot({"CUDA_VISIBLE_DEVICES": "1"}, shared={FRACTION: "0.5"})
    beside = slot.variables({"PATH": "/nowhere"}, {}, is_alone=False)
    alone = slot.variables({"PATH": "/nowhere"}, {}, is_alone=True)
    assert beside == {"PATH": "/nowhere", "CUDA_VISIBLE_DEVICES": "1", FRACTION: "0.5"}
    assert alone == {"PATH": "/nowhere", "CUDA_VISIBLE_DEVICES": "1"}


def test_what_the_job_sets_goes_before_the_slot_and_that_before_the_worker() -> None:
    slot = Slot({"CUDA_VISIBLE_DEVICES": "1", "OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2"})
    worker = {"CUDA_VISIBLE_DEVICES": "0,1", "LANG": "C"}
    assert slot.variables(worker, {"LANG": "de"}, is_alone=False) == {**slot.environment, "LANG": "de"}
    assert slot.variables(worker, {"OMP_NUM_THREADS": "8"}, is_alone=False) == {
        "CUDA_VISIBLE_DEVICES": "1",
        "LANG": "C",
        "OMP_NUM_THREADS": "8",
    }
    assert slot.variables({"OMP_NUM_THREADS": "4"}, {}, is_alone=False)["OMP_NUM_THREADS"] == "4"


def two_on_a_gpu(**more: User) -> list[Slot]:
    return [Slot({"CUDA_VISIBLE_DEVICES": "0"}, shared=fraction_variables(0.5), **more) for _ in range(2)]


def test_the_service_runs_while_it_is_needed_and_trials_are_told_of_it(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("nvidia-smi", SMI)
    install("nvidia-cuda-mps-control", CONTROL)
    monkeypatch.setenv("DROPSWEEP_STORAGE", "secret")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    pipes = tmp_path / "mps" / "pipes"
    with mps.serving(two_on_a_gpu(), tmp_path) as slots:
        for slot in slots:
            assert slot.environment["CUDA_MPS_PIPE_DIRECTORY"] == str(pipes)
            assert slot.shared == {
                FRACTION: "0.5",
                "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": "50",
                "CUDA_MPS_PINNED_DEVICE_MEM_LIMIT": "0=40779M",
            }
    ran = (tmp_path / "mps" / "logs" / "ran").read_text().splitlines()
    own = f"{pipes} none none"
    assert ran == [f"-d {own}", f" {own}", "get_server_list", f" {own}", "quit"]


def test_a_third_of_the_processors_is_rounded_up(install: Install, tmp_path: Path) -> None:
    install("nvidia-cuda-mps-control", CONTROL)
    slots = [Slot({"CUDA_VISIBLE_DEVICES": "0"}) for _ in range(3)]
    with mps.serving(slots, tmp_path) as served:
        assert [slot.shared for slot in served] == [{"CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": "34"}] * 3


@pytest.mark.parametrize(
    ("script", "told"),
    [
        (None, "is not installed"),
        ("echo no such device; exit 1", "no such device"),
        ('[ "$1" = -d ] || exit 1', "does not start"),
    ],
)
def test_without_the_service_the_slots_stay_as_they_are(
    script: str | None, told: str, install: Install, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    if script:
        install("nvidia-cuda-mps-control", script)
    before = two_on_a_gpu()
    with mps.serving(before, tmp_path) as slots:
        assert slots == before
    assert told in caplog.text


def test_the_service_is_not_started_where_it_is_of_no_use_or_would_hold_trials_up(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    install("nvidia-cuda-mps-control", "exit 1")
    one_each = [Slot({"CUDA_VISIBLE_DEVICES": gpu}) for gpu in "01"]
    for slots in ([Slot()], one_each, two_on_a_gpu(user=User(20000, 20000))):
        with mps.serving(slots, tmp_path) as served:
            assert served == slots
    assert "serves one user at a time" in caplog.text
    monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", "/of/the/platform")
    with mps.serving(two_on_a_gpu(), tmp_path) as served:
        assert served == two_on_a_gpu()
    assert not (tmp_path / "mps").exists()
