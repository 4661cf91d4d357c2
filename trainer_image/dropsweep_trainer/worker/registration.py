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
_OVERDUE_S: Final = 5.0
"""A beat may be later by so much; times of the service are whole seconds, too."""


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
        self._has_beaten = False
        self._thread: threading.Thread | None = None
        self._asked_at = float("-inf")

    def start(self, standing: Callable[[], tuple[NodeState, int]]) -> None:
        """Begins to beat; `standing` tells the node's state and how many slots have a trial."""
        self._thread = threading.Thread(target=self._run, args=(standing,), name="node", daemon=True)
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
        same result, so no two of them leave together where one should have stayed. One counts as staying only when it
        has beaten since this one came, and is not overdue: the place of a node that died is kept by the node that came
        for it, from the first moment on and not only once the dead one counts as lost.

        Raises:
            StorageError: as the storage does.
        """
        num_staying = self._cluster.min_instances
        if num_staying == 0:
            return True
        if not self._has_beaten or time.monotonic() - self._asked_at < self._beat_s:
            return False
        self._asked_at = time.monotonic()
        listed = list_nodes(self._store, self._cluster.name)
        living = [node for node in listed.living if node.state is not NodeState.LEAVING]
        living.sort(key=lambda node: (node.started or node.seen, node.node))
        came = {node.node: node.started or node.seen for node in living}.get(self._registration.node)
        staying = living[:num_staying]
        return (
            came is not None
            and self._registration.node not in [node.node for node in staying]
            and all(node.seen >= came and node.age_s(listed.now) <= node.beat_s + _OVERDUE_S for node in staying)
        )

    def _run(self, standing: Callable[[], tuple[NodeState, int]]) -> None:
        beaten_at, last = float("-inf"), NodeState.PREPARING
        while True:
            state, num_busy = standing()
            is_leaving = state is NodeState.LEAVING and last is not state
            if is_leaving or time.monotonic() - beaten_at >= self._beat_s:
                beaten_at = time.monotonic()
                try:
                    self._registration.beat(state, num_busy)
                    self._has_beaten, last = True, state
                except StorageError as error:
                    _log.warning("the node's record could not be written: %s", error)
                    last = state  # at the next beat
                except Exception:  # noqa: BLE001 - the edge of a thread: without beats the node counts as lost
                    _log.exception("the node's record could not be written")
                    last = state
            if self._done.wait(min(_LOOK_S, self._beat_s)):
                return
