"""The parties of a run: the client, the functions, the timer and the worker, each in a process that can really die.

Each party is a forked child of a process without threads. What the Functions host itself does (it receives, hides and
deletes messages) goes past the faults, for it is not ours; it is done by the same child, so that it dies with it.
"""

import json
import logging
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NoReturn

from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueServiceClient

from dropsweep.client import Client
from dropsweep.messages import AdvanceMessage
from dropsweep.names import ADVANCE_QUEUE, SUBMISSIONS_QUEUE, JobKey, poison_queue
from dropsweep.settings import Settings
from dropsweep.steps.advance import LastLooks, advance
from dropsweep.steps.cancel import cancel
from dropsweep.steps.pick_up import pick_up
from dropsweep.steps.receive import receive
from dropsweep.steps.repair import repair
from dropsweep.storage import Store
from dropsweep_trainer.checkpoints import checkpointer
from dropsweep_trainer.sharing.slots import Slot
from dropsweep_trainer.worker.worker import Worker
from tests.chaos.faults import KILLED, Case, Log, Party, Saboteur

WORKSPACE, EXPERIMENT, NAME = "w", "e", "chaos"
SHARED: Final = "SHARED"
"""A variable that trials have who may have others beside them, and those who are alone on their node do not."""
DROPPED: Final = f"{WORKSPACE}/{EXPERIMENT}/{NAME}.json"
_HIDDEN_S: Final = 1
_IDLE_S: Final = 0.15
_CHECKPOINT_INTERVAL_S: Final = 0.15
_MAX_DEQUEUE_COUNT: Final = 5
_PATIENCE_S: Final = 60.0
_LOOK_S: Final = 0.01
_RAISED: Final = 1


@dataclass(frozen=True, slots=True)
class Run:
    """What all parties of one run share.

    Attributes:
        folder: of this run alone: the log of its requests, what its processes logged, what its workers work in.
        case: the fault, or None for an undisturbed run.
    """

    settings: Settings
    folder: Path
    log: Log
    case: Case | None

    def store(self, party: Party) -> Store:
        """Opens the account as this party, with the fault in the way if it is this party's."""
        return Store.connect(self.settings.storage, Saboteur(party, self.log, self.case))

    def blobs(self) -> BlobServiceClient:
        """Opens the blobs as the account's owner does."""
        return BlobServiceClient.from_connection_string(self.settings.storage.connection_string)

    def queues(self) -> QueueServiceClient:
        """Opens the queues as the host and the platform do."""
        return QueueServiceClient.from_connection_string(self.settings.storage.connection_string)


class Stuck(Exception):
    """A party neither ended nor died."""


class Child:
    """A forked process that acts as one party."""

    def __init__(self, run: Run, party: Party, act: Callable[[], None]) -> None:
        """Forks; the child runs `act` and ends."""
        self._party = party
        self._code: int | None = None
        self._pid = os.fork()
        if self._pid == 0:
            _live(run, party, act)

    def is_alive(self) -> bool:
        """True until it has ended."""
        if self._code is None:
            ended, status = os.waitpid(self._pid, os.WNOHANG)
            self._code = os.waitstatus_to_exitcode(status) if ended else None
        return self._code is None

    def wait(self) -> bool:
        """Waits for its end; True when `act` returned, False when it died of the fault or raised.

        Raises:
            Stuck: it did not end within a minute, or ended in another way.
        """
        give_up = time.monotonic() + _PATIENCE_S
        while self.is_alive():
            if time.monotonic() > give_up:
                os.kill(self._pid, signal.SIGKILL)
                os.waitpid(self._pid, 0)
                raise Stuck(f"{self._party} did not end within {_PATIENCE_S:g} s")
            time.sleep(_LOOK_S)
        if self._code not in (0, _RAISED, KILLED):
            raise Stuck(f"{self._party} ended with status {self._code}")
        return self._code == 0


