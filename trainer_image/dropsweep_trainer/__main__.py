"""Starts a worker: `python -m dropsweep_trainer --cluster local`."""

import os
import sys

from dropsweep_trainer.processes.capabilities import raise_once
from dropsweep_trainer.processes.command import hide_from_trials
from dropsweep_trainer.processes.init import run_below_process_1


def main() -> int:
    """Runs a worker, as the child of an init when this is process 1; returns the exit status."""
    hide_from_trials()
    return run_below_process_1(_serve) if os.getpid() == 1 else _serve()


def _serve() -> int:
    raise_once()
    # Here, because it takes most of a second, in which process 1 must hear of signals already.
    from dropsweep_trainer.worker.serve import serve

    return serve()


if __name__ == "__main__":
    sys.exit(main())
