"""What an examination finds, in words, and what all findings say together."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final

CONNECTION: Final = "connection"
"""The check that fails when the storage account is out of reach."""


class Status(StrEnum):
    """Whether somebody has to do something about a finding."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


class Health(StrEnum):
    """What all findings say together.

    `ok`: no error, though there may be warnings. `degraded`: at least one error. `down`: the storage account is out of
    reach, so nothing works and nothing else could be looked at.
    """

    OK = "ok"
    DEGRADED = "degraded"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        check: what was looked at, in one word.
        status: how it stands.
        message: what was seen, with the values and the rule.
        remedy: what to do, as a sentence without a full stop; empty when there is nothing to do.
    """

    check: str
    status: Status
    message: str
    remedy: str = ""

    def to_json(self) -> dict[str, str]:
        """Returns the finding as a flat JSON object."""
        return {key: str(value) for key, value in asdict(self).items()}

    @classmethod
    def from_json(cls, document: Mapping[str, str]) -> "Finding":
        """Reads what `to_json` gave.

        Raises:
            KeyError, ValueError: it is not that.
        """
        status = Status(document["status"])
        return cls(document["check"], status, document["message"], document.get("remedy", ""))


def health_of(findings: Sequence[Finding]) -> Health:
    """Returns what all findings say together."""
    errors = [finding for finding in findings if finding.status is Status.ERROR]
    if any(finding.check == CONNECTION for finding in errors):
        return Health.DOWN
    return Health.DEGRADED if errors else Health.OK


def to_document(findings: Sequence[Finding]) -> dict[str, Any]:
    """Returns all findings as one JSON object, `{"status": …, "findings": […]}`."""
    return {"status": str(health_of(findings)), "findings": [finding.to_json() for finding in findings]}
