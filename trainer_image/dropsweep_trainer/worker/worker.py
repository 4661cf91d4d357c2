"""The worker: prepares its node, and its slots receive trial messages until it is told to stop or has nothing to do."""

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from dropsweep.clusters import SETUP_RETRY_S, Cluster
from dropsweep.errors import NotFoundError, StorageError
from dropsweep.settings import Settings
from dropsweep.states import NodeState
from dropsweep.storage import Message, Store
from dropsweep_trainer.files.folders import WorkerFolder
from dropsweep_trainer.messages.ending import PAUSE_S
from dropsweep_trainer.messages.handling import Handler
from dropsweep_trainer.messages.receiving import HELD_S, Receiver
from dropsweep_trainer.messages.taken import Kept
from dropsweep_trainer.sharing import mps
from dropsweep_trainer.sharing.slots import Slot
from dropsweep_trainer.worker.idleness import Idleness
from dropsweep_trainer.worker.preparing import node_environment, run_setup

_log = logging.getLogger(__name__)
_HEAR_S: Final = 0.25
EXIT_UNUSABLE: Final = 3
"""The exit status of a worker whose node could not be prepared."""


@dataclass(frozen=True, slots=True)
class End:
    """How a worker ended: what its process's exit status is to be, and what its node's record is to tell."""

    exit_status: int = 0
    state: NodeState = NodeState.LEFT
    message: str = ""


