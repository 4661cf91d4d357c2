"""One attempt at a trial, from its claim to its commit."""

import errno
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, assert_never

from dropsweep.errors import ClaimLost, StagingError, StorageCorrupt, StorageDenied, StorageError, StorageUnavailable
from dropsweep.manifests import delete_torn
from dropsweep.names import RUNS, JobKey
from dropsweep.records import JobRecord
from dropsweep.settings import Settings
from dropsweep.spec import JobSpec
from dropsweep.spec.launch import launch
from dropsweep.states import TRIAL_STATE, TrialReason
from dropsweep.steps.attempt import Claim
from dropsweep.storage import Message, Store
from dropsweep_trainer import fence, leftovers
from dropsweep_trainer.checkpoints import Checkpointer
from dropsweep_trainer.folders import Folders, hand_over, remove
from dropsweep_trainer.heartbeat import Heartbeat
from dropsweep_trainer.interruption import Asked, Interrupted, Interruption
from dropsweep_trainer.keepable import blob_name, why_not
from dropsweep_trainer.limits import Excess, Limits, Watch
from dropsweep_trainer.outcome import Outcome, cancellation, exceeded, judged, retried
from dropsweep_trainer.process import Process, clean_environment
from dropsweep_trainer.reach import Reach
from dropsweep_trainer.reported import Reported
from dropsweep_trainer.resuming import fetch_latest
from dropsweep_trainer.shipping import Shipper, Stream
from dropsweep_trainer.staging import Stage
from dropsweep_trainer.users import User

_log = logging.getLogger(__name__)
_LOOK_S: Final = 0.2
_PATIENCE_S: Final = 600.0
_NAME: Final = "trial"


@dataclass(frozen=True, slots=True)
class Node:
    """What all trials of one worker share.

    Attributes:
        stopping: set when the worker shall end; its trials are given back.
        job_record: the record of a job, at most a heartbeat old; None when the job is gone.
        limits: what each trial may use.
    """

    store: Store
    settings: Settings
    stage: Stage
    stopping: threading.Event
    job_record: Callable[[JobKey], JobRecord | None]
    limits: Limits = field(default_factory=Limits)


