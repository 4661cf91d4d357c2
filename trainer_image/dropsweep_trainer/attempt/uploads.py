"""What of an attempt goes to the account: while its command runs, and what that leaves."""

import errno
from pathlib import Path

from dropsweep.names import RUNS
from dropsweep_trainer.attempt.attempt import Attempt
from dropsweep_trainer.attempt.shipping import Shipper, Stream
from dropsweep_trainer.checkpoints.checkpointer import Checkpointer
from dropsweep_trainer.checkpoints.contents import Known
from dropsweep_trainer.claim import fence
from dropsweep_trainer.files.keepable import blob_name, why_not


class Uploads:
    """Sends streams and checkpoints from threads of their own, and the kept folders at the end."""

    def __init__(self, attempt: Attempt, *, resumed_from: str, known: Known) -> None:
        """Begins; what it begins must be closed.

        Args:
            attempt: whose.
            resumed_from: label of the checkpoint that it resumes from; empty: none.
            known: files that are in the account already.
        """
        self._attempt = attempt
        store, folders, opener = attempt.node.store, attempt.folders, attempt.reach.opener
        key, trial, number, heartbeat = attempt.job, attempt.trial, attempt.number, attempt.heartbeat
        self._shipper = Shipper(
            [
                Stream(store, folders.metrics, key.metrics(trial, number), opener),
                Stream(store, folders.stdout, key.stdout(trial, number), opener),
                Stream(store, folders.stderr, key.stderr(trial, number), opener),
            ],
            may_write=lambda: heartbeat.is_fresh,
        )
        self._checkpointer = checkpointer = Checkpointer(
            store,
            key,
            trial,
            number,
            folders.checkpoints,
            attempt.reported,
            resumed_from=resumed_from,
            known=known,
            may_write=lambda: heartbeat.is_fresh,
            reach=attempt.reach,
            share=attempt.node.rate.share(),
        )
        heartbeat.has_progressed = lambda: checkpointer.has_progressed

    def close(self) -> None:
        """Ends the threads; what is not up yet stays where it is."""
        try:
            self._shipper.stop()
        finally:
            self._checkpointer.abandon()

    def finish(self) -> None:
        """Uploads the rest of the streams and the last checkpoint; the command has ended.

        Raises:
            Interrupted: it took too long, or something asked for the attempt's end a while ago.
            StorageError, OSError: the storage's or the node's fault.
        """
        attempt = self._attempt
        attempt.persist(attempt.heartbeat.assure)
        attempt.persist(lambda: self._shipper.finish(self._may_still_write))
        attempt.persist(lambda: self._checkpointer.finish(attempt.asked.check_rest))

    def keep_folders(self) -> None:
        """Uploads `./outputs` and `./logs`.

        Raises:
            Interrupted: as `finish` does.
            ClaimLost: another worker has the trial.
            StorageError, OSError, ValueError: they cannot be read or kept.
        """
        attempt = self._attempt
        key, trial, number = attempt.job, attempt.trial, attempt.number
        attempt.persist(lambda: self._upload_folder(attempt.folders.outputs, key.outputs(trial, number)))
        attempt.persist(lambda: self._upload_folder(attempt.folders.logs, key.kept_logs(trial, number)))

    def _upload_folder(self, folder: Path, prefix: str) -> None:
        attempt = self._attempt
        files = attempt.reach.files(folder)
        if why := why_not(prefix, files):
            raise OSError(errno.EFBIG, why)
        for path in files:
            attempt.node.store.blobs.upload(
                RUNS,
                blob_name(prefix, path),
                folder / path,
                check=self._check,
                opener=attempt.reach.opener,
            )

    def _check(self) -> None:
        attempt = self._attempt
        attempt.asked.check_rest()
        if attempt.heartbeat.is_claim_lost:
            raise attempt.claim_lost()
        fence.check(lambda: attempt.heartbeat.is_fresh)

    def _may_still_write(self) -> bool:
        self._attempt.asked.check_rest()
        return self._attempt.heartbeat.is_fresh
