"""What else went on on the machine during a heat: processor time that was not the party's, and waiting for disks."""

import os
import time
from pathlib import Path
from typing import Final

_STAT: Final = Path("/proc/stat")
_DISK_PRESSURE: Final = Path("/proc/pressure/io")
_INTERRUPTS_ARE_APART: Final = Path("/proc/pressure/irq").exists()
"""Whether the kernel counts the time of interrupts apart from that of the process during which they came."""
_LEAST_TOLD_S: Final = 0.5
"""What the kernel tells is in ticks of 10 ms, which are much of a shorter heat."""


def others_s(busy_s: float, tuning_s: float, own_s: float) -> float | None:
    """Returns what of the processors' busy time was not a party's own; None of a heat that is too short to tell."""
    return None if tuning_s < _LEAST_TOLD_S else max(0.0, busy_s - own_s)


def machine_busy_s() -> float:
    """Returns the seconds in which a processor was not idle, all processors together, since some moment."""
    return busy(_STAT.read_text(encoding="ascii"), time.monotonic(), interrupts_are_apart=_INTERRUPTS_ARE_APART)


def busy(stat: str, now_s: float, *, interrupts_are_apart: bool) -> float:
    """Returns the seconds in which a processor was not idle, all processors together, since some moment.

    The kernel knows idle time to the nanosecond; the other kinds of time it may guess from what it sees at each tick,
    so they are not added up.

    Args:
        stat: the text of /proc/stat.
        now_s: when it was read, by a clock that does not jump.
        interrupts_are_apart: no process is charged for interrupts. They belong to whom they came for, which nobody
            knows; most came for the party, so they count for nobody.
    """
    first, *others = stat.splitlines()
    num_cores = sum(line.startswith("cpu") for line in others)
    _, _, _, idle, waiting, interrupts, soft_interrupts = (int(field) for field in first.split()[1:8])
    not_used = idle + waiting + (interrupts + soft_interrupts if interrupts_are_apart else 0)
    return num_cores * now_s - not_used / os.sysconf("SC_CLK_TCK")


def disk_wait_s(file: Path = _DISK_PRESSURE) -> float | None:
    """Returns the seconds in which some task on the machine waited for a disk, since some moment.

    It is the total of the line `some` of /proc/pressure/io (the kernel's Documentation/accounting/psi.rst), which adds
    the waits up for each processor and averages over these by how busy each was. None where the kernel does not tell.

    Args:
        file: another file of that form.

    Raises:
        ValueError: the file has another form.
    """
    try:
        lines = file.read_text(encoding="ascii").splitlines()
    except OSError:  # there is none, or it cannot be read because it was switched off when the system started
        return None
    [some] = [line for line in lines if line.startswith("some ")]
    fields = dict(field.split("=") for field in some.split()[1:])
    return int(fields["total"]) / 1e6
