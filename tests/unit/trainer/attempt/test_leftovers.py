import os
import subprocess
import sys
from pathlib import Path

import pytest

from dropsweep_trainer.attempt import leftovers
from dropsweep_trainer.processes.users import User

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="needs Linux, and root to start processes of other users"
)
SOMEBODY = User(20_078, 20_078, is_alone=True)


def sleeper() -> subprocess.Popen[bytes]:
    return subprocess.Popen(["/bin/sleep", "60"], user=SOMEBODY.uid, group=SOMEBODY.gid, extra_groups=[])


def test_processes_of_the_user_end_and_others_do_not(tmp_path: Path) -> None:
    with sleeper() as process, subprocess.Popen(["/bin/sleep", "60"], user=SOMEBODY.uid + 1) as other:
        assert leftovers.clear(SOMEBODY, tmp_path)
        assert process.wait(60) == -9
        assert other.poll() is None
        other.kill()


def test_they_end_where_the_user_cannot_be_taken_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_user: object, _act: object) -> None:
        raise PermissionError

    monkeypatch.setattr(leftovers, "run_as", refused)
    with sleeper() as process:
        assert leftovers.clear(SOMEBODY, tmp_path)
        assert process.wait(60) == -9


def test_what_does_not_end_is_told_after_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As a process that waits in the kernel for a disk that is gone: no signal reaches it.
    monkeypatch.setattr(leftovers, "run_as", lambda _user, _act: None)
    monkeypatch.setattr(leftovers, "_PATIENCE_S", 0.1)
    with sleeper() as process:
        assert not leftovers.clear(SOMEBODY, tmp_path)
        process.kill()


def test_a_user_that_is_not_alone_is_left_in_peace(tmp_path: Path) -> None:
    with sleeper() as process:
        assert leftovers.clear(User(SOMEBODY.uid, SOMEBODY.gid), tmp_path)
        assert leftovers.clear(None, tmp_path)
        assert process.poll() is None
        process.kill()
