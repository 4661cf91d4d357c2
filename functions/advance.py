"""Queue trigger: somebody says that a job is worth a look."""

import logging
from typing import Final

import azure.functions as func

from dropsweep.errors import MessageError, NoSuchJob, StorageUnavailable
from dropsweep.messages import AdvanceMessage
from dropsweep.names import ADVANCE_QUEUE
from dropsweep.settings import STORAGE
from dropsweep.steps.advance import advance as step
from dropsweep.steps.bury import bury
from functions import deployment

blueprint = func.Blueprint()  # type: ignore[no-untyped-call]  # the package has no types for it
_log = logging.getLogger(__name__)

MAX_DEQUEUE_COUNT: Final = 5
"""Deliveries of one message, as host.json sets it: after the last the host would move it away without its reason."""


@blueprint.function_name("advance")
@blueprint.queue_trigger(arg_name="message", queue_name=ADVANCE_QUEUE, connection=STORAGE)
def advance(message: func.QueueMessage) -> None:
    """Passes over the job that the message names; a repeated delivery also sends again what may have been lost.

    A message that cannot be read or names no job is buried, and so is one whose last delivery failed; the host then
    deletes it. When it failed only because the storage did not answer, the timer's pass does its work, so that nobody
    has to look at it.
    """
    num_attempts = message.dequeue_count or 1
    try:
        hint = AdvanceMessage.from_body(message.get_body())
        step(deployment.store(), deployment.settings(), hint, deployment.looks(), is_repeat=num_attempts > 1)
    except (MessageError, NoSuchJob) as error:
        _bury(message, str(error), num_attempts)
    except Exception as error:
        if num_attempts < MAX_DEQUEUE_COUNT:
            raise
        if isinstance(error, StorageUnavailable):
            _log.error("advance: %s is left to the timer, after %d deliveries: %s", hint.job.path, num_attempts, error)
            return
        _log.exception("advance: the last of %d deliveries failed", num_attempts)
        _bury(message, f"the last of {num_attempts} deliveries failed: {type(error).__name__}: {error}", num_attempts)


def _bury(message: func.QueueMessage, reason: str, num_attempts: int) -> None:
    bury(deployment.store(), ADVANCE_QUEUE, str(message.id), message.get_body(), reason, num_attempts)
