"""NVIDIA's Multi-Process Service: lets the kernels of trials that share a GPU run at the same time, not in turns.

Source: NVIDIA, Multi-Process Service (docs.nvidia.com/deploy/mps), Appendix: Tools and Interface Reference, and
nvidia-cuda-mps-control(1). Untried on hardware.
"""

import contextlib
import logging
import math
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from dropsweep_trainer.processes.command import clean_environment
from dropsweep_trainer.sharing.gpus import FRACTION, memory_mib
from dropsweep_trainer.sharing.slots import Slot

_log = logging.getLogger(__name__)
_TOOL: Final = "nvidia-cuda-mps-control"
_TOOL_S: Final = 30.0
_GPU: Final = "CUDA_VISIBLE_DEVICES"
_PIPES: Final = "CUDA_MPS_PIPE_DIRECTORY"
_LOGS: Final = "CUDA_MPS_LOG_DIRECTORY"
_OWN_GPU: Final = 0
"""A trial sees one GPU, and so it is the first that it sees."""


@contextlib.contextmanager
def serving(slots: Sequence[Slot], folder: Path) -> Iterator[list[Slot]]:
    """Runs the service for slots that share a GPU; yields them with what their trials need to use it.

    They are yielded as they are where the service is of no use or cannot be had, which a warning tells: no two slots
    share a GPU, the platform has one running already, it is not installed, it does not start, or trials run as users of
    their own. It serves one user at a time, and lets the others' trials wait for the end of all of that one's.

    Args:
        slots: of the worker.
        folder: the worker's own; the service gets a folder in it.
    """
    control = _Control.of(slots, folder)
    if control is None or not control.start():
        yield list(slots)
        return
    try:
        num_on_gpu = Counter(slot.environment.get(_GPU) for slot in slots)
        yield [_served(slot, control.variables, num_on_gpu[slot.environment.get(_GPU)]) for slot in slots]
    finally:
        control.quit()


class _Control:
    """The program that starts and ends the service."""

    def __init__(self, tool: str, folder: Path) -> None:
        self._tool = tool
        self._folder = folder
        self.variables = {_PIPES: str(folder / "pipes"), _LOGS: str(folder / "logs")}
        hidden = (_GPU, "CUDA_MPS_")  # it numbers the GPUs anew that it sees; trials name them as they are
        kept = {name: value for name, value in clean_environment(os.environ).items() if not name.startswith(hidden)}
        self._environment = kept | self.variables

    @classmethod
    def of(cls, slots: Sequence[Slot], folder: Path) -> "_Control | None":
        """Returns it where the service can help; None, and a line in the log, where it cannot."""
        gpus = [slot.environment.get(_GPU) for slot in slots]
        tool = shutil.which(_TOOL)
        if None in gpus or len(set(gpus)) == len(gpus):
            _log.info("cuda_mps: no two slots share a GPU here, so the service is not started")
        elif os.environ.get(_PIPES):
            _log.info("cuda_mps: the platform's own service is used, at %s", os.environ[_PIPES])
        elif any(slot.user is not None for slot in slots):
            _log.warning(
                "cuda_mps: not started, for trials run as users of their own and the service serves one user at a time"
            )
        elif tool is None:
            _log.warning("cuda_mps: %s is not installed here, so trials on one GPU take turns", _TOOL)
        else:
            return cls(tool, folder / "mps")
        return None

    def start(self) -> bool:
        """Starts the service; False, and a warning, when it does not answer afterwards."""
        try:
            for path in self.variables.values():
                Path(path).mkdir(parents=True, exist_ok=True)
            is_started = self._run("-d") and self._run(command="get_server_list")
        except (OSError, subprocess.SubprocessError) as error:
            _log.warning("cuda_mps: %s cannot be run: %s", self._tool, error)
            return False
        if not is_started:
            _log.warning(
                "cuda_mps: %s does not start, so trials on one GPU take turns; it printed: %s",
                self._tool,
                self._printed.read_text(errors="replace").strip() or "nothing",
            )
        return is_started

    def quit(self) -> None:
        """Ends the service; a warning tells when it does not."""
        try:
            is_ended = self._run(command="quit")
        except (OSError, subprocess.SubprocessError) as error:
            _log.warning("cuda_mps: the service may be left running: %s", error)
            return
        if not is_ended:
            _log.warning("cuda_mps: the service may be left running: %s", self._printed.read_text(errors="replace"))

    @property
    def _printed(self) -> Path:
        return self._folder / "printed.txt"

    def _run(self, *arguments: str, command: str | None = None) -> bool:
        """Runs the program and returns whether it succeeded; with a command, which it passes on to the service."""
        # Into a file: a service in the background would hold a pipe open, and whoever reads it would wait for its end.
        with self._printed.open("w") as printed:
            done = subprocess.run(
                [self._tool, *arguments],
                env=self._environment,
                cwd=self._folder,
                input=None if command is None else f"{command}\n".encode(),
                stdin=subprocess.DEVNULL if command is None else None,
                stdout=printed,
                stderr=printed,
                timeout=_TOOL_S,
                check=False,
                start_new_session=True,
            )
        return done.returncode == 0


def _served(slot: Slot, variables: Mapping[str, str], num_on_gpu: int) -> Slot:
    """A slot with the way to the service, and its part of the GPU: processors, rounded up, and memory."""
    shared = {**slot.shared, "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": str(math.ceil(100 / num_on_gpu))}
    fraction, size_mib = slot.shared.get(FRACTION), memory_mib(slot.environment[_GPU])
    if fraction is not None and size_mib is not None:
        shared["CUDA_MPS_PINNED_DEVICE_MEM_LIMIT"] = f"{_OWN_GPU}={math.floor(size_mib * float(fraction))}M"
    return replace(slot, environment={**slot.environment, **variables}, shared=shared)
