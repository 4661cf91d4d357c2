"""Checkpoints: uploaded while training goes on, the manifest last.

A checkpoint is a folder that the script made whole by renaming it into `$DROPSWEEP_CHECKPOINTS`. A file that is as it
was in the whole one before does not go up again. Kept are the last two whole ones, the one that the running attempt
resumed from, which its record names, and what these refer to. The rest goes: older ones, several small ones together
and at the latest with the attempt's end, and what is left of torn uploads.
"""

import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dropsweep.errors import CheckpointError, StorageCorrupt, StorageDenied, StorageError, StorageUnavailable
from dropsweep.manifests import Inventory, Manifest, attempt_of, label_of
from dropsweep.names import RUNS, JobKey
from dropsweep.storage import Store
from dropsweep_trainer.checkpoints.contents import Known, Upload
from dropsweep_trainer.checkpoints.rate import Rate, Share
from dropsweep_trainer.claim import fence
from dropsweep_trainer.claim.interruption import Interrupted
from dropsweep_trainer.files.folders import remove
from dropsweep_trainer.files.keepable import why_not
from dropsweep_trainer.files.reach import Reach
from dropsweep_trainer.files.reported import Reported
from dropsweep_trainer.staging.room import told

_log = logging.getLogger(__name__)
_INTERVAL_S: Final = 1.0
_NUM_KEPT: Final = 2
_NUM_LATE: Final = 16
_LATE_BYTES: Final = 16 * 1024 * 1024
"""Fewer and smaller checkpoints that are not kept any more wait until there is something to delete with them."""
_LONGEST_LABEL: Final = "0" * 80


@dataclass(frozen=True, slots=True)
class _Made:
    """A folder that the script has made whole; another one of the same name has another inode or time."""

    made_ns: int
    name: str
    inode: int


@dataclass(frozen=True, slots=True)
class _Shape:
    """A file as it was when its upload began; a file that was written to has another size or time."""

    size_bytes: int
    modified_ns: int
    inode: int


class _Abandoned(Exception):
    """The claim is lost: nothing more is written."""


