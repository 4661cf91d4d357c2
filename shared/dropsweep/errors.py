"""Every error that Dropsweep raises, drawn as one tree.

    DropsweepError
    ├── SpecError            a user's job file is wrong                   → shown with every problem; nothing queued
    ├── ConfigError          the deployment is wrong                      → the process ends at start with the remedy
    ├── NotFoundError        a job, trial or file that does not exist     → told to the person who asked
    │   └── NoSuchJob            the job that a hint names                → the hint is buried, the marker removed
    ├── MessageError         a queue message that cannot be read          → never retried with success: goes to poison
    ├── StorageError         the storage service
    │   ├── StorageUnavailable    no answer, 5xx, or 429 after all retries → the caller's work is tried again later
    │   ├── StorageDenied         401, 403                                → told with the key or role to check
    │   └── StorageCorrupt        bytes that are not what we wrote        → never overwritten; told with the blob's path
    ├── ConflictError
    │   ├── SubmissionReused      a submission id with other content       → refused; the job that has it stands
    │   ├── IllegalMove           a state change the tables do not have   → a fault of ours: loud
    │   └── ClaimLost             another worker holds the trial          → stop the process, write nothing more
    ├── StagingError         code or inputs of a trial cannot be had      → the trial is failed with this text
    └── CheckpointError      a checkpoint that is not whole               → the one before it is used

A class exists only where some caller acts on it. Losing a race is not an error but a return value (`None`), and the
ways in which a trial can end are data (`states.TrialReason`). Each message names the value, the rule and the remedy.
"""

from dataclasses import asdict, dataclass
from enum import StrEnum


class DropsweepError(Exception):
    """Root of the tree; `str()` of it is fit for a person to read."""


class Severity(StrEnum):
    """Whether a problem refuses the file or only rides along on the job."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a user's file.

    Attributes:
        path: where in the file, as keys joined by dots and indexes in brackets (`limits.timeout`, `inputs.data.path`);
            empty for the file as a whole.
        value: what stands there, shortened to 80 characters; empty when nothing does.
        rule: what must hold, as a sentence without a full stop.
        remedy: what to do, as an imperative sentence without a full stop.
        severity: an error refuses the file; a warning is kept on the job's record.
    """

    path: str
    value: str
    rule: str
    remedy: str
    severity: Severity = Severity.ERROR

    def __str__(self) -> str:
        where = self.path or "(file)"
        shown = f" is {self.value}" if self.value else ""
        mark = "?" if self.remedy.startswith("Did you mean") else "."
        return f"{where}{shown}: {self.rule}. {self.remedy}{mark}"

    def to_json(self) -> dict[str, str]:
        """Returns the problem as a flat JSON object."""
        return {key: str(value) for key, value in asdict(self).items()}


class SpecError(DropsweepError):
    """A job file that cannot be accepted, with every problem that was found in one read."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        self.problems = problems
        super().__init__("\n".join(str(problem) for problem in problems))


class ConfigError(DropsweepError):
    """A setting of the deployment is missing or wrong."""


class NotFoundError(DropsweepError):
    """What was asked for does not exist."""


class NoSuchJob(NotFoundError):
    """A hint or a marker names a job that has no record."""


class MessageError(DropsweepError):
    """A queue message that is not one of ours."""


class StorageError(DropsweepError):
    """The storage service did not do what was asked."""


class StorageUnavailable(StorageError):
    """No answer, or 429 or 5xx, after all retries; trying again later may help."""


class StorageDenied(StorageError):
    """The service refused the identity or the key."""


class StorageCorrupt(StorageError):
    """A blob does not hold what its writer put there."""


class ConflictError(DropsweepError):
    """Somebody else's change came first."""


class SubmissionReused(ConflictError):
    """A submission id came again with another content than the first time."""


class IllegalMove(ConflictError):
    """A state change that the tables in `states` do not allow."""


class ClaimLost(ConflictError):
    """Another worker holds this trial now; the holder of this error writes nothing more."""


class StagingError(DropsweepError):
    """The code or the inputs of a trial cannot be brought to the node."""


class CheckpointError(DropsweepError):
    """A checkpoint is not whole, or does not hold what its manifest says."""
