"""A trial's process: started in its own process group, told apart from the worker's secrets, ended as a group."""

import contextlib
import ctypes
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from dropsweep.errors import ConfigError
from dropsweep_trainer.processes.running import REPORT_S, Running, is_readable, open_pidfd
from dropsweep_trainer.processes.users import User, acting_as

_log = logging.getLogger(__name__)
_PASSED: Final = frozenset(
    {"PATH", "LANG", "LANGUAGE", "TZ", "TERM", "USER", "LOGNAME", "SHELL", "LC_ALL"}
    | {"LC_ADDRESS", "LC_COLLATE", "LC_CTYPE", "LC_IDENTIFICATION", "LC_MEASUREMENT", "LC_MESSAGES", "LC_MONETARY"}
    | {"LC_NAME", "LC_NUMERIC", "LC_PAPER", "LC_TELEPHONE", "LC_TIME"}
    | {"LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONPATH", "PYTHONHASHSEED"}
    | {"SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "XDG_CACHE_HOME"}
    | {"NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES", "NVIDIA_DISABLE_REQUIRE", "NVIDIA_TF32_OVERRIDE"}
)
_PASSED_PREFIXES: Final = ("CUDA_", "NVIDIA_REQUIRE_", "NCCL_", "OMP_", "MKL_", "OPENBLAS_", "TORCH_", "CUBLAS_")
_SECRET: Final = re.compile(r".*(_KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL).*", re.IGNORECASE)
"""What a prefix does not let through: somebody may have put a credential under the name of a library."""
_PR_SET_DUMPABLE: Final = 4
PASS_SETTING: Final = "DROPSWEEP_PASS_ENV"
"""Names, separated by commas, of further variables of the worker that its trials may see."""
_NEVER_PASSED: Final = re.compile(
    r"IDENTITY_.*|MSI_.*|AZURE_FEDERATED_TOKEN.*|AZURE_.*(SECRET|PASSWORD|CREDENTIAL|CERTIFICATE).*"
    r"|AZURE_STORAGE_.*(KEY|TOKEN|CONNECTION).*|DROPSWEEP_(STORAGE|KEY).*|AZUREWEBJOBSSTORAGE.*",
    re.IGNORECASE,
)
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PRELUDE: Final = """\
CDPATH= cd -- "$1" && unset OLDPWD || exit 126
ulimit -c 0
{ echo 1000 > /proc/self/oom_score_adj; } 2> /dev/null
if [ -n "$2" ]; then ulimit -u "$2" 2> /dev/null || ulimit -p "$2" || exit 126; fi
shift 2
while [ "$#" -gt 1 ]; do
eval "command export \\"\\$$1\\"; unset $1" 2> /dev/null
shift
done
exec "$0" -c "$1"
"""
"""Before the command: its folder, which only its user may enter; no core dumps, which would fill the folder with what
was in memory; first in line when the machine runs out of memory, before the worker; and how many processes its user may
have. bash calls that -u, other shells -p. It is a shell's work, for between fork and exec a process with threads can do
next to nothing. Only then come the variables: in some of them (LD_PRELOAD, BASH_ENV) there are programs, which must not
run before there is a limit to them. They are carried in others, for a command line is everybody's to read."""


def clean_environment(worker: Mapping[str, str]) -> dict[str, str]:
    """Returns what a trial's process may know of the worker's environment.

    A list of what is let through, not of what is held back: a credential in a variable that nobody thought of stays
    with the worker. The interpreter that runs the worker comes first on PATH, so that `python` has its packages.
    """
    asked = {name.strip() for name in worker.get(PASS_SETTING, "").split(",") if name.strip()}
    kept = {
        name: value
        for name, value in worker.items()
        if name in _PASSED or name in asked or (name.startswith(_PASSED_PREFIXES) and not _SECRET.fullmatch(name))
    }
    kept["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", os.defpath)])
    kept.setdefault("PYTHONUNBUFFERED", "1")  # a line printed is a line readable
    return kept


def check_passed(worker: Mapping[str, str]) -> None:
    """Looks at what `PASS_SETTING` names.

    Raises:
        ConfigError: it names what opens the storage account, or gives out the worker's identity.
    """
    for name in map(str.strip, worker.get(PASS_SETTING, "").split(",")):
        if _NEVER_PASSED.fullmatch(name):
            raise ConfigError(
                f"{PASS_SETTING} names {name}: that gives trials the worker's own rights. Take it out, and give trials "
                "that need access to something a credential of their own, in environment_variables of the job"
            )


