"""The variables that a trial's process sees."""

import os
from collections.abc import Mapping
from typing import Final

from dropsweep.records import TrialRecord
from dropsweep_trainer.files.folders import Folders
from dropsweep_trainer.processes.command import clean_environment
from dropsweep_trainer.sharing.slots import Slot

_NAME: Final = "trial"


def variables(slot: Slot, folders: Folders, job: Mapping[str, str], record: TrialRecord) -> dict[str, str]:
    """Returns all variables of an attempt, but for the checkpoint that it resumes from.

    Args:
        slot: where it runs.
        folders: its own.
        job: what its job sets, parameters included.
        record: the trial's, as claimed.
    """
    worker = clean_environment(os.environ) | {
        "HOME": str(folders.home),
        "TMPDIR": str(folders.tmp),
        # A user that no file of the system names: programs that ask for the name read it here.
        **({} if slot.user is None else {"USER": _NAME, "LOGNAME": _NAME}),
    }
    return slot.variables(worker, job, is_alone=record.runs_alone) | {
        "DROPSWEEP_JOB": record.job.path,
        "DROPSWEEP_TRIAL": str(record.trial),
        "DROPSWEEP_ATTEMPT": str(record.attempt),
        "DROPSWEEP_METRICS": str(folders.metrics),
        "DROPSWEEP_CHECKPOINTS": str(folders.checkpoints),
    }


def without_job(slot: Slot) -> dict[str, str]:
    """Returns what a slot gives to every trial, whatever its job."""
    return slot.variables(clean_environment(os.environ), {}, is_alone=False)
