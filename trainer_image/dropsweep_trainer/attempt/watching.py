"""A trial's command from its start to its end: waited for, or ended."""

import logging
import time
from dataclasses import dataclass
from typing import Final

from dropsweep_trainer.attempt import leftovers
from dropsweep_trainer.attempt.attempt import Attempt
from dropsweep_trainer.claim.interruption import Interruption
from dropsweep_trainer.processes.running import Running
from dropsweep_trainer.sharing.limits import Excess, Watch

_log = logging.getLogger(__name__)
_LOOK_S: Final = 0.2


@dataclass(frozen=True, slots=True)
class CommandEnd:
    """How a command ended.

    Attributes:
        exit_code: of its process; negative: the signal that ended it; None: it was not started.
        interruption: why it was ended by us; None: it ended by itself.
        excess: what it used too much of, if it was ended for that.
    """

    exit_code: int | None = None
    interruption: Interruption | None = None
    excess: Excess | None = None


def watch(attempt: Attempt, process: Running) -> CommandEnd:
    """Waits for the process, or ends it; nothing of its group is left afterwards."""
    node, asked, user = attempt.node, attempt.asked, attempt.user
    started = time.monotonic()
    use = Watch(attempt.limits, process.pid, user)
    interruption: Interruption | None = None
    excess: Excess | None = None
    try:
        while (exit_code := process.wait(_LOOK_S)) is None:
            interruption = asked.now()
            limit_s = asked.limit_s
            if interruption is None and limit_s is not None and time.monotonic() - started > limit_s:
                interruption = Interruption.TIMED_OUT
            if interruption is not None:
                exit_code = process.stop(node.settings.grace_s)
                break
            excess = use.excess()
            if excess is not None:
                # No grace: it would use more and more meanwhile, and others would have to do without.
                exit_code, interruption = process.kill(), Interruption.EXCESSIVE
                break
    finally:
        process.sweep_up()
        if not leftovers.clear(user, attempt.folders.root.parents[1]):
            _log.error("this worker ends: the slot's next trial would have them beside it")
            node.stopping.set()
    return CommandEnd(exit_code, interruption, excess)
