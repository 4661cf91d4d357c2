"""What a trial has reported so far, read from its metrics file as it grows."""

import contextlib
import threading
from collections.abc import Mapping
from pathlib import Path

from dropsweep.metrics import Latest


class Reported:
    """Follows one metrics file. Safe to use from the heartbeat's thread, the checkpointer's and the trial's own."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._latest = Latest()
        self._offset = 0

    def carry_over(self, values: Mapping[str, float]) -> None:
        """Takes what an earlier attempt had reported by the checkpoint that this one resumes from."""
        with self._lock:
            self._latest.values = {**values, **self._latest.values}

    def latest(self, *, is_ended: bool = False) -> Latest:
        """Reads on and returns the last value of each metric.

        Args:
            is_ended: the writer is gone, so a last line without its newline counts too.
        """
        with self._lock:
            with contextlib.suppress(OSError):  # a script may remove its file, or make a folder of it
                self._read_on(is_ended=is_ended)
            return Latest(
                dict(self._latest.values), self._latest.step, self._latest.num_lines, self._latest.num_unreadable
            )

    def _read_on(self, *, is_ended: bool) -> None:
        if self._file.stat().st_size < self._offset:
            self._offset = 0  # written anew instead of appended to
        with self._file.open("rb") as stream:
            stream.seek(self._offset)
            for line in stream:
                if not line.endswith(b"\n") and not is_ended:
                    break
                self._offset += len(line)
                self._latest.add(line)
