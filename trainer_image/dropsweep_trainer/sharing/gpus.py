"""The GPUs of a node, and what of one's memory a trial may use that shares it."""

import functools
import logging
import os
import shutil
import subprocess
from collections.abc import Mapping
from typing import Final

_log = logging.getLogger(__name__)
_TOOL: Final = "nvidia-smi"
_TOOL_S: Final = 30.0
FRACTION: Final = "DROPSWEEP_GPU_MEMORY_FRACTION"
"""Of the GPU's memory, what a trial may use; it is set where that is less than all."""
_OPTION: Final = "per_process_memory_fraction"
_SETTING: Final = "PYTORCH_ALLOC_CONF"
_SETTINGS: Final = (_SETTING, "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_HIP_ALLOC_CONF")
"""Names of the variable that PyTorch's allocator reads, the present one first."""
_PROBE: Final = f"""
import importlib.util, pathlib, sys
found = importlib.util.find_spec("torch")
folders = found.submodule_search_locations if found else []
headers = [pathlib.Path(folder, "include", "c10", "cuda", "CUDAAllocatorConfig.h") for folder in folders]
texts = [header.read_text(errors="replace") for header in headers if header.is_file()]
sys.exit(0 if any({_OPTION!r} in text and {_SETTING!r} in text for text in texts) else 1)
"""
"""Whether the option is one that the installed PyTorch knows. It comes with the header that lists its options; asked
for without an import, which takes seconds. One that does not know an option refuses to compute on a GPU at all."""


def find_gpus() -> list[str]:
    """Returns the GPUs that this process may use: those that CUDA_VISIBLE_DEVICES names, else what nvidia-smi lists."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [part.strip() for part in visible.split(",") if part.strip() and part.strip() != "-1"]
    return [str(index) for index, line in enumerate(_asked("-L")) if line.startswith("GPU ")]


def memory_mib(gpu: str) -> int | None:
    """Returns the memory of a GPU in MiB; None when nvidia-smi does not tell.

    Args:
        gpu: its index or UUID, as `find_gpus` returns it.
    """
    lines = _asked(f"--id={gpu}", "--query-gpu=memory.total", "--format=csv,noheader,nounits")
    return int(lines[0]) if lines and lines[0].strip().isdigit() else None


def fraction_variables(fraction: float) -> dict[str, str]:
    """Returns the variable that tells a trial its part of a GPU's memory; none when that is all of it."""
    return {FRACTION: f"{fraction:.4g}"} if fraction < 1 else {}


def capped(environment: Mapping[str, str], node: Mapping[str, str]) -> dict[str, str]:
    """Returns a trial's variables with what makes PyTorch keep to its part of the GPU's memory.

    A fraction that the job has set itself for the allocator stands. Nothing is added where there is no fraction, or
    where the node's PyTorch does not know the option: only the variable `FRACTION` tells of it then.

    Args:
        environment: all variables of the trial.
        node: PATH and PYTHONPATH as the node has them for its trials, whatever the job makes of them.
    """
    fraction = environment.get(FRACTION)
    if fraction is None or not _knows_option(node.get("PATH", os.defpath), node.get("PYTHONPATH", "")):
        return dict(environment)
    option = f"{_OPTION}:{fraction}"
    # The allocator reads the first that is there of several names: so the option goes to all that are, or to the one.
    names = [name for name in _SETTINGS if environment.get(name)] or [_SETTING]
    added = {
        name: ",".join(filter(None, (environment.get(name), option)))
        for name in names
        if _OPTION not in environment.get(name, "")
    }
    return {**environment, **added}


@functools.lru_cache(maxsize=4)
def _knows_option(path: str, python_path: str) -> bool:
    """True when the PyTorch of the `python` on a PATH takes a fraction from its environment."""
    python = shutil.which("python", path=path)
    is_known = False
    if python is not None:
        environment = {"PATH": path, **({"PYTHONPATH": python_path} if python_path else {})}
        try:
            probe = subprocess.run(
                [python, "-c", _PROBE], env=environment, cwd="/", capture_output=True, timeout=_TOOL_S, check=False
            )
            is_known = probe.returncode == 0
        except (OSError, subprocess.SubprocessError) as error:
            _log.warning("%s could not be asked for its PyTorch: %s", python, error)
    if not is_known:
        _log.warning(
            "trials share a GPU and nothing keeps one from taking the others' memory: the PyTorch of %s knows no %s. "
            "Install a later one, call torch.cuda.set_per_process_memory_fraction(float(os.environ[%r])) in the "
            "script, or set gpu_memory_fraction: 1 in the cluster's file",
            python or "this node, which has no python,",
            _OPTION,
            FRACTION,
        )
    return is_known


def _asked(*arguments: str) -> list[str]:
    """Returns the lines that nvidia-smi prints; none where it is not there or fails."""
    tool = shutil.which(_TOOL)
    if tool is None:
        return []
    try:
        listed = subprocess.run([tool, *arguments], capture_output=True, text=True, timeout=_TOOL_S, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        _log.warning("%s does not answer: %s", tool, error)
        return []
    return listed.stdout.splitlines() if listed.returncode == 0 else []