class Checkpointer:
    """Uploads a trial's checkpoints from a thread of its own, so that a large one delays neither logs nor training."""

    def __init__(
        self,
        store: Store,
        job: JobKey,
        trial: int,
        attempt: int,
        folder: Path,
        reported: Reported,
        *,
        resumed_from: str = "",
        known: Known | None = None,
        may_write: fence.MayWrite = fence.always,
        reach: Reach | None = None,
        share: Share | None = None,
    ) -> None:
        """Starts the thread.

        Args:
            store: the storage account.
            job: the job.
            trial: the trial's number.
            attempt: the attempt that this is.
            folder: where the script puts its checkpoints.
            reported: what the script has reported so far.
            resumed_from: label of the checkpoint that the attempt began with; it is kept.
            known: what that one has; None: all goes up.
            may_write: whether the attempt may write now; asked before each request, and while a file is sent.
            reach: reaches `folder`; None: with the worker's own rights.
            share: of the rate at which the worker's checkpoints go up; None: as fast as it goes.
        """
        self._reach = reach or Reach(folder)
        self._store = store
        self._job, self._trial, self._attempt = job, trial, attempt
        self._folder = folder
        self._reported = reported
        self._resumed_from = resumed_from
        self._may_write = may_write
        self._known = known or Known()
        self._share = share or Rate().share()
        self._last: _Made | None = None
        self._num_begun = self._num_whole = 0
        self._inventory = Inventory(store, job, trial)
        # An attempt that was not the first may find older checkpoints, and what a torn upload left.
        self._must_look = attempt > 1
        self._check_rest: Callable[[], None] = lambda: None
        self._done = threading.Event()
        self._abandoned = threading.Event()
        self._thread = threading.Thread(target=self._run, name="checkpointer", daemon=True)
        self._thread.start()

    @property
    def has_progressed(self) -> bool:
        """True once a checkpoint of this attempt is whole."""
        return self._num_whole > 0

    def abandon(self) -> None:
        """Ends the thread without a further upload: the claim is lost."""
        self._abandoned.set()
        self._done.set()
        self._thread.join()

    def finish(self, check: Callable[[], None] = lambda: None) -> None:
        """Ends the thread, uploads the last whole checkpoint, if it is not up yet, and removes what is not kept.

        The worker's rate does not count from now on: nothing trains any more, and somebody waits.

        Args:
            check: asked from now on before each request, and while a file is read or sent; what it raises ends that.

        Raises:
            StorageError: as the storage does, or because the attempt may not write now; may be called again.
                Whatever `check` raises.
        """
        self._check_rest = check
        self._share.lift()
        self._done.set()
        self._thread.join()
        try:
            self._upload_latest()
        except (StorageUnavailable, StorageDenied, StorageCorrupt):
            raise
        except (OSError, ValueError, StorageError) as error:
            _log.error("the last checkpoint cannot be read or kept, which must not cost the trial: %s", error)
        # Another look after all was written: what a stale worker's last request brought goes too.
        self._must_look |= self._attempt > 1 and self.has_progressed
        try:
            self._collect(is_last=True)
        except StorageUnavailable:
            raise
        except StorageError as error:
            _log.error("what is left of older checkpoints stays: %s", error)

    def _run(self) -> None:
        while not self._done.wait(_INTERVAL_S):
            if not self._may_write():
                continue
            try:
                self._upload_latest()
                self._collect(is_last=False)
            except Interrupted:
                return  # `finish` meets it too, and tells
            except StorageError as error:
                _log.warning("a checkpoint is late: %s", error)
            except OSError as error:
                # The script removed the folder while it was read: its next one will do.
                _log.warning("a checkpoint went away while it was being uploaded: %s", error)
            except Exception:  # noqa: BLE001 - the edge of a thread: told, and the next checkpoint is tried
                _log.exception("a checkpoint was not uploaded")

    def _check(self) -> None:
        if self._abandoned.is_set():
            raise _Abandoned
        self._check_rest()
        fence.check(self._may_write)

    def _upload_latest(self) -> None:
        """Uploads the newest folder; older ones that were never up are passed over: nobody would resume from them."""
        made = self._made()
        if not made or made[-1] == self._last or self._abandoned.is_set():
            return
        latest = made[-1]
        try:
            is_whole = self._upload(latest)
        except _Abandoned:
            return
        except CheckpointError as error:
            _log.error("%s trial %d: checkpoint %r is left out: %s", self._job.path, self._trial, latest.name, error)
            is_whole = False
            self._last = latest
        if is_whole:
            self._last = latest
            for found in made[:-_NUM_KEPT]:
                remove(self._folder / found.name, self._reach.user)

    def _upload(self, latest: _Made) -> bool:
        """Uploads one folder, the manifest last; False when it was changed meanwhile: then it is tried again.

        Raises:
            CheckpointError: its name, or one in it, is none for the storage; or it is little more than holes.
        """
        if not latest.name.isprintable():
            raise CheckpointError("that is no name for a checkpoint. Rename the folder to printable characters")
        # Read before the files: what is in the manifest was reported no later than the checkpoint is taken up again.
        metrics = self._reported.latest().values
        began = time.monotonic()
        folder = self._folder / latest.name
        shapes = self._shapes(folder)
        if not shapes:
            return False  # made in place and still empty: nobody could resume from it
        self._check()
        # Each try has a label of its own, so that nothing of a torn one is ever among the files of a whole one.
        self._num_begun += 1
        label = label_of(self._attempt, self._num_begun, latest.name)
        had_to_look, self._must_look = self._must_look, True
        target = self._job.checkpoint(self._trial, label)
        upload = Upload(self._store, folder, target, self._known, self._check, self._pace, self._reach.opener)
        files = upload.send({path: shape.size_bytes for path, shape in shapes.items()})
        self._check()
        # Files are read one after the other: together they are a checkpoint if all are as they were before the first.
        if latest not in self._made() or self._shapes(folder) != shapes:
            _log.warning("checkpoint %s was changed while it was being uploaded: it is tried again", latest.name)
            return False
        manifest = Manifest(latest.name, self._attempt, metrics, tuple(file for file, _ in files))
        self._store.blobs.put(RUNS, self._job.manifest(self._trial, label), manifest.to_json())
        self._must_look = had_to_look
        self._num_whole += 1
        self._inventory.add(label, manifest)
        self._known = Known.of(label, files)
        sent_bytes, taken_bytes = (
            sum(file.size_bytes for file in manifest.files if bool(file.blob) is is_taken) for is_taken in (False, True)
        )
        _log.info(
            "%s trial %d: checkpoint %s is whole: %s sent and %s taken over in %.1f s",
            *(self._job.path, self._trial, label),
            *(told(sent_bytes), told(taken_bytes), time.monotonic() - began),
        )
        return True

    def _pace(self, num_bytes: int) -> None:
        self._share.wait(num_bytes, self._check)

    def _made(self) -> list[_Made]:
        """The folders there are, oldest first; none when the script has removed the folder itself."""
        with self._reach.acting():
            if not self._folder.is_dir() or self._folder.is_symlink():
                return []
            with os.scandir(self._folder) as entries:
                folders = [
                    (entry.stat(follow_symlinks=False), entry.name)
                    for entry in entries
                    if entry.is_dir(follow_symlinks=False) and not entry.name.startswith(".")
                ]
        found = [_Made(stat.st_mtime_ns, name, stat.st_ino) for stat, name in folders]
        return sorted(found, key=lambda made: (made.made_ns, made.name))

    def _shapes(self, folder: Path) -> dict[str, _Shape]:
        """Returns the folder's files by path, sorted.

        Raises:
            CheckpointError: a file's name is none for a blob, or the files are little more than holes.
            OSError: it cannot be read.
        """
        found = {}
        files = self._reach.files(folder)
        if why := why_not(self._job.checkpoint(self._trial, _LONGEST_LABEL), files):
            raise CheckpointError(why)
        for path, stat in files.items():
            if not path.isprintable():
                raise CheckpointError(f"{path!r} is no name for a blob. Rename the file to printable characters")
            found[path] = _Shape(stat.st_size, stat.st_mtime_ns, stat.st_ino)
        return found

    def _collect(self, *, is_last: bool) -> None:
        """Deletes what is not kept; looks what there is first, which a first attempt without torn ones never pays."""
        if self._abandoned.is_set():
            return
        inventory = self._inventory
        try:
            if self._must_look:
                self._check()
                inventory.look()
                if any(attempt_of(label) > self._attempt for label in inventory.found):
                    _log.warning("%s trial %d: a later attempt runs; nothing is deleted", self._job.path, self._trial)
                    return
            elif not is_last and not self._is_worth_it():
                return
            inventory.delete_all_but({self._resumed_from, *inventory.whole[-_NUM_KEPT:]}, self._check)
        except _Abandoned:
            return
        self._must_look = False

    def _is_worth_it(self) -> bool:
        """True when the checkpoints that are not kept any more are many or large, or an earlier attempt's."""
        gone = [label for label in self._inventory.whole[:-_NUM_KEPT] if label != self._resumed_from]
        if any(attempt_of(label) != self._attempt for label in gone):
            return True
        return len(gone) >= _NUM_LATE or sum(map(self._inventory.size_bytes, gone)) > _LATE_BYTES
