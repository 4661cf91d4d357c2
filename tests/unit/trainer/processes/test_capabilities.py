"""The right to switch users, raised by a copy of setpriv as it lies in the image, in an environment of its own."""

import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from dropsweep_trainer.processes.users import NEEDED

ROOT = Path(__file__).parents[4]
PYTHON = next((path for path in ("/usr/bin/python3", "/usr/local/bin/python3") if os.path.exists(path)), "")
pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0 or not PYTHON or not shutil.which("setpriv"),
    reason="needs Linux, root, setpriv, and a Python that every user may run",
)
PROGRAM = """
import os, subprocess
from dropsweep_trainer.processes import capabilities, users
capabilities.raise_once()
print(users.may_switch(), os.environ.get("LD_LIBRARY_PATH"), os.environ.get("TMPDIR"), os.environ.get("OTHER"))
print(sorted(name for name in os.environ if "RAISED" in name))
capabilities.seal()
print(users.may_switch())
shown = "grep -E '^(CapPrm|CapEff|CapAmb|NoNewPrivs)' /proc/self/status | tr -s '\\\\n\\\\t' ' '"
print(subprocess.run(shown, shell=True, capture_output=True, text=True).stdout.strip())
"""


@pytest.fixture
def python(passable: Path) -> Path:
    """An environment whose Python finds the helper, as the image makes it, and is another user's to run."""
    subprocess.run([PYTHON, "-m", "venv", "--without-pip", passable / "env"], check=True)
    helper = passable / "env" / "libexec" / "dropsweep-setpriv"
    helper.parent.mkdir()
    shutil.copyfile("/usr/bin/setpriv", helper)
    os.chown(helper, 0, 10_001)
    helper.chmod(0o750)
    try:
        os.setxattr(helper, "security.capability", struct.pack("<5I", 0x02000000, NEEDED, 0, 0, 0))
    except OSError as error:
        pytest.skip(f"needs a file system that keeps file capabilities: {error}")
    return passable / "env" / "bin" / "python"


def run(python: Path, *before: str, uid: int = 10_001, **environment: str) -> list[str]:
    done = subprocess.run(
        [*before, str(python), "-P", "-c", PROGRAM],
        env={
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": f"{ROOT}/shared:{ROOT}/trainer_image",
            "LD_LIBRARY_PATH": "/l",
            "TMPDIR": "/t",
            "OTHER": "o",
            **environment,
        },
        cwd="/",
        capture_output=True,
        text=True,
        check=True,
        **({} if before else {"user": uid, "group": uid, "extra_groups": []}),  # type: ignore[arg-type]
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


NOTHING = "CapPrm: 0000000000000000 CapEff: 0000000000000000 CapAmb: 0000000000000000 NoNewPrivs: 1"


def test_a_worker_that_is_not_root_gets_the_right_and_none_of_its_children_does(python: Path) -> None:
    assert run(python, DROPSWEEP_TRIAL_UID="20000") == ["True /l /t o", "[]", "True", NOTHING]


def test_where_it_is_not_asked_for_nothing_is_raised(python: Path) -> None:
    assert run(python) == ["False /l /t o", "[]", "False", NOTHING]


def test_another_user_cannot_raise_anything(python: Path) -> None:
    assert run(python, uid=20_000, DROPSWEEP_TRIAL_UID="30000") == ["False /l /t o", "[]", "False", NOTHING]


@pytest.mark.parametrize("forbidden", ["--bounding-set=-setuid", "--no-new-privs"])
def test_where_the_platform_forbids_it_the_worker_goes_on_without(python: Path, forbidden: str) -> None:
    before = ("setpriv", "--reuid=10001", "--regid=10001", "--clear-groups", forbidden)
    assert run(python, *before, DROPSWEEP_TRIAL_UID="20000")[:3] == ["False /l /t o", "[]", "False"]
