import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from dropsweep.errors import ConfigError
from dropsweep_trainer.processes.users import (
    UID_SETTING,
    User,
    acting_as,
    capabilities,
    may_switch,
    owner,
    run_as,
    trial_users,
)

needs_root = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="needs Linux, and root to take on another user's rights"
)
SOMEBODY = User(20_077, 20_078)


@pytest.fixture
def groups() -> Iterator[list[int]]:
    """Gives this process supplementary groups, as a platform may."""
    before = os.getgroups()
    os.setgroups([7, 8])
    yield [7, 8]
    os.setgroups(before)


def test_no_setting_means_the_worker_s_own_user() -> None:
    assert trial_users({}, 2, is_alone=False) is None
    assert trial_users({UID_SETTING: " "}, 2, is_alone=False) is None


def test_each_slot_has_a_user_of_its_own() -> None:
    users = trial_users({UID_SETTING: "20000"}, 3, is_alone=True)
    assert users == [User(20_000, 20_000, True), User(20_001, 20_001, True), User(20_002, 20_002, True)]


@pytest.mark.parametrize("text", ["0", "-1", "x", "1.5", "٢", "2147483647", "99999999999"])
def test_a_user_id_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"DROPSWEEP_TRIAL_UID=.* must be the user id .* Set it to 20000"):
        trial_users({UID_SETTING: text}, 1, is_alone=False)


def test_the_worker_s_own_user_is_no_trial_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 10_001)
    with pytest.raises(ConfigError, match="Set it to 10002"):
        trial_users({UID_SETTING: "10000"}, 2, is_alone=False)
    assert trial_users({UID_SETTING: "10000"}, 1, is_alone=False) is not None


@pytest.mark.parametrize("text", ["65533", "65534", "65530"])
def test_a_user_id_that_must_be_nobody_s_is_no_trial_s(text: str) -> None:
    with pytest.raises(ConfigError, match=r"6553[34] would be a trial's and must be nobody's. Set it to 20000"):
        trial_users({UID_SETTING: text}, 4, is_alone=False)


def test_acting_as_nobody_in_particular_changes_nothing(tmp_path: Path) -> None:
    with acting_as(None):
        (tmp_path / "file").touch()
    assert owner(tmp_path / "file") is None


@needs_root
def test_what_a_thread_does_as_a_user_is_that_user_s_and_goes_no_further(passable: Path) -> None:
    secret = passable / "secret"
    secret.write_text("s")
    secret.chmod(0o600)
    (passable / "open").mkdir()
    (passable / "open").chmod(0o777)
    before = capabilities()
    with acting_as(SOMEBODY):
        (passable / "open" / "theirs").touch()
        with pytest.raises(PermissionError):
            secret.read_text()
        with acting_as(SOMEBODY), pytest.raises(PermissionError):
            secret.read_text()
    stat = (passable / "open" / "theirs").stat()
    assert (stat.st_uid, stat.st_gid) == (SOMEBODY.uid, SOMEBODY.gid)
    assert owner(passable / "open" / "theirs") == SOMEBODY
    assert (secret.read_text(), capabilities()) == ("s", before)


@needs_root
def test_groups_give_no_rights_meanwhile_and_are_back_afterwards(passable: Path, groups: list[int]) -> None:
    shared = passable / "shared"
    shared.write_text("for a group of the worker's")
    shared.chmod(0o640)
    os.chown(shared, 0, groups[0])
    with acting_as(SOMEBODY):
        assert os.getgroups() == []
        with pytest.raises(PermissionError):
            shared.read_text()
    assert os.getgroups() == groups


@needs_root
def test_other_threads_keep_their_rights_meanwhile(tmp_path: Path, groups: list[int]) -> None:
    seen: list[object] = []

    def look() -> None:
        (tmp_path / "mine").touch()
        seen.extend([os.getgroups(), (tmp_path / "mine").stat().st_uid])

    # A thread inherits from the one that starts it: this one is started before.
    go, done = threading.Event(), threading.Event()
    thread = threading.Thread(target=lambda: [go.wait(60), look(), done.set()])
    thread.start()
    with acting_as(SOMEBODY):
        go.set()
        done.wait(60)
    thread.join()
    assert seen == [groups, 0]


@needs_root
def test_an_error_does_not_leave_the_thread_in_another_s_place() -> None:
    with pytest.raises(ZeroDivisionError), acting_as(SOMEBODY):
        _ = 1 / 0
    status = Path("/proc/thread-self/status").read_text(encoding="ascii")
    assert status.split("Uid:")[1].split()[:4] == ["0", "0", "0", "0"]


@needs_root
def test_root_may_switch() -> None:
    assert may_switch()


@needs_root
def test_what_runs_as_a_user_may_no_more_than_that_and_is_out_of_its_reach(groups: list[int]) -> None:
    seen: list[object] = []

    def look() -> None:
        seen.extend([os.getresuid()[1], os.getresgid(), os.getgroups(), capabilities()])
        # Who signals a process is asked for its real and effective ids, and the process for its real and saved ones.
        seen.append(SOMEBODY.uid in (os.getresuid()[0], os.getresuid()[2]))
        with pytest.raises(PermissionError):
            os.kill(os.getppid(), 0)

    before = (os.getresuid(), os.getresgid(), capabilities())
    run_as(SOMEBODY, look)
    assert seen == [SOMEBODY.uid, (SOMEBODY.gid,) * 3, [], 0, False]
    assert (os.getresuid(), os.getresgid(), capabilities()) == before
    assert os.getgroups() == groups


@needs_root
def test_what_fails_as_a_user_fails_here() -> None:
    with pytest.raises(ZeroDivisionError):
        run_as(SOMEBODY, lambda: [][1 // 0])