class Trial:
    """Runs one claimed trial."""

    def __init__(
        self,
        node: Node,
        claim: Claim,
        job: JobRecord,
        spec: JobSpec,
        message: Message,
        root: Path,
        extra_env: Mapping[str, str],
        user: User | None = None,
    ) -> None:
        """Begins the heartbeat of a trial.

        Args:
            node: where it runs.
            claim: on it.
            job: the job's record.
            spec: the job's spec.
            message: the trial's.
            root: an empty folder of the worker's; it becomes the attempt's, and is removed with it.
            extra_env: what the trial sees beside its own variables.
            user: whom it runs as; None: as the worker's own user.
        """
        self._node = node
        self._claim = claim
        self._spec = spec
        self._folders = Folders(root)
        self._extra_env = extra_env
        self._user = user
        self._reach = Reach(root, user)
        self._excess: Excess | None = None
        self._reported = Reported(self._folders.metrics, self._reach.opener)
        self._resumed_from = ""
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

    def run(self) -> TrialReason:
        """Stages, runs, uploads and commits; removes the attempt's folder.

        Returns:
            The reason that was committed; its state is final, or queued when the trial was given back.

        Raises:
            ClaimLost: another worker has the trial; nothing was committed.
            StorageError, OSError: the storage or the node ended the attempt; nothing was committed.
        """
        try:
            outcome = self._attempt_it()
            if self._may_leave_torn and TRIAL_STATE[outcome.reason].is_final:
                self._persist(lambda: delete_torn(self._node.store, self._job, self._trial))
            self._persist(lambda: self._commit(outcome))
            return outcome.reason
        finally:
            self._heartbeat.stop()
            for folder in (self._folders.tmp, self._folders.root):
                remove(folder, self._user)

    def _attempt_it(self) -> Outcome:
        try:
            environment, command = self._prepare()
        except StagingError as error:
            return Outcome(TrialReason.STAGING_FAILED, str(error))
        except Interrupted as interrupted:
            return self._judge(None, interrupted.interruption)
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
            may_write=lambda: self._heartbeat.is_fresh,
            reach=self._reach,
        )
        self._heartbeat.has_progressed = lambda: checkpointer.has_progressed
        try:
            try:
                process = Process(
                    command,
                    folder=folders.work,
                    environment=environment,
                    stdout=folders.stdout,
                    stderr=folders.stderr,
                    user=self._user,
                    # The kernel counts by user: only one of the trial's own has no other processes.
                    max_processes=self._node.limits.num_processes if self._user else None,
                )
            except OSError as error:
                return Outcome(TrialReason.START_FAILED, f"the command could not be started: {error}")
            exit_code, interruption = self._watch(process)
            try:
                return self._keep(shipper, checkpointer, exit_code, interruption)
            except Interrupted as interrupted:
                self._may_leave_torn = True
                outcome = self._judge(exit_code, interrupted.interruption)
                return replace(outcome, message=f"{outcome.message} (not all that it left was uploaded)")
        finally:
            shipper.stop()
            checkpointer.abandon()

    def _keep(
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

    def _prepare(self) -> tuple[dict[str, str], str]:
        """Brings code, inputs and the latest checkpoint to the node; returns environment and command."""
        folders, spec, record = self._folders, self._spec, self._claim.record
        self._node.stage.code(self._job, spec, folders.work, self._asked.check)
        inputs = self._node.stage.inputs(self._job, spec, self._asked.check)
        outputs = {name: folders.outputs / name for name in spec.outputs}
        folders.make(outputs.values())
        started = launch(
            spec, record.parameters, inputs=inputs, outputs={name: str(path) for name, path in outputs.items()}
        )
        environment = clean_environment(os.environ) | {
            "HOME": str(folders.home),
            "TMPDIR": str(folders.tmp),
            # A user that no file of the system names: programs that ask for the name read it here.
            **({} if self._user is None else {"USER": _NAME, "LOGNAME": _NAME}),
            **self._extra_env,
            **started.environment,
            "DROPSWEEP_JOB": self._job.path,
            "DROPSWEEP_TRIAL": str(self._trial),
            "DROPSWEEP_ATTEMPT": str(self._attempt),
            "DROPSWEEP_METRICS": str(folders.metrics),
            "DROPSWEEP_CHECKPOINTS": str(folders.checkpoints),
        }
        if self._attempt > 1:
            checkpoint = fetch_latest(
                self._node.store, self._job, self._trial, folders.resume, self._asked.check, warn=self._warn
            )
            if checkpoint is not None:
                environment["DROPSWEEP_RESUME_FROM"] = str(folders.resume)
                self._resumed_from = checkpoint.label
                self._reported.carry_over(checkpoint.metrics)
                _log.info("%s trial %d resumes from %s", self._job.path, self._trial, checkpoint.label)
        hand_over(folders, self._user)
        self._persist(self._heartbeat.assure)  # a worker that slept while it staged starts nothing
        self._asked.check()
        return environment, started.command

    def _warn(self, line: str) -> None:
        """Tells the trial's author, at the head of its standard error, what people at the worker's log are told."""
        with self._folders.stderr.open("a", encoding="utf-8") as stream:
            stream.write(f"dropsweep: {line}\n")

    def _watch(self, process: Process) -> tuple[int, Interruption | None]:
        """Waits for the process, or ends it; nothing of its group is left afterwards."""
        started = time.monotonic()
        watch = Watch(self._node.limits, process.pid, self._user)
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
                outcome = replace(outcome, message=self._node.limits.hint(outcome.message))
                return retried(outcome, self._spec.retry, self._claim.record.num_retries)
            case Interruption.EXCESSIVE:
                assert self._excess is not None
                outcome = exceeded(self._excess, exit_code)
                return retried(outcome, self._spec.retry, self._claim.record.num_retries)
            case _:
                assert_never(interruption)

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
        """Runs an upload or the commit until the storage takes it: hours of training may hang on it.

        Raises:
            StorageUnavailable: it did not for ten minutes, or the worker is to stop.
        """
        give_up = time.monotonic() + _PATIENCE_S
        while True:
            try:
                return act()
            except StorageUnavailable as error:
                if self._node.stopping.is_set() or time.monotonic() > give_up or self._heartbeat.is_claim_lost:
                    raise
                _log.warning("%s trial %d waits for the storage: %s", self._job.path, self._trial, error)
                self._node.stopping.wait(_LOOK_S * 10)

    def _commit(self, outcome: Outcome) -> None:
        metrics = self._reported.latest(is_ended=True).values
        changes: dict[str, Any] = {
            "exit_code": outcome.exit_code,
            "metric": metrics.get(self._primary) if self._primary else None,
            "metrics": metrics,
            "resumed_from": self._resumed_from,
        }
        if outcome.reason is TrialReason.PREEMPTED:
            changes |= {"num_preempted": self._claim.record.num_preempted + 1, "num_lost": 0}
        if outcome.reason is TrialReason.RETRYING:
            changes |= {"num_retries": self._claim.record.num_retries + 1, "num_lost": 0}
        self._claim.end(outcome.reason, outcome.message, **changes)
