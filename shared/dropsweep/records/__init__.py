"""The records: what the system knows, as frozen dataclasses that are written as plain JSON.

State, attempt and objective also stand in each blob's metadata, so that one list call reads a thousand trials
(`TrialSummary`, `JobSummary`). Metadata is ASCII and at most 8 KB, hence the JSON escapes and the limits there.
"""

from dropsweep.records.job import Best, JobRecord, JobSummary, StateChange
from dropsweep.records.retries import Retried, Retries
from dropsweep.records.trial import TrialRecord, TrialSummary, duration_s

__all__ = [
    "Best",
    "JobRecord",
    "JobSummary",
    "Retried",
    "Retries",
    "StateChange",
    "TrialRecord",
    "TrialSummary",
    "duration_s",
]