def hide_from_trials() -> None:
    """Makes this process's environment and memory unreadable for other processes of its user, on Linux.

    A trial runs as the same user and could read them in /proc otherwise. The kernel lets root read them all the same.

    Source: prctl(2), PR_SET_DUMPABLE; proc(5) on the ownership of /proc/[pid].
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


class Process(Running):
    """A command that a shell runs."""

    def __init__(
        self,
        command: str,
        *,
        folder: Path,
        environment: Mapping[str, str],
        stdout: Path,
        stderr: Path,
        user: User | None = None,
        max_processes: int | None = None,
    ) -> None:
        """Starts `command` in bash (or sh where there is none) in a session and process group of its own.

        Args:
            command: in the shell's language.
            folder: its working directory.
            environment: all that it sees of variables.
            stdout: what it prints is appended there.
            stderr: likewise, for its standard error.
            user: whom it runs as; None: the worker's own user.
            max_processes: how many processes and threads its user may have, in whatever session; None: as before.

        Raises:
            OSError: when it cannot be started.
        """
        shell = shutil.which("bash") or "/bin/sh"
        # bash alone takes functions from its environment, and variables that change what it does; -p: not these.
        options = ("-p",) if os.path.basename(shell) == "bash" else ()
        limit = "" if max_processes is None else str(max_processes)
        carried, plain = _carried(environment)
        with acting_as(user):
            out, err = stdout.open("ab"), stderr.open("ab")
        with out, err:
            self._popen = subprocess.Popen(
                [shell, *options, "-c", _PRELUDE, shell, str(folder), limit, *carried, command],
                # Another user's folder is not the worker's to enter: the prelude does, as that user.
                cwd=folder if user is None else "/",
                env=carried | plain,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
                user=None if user is None else user.uid,
                group=None if user is None else user.gid,
                extra_groups=None if user is None else [],
            )
        self._pidfd = open_pidfd(self._popen.pid)
        self._ended_at: float | None = None
        self._exit_code: int | None = None

    @property
    def pid(self) -> int:
        """Id of its first process, and of its session and process group."""
        return self._popen.pid

    def wait(self, timeout_s: float) -> int | None:
        """Returns the exit code (negative: the signal), or None when it still runs after `timeout_s`."""
        if self._exit_code is not None:
            return self._exit_code
        until = time.monotonic() + timeout_s
        # The standard library looks now and then, up to 50 ms apart: the end of a short trial would be seen late.
        if self._pidfd is not None and self._popen.poll() is None:
            if self._ended_at is None and not is_readable([self._pidfd], timeout_s):
                return None
            self._ended_at = self._ended_at or time.monotonic()
            until = min(until, self._ended_at + REPORT_S)
        try:
            return self._let_go(self._popen.wait(max(0.0, until - time.monotonic())))
        except subprocess.TimeoutExpired:
            if self._ended_at is None or time.monotonic() < self._ended_at + REPORT_S:
                return None
        _log.warning("process %d has ended, and nobody is told how: another one traces it", self.pid)
        return self._let_go(-(self._last_signal or signal.SIGKILL))

    def _let_go(self, exit_code: int) -> int:
        self._exit_code = exit_code
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None
        if self._popen.returncode is None:
            # As long as it takes; without a thread it is reaped when the next process is started.
            with contextlib.suppress(RuntimeError):
                threading.Thread(target=self._popen.wait, name=f"reaps-{self.pid}", daemon=True).start()
        return exit_code


def _carried(environment: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Returns what the prelude makes variables of, as `NAME=VALUE` by the name that carries it; and the rest.

    The rest is what no shell can name. It means nothing to a program's loader, nor to a shell that takes no functions.
    """
    prefix = "_carried_"
    while any(name.startswith(prefix) for name in environment):
        prefix += "_"
    named = [f"{name}={value}" for name, value in environment.items() if _NAME.fullmatch(name)]
    rest = {name: value for name, value in environment.items() if not _NAME.fullmatch(name)}
    return {f"{prefix}{index}": pair for index, pair in enumerate(named)}, rest


def signal_name(number: int) -> str:
    """Returns `SIGKILL` for 9, or the number when it has no name here."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
