"""What runs on this side."""

import platform
import re
from importlib import metadata
from typing import Final

from dropsweep.client.doctor.findings import Finding, Status
from dropsweep.version import __version__

_SDKS: Final = ("azure-storage-blob", "azure-storage-queue", "azure-identity")


def here() -> Finding:
    """Tells the versions of what runs in this process; sends nothing."""
    told = [f"dropsweep {__version__}", f"Python {platform.python_version()}"]
    told += [f"{name} {version}" for name in _SDKS if (version := _installed(name))]
    return Finding("versions", Status.OK, f"here: {', '.join(told)}")


def differing(what: str, version: str) -> Finding | None:
    """Tells that a part of the deployment is of another version than this process, and who has to move.

    Args:
        what: the part, in the plural.
        version: its version.

    Returns:
        A warning; None when the two are the same.
    """
    if version == __version__:
        return None
    older = "Deploy the functions anew" if _order(version) < _order(__version__) else "Upgrade this installation"
    told = f"{what} run dropsweep {version}, and here is {__version__}: both must be of one version"
    return Finding("versions", Status.WARNING, told, older)


def _order(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)))


def _installed(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
