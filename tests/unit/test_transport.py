"""How many connections to the account stay open."""

from typing import Any

from dropsweep.storage.parallel import NUM_PARALLEL
from dropsweep.storage.transport import new_session, transport

_NUM_SLOTS = 16
_NUM_OTHERS = 2
"""Of a trial: its heartbeat and its logs."""


def test_a_trainer_of_many_slots_opens_no_connection_for_one_request_alone() -> None:
    at_once = _NUM_SLOTS * 2 * (NUM_PARALLEL + _NUM_OTHERS)
    for session in (new_session(), transport(60).session):
        adapter: Any = session.get_adapter("https://account.blob.core.windows.net")  # type: ignore[union-attr]
        kept = adapter.poolmanager.connection_from_url("https://account.blob.core.windows.net").pool
        assert kept.maxsize >= at_once
