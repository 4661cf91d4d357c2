"""What a build needs of this machine: where its packages come from, and whom it trusts."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

_APT_SOURCES: Final = ("sources.list.d/debian.sources", "sources.list.d/ubuntu.sources", "sources.list")
_CERTIFICATES: Final = Path("/etc/ssl/certs")


@dataclass(frozen=True, slots=True)
class Machine:
    """Where Debian's and Python's packages come from here.

    Attributes:
        release: the name of its release of Debian or Ubuntu, as "bookworm".
        apt_sources: the file that names the distribution's own repositories.
        pip_settings: pip's settings from files and environment, as one file holds them.
        folders: what these settings name on this machine: local indexes and wheels.
    """

    release: str
    apt_sources: Path
    pip_settings: str
    folders: tuple[Path, ...]

    def volumes(self, pip_conf: Path) -> list[str]:
        """Returns the arguments that show all of it, read-only and at its own place, to what runs in a container."""
        pip_conf.write_text(self.pip_settings)
        shown = [*self.folders, *([_CERTIFICATES] if _CERTIFICATES.is_dir() else [])]
        volumes = [f"--volume={folder}:{folder}:ro" for folder in shown]
        return [*volumes, f"--volume={pip_conf}:/etc/pip.conf:ro"]


def this_machine() -> Machine | None:
    """Returns what a build needs to know of this machine; None where it is neither Debian nor Ubuntu."""
    release = _release()
    sources = [path for name in _APT_SOURCES if (path := Path("/etc/apt") / name).is_file()]
    if not release or not sources:
        return None
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True, timeout=60
    )
    settings: dict[str, str] = {}
    # "global.cert='/etc/x'": files first, then the environment, which goes before them.
    for line in listed.stdout.splitlines():
        name, _, value = line.partition("=")
        settings[name.rpartition(".")[2]] = value.strip("'\"")
    folders = {folder for value in settings.values() for word in value.split() if (folder := _folder(word))}
    text = "[global]\n" + "".join(f"{name} = {value}\n" for name, value in sorted(settings.items()))
    return Machine(release, sources[0], text, tuple(sorted(folders)))


def _folder(word: str) -> Path | None:
    """The folder that a word of a setting names, or that the file which it names lies in."""
    url = urlsplit(word)
    path = Path(unquote(url.path)) if url.scheme in ("", "file") and url.path.startswith("/") else None
    if path is None or not path.exists() or path.is_relative_to(_CERTIFICATES):
        return None
    # A simple index refers to files beside it.
    return path if path.is_dir() and path.name != "simple" else path.parent


def _release() -> str:
    lines = Path("/etc/os-release").read_text().splitlines() if os.path.exists("/etc/os-release") else []
    named = dict(line.split("=", 1) for line in lines if "=" in line)
    return named.get("VERSION_CODENAME", "").strip('"')
