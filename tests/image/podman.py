"""podman with a store of its own, so that nothing of it is left among a person's images."""

import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from typing import Any, Final

from local.paths import ROOT, STATE
from tests.image.machine import Machine

FOLDER: Final = STATE / "image-test"
"""The base image and what podman stores: `make clean` removes it with the rest of that folder."""
NEEDED: Final = ("podman", "runc", "mmdebstrap")
TAG: Final = "localhost/dropsweep-trainer:image-test"
_BASE: Final = "localhost/dropsweep-base"
_PACKAGES: Final = "python3,python3-venv,ca-certificates"
# Neither pages nor other languages, as images of distributions go; licences stay.
_LEFT_OUT: Final = (
    *("path-exclude=/usr/share/man/*", "path-exclude=/usr/share/locale/*"),
    *("path-exclude=/usr/share/doc/*", "path-include=/usr/share/doc/*/copyright"),
)
# The limits that podman asks for by default are above what an unprivileged machine may give; no network of its own, so
# that a container reaches the emulator on the loopback interface.
_CONTAINERS: Final = """\
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
netns = "host"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""
_STORAGE: Final = """\
[storage]
driver = "overlay"
graphroot = "{folder}/storage"
runroot = "{folder}/run"
"""


class Podman:
    """podman and the image under test."""

    revision: str
    """The commit that the image was built from, perhaps with changes."""

    def __init__(self, machine: Machine) -> None:
        """Writes its settings."""
        FOLDER.mkdir(parents=True, exist_ok=True)
        self._machine = machine
        self._containers = FOLDER / "containers.conf"
        self._storage = FOLDER / "storage.conf"
        self._containers.write_text(_CONTAINERS)
        self._storage.write_text(_STORAGE.format(folder=FOLDER))

    @property
    def environment(self) -> dict[str, str]:
        """The environment in which podman works on this store."""
        return os.environ | {
            "CONTAINERS_CONF": str(self._containers),
            "CONTAINERS_STORAGE_CONF": str(self._storage),
            "ENGINE": "podman",
            "TAG": TAG,
        }

    def call(self, *arguments: str, timeout_s: float = 120, fails: bool = False, text: str | None = None) -> str:
        """Runs podman and returns what it prints.

        Raises:
            AssertionError: it failed, and not `fails`; or it did not, and `fails`.
        """
        done = subprocess.run(
            ["podman", *arguments],
            **({"stdin": subprocess.DEVNULL} if text is None else {"input": text}),  # type: ignore[arg-type]
            capture_output=True,
            text=True,
            timeout=timeout_s,
            env=self.environment,
        )
        assert (done.returncode != 0) is fails, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def build(self) -> str:
        """Builds the image as a person does, by `make image`; returns what was said."""
        arguments = [
            *("--isolation=chroot", "--network=host", f"--label=dropsweep={FOLDER.name}"),
            *self._machine.volumes(FOLDER / "pip.conf"),
        ]
        head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
        self.revision = head.stdout.strip()
        done = subprocess.run(
            ["make", "--silent", "image", f"ARGS={' '.join(arguments)}"],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=900,
            env=self.environment | {"BASE_IMAGE": self._base()},
        )
        assert done.returncode == 0, done.stdout[-8000:]
        # What the last build left without a name.
        self.call("image", "prune", "--force")
        return done.stdout

    def _base(self) -> str:
        """Returns the name of an image of this machine's own release, which stands in for Python's; made if need be."""
        name = f"{_BASE}:{self._machine.release}"
        if not self.call("images", "--quiet", name):
            archive = FOLDER / "base.tar"
            left_out = [f"--dpkgopt={option}" for option in _LEFT_OUT]
            command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={_PACKAGES}", *left_out]
            command += [self._machine.release, str(archive), str(self._machine.apt_sources)]
            made = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=900)
            assert made.returncode == 0, made.stderr[-8000:]
            self.call("import", f"--change=LABEL dropsweep={FOLDER.name}", str(archive), name)
            archive.unlink()
        return name

    def inspect(self) -> dict[str, Any]:
        """What podman knows of the image."""
        return dict(json.loads(self.call("image", "inspect", TAG))[0])

    def answer(self, *command: str, text: str | None = None) -> str:
        """Runs another program than the worker in the image and returns what it prints."""
        first, *rest = command
        return self.call("run", "--rm", "--interactive", f"--entrypoint={first}", TAG, *rest, text=text)

    def remove_containers(self) -> None:
        """Ends and removes whatever containers of this store an interrupted run left."""
        self.call("rm", "--all", "--force", "--time=0")


def missing() -> list[str]:
    """The programs that these tests need and this machine does not have."""
    return [program for program in NEEDED if shutil.which(program) is None]


@contextlib.contextmanager
def timed(what: str) -> Iterator[None]:
    """Prints how long the block took."""
    start = time.monotonic()
    yield
    print(f"{what}: {time.monotonic() - start:.1f} s")
