"""The record of retention's passes: when the last ones were, and where the next one goes on."""

import logging
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from dropsweep.errors import StorageCorrupt
from dropsweep.names import RETENTION_RECORD, RUNS
from dropsweep.records.codec import VERSION, dump, load, time_of, time_out
from dropsweep.storage import Store

_log = logging.getLogger(__name__)
_TIDY_EACH: Final = timedelta(days=7)
_NEVER: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Passes:
    """What the record says.

    Attributes:
        looked: when the last pass began.
        tidied: when the last one began that tidied everything up.
        experiment: folder of the experiment at which the last pass ended; empty when it looked at all.
        note: name of the note that the last pass looked at last when it tidied up; empty when it looked at all.
    """

    looked: datetime = _NEVER
    tidied: datetime = _NEVER
    experiment: str = ""
    note: str = ""

    def to_json(self) -> bytes:
        """Returns what is stored."""
        times = {"looked": time_out(self.looked), "tidied": time_out(self.tidied)}
        return dump({"version": VERSION, **times, "experiment": self.experiment, "note": self.note})

    @classmethod
    def from_json(cls, body: bytes) -> "Passes":
        """Reads what `to_json` wrote; what cannot be read counts as absent, and everything is looked at again."""
        try:
            document = load(body)
            places = [str(document.get(name, "")) for name in ("experiment", "note")]
            return cls(time_of(document["looked"]), time_of(document["tidied"]), *places)
        except (StorageCorrupt, KeyError, TypeError, ValueError) as error:
            _log.warning("retain: %s cannot be read and is written anew: %r", RETENTION_RECORD, error)
            return cls()


class Pass:
    """One pass under way, and the record's version that it wrote last.

    Attributes:
        began: when it began, by the storage service's clock.
    """

    def __init__(self, store: Store, began: datetime, told: Passes, etag: str) -> None:
        self.began = began
        self._store = store
        self._told = told
        self._etag = etag

    @classmethod
    def take(cls, store: Store) -> "Pass | None":
        """Begins a pass, and so ends the one that is under way, if there is one; None when another one came first."""
        blob = store.blobs.read(RUNS, RETENTION_RECORD)
        if blob is None:
            written = store.blobs.create(RUNS, RETENTION_RECORD, Passes().to_json())
            return cls(store, written.modified, Passes(looked=written.modified), written.etag) if written else None
        told = replace(Passes.from_json(blob.body), looked=blob.served)
        changed = store.blobs.replace(RUNS, RETENTION_RECORD, told.to_json(), blob.etag)
        return cls(store, blob.served, told, changed.etag) if changed else None

    @property
    def experiment(self) -> str:
        """The experiment's folder from which on jobs are to be looked at; empty: all."""
        return self._told.experiment

    @property
    def note(self) -> str:
        """The note after which the tidying goes on, for all jobs have been looked at; empty: it has not begun."""
        return self._told.note

    @property
    def is_to_tidy(self) -> bool:
        """True when it is a week since everything was tidied up, or that is under way."""
        return bool(self.note) or self.began - self._told.tidied >= _TIDY_EACH

    def stop_at(self, experiment: str) -> bool:
        """Notes the experiment with which the next pass goes on; False when another pass has begun."""
        return self._write(replace(self._told, experiment=experiment))

    def note_tidied(self, note: str) -> bool:
        """Notes up to where it has tidied up; False when another pass has begun."""
        return self._write(replace(self._told, experiment="", note=note))

    def end(self) -> bool:
        """Notes that everything has been looked at; False when another pass has begun."""
        tidied = self.began if self.is_to_tidy else self._told.tidied
        return self._write(replace(self._told, tidied=tidied, experiment="", note=""))

    def _write(self, told: Passes) -> bool:
        written = self._store.blobs.replace(RUNS, RETENTION_RECORD, told.to_json(), self._etag)
        if written is None:
            return False
        self._told, self._etag = told, written.etag
        return True
