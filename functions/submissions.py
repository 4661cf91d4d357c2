"""Queue triggers: another system sends a submission."""

import logging
from datetime import UTC, datetime

import azure.functions as func

from dropsweep.names import SUBMISSIONS_QUEUE, poison_queue
from dropsweep.settings import STORAGE
from dropsweep.steps.receive import give_up, receive
from functions import deployment
from functions.advance import MAX_DEQUEUE_COUNT

blueprint = func.Blueprint()  # type: ignore[no-untyped-call]  # the package has no types for it
_log = logging.getLogger(__name__)


@blueprint.function_name("submissions")
@blueprint.queue_trigger(arg_name="message", queue_name=SUBMISSIONS_QUEUE, connection=STORAGE)
def submissions(message: func.QueueMessage) -> None:
    """Accepts the submission; one that is refused, or whose last delivery failed, is buried and answered."""
    num_attempts = message.dequeue_count or 1
    store, body = deployment.store(), message.get_body()
    try:
        receive(store, deployment.settings(), str(message.id), body, num_attempts, datetime.now(UTC))
    except Exception as error:
        if num_attempts < MAX_DEQUEUE_COUNT:
            raise
        _log.exception("submissions: the last of %d deliveries failed", num_attempts)
        reason = f"the last of {num_attempts} deliveries failed: {type(error).__name__}: {error}"
        give_up(store, str(message.id), body, reason, num_attempts, datetime.now(UTC))


@blueprint.function_name("submissions_poison")
@blueprint.queue_trigger(arg_name="message", queue_name=poison_queue(SUBMISSIONS_QUEUE), connection=STORAGE)
def submissions_poison(message: func.QueueMessage) -> None:
    """Buries and answers a submission whose deliveries all ended with the host's process."""
    body = message.get_body()
    reason = f"the function submissions failed {MAX_DEQUEUE_COUNT} times: the host's log of that function tells why"
    give_up(deployment.store(), str(message.id), body, reason, MAX_DEQUEUE_COUNT, datetime.now(UTC))
