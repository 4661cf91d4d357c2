"""Timer triggers: each minute a look at everything that has not ended, each hour one at what need not be kept."""

import os

import azure.functions as func

from dropsweep.settings import DEFAULT_REPAIR_SCHEDULE, DEFAULT_RETAIN_SCHEDULE, REPAIR_SCHEDULE, RETAIN_SCHEDULE
from dropsweep.steps.repair import repair as repair_step
from dropsweep.steps.retain import retain as retain_step
from functions import deployment

blueprint = func.Blueprint()  # type: ignore[no-untyped-call]  # the package has no types for it


@blueprint.function_name("repair")
@blueprint.timer_trigger(arg_name="timer", schedule=os.environ.get(REPAIR_SCHEDULE, DEFAULT_REPAIR_SCHEDULE))
def repair(timer: func.TimerRequest) -> None:
    """Makes one pass; the host never runs two at once."""
    repair_step(deployment.store(), deployment.settings(), deployment.looks())


@blueprint.function_name("retain")
@blueprint.timer_trigger(arg_name="timer", schedule=os.environ.get(RETAIN_SCHEDULE, DEFAULT_RETAIN_SCHEDULE))
def retain(timer: func.TimerRequest) -> None:
    """Makes one pass, beside the other timer, so that no live job waits for what is deleted."""
    retain_step(deployment.store(), deployment.looks().policies)
