"""Following the logs of several processes at once."""

from collections.abc import Iterable
from pathlib import Path


class Tail:
    """Reads what is appended to log files, line by line."""

    def __init__(self, logs: Iterable[Path]) -> None:
        """Starts at the present end of each file; a file that is not there yet is read from its start."""
        self._offsets = {log: log.stat().st_size if log.exists() else 0 for log in logs}
        self._rests = dict.fromkeys(self._offsets, b"")

    def follow(self, log: Path) -> None:
        """Reads one more file, from its start; harmless when it is followed already."""
        if log not in self._offsets:
            self._offsets[log] = 0
            self._rests[log] = b""

    def read(self) -> list[tuple[str, str]]:
        """Returns the whole lines that came since the last call, each with its file's stem; never waits."""
        lines: list[tuple[str, str]] = []
        for log in self._offsets:
            if not log.exists():
                continue
            with log.open("rb") as file:
                file.seek(self._offsets[log])
                fresh = self._rests[log] + file.read()
                self._offsets[log] = file.tell()
            *whole, self._rests[log] = fresh.split(b"\n")
            lines.extend((log.stem, line.decode(errors="replace")) for line in whole)
        return lines
