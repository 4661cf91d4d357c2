"""Tells of the node while its worker lives: a record in the account, written from a thread of its own."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from dropsweep.clusters import Cluster
from dropsweep.errors import StorageError
from dropsweep.nodes import list_nodes
from dropsweep.states import NodeState
from dropsweep.steps.register import register
from dropsweep.storage import Store

_log = logging.getLogger(__name__)
_LOOK_S: Final = 0.5


class NodeTeller:
    """Beats for one node, whatever its slots are doing. That it cannot do so costs no trial anything."""

    def __init__(self, store: Store, cluster: Cluster, worker: str, *, num_slots: int, beat_s: float) -> None:
        """Describes the node; nothing is sent before `start`.

        Args:
            store: the storage account.
            cluster: the node's.
            worker: names the worker, as in the records of its trials.
            num_slots: trials that it runs at once.
            beat_s: seconds between two beats.
        """
        self._store = store
        self._cluster = cluster
        self._beat_s = beat_s
        self._registration = register(
            store, cluster.name, worker, num_slots=num_slots, beat_s=beat_s, image=cluster.image
        )
        self._done = threading.Event()
        self._is_told = False
        self._thread: threading.Thread | None = None
        self._asked_at = float("-inf")

    def start(self, look: Callable[[], tuple[NodeState, int]]) -> None:
        """Begins to beat; `look` tells the node's state and how many slots have a trial."""
        self._thread = threading.Thread(target=self._run, args=(look,), name="node", daemon=True)
        self._thread.start()

    def leave(self, state: NodeState, message: str = "") -> None:
        """Beats for the last time; when that fails, the node will count as lost."""
        self._done.set()
        if self._thread is not None:
            self._thread.join()
        try:
            self._registration.leave(state, message)
        except StorageError as error:
            _log.warning("the node's record does not tell that it has left: %s", error)

    def may_leave(self) -> bool:
        """True when the cluster has enough nodes without this one; asks the storage at most once a beat.

        Of the living nodes those stay that have been there longest, `min_instances` of them. Every node comes to the
        same result, so no two of them leave together where one should have stayed.

        Raises:
            StorageError: as the storage does.
        """
        num_staying = self._cluster.min_instances
        if num_staying == 0:
            return True
        if not self._is_told or time.monotonic() - self._asked_at < self._beat_s:
            return False
        self._asked_at = time.monotonic()
        living = [
            node for node in list_nodes(self._store, self._cluster.name).living if node.state is not NodeState.LEAVING
        ]
        living.sort(key=lambda node: (node.started or node.seen, node.node))
        return self._registration.node in [node.node for node in living[num_staying:]]

    def _run(self, look: Callable[[], tuple[NodeState, int]]) -> None:
        beaten_at, told = float("-inf"), NodeState.PREPARING
        while True:
            state, num_busy = look()
            is_leaving = state is NodeState.LEAVING and told is not state
            if is_leaving or time.monotonic() - beaten_at >= self._beat_s:
                beaten_at = time.monotonic()
                try:
                    self._registration.beat(state, num_busy)
                    self._is_told, told = True, state
                except StorageError as error:
                    _log.warning("the node's record could not be written: %s", error)
                    told = state  # at the next beat
                except Exception:  # noqa: BLE001 - the edge of a thread: without beats the node counts as lost
                    _log.exception("the node's record could not be written")
                    told = state
            if self._done.wait(min(_LOOK_S, self._beat_s)):
                return
