"""What all trials of one worker share."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from dropsweep.errors import StorageUnavailable
from dropsweep.names import JobKey
from dropsweep.records import JobRecord
from dropsweep.settings import Settings
from dropsweep.storage import Store
from dropsweep_trainer.checkpoints.rate import Rate
from dropsweep_trainer.sharing.alone import Gate
from dropsweep_trainer.sharing.limits import Limits
from dropsweep_trainer.staging.stage import Stage
from dropsweep_trainer.warm.starter import Starter

_log = logging.getLogger(__name__)
_PATIENCE_S: Final = 600.0
_AGAIN_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Node:
    """What all trials of one worker share.

    Attributes:
        stopping: set when the worker shall end; its trials are given back.
        job_record: the record of a job, at most a heartbeat old; None when the job is gone.
        starter: starts the trials' commands.
        limits: what each trial may use.
        limits_alone: what a trial may use that is alone on the node.
        gate: what a trial passes before it is staged and run.
        rate: how fast checkpoints go up.
    """

    store: Store
    settings: Settings
    stage: Stage
    stopping: threading.Event
    job_record: Callable[[JobKey], JobRecord | None]
    starter: Starter
    limits: Limits = field(default_factory=Limits)
    limits_alone: Limits = field(default_factory=Limits)
    gate: Gate = field(default_factory=Gate)
    rate: Rate = field(default_factory=Rate)

    def persist(self, act: Callable[[], None], *, who: str, is_over: Callable[[], bool]) -> None:
        """Runs an upload or a commit until the storage takes it: hours of training may hang on it.

        Args:
            act: what is to be done; may be done more than once.
            who: the trial, for the log.
            is_over: True once there is no use in it.

        Raises:
            StorageUnavailable: it did not for ten minutes, there is no use in it, or the worker is to stop.
        """
        give_up = time.monotonic() + _PATIENCE_S
        while True:
            try:
                return act()
            except StorageUnavailable as error:
                if self.stopping.is_set() or time.monotonic() > give_up or is_over():
                    raise
                _log.warning("%s waits for the storage: %s", who, error)
                self.stopping.wait(_AGAIN_S)
