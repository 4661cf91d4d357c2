"""The processor cores that a worker may use, and how its slots share them."""

import contextlib
import itertools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_CPUS: Final = Path("/sys/devices/system/cpu")
_CGROUP: Final = Path("/sys/fs/cgroup")
_THREADS: Final = "OMP_NUM_THREADS"
THREAD_VARIABLES: Final = (
    _THREADS,
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
"""What libraries of numbers read at their start: how many threads to compute with."""


@dataclass(frozen=True, slots=True)
class Cores:
    """What a worker may use of its machine.

    Attributes:
        cpus: its cores, each as the numbers of its logical CPUs; those of one socket follow each other.
        num: for how many of them it has time: fewer than there are where a quota says so, or it shares them.
    """

    cpus: tuple[tuple[int, ...], ...]
    num: int

    @property
    def is_limited(self) -> bool:
        """True when it has not all the time of `cpus`, so that nobody can tell which of them others leave to it."""
        return self.num < len(self.cpus)

    def num_threads(self, num_slots: int) -> int:
        """Returns with how many threads a trial is to compute: as many in every slot, or results would hang on it."""
        return max(1, self.num // num_slots)

    def shares(self, num_slots: int) -> list[tuple[int, ...]]:
        """Returns the logical CPUs of each slot; empty: it is not bound to any.

        Each slot gets whole cores that lie side by side; what is over goes to the first slots. With more slots than
        cores they take the logical CPUs in turn. One slot alone is not bound, nor is any where the worker has not all
        the time of its cores: bound to some that others use too, it would wait for them while others are free.
        """
        if num_slots == 1 or self.is_limited or not self.cpus:
            return [()] * num_slots
        if num_slots > len(self.cpus):
            logical = [cpu for core in zip(*_padded(self.cpus), strict=True) for cpu in core if cpu is not None]
            return [(logical[slot % len(logical)],) for slot in range(num_slots)]
        least, over = divmod(len(self.cpus), num_slots)
        starts = [slot * least + min(slot, over) for slot in range(num_slots + 1)]
        return [
            tuple(sorted(cpu for core in self.cpus[start:end] for cpu in core))
            for start, end in itertools.pairwise(starts)
        ]


def find_cores(
    num_workers: int = 1,
    *,
    allowed: Iterable[int] | None = None,
    cpus: Path = _CPUS,
    cgroup: Path = _CGROUP,
) -> Cores:
    """Returns the cores that this process may use: by its affinity, and by the quota of its container.

    Args:
        num_workers: how many workers share them.
        allowed: the logical CPUs of its affinity; None: it is asked for them.
        cpus: where Linux describes the machine's processors.
        cgroup: where it describes the limits of this process's container.
    """
    usable = _allowed() if allowed is None else set(allowed)
    found = {_siblings(cpu, usable, cpus): None for cpu in sorted(usable)}
    ordered = sorted(found, key=lambda core: (_socket(core[0], cpus), core))
    quota = _quota(cgroup)
    num = len(ordered) if quota is None else min(len(ordered), quota)
    return Cores(tuple(ordered), max(1, num // num_workers))


def thread_variables(num_threads: int) -> dict[str, str]:
    """Returns the variables that make libraries compute with so many threads."""
    return dict.fromkeys(THREAD_VARIABLES, str(num_threads))


def without_overruled(own: Mapping[str, str], asked: Mapping[str, str]) -> dict[str, str]:
    """Returns a slot's variables without those for threads that are overruled.

    Whoever sets OMP_NUM_THREADS means all libraries, and some have one of their own that would go before it. Where it
    is set as the slot has it, so are those.

    Args:
        own: the slot's.
        asked: those of the worker and of the job.
    """
    means_all = asked.get(_THREADS, own.get(_THREADS)) != own.get(_THREADS)
    overruled = THREAD_VARIABLES if means_all else [name for name in THREAD_VARIABLES if name in asked]
    return {name: value for name, value in own.items() if name not in overruled}


@contextlib.contextmanager
def pinned(cpus: Sequence[int]) -> Iterator[None]:
    """Lets this thread, and what it starts meanwhile, run on some logical CPUs only; empty: changes nothing.

    It is about speed alone, so where the system does not let it, nothing changes either.

    Source: sched_setaffinity(2): a thread's own, and inherited by what it forks.
    """
    if not cpus or not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    with contextlib.suppress(OSError):
        os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            os.sched_setaffinity(0, before)


def _allowed() -> set[int]:
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def _siblings(cpu: int, allowed: set[int], cpus: Path) -> tuple[int, ...]:
    """The logical CPUs of one core that this process may use. Source: Linux, admin-guide/cputopology."""
    with contextlib.suppress(OSError, ValueError):
        listed = (cpus / f"cpu{cpu}" / "topology" / "thread_siblings_list").read_text()
        return tuple(sorted(allowed & (_numbers(listed) | {cpu})))
    return (cpu,)


def _socket(cpu: int, cpus: Path) -> int:
    with contextlib.suppress(OSError, ValueError):
        return int((cpus / f"cpu{cpu}" / "topology" / "physical_package_id").read_text())
    return 0


def _numbers(text: str) -> set[int]:
    """Reads a list such as `0,4-6`."""
    ranges = (part.partition("-") for part in text.strip().split(","))
    return {number for first, _, last in ranges for number in range(int(first), int(last or first) + 1)}


def _quota(cgroup: Path) -> int | None:
    """Whole cores whose time this process's container may use; None: there is no quota, or none to be seen.

    Source: Linux, admin-guide/cgroup-v2, cpu.max; for version 1 scheduler/sched-bwc.
    """
    with contextlib.suppress(OSError, ValueError):
        quota, period = (cgroup / "cpu.max").read_text().split()
        return None if quota == "max" else max(1, int(quota) // int(period))
    with contextlib.suppress(OSError, ValueError):
        quota, period = ((cgroup / "cpu" / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        return None if int(quota) < 0 else max(1, int(quota) // int(period))
    return None


def _padded(cores: Sequence[tuple[int, ...]]) -> list[tuple[int | None, ...]]:
    """Cores with as many CPUs each, so that a turn takes one of every core before a core's second."""
    most = max(map(len, cores))
    return [(*core, *[None] * (most - len(core))) for core in cores]
