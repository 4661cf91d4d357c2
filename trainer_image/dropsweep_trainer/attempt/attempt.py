"""What the parts of one attempt share: its claim, its place on the node, and what is heard of it meanwhile."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dropsweep.errors import ClaimLost
from dropsweep.names import JobKey
from dropsweep.records import JobRecord
from dropsweep.spec import JobSpec
from dropsweep.steps.attempt import Claim
from dropsweep.storage import Message
from dropsweep_trainer.attempt.node import Node
from dropsweep_trainer.claim.heartbeat import Heartbeat
from dropsweep_trainer.claim.interruption import Asked
from dropsweep_trainer.files.folders import Folders
from dropsweep_trainer.files.reach import Reach
from dropsweep_trainer.files.reported import Reported
from dropsweep_trainer.processes.users import User
from dropsweep_trainer.sharing.limits import Limits
from dropsweep_trainer.sharing.slots import Slot


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt at a trial, whose heart beats.

    Attributes:
        node: where it runs.
        claim: on its trial.
        spec: the job's spec.
        slot: its place on the node.
        folders: where it works.
        reach: what its command may have changed, opened with care.
        reported: what its command has reported.
        heartbeat: keeps its claim and its message.
        asked: what asks for its end.
        job: its job.
        trial: its trial's number.
        number: its own, from 1.
        is_alone: it is to be alone on its node.
    """

    node: Node
    claim: Claim
    spec: JobSpec
    slot: Slot
    folders: Folders
    reach: Reach
    reported: Reported
    heartbeat: Heartbeat
    asked: Asked
    job: JobKey
    trial: int
    number: int
    is_alone: bool

    @classmethod
    def begin(
        cls,
        node: Node,
        claim: Claim,
        job: JobRecord,
        spec: JobSpec,
        message: Message,
        root: Path,
        slot: Slot,
    ) -> "Attempt":
        """Begins the heartbeat of a trial; the arguments are those of `Trial`."""
        folders, reach, record = Folders(root), Reach(root, slot.user), claim.record
        reported = Reported(folders.metrics, reach.opener)
        heartbeat = Heartbeat(
            node.store,
            claim,
            message,
            reported,
            job=job,
            job_record=node.job_record,
            primary_metric=spec.objective.primary_metric if spec.objective else None,
            interval_s=node.settings.heartbeat_s,
            visibility_s=node.settings.claim_timeout_s,
        )
        return cls(
            node,
            claim,
            spec,
            slot,
            folders,
            reach,
            reported,
            heartbeat,
            Asked(heartbeat, record.trial, node.stopping, node.settings.grace_s),
            job=record.job,
            trial=record.trial,
            number=record.attempt,
            is_alone=record.runs_alone,
        )

    @property
    def user(self) -> User | None:
        """Whom its command runs as; None: the worker's own user."""
        return self.slot.user

    @property
    def limits(self) -> Limits:
        """What it may use of the node."""
        return self.node.limits_alone if self.is_alone else self.node.limits

    @property
    def primary_metric(self) -> str | None:
        """What its command must report; None for a command without an objective."""
        return self.spec.objective.primary_metric if self.spec.objective else None

    def persist(self, act: Callable[[], None]) -> None:
        """Runs an upload or the commit until the storage takes it, as `Node.persist` says."""
        who = f"{self.job.path} trial {self.trial}"
        self.node.persist(act, who=who, is_over=lambda: self.heartbeat.is_claim_lost)

    def claim_lost(self) -> ClaimLost:
        """Returns the error of an attempt whose trial another worker has."""
        return ClaimLost(f"{self.job.path} trial {self.trial}: attempt {self.number} has lost its claim and ends here")
