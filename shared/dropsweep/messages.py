"""The queue messages: small JSON hints, plain UTF-8 (host.json sets `messageEncoding: none` to match).

A message never carries truth: losing, doubling or reordering one changes nothing that the records do not show. What is
read may also be base64 of the same JSON, as the portal and some SDKs send it. Whatever stands in a message that is not
one of ours, reading it raises MessageError and nothing else.
"""

import base64
import json
import re
from dataclasses import dataclass
from typing import Any, Final

from dropsweep.errors import DropsweepError, MessageError
from dropsweep.names import JobKey

VERSION: Final = 1
MAX_MESSAGE_BYTES: Final = 64 * 1024
"""The service's limit on what is sent.

Source: https://learn.microsoft.com/rest/api/storageservices/put-message
"""
_MAX_INDEX: Final = 2**63
_MAX_SHOWN: Final = 80
_MAX_NAME: Final = 1024
"""Characters in a blob's name at most, the service's limit."""
_REQUEUES: Final = "num_requeues"


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
            raise MessageError(f"trials is {_shown(trials)}: it must be a list of trials' numbers, from 0. Correct it")
        return cls(job, tuple(trials), document.get("is_alarm") is True)

    @classmethod
    def from_body(cls, body: bytes) -> "AdvanceMessage":
        """Reads a body as a trigger brings it.

        Raises:
            MessageError: when it is not one of ours.
        """
        return cls.from_text(_decoded(body))


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
            raise MessageError(f"trial is {_shown(trial)}: it must be a trial's number, from 0. Correct it")
        return cls(job, trial)


@dataclass(frozen=True, slots=True)
class FailedBlob:
    """Says: the Functions host gave up a blob; the host writes this message, not we.

    Attributes:
        container: where the blob lies. path: its name there. etag: the version that failed, without quotes.
    """

    container: str
    path: str
    etag: str

    @classmethod
    def from_body(cls, body: bytes) -> "FailedBlob":
        """Reads a body of the queue `webjobs-blobtrigger-poison`.

        Raises:
            MessageError: when it names no blob.
        """
        document = _document(_decoded(body))
        container, path, etag = (document.get(key, "") for key in ("ContainerName", "BlobName", "ETag"))
        if not isinstance(container, str) or re.fullmatch(r"[a-z0-9$-]{1,63}", container) is None:
            raise MessageError(
                f"ContainerName is {_shown(container)}: it must be a container's name. Drop the file anew"
            )
        if not isinstance(path, str) or not _is_path(path):
            raise MessageError(f"BlobName is {_shown(path)}: it must be a blob's name. Drop the file anew")
        return cls(container, path, etag.strip('"') if isinstance(etag, str) else "")


def requeued(body: bytes) -> str:
    """Returns what to send for a message that was buried, which counts how often this was done.

    The count rides in the message, for a message that is sent again gets another id. What is not a JSON object, or
    would grow over the service's limit, is sent as it was and keeps no count. What XML cannot carry goes as base64.
    """
    try:
        document = _document(_decoded(body))
        text = json.dumps({**document, _REQUEUES: num_requeues(body) + 1})
    except (MessageError, RecursionError):
        return _sendable(body)
    return text if len(text) <= MAX_MESSAGE_BYTES else _sendable(body)


def num_requeues(body: bytes) -> int:
    """Returns how often a message was sent again after it had been buried; 0 when it does not say. Never raises."""
    try:
        count = _document(_decoded(body)).get(_REQUEUES)
    except MessageError:
        return 0
    return count if isinstance(count, int) and _is_index(count) else 0


def _read(text: str) -> tuple[JobKey, dict[str, Any]]:
    document = _document(text)
    version = document.get("version")
    if type(version) is not int or version != VERSION:
        raise MessageError(
            f"version is {_shown(version)}: this program reads version {VERSION}. Run programs of one version"
        )
    job = document.get("job")
    if not isinstance(job, str) or len(job) > _MAX_NAME:
        raise MessageError(f"job is {_shown(job)}: it must be workspace/experiment/job. Correct it")
    try:
        return JobKey.parse(job), document
    except DropsweepError as error:
        raise MessageError(str(error)) from error


def _document(text: str) -> dict[str, Any]:
    """Reads a JSON object, plain or base64: no text is both, for base64 has no braces."""
    what = "a message"
    if not text.lstrip().startswith("{") and (plain := _from_base64(text)) is not None:
        what, text = "a message in base64", plain
    try:
        document = json.loads(text)
    except RecursionError as error:
        raise MessageError(f"{what} is {_shown(text)}: it is nested too deeply. Send a flat JSON object") from error
    except ValueError as error:
        why = f" (line {error.lineno}, column {error.colno})" if isinstance(error, json.JSONDecodeError) else ""
        raise MessageError(
            f"{what} is {_shown(text)}: it must be a JSON object, plain or in base64{why}. Correct its sender"
        ) from error
    if not isinstance(document, dict):
        raise MessageError(f"{what} is {_shown(text)}: it must be a JSON object, with braces. Correct its sender")
    return document


def _from_base64(text: str) -> str | None:
    """Returns the JSON object that a body in base64 holds; None when it is not base64 of one."""
    try:
        plain = base64.b64decode("".join(text.split()), validate=True).decode()
    except ValueError:  # not base64, or not UTF-8 in it
        return None
    return plain if plain.lstrip().startswith("{") else None


def _decoded(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise MessageError(
            f"a message is {_shown(body)}: it must be UTF-8, and byte {error.start} is not. Correct its sender"
        ) from error


def _sendable(body: bytes) -> str:
    """Returns the body as text, or in base64 when it is not UTF-8 or has characters that XML 1.0 does not allow."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return base64.b64encode(body).decode()
    if re.fullmatch("[\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]*", text):
        return text
    return base64.b64encode(body).decode()


def _shown(value: object) -> str:
    """Returns a value as one short line of ASCII and printable characters."""
    try:
        shown = repr(value[: 2 * _MAX_SHOWN] if isinstance(value, str | bytes) else value)
    except (RecursionError, ValueError):
        shown = f"{type(value).__name__} too large to show"
    return shown if len(shown) <= _MAX_SHOWN else f"{shown[:_MAX_SHOWN]}…"


def _is_path(text: str) -> bool:
    """True for what may be a blob's name and means the same blob in a URL, where dots would lead elsewhere."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return 0 < len(text) <= _MAX_NAME and not {".", ".."} & set(text.split("/"))


def _is_index(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MAX_INDEX
