"""What every test may use: the storage emulator, started once for all tests that ask for it."""

import signal
from collections.abc import Iterator

import pytest

from tests.emulator.leaping import LeapingAzurite


def pytest_configure() -> None:
    """Makes Ctrl-C what it is in a terminal: a shell starts what it puts into the background with it ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LeapingAzurite]:
    """One Azurite on free ports for the whole test session, with its data on disk."""
    with LeapingAzurite(tmp_path_factory.mktemp("azurite")) as running:
        yield running


@pytest.fixture(scope="session")
def connection_string(azurite: LeapingAzurite) -> str:
    """Names the account that all tests share: each test makes its own workspace, container and queue names."""
    return azurite.connection_string
