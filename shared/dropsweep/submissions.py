"""What came in, by whichever way: a job file with where it belongs and what must not happen twice."""

import hashlib
import json
from dataclasses import dataclass
from typing import Final

from dropsweep.errors import Problem
from dropsweep.names import (
    NAME_RULE,
    QUEUE_RULE,
    SUBMISSION_ID_RULE,
    JobKey,
    is_name,
    is_reply_queue,
    is_submission_id,
    job_id,
)
from dropsweep.spec import Document, name_of

_SUBMISSION: Final = "submission"
"""Begins the identity of whatever has a submission id."""


@dataclass(frozen=True, slots=True)
class Submission:
    """What came in, by whichever way.

    Attributes:
        workspace, experiment: where the job shall belong.
        document: the job file.
        identity: what must not happen twice where there is no submission id; its first part names the way in.
        default_name: the job's name where the file gives none; a name.
        source: for people: where it came from.
        submission_id: what its sender says must not happen twice, within the workspace; empty: nothing.
        reply_to: the queue that is told of each change of the job's state; empty: none.
        is_reply_base64: what is told goes in base64.
        schedule: name of the schedule that it comes from; empty for any other.
        found: what is wrong with it beside the job file, as seen on its way in.
    """

    workspace: str
    experiment: str
    document: Document
    identity: tuple[str, ...]
    default_name: str
    source: str
    submission_id: str = ""
    reply_to: str = ""
    is_reply_base64: bool = False
    schedule: str = ""
    found: tuple[Problem, ...] = ()

    @property
    def key(self) -> JobKey:
        """The job that it becomes, unless its submission id has become another one."""
        identity = submitted(self.workspace, self.submission_id) if self.submission_id else self.identity
        name = name_of(self.document, f"{self.default_name}.yaml")
        return JobKey(self.workspace, self.experiment, job_id(name, *identity))

    @property
    def digest(self) -> str:
        """Stands for the content: equal for the same job file in the same place, as YAML or as JSON."""
        told = self.document.data if self.document.data is not None else [str(one) for one in self.document.problems]
        content = [self.workspace, self.experiment, told]
        return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What is wrong with it beside the job file."""
        wrong = [*self.found]
        for what, name in (("workspace", self.workspace), ("experiment", self.experiment)):
            if not is_name(name):
                wrong.append(Problem(what, name[:80], f"a name is {NAME_RULE}", "Choose another one"))
        if self.submission_id and not is_submission_id(self.submission_id):
            shown = repr(self.submission_id[:80])
            wrong.append(Problem("submission_id", shown, f"is {SUBMISSION_ID_RULE}", "Send a UUID, or a digest"))
        if self.reply_to and not is_reply_queue(self.reply_to):
            rule = f"a queue's name is {QUEUE_RULE}, and none that Dropsweep itself reads"
            wrong.append(Problem("reply_to", repr(self.reply_to[:80]), rule, "Name a queue of your own"))
        return tuple(wrong)


def submitted(workspace: str, submission_id: str) -> tuple[str, ...]:
    """Returns the identity of what has a submission id, by whichever way it comes."""
    return (_SUBMISSION, workspace, submission_id)
