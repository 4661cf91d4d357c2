"""One attempt at a trial, from its claim to its commit."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from dropsweep.errors import StagingError, StorageCorrupt, StorageDenied, StorageError, StorageUnavailable
from dropsweep.manifests import delete_torn
from dropsweep.records import JobRecord
from dropsweep.spec import JobSpec
from dropsweep.states import TRIAL_STATE, TrialReason
from dropsweep.steps.attempt import Claim
from dropsweep.storage import Message
from dropsweep_trainer.attempt.attempt import Attempt
from dropsweep_trainer.attempt.judging import judge
from dropsweep_trainer.attempt.node import Node
from dropsweep_trainer.attempt.outcome import Outcome
from dropsweep_trainer.attempt.preparing import Preparation
from dropsweep_trainer.attempt.uploads import Uploads
from dropsweep_trainer.attempt.watching import CommandEnd, watch
from dropsweep_trainer.claim.interruption import Interrupted, Interruption
from dropsweep_trainer.files.folders import remove
from dropsweep_trainer.sharing.slots import Slot


class Trial:
    """Runs one claimed trial.

    Attributes:
        has_started: its command was started.
    """

    def __init__(
        self,
        node: Node,
        claim: Claim,
        job: JobRecord,
        spec: JobSpec,
        message: Message,
        root: Path,
        slot: Slot,
    ) -> None:
        """Begins the heartbeat of a trial.

        Args:
            node: where it runs.
            claim: on it.
            job: the job's record.
            spec: the job's spec.
            message: the trial's.
            root: an empty folder of the worker's; it becomes the attempt's, and is removed with it.
            slot: its place on the node.
        """
        self.has_started = False
        self._had_company = False
        self._inputs = ExitStack()
        self._start = ""
        self._may_leave_torn = claim.record.attempt > 1
        self._attempt = Attempt.begin(node, claim, job, spec, message, root, slot)
        self._preparation = Preparation(self._attempt)

    @property
    def message(self) -> Message:
        """The trial's message with its latest pop receipt."""
        return self._attempt.heartbeat.message

    def train(self) -> None:
        """Stages the trial and runs its command to its end; afterwards nothing of it runs any more, and `keep` is due.

        One that is to be alone on its node waits first until no other is staged or run there; its time does not count
        yet.

        Raises:
            ClaimLost: another worker has the trial; there is nothing to keep.
            StorageError, OSError: the storage or the node ended the attempt; there is nothing to keep.
        """
        gate, is_alone, check = self._attempt.node.gate, self._attempt.is_alone, self._attempt.asked.check
        try:
            with gate.passing(is_alone=is_alone, check=check) as place, self._inputs:
                self._rest = self._attempt_it()
            self._had_company = place.had_company
        except Interrupted as interrupted:
            self._rest = self._without_command(interrupted)
        except BaseException:
            self._close()
            raise

    def keep(self) -> TrialReason:
        """Uploads what the command left, commits, and removes the attempt's folder; `train` comes first.

        Returns:
            The reason that was committed; its state is final, or queued when the trial was given back.

        Raises:
            ClaimLost: another worker has the trial; nothing was committed.
            StorageError, OSError: the storage or the node ended the attempt; nothing was committed.
        """
        attempt = self._attempt
        try:
            outcome = self._rest()
            if self._may_leave_torn and TRIAL_STATE[outcome.reason].is_final:
                attempt.persist(lambda: delete_torn(attempt.node.store, attempt.job, attempt.trial))
            attempt.persist(lambda: self._commit(outcome))
            return outcome.reason
        finally:
            self._close()

    def _close(self) -> None:
        attempt = self._attempt
        attempt.heartbeat.stop()
        for folder in (attempt.folders.tmp, attempt.folders.root):
            remove(folder, attempt.user)

    def _attempt_it(self) -> Callable[[], Outcome]:
        """Returns what is left to do, which returns what the attempt comes to."""
        try:
            start = self._preparation.prepare(self._inputs)
        except StagingError as error:
            return partial(Outcome, TrialReason.STAGING_FAILED, str(error))
        except Interrupted as interrupted:
            return self._without_command(interrupted)
        uploads = Uploads(self._attempt, resumed_from=self._preparation.resumed_from, known=self._preparation.known)
        with ExitStack() as stack:
            stack.callback(uploads.close)
            try:
                process = self._attempt.node.starter.start(start)
            except OSError as error:
                return partial(Outcome, TrialReason.START_FAILED, f"the command could not be started: {error}")
            self.has_started = True
            self._start = process.start
            end = watch(self._attempt, process)
            return partial(self._keep_all, stack.pop_all(), uploads, end)

    def _keep_all(self, stack: ExitStack, uploads: Uploads, end: CommandEnd) -> Outcome:
        """Uploads what the command left, or as much as there is time for, and ends who did it meanwhile."""
        with stack:
            try:
                return self._upload(uploads, end)
            except Interrupted as interrupted:
                self._may_leave_torn = True
                outcome = self._judge(replace(end, interruption=interrupted.interruption))
                return replace(outcome, message=f"{outcome.message} (not all that it left was uploaded)")

    def _upload(self, uploads: Uploads, end: CommandEnd) -> Outcome:
        """Uploads what the command left; returns what the attempt comes to.

        Raises:
            Interrupted: it took too long, or something asked for the attempt's end a while ago.
        """
        uploads.finish()
        self._may_leave_torn = False
        if end.interruption in (Interruption.STOPPING, Interruption.PAUSED):
            return self._judge(end)
        try:
            uploads.keep_folders()
        except (StorageUnavailable, StorageDenied, StorageCorrupt):
            raise
        except (OSError, ValueError, StorageError) as error:
            # The trial's own doing: another node would have no better fortune with it.
            if end.interruption is None and end.exit_code == 0:
                return Outcome(TrialReason.OUTPUTS_FAILED, f"./outputs or ./logs cannot be read or kept: {error}", 0)
        return self._judge(end)

    def _without_command(self, interrupted: Interrupted) -> Callable[[], Outcome]:
        return partial(self._judge, CommandEnd(interruption=interrupted.interruption))

    def _judge(self, end: CommandEnd) -> Outcome:
        return judge(self._attempt, end, had_company=self._had_company)

    def _commit(self, outcome: Outcome) -> None:
        attempt, record = self._attempt, self._attempt.claim.record
        metrics = attempt.reported.latest(is_ended=True).values
        changes: dict[str, Any] = {
            "exit_code": outcome.exit_code,
            "metric": metrics.get(attempt.primary_metric) if attempt.primary_metric else None,
            "metrics": metrics,
            "resumed_from": self._preparation.resumed_from,
            "start": self._start,
        }
        if outcome.reason is TrialReason.PREEMPTED:
            changes |= {"num_preempted": record.num_preempted + 1, "num_lost": 0}
        if outcome.reason is TrialReason.RETRYING:
            # A retry for want of memory is none of those that the job allows.
            num_retries = record.num_retries + (0 if outcome.is_next_alone else 1)
            runs_alone = attempt.is_alone or outcome.is_next_alone
            changes |= {"num_retries": num_retries, "num_lost": 0, "runs_alone": runs_alone}
        attempt.claim.end(outcome.reason, outcome.message, **changes)
