"""What a cluster file asks of each of its nodes: shared folders, and a command that is run once before any trial."""

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from dropsweep.clusters import Cluster
from dropsweep_trainer.processes.command import Process, clean_environment, signal_name

_log = logging.getLogger(__name__)
_LOOK_S: Final = 0.2
_TOLD_CHARS: Final = 1500
_OUTPUT: Final = "setup.txt"
SETUP_LIMIT_S: Final = 3600.0
"""A setup command that takes longer is ended: nodes cost money, and the messages that they keep wait."""


def node_environment(cluster: Cluster, setup: Path) -> dict[str, str]:
    """Returns what the trials of a node, and its setup command, see of the cluster file.

    Args:
        cluster: what the file says.
        setup: the folder that the setup command may fill.
    """
    environment = {mount.variable: mount.path for mount in cluster.mounts}
    if cluster.setup_command:
        worker = clean_environment(os.environ)
        environment["DROPSWEEP_SETUP"] = str(setup)
        environment["PATH"] = _first(setup / "bin", worker.get("PATH", ""))
        environment["PYTHONPATH"] = _first(setup / "python", worker.get("PYTHONPATH", ""))
    return environment


def run_setup(
    cluster: Cluster,
    setup: Path,
    environment: Mapping[str, str],
    *,
    stopping: threading.Event,
    grace_s: float,
    meanwhile: Callable[[], None] = lambda: None,
    limit_s: float = SETUP_LIMIT_S,
) -> str:
    """Runs a cluster's setup command to its end.

    It runs as the worker's user, in the setup folder, and sees as much of the worker's environment as a trial does:
    no credential. What it prints goes to the worker's log, line by line. What it leaves running in its process group is
    ended, whatever happens.

    Args:
        cluster: whose command.
        setup: the folder that it may fill; made here, readable for every user of the node.
        environment: as `node_environment` returns it.
        stopping: set when the worker is to end; the command then gets SIGTERM, and SIGKILL after `grace_s`.
        grace_s: seconds.
        meanwhile: called several times a second while it runs.
        limit_s: seconds after which it is ended as for `stopping`, and counts as failed.

    Returns:
        Why the node cannot take trials, with the end of what the command printed; empty when it can, or is to end.

    Raises:
        OSError: the folder cannot be made, the command not be started, or its output not be read.
    """
    # Not the worker's own home, and nothing else may be writable in a container.
    own = {"HOME": str(setup / "home"), "TMPDIR": str(setup / "tmp")}
    for folder in (setup, setup / "bin", setup / "python", *map(Path, own.values())):
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)
    output = setup.parent / _OUTPUT
    output.touch(mode=0o600)
    _log.info("setup: %s", cluster.setup_command)
    process = Process(
        f"umask 022\n{cluster.setup_command}",
        folder=setup,
        environment=clean_environment(os.environ) | own | dict(environment),
        stdout=output,
        stderr=output,
    )
    printed = _Printed(output)
    end = time.monotonic() + limit_s
    try:
        while (exit_code := process.wait(_LOOK_S)) is None and not stopping.is_set() and time.monotonic() < end:
            printed.go_on()
            meanwhile()
        if exit_code is None:
            process.stop(grace_s)
    finally:
        process.kill()
    if exit_code is None and stopping.is_set():
        _log.info("setup: interrupted, for the worker is to end")
        return ""
    printed.go_on(is_last=True)
    if exit_code == 0:
        return ""
    if exit_code is None:
        how = f"had not ended after {limit_s:g} s: it must end within that time"
    else:
        how = f"ended with {f'exit code {exit_code}' if exit_code > 0 else signal_name(-exit_code)}: it must end with 0"
    return (
        f"setup_command of cluster {cluster.name} {how}. Correct it in the cluster's file. "
        f"It printed at last:\n{printed.end}"
    )


class _Printed:
    """Follows what a command prints into a file, and logs it.

    Attributes:
        end: the last lines.
    """

    def __init__(self, file: Path) -> None:
        self.end = ""
        self._file = file
        self._offset = 0
        self._open_line = b""

    def go_on(self, *, is_last: bool = False) -> None:
        """Logs the lines that are new and whole; what comes after the last line's end too when it `is_last`."""
        with self._file.open("rb") as stream:
            stream.seek(self._offset)
            fresh = stream.read()
        self._offset += len(fresh)
        *lines, self._open_line = (self._open_line + fresh).split(b"\n")
        for line in [*lines, self._open_line] if is_last else lines:
            text = line.decode(errors="replace").rstrip()
            if text:
                _log.info("setup: %s", text)
                self.end = f"{self.end}{text}\n"[-_TOLD_CHARS:]


def _first(folder: Path, path: str) -> str:
    return os.pathsep.join(filter(None, (str(folder), path)))
