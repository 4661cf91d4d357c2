"""What a trial writes while it runs: appended to blobs every second, so that it can be read within two."""

import contextlib
import logging
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from dropsweep.errors import StorageError, StorageUnavailable
from dropsweep.names import RUNS
from dropsweep.storage import Store
from dropsweep_trainer.claim import fence

_log = logging.getLogger(__name__)
_INTERVAL_S: Final = 1.0
_SLOW_INTERVAL_S: Final = 60.0
_MAX_FAST_APPENDS: Final = 20_000
"""An append blob takes 50,000 appends: after 5.5 hours of unbroken output at one a second, the rest (30,000) come one a
minute and last for 20 days more."""
_CHUNK_BYTES: Final = 4 * 1024 * 1024
_MAX_BYTES: Final = 4 * 1024**3
"""What is kept of a stream is its beginning: a file may say that it is as large as it likes, and its last bytes would
be shipped long after its trial has ended."""


class Stream:
    """One growing file and the blob that follows it."""

    def __init__(self, store: Store, file: Path, blob: str, opener: Callable[[str, int], int] | None = None) -> None:
        """Sets out what follows what.

        Args:
            store: the storage account.
            file: what grows; as long as it cannot be opened, it is as if it were empty.
            blob: what follows.
            opener: opens the file, as `open` asks for it; None: as `open` does.
        """
        self._store = store
        self._file = file
        self._opener = opener
        self._blob = blob
        self._pending = b""
        self._num_shipped = 0
        self._is_ours = True
        self.num_appends = 0

    def ship(self, may_write: fence.MayWrite = fence.always) -> bool:
        """Appends what was read; True when there may be more.

        Args:
            may_write: whether the attempt may write now.

        Raises:
            StorageError: as the storage does, or because the attempt may not write now. Nothing is lost, the
                next call tries again.
        """
        self._read(_CHUNK_BYTES)
        if not self._pending or not self._is_ours:
            return False
        fence.check(may_write)
        if not self._store.blobs.append(RUNS, self._blob, self._pending, self._num_shipped):
            self._is_ours = False
            _log.error("%s was written to by somebody else: this attempt leaves it alone from now on", self._blob)
            return False
        self.num_appends += 1
        return self._shipped()

    def finish(self, may_write: fence.MayWrite = fence.always) -> None:
        """Ships all the rest; a stream that was never shipped goes up by one request.

        Args:
            may_write: whether the attempt may write now; asked before each request.

        Raises:
            StorageError: as `ship` does; may be called again.
        """
        size = self._size()
        if self._num_shipped == 0 and 0 < size <= _CHUNK_BYTES and self._is_ours:
            self._pending = b""
            self._read(size)
            fence.check(may_write)
            self._store.blobs.put(RUNS, self._blob, self._pending)
            self._num_shipped, self._pending = size, b""
            self._is_ours = False  # it is no append blob: nothing can follow
        # What something that got away from the trial still writes is left out, or this would not end.
        while self._num_shipped < size and self.ship(may_write):
            pass

    def _read(self, max_bytes: int) -> None:
        """Takes in what was written since the last request that got through."""
        if self._pending:
            return
        # A trial may remove its file, make a folder of it or a link.
        with contextlib.suppress(OSError), open(self._file, "rb", opener=self._opener) as stream:
            stream.seek(self._num_shipped)
            self._pending = stream.read(min(max_bytes, _MAX_BYTES - self._num_shipped))

    def _size(self) -> int:
        with contextlib.suppress(OSError), open(self._file, "rb", opener=self._opener) as stream:
            size = os.fstat(stream.fileno()).st_size
            if size > _MAX_BYTES:
                _log.error("%s is cut off after %d of %d bytes", self._blob, _MAX_BYTES, size)
            return min(size, _MAX_BYTES)
        return 0

    def _shipped(self) -> bool:
        is_full = len(self._pending) == _CHUNK_BYTES
        self._num_shipped += len(self._pending)
        self._pending = b""
        return is_full


class Shipper:
    """Ships a trial's streams from a thread of its own until it is told to finish."""

    def __init__(self, streams: Sequence[Stream], *, may_write: fence.MayWrite = fence.always) -> None:
        """Starts the thread.

        Args:
            streams: what is shipped.
            may_write: whether the attempt may write now; asked before each request.
        """
        self._streams = streams
        self._may_write = may_write
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="shipper", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread; nothing more is shipped by it."""
        self._done.set()
        self._thread.join()

    def finish(self, may_write: fence.MayWrite | None = None) -> None:
        """Ends the thread and ships all the rest.

        Args:
            may_write: whether the attempt may write now; asked before each request. None: as the thread asks.

        Raises:
            StorageUnavailable: as the storage does; may be called again. What else may go wrong with the storage is
                logged. Whatever `may_write` raises.
        """
        self.stop()
        for stream in self._streams:
            try:
                stream.finish(may_write or self._may_write)
            except StorageUnavailable:
                raise
            except StorageError as error:
                _log.error("the rest of a log is lost, which must not cost the trial: %s", error)

    def _run(self) -> None:
        interval_s = _INTERVAL_S
        while not self._done.wait(interval_s):
            if not self._may_write():
                continue
            for stream in self._streams:
                try:
                    while stream.ship(self._may_write) and not self._done.is_set():
                        pass
                except StorageError as error:
                    _log.warning("shipping is late: %s", error)
                except Exception:  # noqa: BLE001 - the edge of a thread: told, and the other streams go on
                    _log.exception("shipping is late")
            most = max(stream.num_appends for stream in self._streams)
            interval_s = _INTERVAL_S if most < _MAX_FAST_APPENDS else _SLOW_INTERVAL_S
