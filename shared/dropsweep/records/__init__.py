"""The records: what the system knows, as frozen dataclasses that are written as plain JSON.

State, attempt and objective also stand in each blob's metadata, so that one list call reads a thousand trials
(`TrialSummary`, `JobSummary`). Metadata is ASCII and at most 8 KB, hence the JSON escapes and the limits there.
"""

from dropsweep.records.job import Best, JobRecord, JobSummary, Retries, StateChange
from dropsweep.records.trial import TrialRecord, TrialSummary

__all__ = ["Best", "JobRecord", "JobSummary", "Retries", "StateChange", "TrialRecord", "TrialSummary"]
