"""Queue triggers: what the Functions host gave up because its process died, or a file could not be accepted."""

import azure.functions as func

from dropsweep.names import ADVANCE_QUEUE, DROP_POISON_QUEUE, poison_queue
from dropsweep.settings import STORAGE
from dropsweep.steps.bury import bury, reason_of
from functions import deployment
from functions.advance import MAX_DEQUEUE_COUNT

blueprint = func.Blueprint()  # type: ignore[no-untyped-call]  # the package has no types for it


@blueprint.function_name("advance_poison")
@blueprint.queue_trigger(arg_name="message", queue_name=poison_queue(ADVANCE_QUEUE), connection=STORAGE)
def advance_poison(message: func.QueueMessage) -> None:
    """Buries a hint whose deliveries all ended with the host's process, or when the storage could not be written."""
    _bury(ADVANCE_QUEUE, message)


@blueprint.function_name("drop_poison")
@blueprint.queue_trigger(arg_name="message", queue_name=DROP_POISON_QUEUE, connection=STORAGE)
def drop_poison(message: func.QueueMessage) -> None:
    """Buries the name of a dropped file whose acceptance failed each time."""
    _bury(DROP_POISON_QUEUE, message)


def _bury(queue: str, message: func.QueueMessage) -> None:
    """The message's own dequeue count is that of the poison queue; the host came here after its last try."""
    body = message.get_body()
    reason = reason_of(deployment.store(), queue, body, MAX_DEQUEUE_COUNT)
    bury(deployment.store(), queue, str(message.id), body, reason, MAX_DEQUEUE_COUNT)
