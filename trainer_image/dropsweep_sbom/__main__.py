"""Writes the list of what is inside an image: `python -m dropsweep_sbom`.

From the environment: `TAG`, the image's name (dropsweep-trainer), and `ENGINE`, docker or podman (the first that
answers).
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from dropsweep.errors import ConfigError
from dropsweep_sbom.bill import document

ROOT: Final = Path(__file__).parents[2]
_ENGINE: Final = ROOT / "trainer_image/engine.sh"
_INVENTORY: Final = Path(__file__).with_name("inventory.py")


def main() -> int:
    """Writes `dist/{image}.cdx.json`; returns the exit status."""
    name = os.environ.get("TAG") or "dropsweep-trainer"
    try:
        image, inventory = look_into(name)
        text = document(image, name, inventory)
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    file = ROOT / "dist" / f"{re.sub(r'[^A-Za-z0-9._-]', '-', name.rpartition('/')[2])}.cdx.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(text, encoding="utf-8")
    counts = f"{len(inventory['python'])} Python packages, {len(inventory['debian'])} Debian packages"
    sys.stdout.write(f"{file.relative_to(ROOT)}: {counts}\n")
    return 0


def look_into(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns what the engine knows of an image, and what the image says is installed in it.

    Raises:
        ConfigError: no engine answers, the image is not there, or its Python cannot be run.
    """
    engine = _run(["sh", str(_ENGINE), "docker", "podman"]).strip()
    try:
        image = json.loads(_run([engine, "image", "inspect", name]))[0]
    except ConfigError as error:
        # The engine's words first: what a person reads last is what to do.
        raise ConfigError(
            f"{error}\nThere is no image {name} here: it must be built first. Run `make image TAG={name}`"
        ) from None
    # -I: nothing of the folder that it runs in; it needs no network.
    command = [engine, "run", "--rm", "--interactive", "--network=none", "--entrypoint=python", name, "-I", "-"]
    return image, json.loads(_run(command, text=_INVENTORY.read_text(encoding="utf-8")))


def _run(command: list[str], text: str = "") -> str:
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ConfigError(done.stderr.strip() or f"{command[0]} ended with status {done.returncode}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
