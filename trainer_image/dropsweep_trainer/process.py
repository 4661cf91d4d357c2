"""A trial's process: started in its own process group, told apart from the worker's secrets, ended as a group."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

_PASSED: Final = frozenset(
    {"PATH", "LANG", "LANGUAGE", "TZ", "TERM", "USER", "LOGNAME", "SHELL"}
    | {"LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONPATH", "PYTHONHASHSEED"}
    | {"SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "XDG_CACHE_HOME"}
)
_PASSED_PREFIXES: Final = ("LC_", "CUDA_", "NVIDIA_", "NCCL_", "OMP_", "MKL_", "OPENBLAS_", "TORCH_", "CUBLAS_")
PASS_SETTING: Final = "DROPSWEEP_PASS_ENV"
"""Names, separated by commas, of further variables of the worker that its trials may see."""


def clean_environment(worker: Mapping[str, str]) -> dict[str, str]:
    """Returns what a trial's process may know of the worker's environment.

    A list of what is let through, not of what is held back: a credential in a variable that nobody thought of stays
    with the worker. The interpreter that runs the worker comes first on PATH, so that `python` has its packages.
    """
    asked = {name.strip() for name in worker.get(PASS_SETTING, "").split(",") if name.strip()}
    kept = {
        name: value
        for name, value in worker.items()
        if name in _PASSED or name in asked or name.startswith(_PASSED_PREFIXES)
    }
    kept["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", os.defpath)])
    kept.setdefault("PYTHONUNBUFFERED", "1")  # a line printed is a line readable
    return kept


class Process:
    """One running command with everything it starts."""

    def __init__(
        self, command: str, *, folder: Path, environment: Mapping[str, str], stdout: Path, stderr: Path
    ) -> None:
        """Starts `command` in bash (or sh where there is none) in a session and process group of its own.

        Raises:
            OSError: when it cannot be started.
        """
        shell = shutil.which("bash") or "/bin/sh"
        with stdout.open("ab") as out, stderr.open("ab") as err:
            self._popen = subprocess.Popen(
                [shell, "-c", command],
                cwd=folder,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    def wait(self, timeout_s: float) -> int | None:
        """Returns the exit code (negative: the signal), or None when it still runs after `timeout_s`."""
        try:
            return self._popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def stop(self, grace_s: float) -> int:
        """Sends SIGTERM to the group, and SIGKILL after `grace_s`; returns the exit code."""
        self._signal(signal.SIGTERM)
        code = self.wait(grace_s)
        if code is None:
            self._signal(signal.SIGKILL)
            code = self._popen.wait()
        return code

    def sweep_up(self) -> None:
        """Ends whatever the command left behind in its group after its own end."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        # The group outlives its leader as long as it has members; its id is not given to anybody else meanwhile.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._popen.pid, number)


def signal_name(number: int) -> str:
    """Returns `SIGKILL` for 9, or the number when it has no name here."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