class Worker:
    """All slots of one trainer process."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        *,
        name: str,
        cluster: Cluster,
        slots: Sequence[Slot],
        work: Path,
        exit_when_idle_s: float | None,
        is_scaled: bool = False,
        may_leave: Callable[[], bool] = lambda: True,
        leave_after_s: float | None = None,
        stopping: threading.Event | None = None,
    ) -> None:
        """Makes a worker; nothing happens before `run`.

        Args:
            store: the storage account.
            settings: the deployment's settings.
            name: names the worker in records.
            cluster: whose trials it runs.
            slots: its places for trials.
            work: a folder for the cache, which other workers may share, and for running trials.
            exit_when_idle_s: seconds without a trial after which it ends; None: never.
            is_scaled: a scaler started it, so that it ends at once when there is nothing to do for it.
            may_leave: asked before it ends for want of work, whether the cluster can do without it.
            leave_after_s: seconds from now on after which it takes no further message, and ends when its trials have;
                None: never.
            stopping: set by whoever wants the worker to end; the store may watch it too.
        """
        self.stopping = stopping or threading.Event()
        self._grace_s = settings.grace_s
        self._cluster = cluster
        self._folder = WorkerFolder(work)
        self._setup = self._folder.path / "setup"
        self._environment = node_environment(cluster, self._setup)
        self._slots = [replace(slot, environment={**self._environment, **slot.environment}) for slot in slots]
        self._receiver = Receiver(store, cluster.name, visibility_s=settings.claim_timeout_s)
        self._idleness = Idleness(
            self.stopping,
            self._receiver.are_empty_since,
            num_slots=len(slots),
            limit_s=exit_when_idle_s,
            is_scaled=is_scaled,
            may_leave=may_leave,
            leave_after_s=leave_after_s,
        )
        self._handler = Handler(
            store,
            settings,
            name=name,
            cluster=cluster,
            cache=work / "cache",
            folder=self._folder,
            stopping=self.stopping,
            running=self._idleness.running,
            is_dry=self._is_dry,
            num_slots=len(slots),
        )
        self._is_scaled = is_scaled
        self._kept = Kept(store, settings.claim_timeout_s)
        self._is_prepared = not cluster.setup_command

    def standing(self) -> tuple[NodeState, int]:
        """Returns the node's state and how many slots have a trial; from any thread."""
        num_running = self._idleness.num_running
        if self._idleness.is_over:
            return NodeState.LEAVING, num_running
        if not self._is_prepared:
            return NodeState.PREPARING, num_running
        return NodeState.RUNNING if num_running else NodeState.IDLE, num_running

    def run(self) -> End:
        """Prepares the node and serves the queues until `stopping` is set, or it has been idle for long enough."""
        try:
            end = self._prepare()
            if end is None:
                with self._gpu_service() as self._slots:
                    self._serve_all()
                end = End()
        finally:
            self._kept.release()
            self._receiver.release()
            self._handler.finish()
            self._folder.close()
        return end

    def _prepare(self) -> End | None:
        """Runs the setup command, if there is one; returns how the worker ends when it is not to serve.

        None also when it was told to stop meanwhile: its slots hear that at their first look.
        """
        if self._is_prepared:
            return None
        if self._is_scaled and not self._is_needed():
            return End()
        try:
            why = run_setup(
                self._cluster,
                self._setup,
                self._environment,
                stopping=self.stopping,
                grace_s=self._grace_s,
                meanwhile=self._kept.renew,
            )
        except OSError as error:
            why = f"setup_command of cluster {self._cluster.name} could not be run: {error}"
        if why:
            _log.error("%s", why)
            # Not at once, or the scaler would start a node for them at each of its looks, and each would fail.
            self._kept.release(delay_s=SETUP_RETRY_S)
            return End(EXIT_UNUSABLE, NodeState.UNUSABLE, why)
        self._is_prepared = True
        self._idleness.begin_to_serve()
        return None

    def _gpu_service(self) -> AbstractContextManager[list[Slot]]:
        """What lets trials on one GPU run at the same time, where the cluster's file asks for it; gives the slots."""
        return mps.serving(self._slots, self._folder.path) if self._cluster.cuda_mps else nullcontext(self._slots)

    def _is_needed(self) -> bool:
        """Takes the messages that a scaler's node came for; False when none is left, and it need not be prepared."""
        try:
            self._kept.fill(self._receiver, len(self._slots), self._handler.is_wanted)
        except (StorageError, NotFoundError) as error:
            _log.warning("not all messages could be taken before the setup: %s", error)
            return True
        return len(self._kept) > 0 or self._cluster.min_instances > 0

    def _serve_all(self) -> None:
        threads = [
            threading.Thread(target=self._serve, args=(slot,), name=f"slot-{slot}") for slot in range(len(self._slots))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():
                # Not for ever: a signal that does not wake the main thread is heard only after the wait.
                thread.join(_HEAR_S)
                # What its slots did not come to, or never will, others may be waiting for.
                is_useless = self._idleness.is_over or self._handler.gate.is_closed
                self._receiver.release(older_than_s=0.0 if is_useless else HELD_S)

    def _is_dry(self) -> bool:
        return self._receiver.is_dry and not len(self._kept)

    def _serve(self, slot: int) -> None:
        while self._idleness.begin():
            message: Message | None = None
            try:
                try:
                    rest_s = self._handler.rests.take_s(slot)
                    is_closed = self._handler.gate.is_closed
                    if not rest_s and not is_closed:
                        message = self._kept.take() or self._receiver.receive(self._handler.pace.num_at_once)
                    if message:
                        self._handler.handle(slot, self._slots[slot], message)
                finally:
                    self._idleness.end()
                if rest_s:
                    # A node that is not well leaves the trials to others, for longer each time.
                    self._idleness.rest(rest_s)
                elif is_closed:
                    # A trial is alone on the node, or is to be: what waits is for others.
                    self._idleness.wait(_HEAR_S)
                elif not message:
                    self._handler.note_dry()
                    self._idleness.leave_if_idle()
                    self._idleness.wait(self._receiver.next_look_s)
            except (StorageError, NotFoundError) as error:
                self._handler.note_outage()
                _log.warning("slot %d: %s", slot, error)
                self._idleness.end_if_cut_off()
                self.stopping.wait(PAUSE_S)
            except Exception:  # noqa: BLE001 - the edge of the slot: a message that nobody foresaw must not end it
                _log.exception("slot %d goes on after a rest; the message becomes visible again", slot)
                self.stopping.wait(PAUSE_S)
