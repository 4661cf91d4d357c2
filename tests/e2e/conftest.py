"""The whole stack, once for all end-to-end tests: Azurite, the host with the real functions, two trainer processes."""

from collections.abc import Iterator

import pytest

from dropsweep.client import Client
from local.stack import Stack


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("stack"), num_trainers=2) as stack:
        yield stack


@pytest.fixture(scope="session")
def client(stack: Stack) -> Client:
    return Client.from_connection_string(stack.connection_string)
