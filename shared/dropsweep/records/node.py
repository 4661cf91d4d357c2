"""The record of one node of a cluster in one month, what a list call sees of it, and the ledger of nodes gone by."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from dropsweep.errors import StorageCorrupt
from dropsweep.records.codec import VERSION, dump, load, time_in, time_out
from dropsweep.states import NodeState

LOST: Final = "lost"
"""What is shown in place of the state of a node that went silent."""
_LOST_BEATS: Final = 3
_SLACK_S: Final = 2.0
"""Times of the service are whole seconds."""
_MAX_METADATA_TEXT_BYTES: Final = 2500
_MAX_MESSAGE: Final = 4000


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRecord:
    """What one node says of itself in one calendar month (UTC).

    Attributes:
        cluster, month: whose it is, and in which month.
        node: name of the record; no other has it, in this month or at any time.
        worker: what the records of trials call it.
        state: by its own last word. A final record is never changed again.
        num_slots: trials that it can run at once; num_busy: those that it ran then.
        beat_s: seconds between two of its beats.
        seconds: its life within this month up to then, by its own steady clock; whole ones, rounded up.
        started: when it came, maybe in an earlier month, by the storage service's clock; None in its first write.
        message: for people: why it is unusable, or went.
        image: what it runs, as the cluster file names it.
        version: of Dropsweep.
    """

    cluster: str
    month: str
    node: str
    worker: str
    state: NodeState
    num_slots: int
    beat_s: float
    num_busy: int = 0
    seconds: int = 0
    started: datetime | None = None
    message: str = ""
    image: str = ""
    version: str = ""

    def to_json(self) -> bytes:
        """Returns the record as JSON for people and programs."""
        return dump(
            {
                "version": VERSION,
                "cluster": self.cluster,
                "month": self.month,
                "node": self.node,
                "worker": self.worker,
                "state": self.state,
                "num_slots": self.num_slots,
                "num_busy": self.num_busy,
                "beat_s": self.beat_s,
                "seconds": self.seconds,
                "started": time_out(self.started),
                "message": self.message[:_MAX_MESSAGE],
                "image": self.image,
                "dropsweep": self.version,
            }
        )

    @classmethod
    def from_json(cls, body: bytes) -> "NodeRecord":
        """Reads what `to_json` wrote.

        Raises:
            StorageCorrupt: when it is not that.
        """
        document = load(body)
        try:
            return cls(
                cluster=document["cluster"],
                month=document["month"],
                node=document["node"],
                worker=document["worker"],
                state=NodeState(document["state"]),
                num_slots=int(document["num_slots"]),
                num_busy=int(document["num_busy"]),
                beat_s=float(document["beat_s"]),
                seconds=int(document["seconds"]),
                started=time_in(document["started"]),
                message=document["message"],
                image=document["image"],
                version=document["dropsweep"],
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise StorageCorrupt(f"a node's record cannot be read: {error!r}") from error

    def to_metadata(self) -> dict[str, str]:
        """Returns what a list call shall see of it: all but the end of a long message."""
        return {
            "state": str(self.state),
            "slots": str(self.num_slots),
            "busy": str(self.num_busy),
            "beat": repr(self.beat_s),
            "seconds": str(self.seconds),
            "started": time_out(self.started) or "",
            "worker": _ascii(self.worker),
            "message": _ascii(self.message),
            "image": _ascii(self.image),
            "dropsweep": self.version,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSummary(NodeRecord):
    """What a list call sees of a node.

    Attributes:
        seen: when the node last wrote its record, by the storage service's clock.
    """

    seen: datetime

    @classmethod
    def from_metadata(
        cls, cluster: str, month: str, node: str, metadata: Mapping[str, str], seen: datetime
    ) -> "NodeSummary":
        """Reads what `NodeRecord.to_metadata` wrote; only what hours and states need has to be there.

        Raises:
            StorageCorrupt: when it is not that.
        """
        try:
            return cls(
                cluster=cluster,
                month=month,
                node=node,
                worker=_text(metadata, "worker") or node,
                state=NodeState(metadata["state"]),
                num_slots=int(metadata.get("slots", "1")),
                num_busy=int(metadata.get("busy", "0")),
                beat_s=_positive(metadata["beat"]),
                seconds=int(metadata["seconds"]),
                started=time_in(metadata.get("started")) or seen,
                message=_text(metadata, "message"),
                image=_text(metadata, "image"),
                version=metadata.get("dropsweep", ""),
                seen=seen,
            )
        except (KeyError, ValueError, TypeError) as error:
            raise StorageCorrupt(f"metadata of node {node} of cluster {cluster} cannot be read: {error!r}") from error

    def age_s(self, now: datetime) -> float:
        """Returns how long ago the node was seen; `now` is the storage service's time."""
        return max(0.0, (now - self.seen).total_seconds())

    def is_lost(self, now: datetime) -> bool:
        """True when the node went silent: three beats are overdue, and it never said that it leaves."""
        return not self.state.is_final and self.age_s(now) > _LOST_BEATS * self.beat_s + _SLACK_S

    def is_living(self, now: datetime) -> bool:
        """True when the node is neither gone nor lost."""
        return not self.state.is_final and not self.is_lost(now)

    def shown(self, now: datetime) -> str:
        """Returns the state as people see it: `lost`, or the node's own last word."""
        return LOST if self.is_lost(now) else str(self.state)

    def counted_s(self, now: datetime) -> int:
        """Returns the seconds that count as used: what the node said, and at most one beat since then.

        So a node that dies young counts too, though it never said anything but that it came. What it says with its next
        beat may be a second or two less than was counted just before, by the whole seconds and the way to the storage.
        """
        since = 0.0 if self.state.is_final else min(self.age_s(now), self.beat_s)
        return self.seconds + math.ceil(since)

    def gone(self, now: datetime) -> NodeRecord:
        """Returns the record of this node, which has been lost for long, as somebody else closes it."""
        values: dict[str, Any] = {name: getattr(self, name) for name in NodeRecord.__dataclass_fields__}
        message = f"lost: it was last seen at {time_out(self.seen)}"
        return NodeRecord(**{**values, "seconds": self.counted_s(now), "state": NodeState.LEFT, "message": message})


