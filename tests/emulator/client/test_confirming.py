"""A person at a terminal is asked before anything is deleted."""

import os
import subprocess
import sys

import pytest

from dropsweep.cli.exits import ExitCode
from dropsweep.errors import NotFoundError
from dropsweep.names import JobKey
from tests.emulator.client.conftest import World


def answered(connection_string: str, typed: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Runs a command whose standard input is a terminal, at which somebody types."""
    person, terminal = os.openpty()
    os.write(person, f"{typed}\n".encode())
    environment = {**os.environ, "DROPSWEEP_STORAGE": connection_string, "DROPSWEEP_URL": ""}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    code = "from dropsweep.cli import main; main()"
    try:
        return subprocess.run(
            [sys.executable, "-c", code, *arguments],
            stdin=terminal,
            env=environment,
            capture_output=True,
            timeout=60,
            check=False,
        )
    finally:
        os.close(person)
        os.close(terminal)


@pytest.fixture
def key(world: World) -> JobKey:
    return world.finish(world.job(world.key("digits-abc"))).key


def test_a_job_is_deleted_once_its_name_was_typed(world: World, key: JobKey, connection_string: str) -> None:
    done = answered(connection_string, key.job, "delete", key.path)
    assert (done.returncode, done.stdout.decode()) == (0, f"{key.path}  deleted  1 blob\n")
    assert "This cannot be undone" in done.stderr.decode()
    with pytest.raises(NotFoundError):
        world.client.record(key)


@pytest.mark.parametrize("typed", ["", "yes", "digits-ab"])
def test_nothing_is_deleted_when_anything_else_is_typed(
    world: World, key: JobKey, connection_string: str, typed: str
) -> None:
    place = f"{key.workspace}/{key.experiment}"
    for arguments in (("delete", key.path), ("experiment", "delete", place)):
        done = answered(connection_string, typed, *arguments)
        assert (done.returncode, done.stdout) == (ExitCode.USAGE, b"")
        assert "nothing is deleted" in done.stderr.decode()
    assert world.client.record(key).deleted is None


def test_an_experiment_is_deleted_once_its_name_was_typed(world: World, key: JobKey, connection_string: str) -> None:
    done = answered(connection_string, key.experiment, "experiment", "delete", f"{key.workspace}/{key.experiment}")
    assert done.returncode == 0
    assert world.client.jobs(key.workspace) == []
