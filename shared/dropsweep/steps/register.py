"""Register: keeps the record of one node, from when it comes until it leaves.

Reads: its own record, when a write found it changed.
Writes (in order): `.nodes/{cluster}/{month}/{node}.json` (created) → its metadata at each beat (conditional) → at the
    turn of a month the record of the new month (created), then the old one as left (conditional) → the record as left
    or unusable (conditional).
Idempotent by: no other node has its name, so a record that is there already is its own, from a write whose answer was
    lost; a final record is never changed.
If it dies: the record stands still; three beats later the node counts as lost, and what it used until then still
    counts, with one beat more.
Next: fold, once it has left.
"""

import math
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from dropsweep.errors import StorageCorrupt, StorageUnavailable
from dropsweep.names import RUNS, month_of, node_record, to_name
from dropsweep.nodes import month_after
from dropsweep.records.node import NodeRecord, NodeSummary
from dropsweep.states import NodeState
from dropsweep.storage import Store, Written
from dropsweep.version import __version__

_MAX_TRIES: Final = 5
_LENGTH: Final = 48


def register(
    store: Store,
    cluster: str,
    worker: str,
    *,
    num_slots: int,
    beat_s: float,
    image: str = "",
    clock: Callable[[], float] = time.monotonic,
    today: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> "Registration":
    """Returns a node's registration; its life begins now. Sends nothing: the first beat creates the record.

    Args:
        store: the storage account.
        cluster: the node's cluster.
        worker: what the records of trials call the node.
        num_slots: trials that it can run at once.
        beat_s: seconds between two beats; the node counts as lost after three.
        image: what it runs, if that is known.
        clock: tells seconds, steadily; what lives are measured by.
        today: tells about which month it is. The storage service's clock decides.
    """
    record = NodeRecord(
        cluster=cluster,
        month="",
        node=f"{to_name(worker)[:_LENGTH]}-{uuid.uuid4().hex[:8]}",
        worker=worker,
        state=NodeState.PREPARING,
        num_slots=num_slots,
        beat_s=beat_s,
        image=image,
        version=__version__,
    )
    return Registration(store, record, clock, today)


@dataclass(frozen=True, slots=True)
class _Open:
    """A record that this node has, and has not ended.

    Attributes:
        etag: its version; empty before it was created.
        begun_s: from when on this record counts, by the node's own clock.
        least_s: seconds that it has said at least, whether the answer came or not.
        final: what it says at last, once that is decided.
    """

    record: NodeRecord
    etag: str
    begun_s: float
    least_s: int = 0
    final: NodeRecord | None = None

    @property
    def path(self) -> str:
        return node_record(self.record.cluster, self.record.month, self.record.node)


class Registration:
    """One node's record. Safe to use from many threads.

    Each write is conditional on the one before. Should it fail because somebody else closed the record, having taken
    the node for lost, then the node goes on with another record that counts from where that one ended.
    """

    def __init__(
        self, store: Store, record: NodeRecord, clock: Callable[[], float], today: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._owner = uuid.uuid4().hex
        self._clock = clock
        self._today = today
        self._record = record
        self._name = record.node
        self._num_names = 1
        self._begun_s = clock()
        self._open: _Open | None = None
        self._old: _Open | None = None
        self._tried: NodeRecord | None = None
        self._ahead_s: float | None = None
        self._leaving: tuple[NodeState, str] | None = None
        self._is_over = False

    @property
    def node(self) -> str:
        """The name of the node's record, as lists have it."""
        return self._record.node

    def beat(self, state: NodeState, num_busy: int, message: str = "") -> None:
        """Says how the node is; nothing after it has left.

        Args:
            state: one that is not final.
            num_busy: trials that it runs.
            message: for people.

        Raises:
            StorageError: as the storage does; to be called again at the next beat.
        """
        with self._lock:
            if self._leaving is not None:
                self._leave(*self._leaving)
            elif not self._is_over:
                self._say(state, num_busy, message)

    def leave(self, state: NodeState = NodeState.LEFT, message: str = "") -> None:
        """Says that the node goes, once for all; nothing when it has said so before.

        Args:
            state: `left`, or `unusable` when it could not be used.
            message: for people.

        Raises:
            StorageError: as the storage does; it may be called again.
        """
        with self._lock:
            if not self._is_over:
                # The first word stands: it may have been written although no answer came.
                self._leave(*(self._leaving or (state, message)))

    def _leave(self, state: NodeState, message: str) -> None:
        self._leaving = (state, message)
        self._say(state, 0, message)
        self._leaving, self._is_over = None, True

    def _say(self, state: NodeState, num_busy: int, message: str) -> None:
        for _ in range(_MAX_TRIES):
            self._turn()
            record = replace(self._record, state=state, num_busy=num_busy, message=message)
            has_said = self._change(self._open, record) if self._open else self._begin(record)
            if has_said:
                self._close_old()
                return
        raise StorageUnavailable(
            f"{self._name} of cluster {self._record.cluster}: others changed its record {_MAX_TRIES} times. It is said "
            "again at the next beat"
        )

    def _turn(self) -> None:
        """Begins with another record when another month has begun; the old one is closed later."""
        now = self._now()
        if now is None or self._open is None or month_of(now) == self._open.record.month:
            return
        old = self._open
        since_s = (now - month_after(old.record.month)).total_seconds()
        # Never less than it has said: what the service's clock was ahead by, and nobody knew, is not counted anew.
        seconds = max(old.least_s, self._lived_s(old.begun_s, max(0.0, since_s)))
        message = f"goes on in {month_of(now)}"
        final = old.final or replace(old.record, seconds=seconds, state=NodeState.LEFT, num_busy=0, message=message)
        self._begun_s = old.begun_s + final.seconds
        # Should an even older one still be open, it counts as lost: one beat too much at most.
        self._old, self._open = replace(old, final=final), None

    def _begin(self, record: NodeRecord) -> bool:
        """Creates a record; True when it says what it shall, False when that is to be tried again."""
        now = self._now()
        month = month_of(now if now else self._today())
        if self._tried is not None and self._tried.month != month and self._resume(self._tried):
            return False
        record = replace(record, month=month, seconds=self._lived_s(self._begun_s), started=self._record.started)
        path = node_record(record.cluster, month, record.node)
        self._tried = record  # before it is known whether it was
        written = self._store.blobs.create(RUNS, path, record.to_json(), record.to_metadata(), owner=self._owner)
        self._tried = None
        if written is None:
            self._adopt(record, path)
            return False
        self._learn(written.modified)
        if month_of(written.modified) != month:
            # This machine's clock named another month than the service's.
            self._store.blobs.delete(RUNS, path, etag=written.etag)
            return False
        if record.started is None:
            record = replace(record, started=written.modified)
        self._record = record
        self._open = _Open(record, written.etag, self._begun_s, record.seconds)
        return True

    def _resume(self, tried: NodeRecord) -> bool:
        """Goes on with an earlier month's record whose creation had no answer, so that its turn comes; False: none."""
        head = self._store.blobs.head(RUNS, node_record(tried.cluster, tried.month, tried.node))
        self._tried = None
        if head is None:
            return False
        self._learn(head.served)
        self._record = replace(tried, started=tried.started or head.modified)
        self._open = _Open(self._record, "", self._begun_s, tried.seconds)
        self._reconsider(self._open)
        return True

    def _adopt(self, record: NodeRecord, path: str) -> None:
        """Goes on with a record of this node's own, whose creation had no answer."""
        head = self._store.blobs.head(RUNS, path)
        if head is None:
            return
        record = replace(record, started=record.started or head.modified)
        self._record = record
        # Its version is not adopted before it is known not to be final: see `_change`.
        self._open = _Open(record, "", self._begun_s, record.seconds)
        self._reconsider(self._open)

    def _change(self, now_open: _Open, record: NodeRecord) -> bool:
        """Changes the record; True when it says what it shall, False when that is to be tried again."""
        if not now_open.etag:
            self._reconsider(now_open)
            return False
        least_s = max(now_open.least_s, self._lived_s(now_open.begun_s))
        record = replace(record, month=now_open.record.month, seconds=least_s, started=self._record.started)
        if record.state.is_final:
            # Said again as it was said before: if that was applied, somebody may have counted it.
            record = now_open.final or record
        said = replace(now_open, least_s=record.seconds, final=record if record.state.is_final else None)
        self._open = said  # before it is known whether it was
        written = self._write(said, record)
        if written is None:
            self._reconsider(now_open)
            return False
        self._learn(written.modified)
        self._record = record
        self._open = replace(said, etag=written.etag)
        return True

    def _write(self, one: _Open, record: NodeRecord) -> Written | None:
        metadata = record.to_metadata()
        if record.state.is_final:
            return self._store.blobs.replace(RUNS, one.path, record.to_json(), one.etag, metadata, owner=self._owner)
        return self._store.blobs.touch(RUNS, one.path, one.etag, metadata, owner=self._owner)

    def _reconsider(self, one: _Open) -> None:
        """Finds out what became of a record that is not at the version that this node knows."""
        head = self._store.blobs.head(RUNS, one.path)
        # Whoever took the node for lost counted one beat after its last word.
        counted_s = one.least_s + math.ceil(one.record.beat_s)
        if head is not None:
            try:
                found = NodeSummary.from_metadata(
                    one.record.cluster, one.record.month, one.record.node, head.metadata, head.modified
                )
            except StorageCorrupt:
                found = None
            if found is None or not found.state.is_final:
                self._open = replace(one, etag=head.etag)
                return
            counted_s = found.seconds
        self._num_names += 1
        self._record = replace(self._record, node=f"{self._name}-{self._num_names}")
        self._begun_s = one.begun_s + counted_s
        self._open = None

    def _close_old(self) -> None:
        if self._old is None:
            return
        assert self._old.final is not None
        if self._old.etag:
            self._write(self._old, self._old.final)  # None: somebody closed it before
        self._old = None

    def _lived_s(self, begun_s: float, since_s: float = 0.0) -> int:
        """Whole seconds from then until `since_s` ago."""
        return max(0, math.ceil(self._clock() - since_s - begun_s))

    def _learn(self, told: datetime) -> None:
        """Sets the service's time by an answer: it is that of the answer now, or later."""
        ahead_s = told.timestamp() - self._clock()
        self._ahead_s = ahead_s if self._ahead_s is None else max(self._ahead_s, ahead_s)

    def _now(self) -> datetime | None:
        """The storage service's time, or a second or so before; None before its first answer."""
        if self._ahead_s is None:
            return None
        return datetime.fromtimestamp(0, UTC) + timedelta(seconds=self._clock() + self._ahead_s)
