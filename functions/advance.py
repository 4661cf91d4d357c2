"""Queue trigger: somebody says that a job is worth a look."""

import azure.functions as func

from dropsweep.messages import AdvanceMessage
from dropsweep.names import ADVANCE_QUEUE
from dropsweep.settings import STORAGE
from dropsweep.steps import advance as step
from functions import deployment

blueprint = func.Blueprint()  # type: ignore[no-untyped-call]  # the package has no types for it
_looks = step.LastLooks()


@blueprint.function_name("advance")
@blueprint.queue_trigger(arg_name="message", queue_name=ADVANCE_QUEUE, connection=STORAGE)
def advance(message: func.QueueMessage) -> None:
    """Passes over the job that the message names; a repeated delivery also sends again what may have been lost."""
    hint = AdvanceMessage.from_text(message.get_body().decode())
    step.advance(deployment.store(), hint, _looks, is_repeat=(message.dequeue_count or 1) > 1)
