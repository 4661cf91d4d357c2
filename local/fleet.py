"""The trainers of one cluster on one machine: always the same number, or as many as its queues are long."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from dropsweep.clusters import Cluster
from local import keda
from local.child import Child
from local.paths import shown

SERVES: Final = "serving cluster"
"""What a trainer logs when it begins to look for messages; until then it is pending."""
_MIN_PAUSE_S: Final = 1.0
_MAX_PAUSE_S: Final = 30.0
_LIVED_LONG_S: Final = 60.0
_MAX_LINES: Final = 1000
"""Told lines that are kept while nobody asks for them."""


class Fleet(Protocol):
    """The trainers of one cluster. Safe to use from many threads."""

    @property
    def children(self) -> list[Child]:
        """Its trainers, without those that have left because there was nothing to do."""
        ...

    def tend(self) -> list[str]:
        """Does what is due about trainers that died; returns lines for a person on what happened since the last call.

        Raises:
            OSError: a process cannot be started.
        """
        ...

    def revive(self) -> list[str]:
        """Forgets every pause, and returns the names of the trainers that were started at once.

        Raises:
            OSError: a process cannot be started.
        """
        ...

    def close(self) -> list[Child]:
        """Starts nothing any more; returns the trainers that may still run, which the caller must stop."""
        ...


def slots_of(cluster: Cluster) -> int:
    """Returns how many trials a node of a cluster is meant to run at once: as it says, or one for each GPU, or one."""
    return cluster.slots_per_node or max(1, cluster.gpus_per_node)


class FixedFleet:
    """A number of trainers that stay; one that ends, however it ends, is started again."""

    def __init__(self, num_trainers: int, start: Callable[[int], Child]) -> None:
        """Starts nothing yet: `fill` does.

        Args:
            num_trainers: how many there always are.
            start: starts the one of a number, from 1.
        """
        self._start = start
        self._guard = threading.Lock()
        self._pauses = [Pause() for _ in range(num_trainers)]
        self._trainers: list[Child] = []

    def fill(self) -> None:
        """Starts all of them; to be called once. Whatever ends it, `close` returns those that were started.

        Raises:
            OSError: a process cannot be started.
        """
        with self._guard:
            for number, pause in enumerate(self._pauses, 1):
                self._trainers.append(self._start(number))
                pause.began(time.monotonic())

    @property
    def children(self) -> list[Child]:
        """Its trainers, also those that wait to be started again."""
        with self._guard:
            return list(self._trainers)

    def tend(self) -> list[str]:
        """Starts trainers again that have ended, each after its pause; returns a line for each end, for a person.

        Raises:
            OSError: a process cannot be started.
        """
        lines = []
        now = time.monotonic()
        with self._guard:
            for index, trainer in enumerate(self._trainers):
                pause = self._pauses[index]
                if trainer.exit_status is None:
                    continue
                if pause.until is None:
                    pause.died(now)
                    lines.append(
                        f"{trainer.name} ended with status {trainer.exit_status} and is started again in "
                        f"{pause.length_s:g} s; its log is {shown(trainer.log)}"
                    )
                elif now >= pause.until:
                    self._start_again(index)
                    pause.began(now)
        return lines

    def revive(self) -> list[str]:
        """Starts those that have ended at once, and returns their names; their pauses begin anew.

        Raises:
            OSError: a process cannot be started.
        """
        names = []
        with self._guard:
            for index, trainer in enumerate(self._trainers):
                if trainer.exit_status is not None:
                    self._start_again(index)
                    self._pauses[index] = Pause()
                    names.append(trainer.name)
        return names

    def close(self) -> list[Child]:
        """Starts nothing any more; returns the trainers, which the caller must stop."""
        with self._guard:
            trainers, self._trainers = self._trainers, []
        return trainers

    def _start_again(self, index: int) -> None:
        self._trainers[index].stop()  # closes our end of its pipe
        self._trainers[index] = self._start(index + 1)


class ScaledFleet:
    """Trainers that are started for messages that wait, and that leave by themselves when they are idle.

    How many is `keda.num_to_start`'s to say, at each `scale`. None is ever stopped. After a trainer that ended with
    another status than 0 the cluster gets no new one for a while: 1 s at first and twice as long each time, up to 30 s;
    1 s again once one has lived for a minute, and none after one that left in good order. (KEDA has no such pause: it
    tries again at each look.)

    Attributes:
        cluster: what is served.
    """

    def __init__(self, cluster: Cluster, start: Callable[[int], Child]) -> None:
        """Starts nothing yet: `scale` does.

        Args:
            cluster: what is served; it says how many trainers there are at least and at most.
            start: starts the one of a number, from 1. A number is used again once its trainer has ended.
        """
        self.cluster = cluster
        self._start = start
        self._guard = threading.Lock()
        self._is_open = True
        self._nodes: dict[int, _Node] = {}
        self._pause = Pause()
        self._lines: deque[str] = deque(maxlen=_MAX_LINES)

    @property
    def children(self) -> list[Child]:
        """Its trainers that run, and those that died and were not yet told of."""
        with self._guard:
            return [node.child for _, node in sorted(self._nodes.items()) if node.child.exit_status != 0]

    def scale(self, lengths: Sequence[int]) -> int:
        """Starts as many trainers as the rule says for queues of these lengths; returns how many.

        Raises:
            OSError: a process cannot be started.
        """
        now = time.monotonic()
        with self._guard:
            self._reap(now)
            if not self._is_open or (self._pause.until is not None and now < self._pause.until):
                return 0
            count = keda.num_to_start(
                lengths,
                target=slots_of(self.cluster),
                num_unfinished=len(self._nodes),
                num_pending=sum(node.is_pending() for node in self._nodes.values()),
                min_replicas=self.cluster.min_instances,
                max_replicas=self.cluster.max_instances,
            )
            names = [self._start_one() for _ in range(count)]
            if names:
                self._pause.began(now)
                what = (
                    _messages(max(lengths)) if any(lengths) else f"the {self.cluster.min_instances} that it always has"
                )
                self._lines.append(f"cluster {self.cluster.name}: {', '.join(names)} started for {what}")
            return count

    def tell(self, line: str) -> None:
        """Adds a line to those that `tend` returns."""
        with self._guard:
            self._lines.append(line)

    def tend(self) -> list[str]:
        """Returns a line for each start, departure and death since the last call, for a person; starts nothing."""
        with self._guard:
            self._reap(time.monotonic())
            lines = list(self._lines)
            self._lines.clear()
        return lines

    def revive(self) -> list[str]:
        """Forgets the pause; the next `scale` starts what is needed, so no name is returned."""
        with self._guard:
            self._reap(time.monotonic())
            self._pause = Pause()
        return []

    def close(self) -> list[Child]:
        """Starts nothing any more; returns the trainers that may still run, which the caller must stop."""
        with self._guard:
            self._is_open = False
            nodes, self._nodes = self._nodes, {}
        return [node.child for node in nodes.values()]

    def _start_one(self) -> str:
        number = next(number for number in range(1, len(self._nodes) + 2) if number not in self._nodes)
        child = self._start(number)
        self._nodes[number] = _Node(child)
        return child.name

    def _reap(self, now: float) -> None:
        """Lets go of trainers that have ended."""
        for number, node in list(self._nodes.items()):
            status = node.child.exit_status
            if status is None:
                continue
            del self._nodes[number]
            node.child.stop()  # closes our end of its pipe
            if status == 0:
                self._pause = Pause()
                self._lines.append(f"{node.child.name} has left")
                continue
            # Several that die together are one reason to wait.
            if self._pause.until is None or now >= self._pause.until:
                self._pause.died(now, lived_s=now - node.born)
            self._lines.append(
                f"{node.child.name} ended with status {status}; cluster {self.cluster.name} gets no new trainer for "
                f"{self._pause.length_s:g} s; its log is {shown(node.child.log)}"
            )


def _messages(count: int) -> str:
    return "1 message" if count == 1 else f"{count} messages"


@dataclass(slots=True)
class _Node:
    """A trainer of a scaled fleet."""

    child: Child
    born: float = field(default_factory=time.monotonic)
    _serves: bool = False

    def is_pending(self) -> bool:
        """True until it has begun to look for messages."""
        self._serves = self._serves or SERVES in self.child.said()
        return not self._serves


class Pause:
    """How long it takes until a trainer that died is followed by another one."""

    def __init__(self) -> None:
        self.length_s = 0.0
        self.until: float | None = None
        self._born = time.monotonic()

    def died(self, now: float, *, lived_s: float | None = None) -> None:
        """Sets the pause after a death; `lived_s` defaults to the time since `began`."""
        lived_long = (now - self._born if lived_s is None else lived_s) >= _LIVED_LONG_S
        self.length_s = _MIN_PAUSE_S if lived_long or not self.length_s else min(2 * self.length_s, _MAX_PAUSE_S)
        self.until = now + self.length_s

    def began(self, now: float) -> None:
        """Notes the new start."""
        self.until = None
        self._born = now
