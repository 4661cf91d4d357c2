"""What a trial has reported so far, read from its metrics file as it grows."""

import contextlib
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Final

from dropsweep.metrics import Latest

_MAX_LINE_BYTES: Final = 1024 * 1024
_MAX_LOOK_BYTES: Final = 16 * 1024 * 1024
"""Read at one look while the trial runs, so that no file, however it grows, holds the heartbeat up."""
_MAX_REST_BYTES: Final = 256 * 1024 * 1024
"""Read at the end: what comes last is what counts."""


class Reported:
    """Follows one metrics file. Safe to use from the heartbeat's thread, the checkpointer's and the trial's own."""

    def __init__(self, file: Path, opener: Callable[[str, int], int] | None = None) -> None:
        """Begins at the start of the file, which may not be there yet.

        Args:
            file: what the trial reports to.
            opener: opens it, as `open` asks for it; None: as `open` does.
        """
        self._file = file
        self._opener = opener
        self._lock = threading.Lock()
        self._latest = Latest()
        self._offset = 0
        self._is_within_line = False

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
        with open(self._file, "rb", opener=self._opener) as stream:
            size = os.fstat(stream.fileno()).st_size
            if size < self._offset:
                self._offset, self._is_within_line = 0, False  # written anew instead of appended to
            if is_ended and size - self._offset > _MAX_REST_BYTES:
                self._offset, self._is_within_line = size - _MAX_REST_BYTES, True
            end = size if is_ended else self._offset + _MAX_LOOK_BYTES
            stream.seek(self._offset)
            while self._offset < end and self._read_line(stream, is_ended=is_ended):
                pass

    def _read_line(self, stream: IO[bytes], *, is_ended: bool) -> bool:
        """Takes in one line, or a part of one that is too long to be one of ours; False when there is none yet."""
        line = stream.readline(_MAX_LINE_BYTES)
        is_whole = line.endswith(b"\n")
        is_too_long = len(line) == _MAX_LINE_BYTES and not is_whole
        if not line or not (is_whole or is_too_long or is_ended or self._is_within_line):
            return False
        self._offset += len(line)
        if not self._is_within_line:
            self._latest.add(b"..." if is_too_long else line)
        self._is_within_line = not is_whole and (is_too_long or self._is_within_line)
        return True