def _live(run: Run, party: Party, act: Callable[[], None]) -> NoReturn:
    """The whole life of a child."""
    status = _RAISED
    try:
        logging.basicConfig(
            filename=run.folder / f"{party}.log", level=logging.INFO, format="%(asctime)s %(process)d %(message)s"
        )
        act()
        status = 0
    except BaseException:
        logging.exception("%s failed", party)
    finally:
        # Not sys.exit: what the parent has open is not to be closed, and nothing of it to be run.
        os._exit(status)


def submit(run: Run, document: dict[str, Any]) -> bool:
    """The client drops the job file."""

    def act() -> None:
        file = run.folder / f"{NAME}.json"
        file.write_text(json.dumps(document))
        Client(run.store(Party.CLIENT)).submit(file, workspace=WORKSPACE, experiment=EXPERIMENT)

    return Child(run, Party.CLIENT, act).wait()


def deliver_drop(run: Run) -> bool:
    """The host delivers the event of a dropped file once."""
    return Child(run, Party.DROP, lambda: _accept(run)).wait()


def _accept(run: Run) -> None:
    pick_up(run.store(Party.DROP), run.settings, DROPPED)


def deliver_submission(run: Run) -> bool:
    """The host delivers the message of the queue `submissions` once, if it is visible."""
    return Child(run, Party.SUBMISSIONS, lambda: _receive(run)).wait()


def _receive(run: Run) -> None:
    queue = run.queues().get_queue_client(SUBMISSIONS_QUEUE)
    message = queue.receive_message(visibility_timeout=_HIDDEN_S)
    if message is None:
        return
    store, num_attempts = run.store(Party.SUBMISSIONS), message.dequeue_count or 1
    receive(store, run.settings, str(message.id), str(message.content).encode(), num_attempts, datetime.now(UTC))
    queue.delete_message(message)


def deliver_hints(run: Run) -> bool:
    """The host delivers the visible messages of the queue `advance`, one after the other, until none is visible."""
    return Child(run, Party.ADVANCE, lambda: _deliver(run)).wait()


def _deliver(run: Run) -> None:
    host = run.queues()
    queue = host.get_queue_client(ADVANCE_QUEUE)
    store, looks = run.store(Party.ADVANCE), LastLooks()
    while message := queue.receive_message(visibility_timeout=_HIDDEN_S):
        if (message.dequeue_count or 0) > _MAX_DEQUEUE_COUNT:
            host.get_queue_client(poison_queue(ADVANCE_QUEUE)).send_message(message.content)
        else:
            hint = AdvanceMessage.from_text(message.content)
            advance(store, run.settings, hint, looks, is_repeat=(message.dequeue_count or 1) > 1)
        queue.delete_message(message)


def tick(run: Run, **more: Any) -> bool:
    """The timer's function makes one pass."""
    return Child(run, Party.TIMER, lambda: _repair(run, **more)).wait()


def _repair(run: Run, **more: Any) -> None:
    repair(run.store(Party.TIMER), run.settings, LastLooks(), **more)


def start_to_serve(run: Run) -> Child:
    """A worker serves the cluster's queue until it has been empty for a moment."""

    def act() -> None:
        # Trials that make checkpoints for some tenths of a second shall have them brought up meanwhile.
        checkpointer._INTERVAL_S = _CHECKPOINT_INTERVAL_S  # type: ignore[misc]
        Worker(
            run.store(Party.WORKER),
            run.settings,
            name=f"worker-{os.getpid()}",
            cluster=run.settings.clusters[0],
            slots=[Slot(shared={SHARED: "yes"})],
            work=run.folder / "work",
            exit_when_idle_s=_IDLE_S,
        ).run()

    return Child(run, Party.WORKER, act)


def ask_to_cancel(run: Run, key: JobKey) -> bool:
    """A person cancels the job."""

    def act() -> None:
        cancel(run.store(Party.PERSON), key)

    return Child(run, Party.PERSON, act).wait()
