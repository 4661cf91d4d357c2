"""What one trial may use of its node, and a watch over what it does use."""

import math
import time
from dataclasses import dataclass
from typing import Final, Self

from dropsweep.clusters import Cluster
from dropsweep_trainer.processes.proc import Seen, seen, share_bytes, uid_of
from dropsweep_trainer.processes.users import User, acting_as

_INTERVAL_S: Final = 0.5
_MIB: Final = 2**20
_GIB: Final = 2**30
_FORK_FAILED: Final = ("Resource temporarily unavailable", "can't start new thread")


@dataclass(frozen=True, slots=True)
class Limits:
    """What the cluster allows one trial.

    Attributes:
        memory_bytes: memory of all its processes together; None: what there is.
        num_processes: its processes and threads; None: as many as there may be.
        is_alone: the trial is alone on its node.
    """

    memory_bytes: int | None = None
    num_processes: int | None = None
    is_alone: bool = False

    @classmethod
    def of(cls, cluster: Cluster) -> Self:
        """Returns what a cluster's file says."""
        return cls(cluster.trial_memory_bytes, cluster.trial_processes)

    @classmethod
    def of_one_alone(cls, cluster: Cluster, num_slots: int) -> Self:
        """Returns what a trial may use that is alone on its node: the memory of all slots.

        At most what the file says that a node has, for that is what the machine has to give; never less than beside
        others.
        """
        memory_bytes = cluster.trial_memory_bytes
        if memory_bytes is not None:
            memory_bytes = max(memory_bytes, min(memory_bytes * num_slots, cluster.memory_per_node_bytes))
        return cls(memory_bytes, cluster.trial_processes, is_alone=True)

    @property
    def are_none(self) -> bool:
        """True when there is nothing to watch."""
        return self.memory_bytes is None and self.num_processes is None

    def hint(self, message: str) -> str:
        """Adds what the limit is to a message of a command that could start no further process, it seems."""
        if self.num_processes is None or not any(text in message for text in _FORK_FAILED):
            return message
        return f"{message} ({self._allowed_processes})"

    @property
    def _allowed_processes(self) -> str:
        return f"the cluster allows a trial {self.num_processes} processes and threads: limits.processes in its file"

    def excess(self, num_processes: int, memory_bytes: int) -> "Excess | None":
        """Returns what is too much of that, if anything is."""
        if self.memory_bytes is not None and memory_bytes > self.memory_bytes:
            used, limit = _in_one_unit(memory_bytes, self.memory_bytes)
            who, rule = "a trial", "limits.memory in its file"
            if self.is_alone:
                who = "a trial that is alone on its node"
                rule = "limits.memory of all slots, at most memory_per_node, in its file"
            message = f"its processes used {used} of memory together; the cluster allows {who} {limit}: {rule}"
            return Excess(is_memory=True, message=message)
        if self.num_processes is not None and num_processes > self.num_processes:
            return Excess(
                is_memory=False, message=f"it had {num_processes} processes and threads; {self._allowed_processes}"
            )
        return None


@dataclass(frozen=True, slots=True)
class Excess:
    """A limit that a trial does not keep.

    Attributes:
        is_memory: it is that of the memory, else that of the processes.
        message: for people.
    """

    is_memory: bool
    message: str


def _in_one_unit(used_bytes: int, limit_bytes: int) -> tuple[str, str]:
    """Returns both for people, in the unit of the limit; what is more than the limit looks like more."""
    if limit_bytes % _GIB == 0:
        return f"{math.ceil(used_bytes / _GIB * 10) / 10:,.1f} GiB", f"{limit_bytes // _GIB:,} GiB"
    return f"{math.ceil(used_bytes / _MIB):,} MiB", f"{limit_bytes // _MIB:,} MiB"


class Watch:
    """Looks what one trial's processes use: those of its session, what these have started, and all of its own user.

    Where the system shows no processes as Linux does, it sees nothing.
    """

    def __init__(
        self, limits: Limits, leader: int, user: User | None = None, *, interval_s: float = _INTERVAL_S
    ) -> None:
        """Begins to watch.

        Args:
            limits: what the trial may use.
            leader: process id of its session's leader.
            user: whom it runs as, if not as the worker.
            interval_s: seconds from one look to the next.
        """
        self._interval_s = interval_s
        self._limits = limits
        self._leader = leader
        self._user = user
        self._looked_at = time.monotonic()

    def excess(self) -> Excess | None:
        """Returns what the trial uses too much of; looks once in `interval_s`, and only where there is a limit."""
        now = time.monotonic()
        if self._limits.are_none or now - self._looked_at < self._interval_s:
            return None
        self._looked_at = now
        processes = self.processes()
        memory_bytes = sum(process.rss_bytes for process in processes)
        if memory_bytes > (self._limits.memory_bytes or memory_bytes):
            # What is shared counts once. It is asked for only here: it takes the kernel longer, and is never more.
            memory_bytes = sum(map(self._share_bytes, processes))
        return self._limits.excess(sum(process.num_threads for process in processes), memory_bytes)

    def processes(self) -> list[Seen]:
        """Returns the trial's processes."""
        there = {process.pid: process for process in seen()}
        ours = {process.pid for process in there.values() if process.session == self._leader}
        if self._user is not None and self._user.is_alone:
            ours |= {pid for pid in there if pid not in ours and uid_of(pid) == self._user.uid}
        while more := {pid for pid, process in there.items() if pid not in ours and process.parent in ours}:
            ours |= more
        return [there[pid] for pid in sorted(ours)]

    def _share_bytes(self, process: Seen) -> int:
        with acting_as(self._user):
            share = share_bytes(process.pid)
        return process.rss_bytes if share is None else share
