"""What numbers depend on besides the code that they measure: the machine, its load, the versions."""

import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from dropsweep import __version__
from local.paths import ROOT

_CPU_INFO: Final = Path("/proc/cpuinfo")
_GIB: Final = 2**30


def facts(tools: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Returns when and where numbers are taken, as they stand in every file of numbers; asked before the first one.

    Args:
        tools: versions, by name, of what else takes part.
    """
    return {
        "version": __version__,
        "commit": commit(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
    } | ({"tools": dict(tools)} if tools else {})


def commit(checkout: Path = ROOT) -> str | None:
    """Returns the commit of a checkout as `git describe` names it, with `-dirty` where files were changed since.

    None where there is no checkout or no git, and where git refuses because the checkout is another user's.
    """
    if not (checkout / ".git").exists():  # it may lie within another project's checkout
        return None
    command = ["git", "-C", str(checkout), "describe", "--always", "--dirty"]
    # Without optional locks it writes nothing, not even the index that it has brought up to date.
    env = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    except OSError:
        return None
    return said.stdout.strip() or None


def machine() -> dict[str, Any]:
    """Returns what the numbers depend on besides the code; the load is the average of the last minute."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / _GIB, 1),
        "load": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "platform": platform.platform(),
    }


def told(known: Mapping[str, Any]) -> str:
    """Returns the facts as a sentence, for a terminal and for a page."""
    here = known["machine"]
    versions = [f"{name} {version}" for name, version in known.get("tools", {}).items()]
    own = f"dropsweep {known['version']}" + (f" at {known['commit']}" if known.get("commit") else "")
    before = ", ".join([own, *versions])
    text = (
        f"Measured on {known['started'][:10]} with {before} and Python {here['python']}, on {here['cores']} cores "
        f"({here['processor']}) with {here['memory_gib']:g} GiB of memory; load before it: {here['load']:g}."
    )
    return f"{text} Quick: fewer samples than usual." if known.get("is_quick") else text


def _processor() -> str:
    """The processor's name as its maker has it, or its architecture where the system does not tell."""
    if sys.platform == "darwin":
        command = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
        name = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
        return name or platform.machine()
    text = _CPU_INFO.read_text(encoding="utf-8") if _CPU_INFO.exists() else ""
    name = re.search(r"^model name\s*: (.+)$", text, re.MULTILINE)
    return name.group(1).strip() if name else platform.machine()
