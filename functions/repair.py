"""Timer trigger: each minute a look at everything that has not ended."""

import os

import azure.functions as func

from dropsweep.settings import DEFAULT_REPAIR_SCHEDULE, REPAIR_SCHEDULE
from dropsweep.steps.repair import repair as step
from functions import deployment

blueprint = func.Blueprint()  # type: ignore[no-untyped-call]  # the package has no types for it


@blueprint.function_name("repair")
@blueprint.timer_trigger(arg_name="timer", schedule=os.environ.get(REPAIR_SCHEDULE, DEFAULT_REPAIR_SCHEDULE))
def repair(timer: func.TimerRequest) -> None:
    """Makes one pass; the host never runs two at once."""
    step(deployment.store(), deployment.settings(), deployment.looks())
