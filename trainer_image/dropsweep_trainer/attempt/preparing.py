"""What is brought to the node before a trial's command can start: code, inputs and the latest checkpoint."""

import logging
from contextlib import ExitStack

from dropsweep.spec.launch import launch
from dropsweep_trainer.attempt.attempt import Attempt
from dropsweep_trainer.attempt.environment import variables, without_job
from dropsweep_trainer.checkpoints.contents import Known
from dropsweep_trainer.checkpoints.resuming import fetch_latest
from dropsweep_trainer.files.folders import hand_over
from dropsweep_trainer.warm.starter import Start

_log = logging.getLogger(__name__)


class Preparation:
    """Stages one attempt.

    Attributes:
        resumed_from: label of the checkpoint that was brought; empty: there is none, or it is not there yet.
        known: its files, which need not go up again.
    """

    def __init__(self, attempt: Attempt) -> None:
        """Brings nothing yet."""
        self.resumed_from = ""
        self.known = Known()
        self._attempt = attempt

    def prepare(self, inputs: ExitStack) -> Start:
        """Brings code, inputs and the latest checkpoint to the node; returns what is to be started.

        Args:
            inputs: gets what lets go of the shared inputs when the command has ended.

        Raises:
            Interrupted: something asks for the attempt's end.
            StagingError: the job's code or inputs cannot be brought, on no node.
            StorageError, OSError: the storage's or the node's fault.
        """
        attempt = self._attempt
        folders, spec, record, slot = attempt.folders, attempt.spec, attempt.claim.record, attempt.slot
        stage, check, is_exposed = attempt.node.stage, attempt.asked.check, attempt.user is None
        stage.code(attempt.job, spec, folders.work, check, is_exposed=is_exposed)
        found = stage.inputs(attempt.job, spec, inputs, check, is_exposed=is_exposed)
        outputs = {name: folders.outputs / name for name in spec.outputs}
        folders.make(outputs.values())
        started = launch(
            spec, record.parameters, inputs=found, outputs={name: str(path) for name, path in outputs.items()}
        )
        environment = variables(slot, folders, started.environment, record)
        if attempt.number > 1:
            environment |= self._resume()
        hand_over(folders, attempt.user)
        attempt.persist(attempt.heartbeat.assure)  # a worker that slept while it staged starts nothing
        check()
        return Start(
            started.command,
            folder=folders.work,
            environment=environment,
            given=without_job(slot),
            stdout=folders.stdout,
            stderr=folders.stderr,
            user=attempt.user,
            # The kernel counts by user: only one of the trial's own has no other processes.
            max_processes=attempt.limits.num_processes if attempt.user else None,
            cores=slot.cores,
            may_be_warm=spec.warm_start,
        )

    def _resume(self) -> dict[str, str]:
        """Brings the latest whole checkpoint, if there is one; returns the variable that tells of it."""
        attempt = self._attempt
        folder = attempt.folders.resume
        checkpoint = fetch_latest(
            attempt.node.store, attempt.job, attempt.trial, folder, attempt.asked.check, warn=self._warn
        )
        if checkpoint is None:
            return {}
        self.resumed_from, self.known = checkpoint.label, checkpoint.known
        attempt.reported.carry_over(checkpoint.metrics)
        _log.info("%s trial %d resumes from %s", attempt.job.path, attempt.trial, checkpoint.label)
        return {"DROPSWEEP_RESUME_FROM": str(folder)}

    def _warn(self, line: str) -> None:
        """Tells the trial's author, at the head of its standard error, what people at the worker's log are told."""
        with self._attempt.folders.stderr.open("a", encoding="utf-8") as stream:
            stream.write(f"dropsweep: {line}\n")
