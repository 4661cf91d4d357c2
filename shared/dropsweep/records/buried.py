"""The record of a message that was buried."""

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from dropsweep.errors import StorageCorrupt
from dropsweep.names import buried
from dropsweep.records.codec import VERSION, Json, dump, load

_ENCODINGS: Final[Mapping[str, Callable[[str], bytes]]] = {"utf-8": str.encode, "base64": base64.b64decode}


@dataclass(frozen=True, slots=True)
class BuriedMessage:
    """A message that nobody could act on.

    Attributes:
        queue: where it had been sent; for a dropped file the host's own queue `webjobs-blobtrigger-poison`.
        id: the service's id of the message.
        body: what it said, at most 64 KB.
        reason: why it was buried, for people.
        num_attempts: how often it had been delivered.
        num_requeues: how often it had been buried before and sent again; 0 for a body that cannot tell.
        when: the blob's Last-Modified, by the storage service's clock; None before it is written.
    """

    queue: str
    id: str
    body: bytes
    reason: str
    num_attempts: int
    num_requeues: int = 0
    when: datetime | None = None

    @property
    def path(self) -> str:
        """Where the record lies in the container `runs`."""
        return buried(self.queue, self.id)

    @property
    def text(self) -> str | None:
        """The body as text; None when it is not UTF-8."""
        try:
            return self.body.decode()
        except UnicodeDecodeError:
            return None

    def to_document(self) -> Json:
        """Returns the record as a JSON object: the body as text, or in base64 when it is not UTF-8."""
        text = self.text
        return {
            "version": VERSION,
            "queue": self.queue,
            "id": self.id,
            "encoding": "base64" if text is None else "utf-8",
            "body": base64.b64encode(self.body).decode() if text is None else text,
            "reason": self.reason,
            "num_attempts": self.num_attempts,
            "num_requeues": self.num_requeues,
        }

    def to_json(self) -> bytes:
        """Returns the record as JSON for people and programs."""
        return dump(self.to_document())

    @classmethod
    def from_json(cls, body: bytes, when: datetime) -> "BuriedMessage":
        """Reads what `to_json` wrote at the time `when`.

        Raises:
            StorageCorrupt: when it is not that.
        """
        document = load(body)
        try:
            return cls(
                queue=document["queue"],
                id=document["id"],
                body=_ENCODINGS[document["encoding"]](document["body"]),
                reason=document["reason"],
                num_attempts=document["num_attempts"],
                num_requeues=document["num_requeues"],
                when=when,
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise StorageCorrupt(f"the record of a buried message cannot be read: {error!r}") from error
