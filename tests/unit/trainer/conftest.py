import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def passable() -> Iterator[Path]:
    """A folder that every user can reach; pytest's own lies in one that is shut for others."""
    folder = Path(tempfile.mkdtemp(prefix="dropsweep-test-"))
    folder.chmod(0o711)
    yield folder
    subprocess.run(["rm", "-rf", folder], check=True)


def make_deep(folder: Path, depth: int) -> None:
    """Makes a folder in a folder in a folder, with a path longer than any path may be.

    Only for `passable`: pytest cannot remove such a folder, and what it cannot remove fails its next runs.
    """
    deep = os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=deep)
        below = os.open("d", os.O_RDONLY, dir_fd=deep)
        os.close(deep)
        deep = below
    os.close(deep)
