"""Timer trigger: each minute a look at what is due by the schedules."""

import os

import azure.functions as func

from dropsweep.settings import DEFAULT_TICK_SCHEDULE, TICK_SCHEDULE
from dropsweep.steps.tick import tick
from functions import deployment

blueprint = func.Blueprint()  # type: ignore[no-untyped-call]  # the package has no types for it


@blueprint.function_name("schedules")
@blueprint.timer_trigger(arg_name="timer", schedule=os.environ.get(TICK_SCHEDULE, DEFAULT_TICK_SCHEDULE))
def schedules(timer: func.TimerRequest) -> None:
    """Makes one pass; the host never runs two at once."""
    tick(deployment.store(), deployment.settings())
