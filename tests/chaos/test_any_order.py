"""Any order: the steps come to the same kind of end whatever comes twice, late, never, or breaks off in the middle.

A state machine plays drops, deliveries, workers, people and the timer against the emulator, whose clock is moved by
hand. `DROPSWEEP_CHAOS=full` plays many examples.
"""

import logging
import os
from collections.abc import Iterator
from typing import Final

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from dropsweep.clusters import Cluster
from dropsweep.settings import Settings, StorageSettings
from local.azurite import Azurite
from tests.chaos.by_hand import Account
from tests.chaos.cast import Cast
from tests.chaos.machine import AnyOrder
from tests.chaos.material import MAX_WINDOW

_IS_FULL: Final = os.environ.get("DROPSWEEP_CHAOS") == "full"
_NUM_EXAMPLES: Final = 200 if _IS_FULL else 15
_NUM_STEPS: Final = 60 if _IS_FULL else 40


@pytest.fixture(scope="module")
def cast(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cast]:
    folder = tmp_path_factory.mktemp("azurite")
    with Azurite(folder / "data", log=folder / "azurite.log") as running:
        own = Settings(
            StorageSettings(running.connection_string),
            clusters=(Cluster("c"),),
            heartbeat_s=100.0,
            claim_timeout_s=600.0,
            dispatch_window=MAX_WINDOW,
            retry_delay_s=100.0,
        )
        logging.disable()  # of thousands of steps; what matters is told by the assertions
        try:
            yield Cast(own, Account(running.connection_string))
        finally:
            logging.disable(logging.NOTSET)


def test_whatever_comes_in_whatever_order_every_job_comes_to_its_end(cast: Cast) -> None:
    AnyOrder.cast = cast
    run_state_machine_as_test(
        AnyOrder,
        settings=settings(
            max_examples=_NUM_EXAMPLES,
            stateful_step_count=_NUM_STEPS,
            deadline=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
