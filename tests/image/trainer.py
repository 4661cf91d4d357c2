"""Trainers in containers."""

import contextlib
import json
import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Self

from dropsweep.client import Client
from dropsweep.names import JobKey
from dropsweep.states import JobState
from tests.image.podman import TAG, Podman

USER: Final = 10001
"""Whom the worker runs as, and its group."""
TRIAL: Final = 20000
"""Whom the trials of its first slot run as, where the platform lets it switch."""
_GRACE_S: Final = 60


class Container:
    """A running trainer whose file system is read-only but for its work folder."""

    def __init__(
        self, podman: Podman, work: Path, storage: str, arguments: Sequence[str], options: Sequence[str] = ()
    ) -> None:
        """Starts it.

        Args:
            podman: where the image is.
            work: a folder of this machine that becomes its work folder; made here.
            storage: the connection string.
            arguments: the worker's own.
            options: further ones of `podman run`.
        """
        self._podman = podman
        self.name = f"dropsweep-{uuid.uuid4().hex[:12]}"
        # As a platform gives it: the user's own, and open to pass through for its trials.
        work.mkdir(parents=True)
        shutil.chown(work, USER, USER)
        work.chmod(0o711)
        self._podman.call(
            *("run", "--detach", f"--name={self.name}", f"--stop-timeout={_GRACE_S}"),
            *("--read-only", "--read-only-tmpfs=false", f"--volume={work}:/var/lib/dropsweep"),
            *(f"--env=DROPSWEEP_STORAGE={storage}", "--env=DROPSWEEP_HEARTBEAT_S=1"),
            *("--env=DROPSWEEP_CLAIM_TIMEOUT_S=20", *options, TAG, *arguments),
        )

    def stop(self) -> float:
        """Asks it to end as a platform does, with SIGTERM and a grace; returns the seconds that it took."""
        start = time.monotonic()
        self._podman.call("stop", self.name)
        return time.monotonic() - start

    def wait(self, timeout_s: float) -> int:
        """Returns its exit status once it has ended by itself."""
        return int(self._podman.call("wait", self.name, timeout_s=timeout_s))

    @property
    def exit_status(self) -> int | None:
        """Its exit status, or None while it runs."""
        state = self._state()
        return None if state["Running"] else int(state["ExitCode"])

    @property
    def log(self) -> str:
        """What it has printed."""
        done = subprocess.run(
            ["podman", "logs", self.name],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=True,
            timeout=60,
            env=self._podman.environment,
        )
        return done.stdout

    def processes(self) -> dict[str, list[int]]:
        """Its processes, each by its command, with the real, effective, saved and file-system user of each."""
        namespace = os.readlink(f"/proc/{self._state()['Pid']}/ns/pid")
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it has ended meanwhile
                if os.readlink(folder / "ns/pid") == namespace:
                    command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
                    status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
                    found[f"{folder.name}: {command}"] = [int(user) for user in status["Uid"].split()]
        return found

    def _state(self) -> dict[str, Any]:
        return dict(json.loads(self._podman.call("inspect", "--format={{json .State}}", self.name)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._podman.call("rm", "--force", "--time=0", self.name)


def finish(client: Client, key: JobKey, container: Container, timeout_s: float = 120) -> JobState:
    """Waits for a job's end and returns its state.

    Raises:
        AssertionError: it does not end; the message has what the container printed.
    """
    try:
        return client.wait(key, timeout_s=timeout_s).state
    except TimeoutError as late:
        raise AssertionError(f"{late}\n{container.log}") from None


class Trainers:
    """Starts containers on one storage account."""

    def __init__(self, podman: Podman, storage: str, works: Path) -> None:
        """Starts none yet; their work folders will lie in `works`."""
        self._podman = podman
        self._storage = storage
        self._works = works
        self._open = contextlib.ExitStack()

    def start(self, *arguments: str, options: Sequence[str] = ()) -> Container:
        """Starts one; `options` are further ones of `podman run`."""
        work = self._works / uuid.uuid4().hex[:8]
        return self._open.enter_context(Container(self._podman, work, self._storage, arguments, options))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._open.close()
