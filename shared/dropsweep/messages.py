"""The queue messages: small JSON hints, plain UTF-8 (host.json sets `messageEncoding: none` to match).

A message never carries truth: losing, doubling or reordering one changes nothing that the records do not show.
"""

import json
from dataclasses import dataclass
from typing import Any

from dropsweep.errors import DropsweepError, MessageError
from dropsweep.names import JobKey

VERSION = 1


@dataclass(frozen=True, slots=True)
class AdvanceMessage:
    """Says: look at this job.

    Attributes:
        job: the job to look at.
        trials: the trials whose final records caused the hint; a pass that has seen them all need not look again.
            Empty: look in any case.
        is_alarm: the hint was set for the time at which the job's timeout passes, or as near to it as queues can.
    """

    job: JobKey
    trials: tuple[int, ...] = ()
    is_alarm: bool = False

    def to_text(self) -> str:
        """Returns the message's body."""
        document = {"version": VERSION, "job": self.job.path, "trials": list(self.trials), "is_alarm": self.is_alarm}
        return json.dumps(document)

    @classmethod
    def from_text(cls, text: str) -> "AdvanceMessage":
        """Reads a body.

        Raises:
            MessageError: when it is not one of ours.
        """
        job, document = _read(text)
        trials = document.get("trials", [])
        if not isinstance(trials, list) or not all(_is_index(trial) for trial in trials):
            raise MessageError(f"trials is {trials!r}: it must be a list of trial numbers")
        return cls(job, tuple(trials), document.get("is_alarm") is True)


@dataclass(frozen=True, slots=True)
class TrialMessage:
    """Says: this trial of this job may be claimed."""

    job: JobKey
    trial: int

    def to_text(self) -> str:
        """Returns the message's body."""
        return json.dumps({"version": VERSION, "job": self.job.path, "trial": self.trial})

    @classmethod
    def from_text(cls, text: str) -> "TrialMessage":
        """Reads a body.

        Raises:
            MessageError: when it is not one of ours.
        """
        job, document = _read(text)
        trial = document.get("trial")
        if not isinstance(trial, int) or not _is_index(trial):
            raise MessageError(f"trial is {trial!r}: it must be a trial's number, from 0")
        return cls(job, trial)


def _read(text: str) -> tuple[JobKey, dict[str, Any]]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise MessageError(f"a message of {len(text)} characters is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise MessageError(f"a message is a JSON {type(document).__name__}: it must be an object")
    if document.get("version") != VERSION:
        raise MessageError(f"a message has version {document.get('version')!r}: this code reads {VERSION}")
    try:
        return JobKey.parse(str(document.get("job", ""))), document
    except DropsweepError as error:
        raise MessageError(str(error)) from error


def _is_index(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
