"""Prints what is installed where it runs, as JSON. Runs inside the image and needs the standard library alone."""

import json
import platform
import shutil
import subprocess
import sys
from importlib import metadata

_FIELDS = ("binary:Package", "Version", "Architecture", "source:Package", "source:Version", "db:Status-Status")


def python_packages() -> list[dict[str, object]]:
    """Returns each Python distribution that can be imported, by name; the first of a name goes before the others."""
    found: dict[str, dict[str, object]] = {}
    for package in metadata.distributions():
        about = package.metadata
        classifiers = about.get_all("Classifier") or []
        found.setdefault(
            about["Name"].lower(),
            {
                "name": about["Name"],
                "version": package.version,
                "licence_expression": (about.get_all("License-Expression") or [""])[0],
                "licence": (about.get_all("License") or [""])[0],
                "licence_classifiers": [name for name in classifiers if name.startswith("License :: ")],
            },
        )
    return [found[name] for name in sorted(found)]


def debian_packages() -> list[dict[str, str]]:
    """Returns each package that dpkg has installed, by name; none where there is no dpkg."""
    if shutil.which("dpkg-query") is None:
        return []
    shown = "".join(f"${{{field}}}\t" for field in _FIELDS) + "\n"
    listed = subprocess.run(
        ["dpkg-query", "--show", f"--showformat={shown}"], capture_output=True, text=True, check=True
    )
    rows = [dict(zip(_FIELDS, line.split("\t"), strict=False)) for line in listed.stdout.splitlines()]
    return sorted(
        (
            {
                # Without the architecture that follows a colon where several could be installed.
                "name": row["binary:Package"].partition(":")[0],
                "version": row["Version"],
                "architecture": row["Architecture"],
                "source": row["source:Package"],
                "source_version": row["source:Version"],
            }
            for row in rows
            if row["db:Status-Status"] == "installed"
        ),
        key=lambda package: package["name"],
    )


if __name__ == "__main__":
    release = platform.freedesktop_os_release()
    sys.stdout.write(
        json.dumps(
            {
                "system": {"id": release["ID"], "name": release["NAME"], "version": release.get("VERSION_ID", "")},
                "python_version": platform.python_version(),
                "python": python_packages(),
                "debian": debian_packages(),
            }
        )
    )
