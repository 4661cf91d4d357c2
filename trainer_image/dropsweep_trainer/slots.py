"""A worker's slots: places for one trial each, and what a trial in one of them sees of the node's GPUs."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field

from dropsweep_trainer.users import User


@dataclass(frozen=True, slots=True)
class Slot:
    """A place for one trial.

    Attributes:
        environment: what its trials see beside their own variables, such as their GPU.
        user: whom its trials run as; None: the worker's own user.
    """

    environment: Mapping[str, str] = field(default_factory=dict)
    user: User | None = None


def find_slots(num_slots: int | None) -> tuple[Slot, ...]:
    """Returns a worker's slots: one GPU each, in turn, so that several share one when there are more slots.

    Args:
        num_slots: how many; None: one for each GPU that this process may use, or one.
    """
    gpus = _gpus()
    count = num_slots or max(1, len(gpus))
    return tuple(Slot({"CUDA_VISIBLE_DEVICES": gpus[slot % len(gpus)]} if gpus else {}) for slot in range(count))


def _gpus() -> list[str]:
    """The GPUs that this process may use: those that CUDA_VISIBLE_DEVICES names, else those that nvidia-smi lists."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [part.strip() for part in visible.split(",") if part.strip() and part.strip() != "-1"]
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    listed = subprocess.run([tool, "-L"], capture_output=True, text=True, timeout=30, check=False)
    return [str(index) for index, line in enumerate(listed.stdout.splitlines()) if line.startswith("GPU ")]