@dataclass(frozen=True, slots=True)
class HoursLedger:
    """What the nodes of a cluster used in one month whose own records are gone, or about to go.

    Attributes:
        cluster, month: whose it is, and of which month.
        seconds: their lives within the month, all together.
        num_nodes: how many they are.
        folding: names of the records that `seconds` has in it and that may still be there.
        number: of this version: each change adds one.
    """

    cluster: str
    month: str
    seconds: int = 0
    num_nodes: int = 0
    folding: tuple[str, ...] = ()
    number: int = 0

    def taking(self, nodes: Iterable[NodeRecord]) -> "HoursLedger":
        """Returns the ledger with final records of this month in it."""
        nodes = tuple(nodes)
        return replace(
            self,
            seconds=self.seconds + sum(node.seconds for node in nodes),
            num_nodes=self.num_nodes + len(nodes),
            folding=tuple(node.node for node in nodes),
            number=self.number + 1,
        )

    def done(self) -> "HoursLedger":
        """Returns the ledger once the records that were taken last are gone."""
        return replace(self, folding=(), number=self.number + 1)

    def to_json(self) -> bytes:
        """Returns the ledger as JSON for people and programs."""
        return dump(
            {
                "version": VERSION,
                "cluster": self.cluster,
                "month": self.month,
                "seconds": self.seconds,
                "num_nodes": self.num_nodes,
                "folding": list(self.folding),
                "number": self.number,
            }
        )

    @classmethod
    def from_json(cls, body: bytes) -> "HoursLedger":
        """Reads what `to_json` wrote.

        Raises:
            StorageCorrupt: when it is not that.
        """
        document = load(body)
        try:
            return cls(
                cluster=document["cluster"],
                month=document["month"],
                seconds=int(document["seconds"]),
                num_nodes=int(document["num_nodes"]),
                folding=tuple(map(str, document["folding"])),
                number=int(document["number"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise StorageCorrupt(f"a ledger of node-hours cannot be read: {error!r}") from error

    def to_metadata(self) -> dict[str, str]:
        """Returns what a list call shall see of it: all but the names."""
        return {
            "seconds": str(self.seconds),
            "nodes": str(self.num_nodes),
            "folding": str(len(self.folding)),
            "number": str(self.number),
        }


@dataclass(frozen=True, slots=True)
class LedgerSummary:
    """What a list call sees of a ledger; the same sums, and of `folding` how many there are."""

    seconds: int
    num_nodes: int
    num_folding: int
    number: int

    @classmethod
    def from_metadata(cls, path: str, metadata: Mapping[str, str]) -> "LedgerSummary":
        """Reads what `HoursLedger.to_metadata` wrote.

        Raises:
            StorageCorrupt: when it is not that.
        """
        try:
            values = [int(metadata[name]) for name in ("seconds", "nodes", "folding", "number")]
        except (KeyError, ValueError) as error:
            raise StorageCorrupt(f"metadata of {path} cannot be read: {error!r}") from error
        return cls(*values)


def _ascii(text: str) -> str:
    """Returns text as metadata can hold it, from its beginning."""
    while True:
        # The one control character that JSON in ASCII leaves as it is.
        told = json.dumps(text).replace("\x7f", "\\u007f")
        if len(told) <= _MAX_METADATA_TEXT_BYTES:
            return told
        text = text[: min(len(text) * 3 // 4, _MAX_METADATA_TEXT_BYTES)]


def _text(metadata: Mapping[str, str], name: str) -> str:
    return str(json.loads(metadata.get(name, '""')))


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise ValueError(f"{text!r} must be above 0")
    return value
