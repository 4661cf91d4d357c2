"""One attempt at a trial, from its claim to its commit."""

import errno
import logging
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final, assert_never

from dropsweep.errors import ClaimLost, StagingError, StorageCorrupt, StorageDenied, StorageError, StorageUnavailable
from dropsweep.manifests import delete_torn
from dropsweep.names import RUNS
from dropsweep.records import JobRecord
from dropsweep.spec import JobSpec
from dropsweep.spec.launch import launch
from dropsweep.states import TRIAL_STATE, TrialReason
from dropsweep.steps.attempt import Claim
from dropsweep.storage import Message
from dropsweep_trainer import fence, leftovers
from dropsweep_trainer.checkpoints.checkpointer import Checkpointer
from dropsweep_trainer.checkpoints.contents import Known
from dropsweep_trainer.checkpoints.resuming import fetch_latest
from dropsweep_trainer.environment import variables, without_job
from dropsweep_trainer.folders import Folders, hand_over, remove
from dropsweep_trainer.heartbeat import Heartbeat
from dropsweep_trainer.interruption import Asked, Interrupted, Interruption
from dropsweep_trainer.keepable import blob_name, why_not
from dropsweep_trainer.node import Node
from dropsweep_trainer.outcome import Outcome, cancellation, exceeded, judged, retried, retried_alone
from dropsweep_trainer.reach import Reach
from dropsweep_trainer.reported import Reported
from dropsweep_trainer.running import Running
from dropsweep_trainer.sharing.limits import Excess, Watch
from dropsweep_trainer.sharing.slots import Slot
from dropsweep_trainer.shipping import Shipper, Stream
from dropsweep_trainer.warm.starter import Start

