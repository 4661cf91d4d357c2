"""Nodes and clusters as people see them; `clusters` finds them, the HTTP API sends them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from dropsweep.clusters import Cluster
from dropsweep.errors import ConfigError, DropsweepError
from dropsweep.names import CLUSTER_RULE, Priority, is_cluster
from dropsweep.nodes import Spent
from dropsweep.records.codec import time_in, time_of, time_out
from dropsweep.records.node import NodeSummary
from dropsweep.states import NodeState

Json = dict[str, Any]
_LIVING = frozenset(str(state) for state in NodeState if not state.is_final)


@dataclass(frozen=True, slots=True)
class ShownNode:
    """A node as it stands.

    Attributes:
        node: name of its record; no other node has it.
        worker: what the records of trials call it.
        state: by its own last word (`NodeState`), or `lost` when it went silent.
        num_slots: trials that it can run at once; num_busy: those that it ran then.
        started: when it came. seen: when it last spoke. Both by the storage service's clock.
        seconds: how much of its life counts in this month.
        message: for people: why it is unusable, or went.
        image: what it runs, as its cluster's file names it.
        version: of Dropsweep.
    """

    node: str
    worker: str
    state: str
    num_slots: int
    num_busy: int
    started: datetime
    seen: datetime
    seconds: int
    message: str = ""
    image: str = ""
    version: str = ""

    @property
    def is_living(self) -> bool:
        """True when it is neither gone nor lost."""
        return self.state in _LIVING

    @property
    def hours(self) -> float:
        """Its node-hours of this month."""
        return self.seconds / 3600

    @classmethod
    def of(cls, found: NodeSummary, now: datetime) -> "ShownNode":
        """Makes it from what a list tells; `now` is the storage service's time."""
        return cls(
            found.node,
            found.worker,
            found.shown(now),
            found.num_slots,
            found.num_busy,
            found.started or found.seen,
            found.seen,
            found.counted_s(now),
            found.message,
            found.image,
            found.version,
        )

    def to_json(self) -> Json:
        """Returns it as JSON for programs."""
        return {
            "node": self.node,
            "worker": self.worker,
            "state": self.state,
            "num_slots": self.num_slots,
            "num_busy": self.num_busy,
            "started": time_out(self.started),
            "seen": time_out(self.seen),
            "seconds": self.seconds,
            "message": self.message,
            "image": self.image,
            "dropsweep": self.version,
        }

    @classmethod
    def from_json(cls, document: Json) -> "ShownNode":
        """Reads what `to_json` gave."""
        return cls(
            document["node"],
            document["worker"],
            document["state"],
            document["num_slots"],
            document["num_busy"],
            time_of(document["started"]),
            time_of(document["seen"]),
            document["seconds"],
            document["message"],
            document["image"],
            document["dropsweep"],
        )


@dataclass(frozen=True, slots=True)
class ClusterSummary:
    """What a list shows of a cluster.

    Attributes:
        name: which.
        is_served: jobs may name it: the functions know it. None: no functions have said yet which they know.
        config: what its cluster file says; None: it is not served, or the functions are of a version before such files.
        counts: nodes by state: the living ones, and those that were lost or unusable in the last day.
        num_slots: trials that the living nodes can run at once; num_busy: those that they ran when they last spoke.
        waiting: messages that a trainer could take now, by priority; from 32 on about how many the queue has, those
            included that are hidden. None: there is no such queue.
        month: which month (UTC) it is, by the storage service's clock.
        seconds: what all of its nodes have used of it.
        spent: it has used its hours of the month, and nothing new is begun; None: it has not, or has no cap.
        told: when the functions' timer left word of what they serve, as of which `is_served` and `config` are, by the
            storage service's clock; None: it left none, or the functions themselves were asked.
    """

    name: str
    is_served: bool | None
    config: Cluster | None
    counts: Mapping[str, int]
    num_slots: int
    num_busy: int
    waiting: Mapping[Priority, int | None]
    month: str
    seconds: int
    spent: Spent | None = None
    told: datetime | None = None

    @property
    def hours(self) -> float:
        """Node-hours of the month."""
        return self.seconds / 3600

    @property
    def num_waiting(self) -> int:
        """Messages that wait, of all priorities."""
        return sum(number or 0 for number in self.waiting.values())

    def to_json(self) -> Json:
        """Returns it as JSON for programs."""
        return {
            "cluster": self.name,
            "is_served": self.is_served,
            "config": self.config.to_dict() if self.config else None,
            "counts": dict(self.counts),
            "num_slots": self.num_slots,
            "num_busy": self.num_busy,
            "waiting": {str(priority): number for priority, number in self.waiting.items()},
            "month": self.month,
            "seconds": self.seconds,
            "spent": _spent_out(self.spent),
            "told": time_out(self.told),
        }

    @classmethod
    def from_json(cls, document: Json) -> "ClusterSummary":
        """Reads what `to_json` gave."""
        return cls(
            document["cluster"],
            document["is_served"],
            config_in(document["config"]),
            dict(document["counts"]),
            document["num_slots"],
            document["num_busy"],
            {Priority(priority): number for priority, number in document["waiting"].items()},
            document["month"],
            document["seconds"],
            _spent_in(document["cluster"], document["month"], document["spent"]),
            time_in(document.get("told")),
        )


@dataclass(frozen=True, slots=True)
class ClusterView:
    """A cluster with its nodes.

    Attributes:
        summary: what a list shows of it.
        nodes: the living ones, the oldest first; then at most 100 that are gone, those that were seen last first.
        num_gone: further nodes that it had this month.
    """

    summary: ClusterSummary
    nodes: tuple[ShownNode, ...] = field(default=())
    num_gone: int = 0

    def to_json(self) -> Json:
        """Returns it as JSON for programs."""
        nodes = [node.to_json() for node in self.nodes]
        return {**self.summary.to_json(), "nodes": nodes, "num_gone": self.num_gone}

    @classmethod
    def from_json(cls, document: Json) -> "ClusterView":
        """Reads what `to_json` gave."""
        nodes = tuple(ShownNode.from_json(node) for node in document["nodes"])
        return cls(ClusterSummary.from_json(document), nodes, document["num_gone"])


def hours_text(hours: float, cap: float | None) -> str:
    """Returns node-hours, and of how many, with as many digits after the point as the cap has; at least one."""
    if cap is None:
        return f"{hours:,.1f}"
    digits = f"{cap:.4f}".rstrip("0").partition(".")[2]
    return f"{hours:,.{max(1, len(digits))}f} of {cap:,.{len(digits)}f}"


def check_cluster(cluster: str) -> None:
    """Refuses what cannot be a cluster's name.

    Raises:
        DropsweepError: naming it.
    """
    if not is_cluster(cluster):
        raise DropsweepError(f"cluster {cluster[:80]!r} is no name: it must be {CLUSTER_RULE}. Correct it")


def config_in(document: Any) -> Cluster | None:
    """Reads what `Cluster.to_dict` wrote; None for what another version wrote otherwise."""
    try:
        return None if document is None else Cluster.from_dict(document)
    except ConfigError:
        return None


def _spent_out(spent: Spent | None) -> Json | None:
    if spent is None:
        return None
    told = {"hours": spent.hours, "cap_hours": spent.cap_hours, "goes_on": time_out(spent.goes_on)}
    return {**told, "message": spent.why()}


def _spent_in(cluster: str, month: str, document: Json | None) -> Spent | None:
    if document is None:
        return None
    return Spent(cluster, month, document["hours"], document["cap_hours"], time_of(document["goes_on"]))