_log = logging.getLogger(__name__)
_LOOK_S: Final = 0.2


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
        self._node = node
        self._claim = claim
        self._spec = spec
        self._folders = Folders(root)
        self._slot = slot
        self._user = slot.user
        self._is_alone = claim.record.runs_alone
        self._had_company = False
        self._inputs = ExitStack()
        self._limits = node.limits_alone if self._is_alone else node.limits
        self._reach = Reach(root, slot.user)
        self._excess: Excess | None = None
        self._reported = Reported(self._folders.metrics, self._reach.opener)
        self._resumed_from = self._start = ""
        self._known = Known()
        self._may_leave_torn = claim.record.attempt > 1
        self._primary = spec.objective.primary_metric if spec.objective else None
        record = claim.record
        self._job, self._trial, self._attempt = record.job, record.trial, record.attempt
        self._lost = (
            f"{record.job.path} trial {record.trial}: attempt {record.attempt} has lost its claim and ends here"
        )
        self._heartbeat = Heartbeat(
            node.store,
            claim,
            message,
            self._reported,
            job=job,
            job_record=node.job_record,
            primary_metric=self._primary,
            interval_s=node.settings.heartbeat_s,
            visibility_s=node.settings.claim_timeout_s,
        )
        self._asked = Asked(self._heartbeat, record.trial, node.stopping, node.settings.grace_s)

    @property
    def message(self) -> Message:
        """The trial's message with its latest pop receipt."""
        return self._heartbeat.message

    def train(self) -> None:
        """Stages the trial and runs its command to its end; afterwards nothing of it runs any more, and `keep` is due.

        One that is to be alone on its node waits first until no other is staged or run there; its time does not count
        yet.

        Raises:
            ClaimLost: another worker has the trial; there is nothing to keep.
            StorageError, OSError: the storage or the node ended the attempt; there is nothing to keep.
        """
        try:
            with self._node.gate.passing(is_alone=self._is_alone, check=self._asked.check) as place, self._inputs:
                self._rest = self._attempt_it()
            self._had_company = place.had_company
        except Interrupted as interrupted:
            self._rest = partial(self._judge, None, interrupted.interruption)
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
        try:
            outcome = self._rest()
            if self._may_leave_torn and TRIAL_STATE[outcome.reason].is_final:
                self._persist(lambda: delete_torn(self._node.store, self._job, self._trial))
            self._persist(lambda: self._commit(outcome))
            return outcome.reason
        finally:
            self._close()

    def _close(self) -> None:
        self._heartbeat.stop()
        for folder in (self._folders.tmp, self._folders.root):
            remove(folder, self._user)

    def _attempt_it(self) -> Callable[[], Outcome]:
        """Returns what is left to do, which returns what the attempt comes to."""
        try:
            start = self._prepare()
        except StagingError as error:
            return partial(Outcome, TrialReason.STAGING_FAILED, str(error))
        except Interrupted as interrupted:
            return partial(self._judge, None, interrupted.interruption)
        folders = self._folders
        key, trial, attempt = self._job, self._trial, self._attempt
        store = self._node.store
        shipper = Shipper(
            [
                Stream(store, folders.metrics, key.metrics(trial, attempt), self._reach.opener),
                Stream(store, folders.stdout, key.stdout(trial, attempt), self._reach.opener),
                Stream(store, folders.stderr, key.stderr(trial, attempt), self._reach.opener),
            ],
            may_write=lambda: self._heartbeat.is_fresh,
        )
        checkpointer = Checkpointer(
            store,
            key,
            trial,
            attempt,
            folders.checkpoints,
            self._reported,
            resumed_from=self._resumed_from,
            known=self._known,
            may_write=lambda: self._heartbeat.is_fresh,
            reach=self._reach,
            share=self._node.rate.share(),
        )
        self._heartbeat.has_progressed = lambda: checkpointer.has_progressed
        with ExitStack() as stack:
            stack.callback(checkpointer.abandon)
            stack.callback(shipper.stop)
            try:
                process = self._node.starter.start(start)
            except OSError as error:
                return partial(Outcome, TrialReason.START_FAILED, f"the command could not be started: {error}")
            self.has_started = True
            self._start = process.start
            exit_code, interruption = self._watch(process)
            return partial(self._keep_all, stack.pop_all(), shipper, checkpointer, exit_code, interruption)

    def _keep_all(
        self,
        stack: ExitStack,
        shipper: Shipper,
        checkpointer: Checkpointer,
        exit_code: int,
        interruption: Interruption | None,
    ) -> Outcome:
        """Uploads what the command left, or as much as there is time for, and ends who did it meanwhile."""
        with stack:
            try:
                return self._upload(shipper, checkpointer, exit_code, interruption)
            except Interrupted as interrupted:
                self._may_leave_torn = True
                outcome = self._judge(exit_code, interrupted.interruption)
                return replace(outcome, message=f"{outcome.message} (not all that it left was uploaded)")

    def _upload(
        self, shipper: Shipper, checkpointer: Checkpointer, exit_code: int, interruption: Interruption | None
    ) -> Outcome:
        """Uploads what the command left; returns what the attempt comes to.

        Raises:
            Interrupted: it took too long, or something asked for the attempt's end a while ago.
        """
        key, trial, attempt = self._job, self._trial, self._attempt
        self._persist(self._heartbeat.assure)
        self._persist(lambda: shipper.finish(self._may_still_write))
        self._persist(lambda: checkpointer.finish(self._asked.check_rest))
        self._may_leave_torn = False
        if interruption in (Interruption.STOPPING, Interruption.PAUSED):
            return self._judge(exit_code, interruption)
        try:
            self._persist(lambda: self._upload_folder(self._folders.outputs, key.outputs(trial, attempt)))
            self._persist(lambda: self._upload_folder(self._folders.logs, key.kept_logs(trial, attempt)))
        except (StorageUnavailable, StorageDenied, StorageCorrupt):
            raise
        except (OSError, ValueError, StorageError) as error:
            # The trial's own doing: another node would have no better fortune with it.
            if interruption is None and exit_code == 0:
                return Outcome(TrialReason.OUTPUTS_FAILED, f"./outputs or ./logs cannot be read or kept: {error}", 0)
        return self._judge(exit_code, interruption)

    def _prepare(self) -> Start:
        """Brings code, inputs and the latest checkpoint to the node; returns what is to be started."""
        folders, spec, record = self._folders, self._spec, self._claim.record
        stage, check, is_exposed = self._node.stage, self._asked.check, self._user is None
        stage.code(self._job, spec, folders.work, check, is_exposed=is_exposed)
        inputs = stage.inputs(self._job, spec, self._inputs, check, is_exposed=is_exposed)
        outputs = {name: folders.outputs / name for name in spec.outputs}
        folders.make(outputs.values())
        started = launch(
            spec, record.parameters, inputs=inputs, outputs={name: str(path) for name, path in outputs.items()}
        )
        environment = variables(self._slot, folders, started.environment, record)
        if self._attempt > 1:
            checkpoint = fetch_latest(
                self._node.store, self._job, self._trial, folders.resume, self._asked.check, warn=self._warn
            )
            if checkpoint is not None:
                environment["DROPSWEEP_RESUME_FROM"] = str(folders.resume)
                self._resumed_from, self._known = checkpoint.label, checkpoint.known
                self._reported.carry_over(checkpoint.metrics)
                _log.info("%s trial %d resumes from %s", self._job.path, self._trial, checkpoint.label)
        hand_over(folders, self._user)
        self._persist(self._heartbeat.assure)  # a worker that slept while it staged starts nothing
        self._asked.check()
        return Start(
            started.command,
            folder=folders.work,
            environment=environment,
            given=without_job(self._slot),
            stdout=folders.stdout,
            stderr=folders.stderr,
            user=self._user,
            # The kernel counts by user: only one of the trial's own has no other processes.
            max_processes=self._limits.num_processes if self._user else None,
            cores=self._slot.cores,
            may_be_warm=spec.warm_start,
        )

    def _warn(self, line: str) -> None:
        """Tells the trial's author, at the head of its standard error, what people at the worker's log are told."""
        with self._folders.stderr.open("a", encoding="utf-8") as stream:
            stream.write(f"dropsweep: {line}\n")

    def _watch(self, process: Running) -> tuple[int, Interruption | None]:
        """Waits for the process, or ends it; nothing of its group is left afterwards."""
        started = time.monotonic()
        watch = Watch(self._limits, process.pid, self._user)
        interruption: Interruption | None = None
        try:
            while (exit_code := process.wait(_LOOK_S)) is None:
                interruption = self._asked.now()
                limit_s = self._asked.limit_s
                if interruption is None and limit_s is not None and time.monotonic() - started > limit_s:
                    interruption = Interruption.TIMED_OUT
                if interruption is not None:
                    exit_code = process.stop(self._node.settings.grace_s)
                    break
                self._excess = watch.excess()
                if self._excess is not None:
                    # No grace: it would use more and more meanwhile, and others would have to do without.
                    exit_code, interruption = process.kill(), Interruption.EXCESSIVE
                    break
        finally:
            process.sweep_up()
            if not leftovers.clear(self._user, self._folders.root.parents[1]):
                _log.error("this worker ends: the slot's next trial would have them beside it")
                self._node.stopping.set()
        return exit_code, interruption

    def _check_claim(self) -> None:
        if self._heartbeat.is_claim_lost:
            raise ClaimLost(self._lost)
        fence.check(lambda: self._heartbeat.is_fresh)

    def _check_upload(self) -> None:
        self._asked.check_rest()
        self._check_claim()

    def _may_still_write(self) -> bool:
        self._asked.check_rest()
        return self._heartbeat.is_fresh

    def _judge(self, exit_code: int | None, interruption: Interruption | None) -> Outcome:
        match interruption:
            case Interruption.STOPPING:
                return Outcome(TrialReason.PREEMPTED, "its worker was stopped; the trial waits for another", exit_code)
            case Interruption.CANCELLED:
                return Outcome(*cancellation(self._heartbeat.job, self._trial), exit_code)
            case Interruption.PAUSED:
                return Outcome(TrialReason.PAUSED, "paused by request; it goes on from its last checkpoint", exit_code)
            case Interruption.TIMED_OUT:
                limit_s = self._asked.limit_s or 0
                return Outcome(
                    TrialReason.TRIAL_TIMEOUT, f"limits.trial_timeout of {limit_s:g} s has passed", exit_code
                )
            case Interruption.CLAIM_LOST:
                raise ClaimLost(self._lost)
            case None:
                stderr, opener = self._folders.stderr, self._reach.opener
                outcome = judged(exit_code or 0, self._primary, self._reported, stderr, opener)
                return self._retried(replace(outcome, message=self._limits.hint(outcome.message)))
            case Interruption.EXCESSIVE:
                assert self._excess is not None
                return self._retried(exceeded(self._excess, exit_code))
            case _:
                assert_never(interruption)

    def _retried(self, outcome: Outcome) -> Outcome:
        """Turns a failure into another attempt, for want of memory or where the job asks for it."""
        limits, limits_alone = self._node.limits, self._node.limits_alone
        has_more = limits_alone.memory_bytes != limits.memory_bytes if self._excess else bool(self._slot.shared)
        outcome = retried_alone(outcome, was_alone=self._is_alone, may_fit=self._had_company or has_more)
        return retried(outcome, self._spec.retry, self._claim.record.num_retries)

    def _upload_folder(self, folder: Path, prefix: str) -> None:
        files = self._reach.files(folder)
        if why := why_not(prefix, files):
            raise OSError(errno.EFBIG, why)
        for path in files:
            self._node.store.blobs.upload(
                RUNS,
                blob_name(prefix, path),
                folder / path,
                check=self._check_upload,
                opener=self._reach.opener,
            )

    def _persist(self, act: Callable[[], None]) -> None:
        """Runs an upload or the commit until the storage takes it, as `Node.persist` says."""
        who = f"{self._job.path} trial {self._trial}"
        self._node.persist(act, who=who, is_over=lambda: self._heartbeat.is_claim_lost)

    def _commit(self, outcome: Outcome) -> None:
        metrics = self._reported.latest(is_ended=True).values
        changes: dict[str, Any] = {
            "exit_code": outcome.exit_code,
            "metric": metrics.get(self._primary) if self._primary else None,
            "metrics": metrics,
            "resumed_from": self._resumed_from,
            "start": self._start,
        }
        if outcome.reason is TrialReason.PREEMPTED:
            changes |= {"num_preempted": self._claim.record.num_preempted + 1, "num_lost": 0}
        if outcome.reason is TrialReason.RETRYING:
            # A retry for want of memory is none of those that the job allows.
            num_retries = self._claim.record.num_retries + (0 if outcome.is_next_alone else 1)
            runs_alone = self._is_alone or outcome.is_next_alone
            changes |= {"num_retries": num_retries, "num_lost": 0, "runs_alone": runs_alone}
        self._claim.end(outcome.reason, outcome.message, **changes)
