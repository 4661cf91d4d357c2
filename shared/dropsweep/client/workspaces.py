"""Workspaces as people see them: which there are, and one with its experiments, its policy and its quota."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from dropsweep.client.experiments import ExperimentSummary, list_experiments
from dropsweep.client.listing import OnCorrupt
from dropsweep.client.lookup import check_place
from dropsweep.errors import NotFoundError, Problem, Severity
from dropsweep.names import DEFAULT_POLICY, ERROR_SUFFIX, RUNS, WORKSPACES, quota_ledger
from dropsweep.records.codec import time_in, time_out
from dropsweep.records.ledger import Ledger
from dropsweep.states import JobState
from dropsweep.steps._policies import stem_of
from dropsweep.storage import Store

if TYPE_CHECKING:
    from dropsweep.spec.workspace import WorkspacePolicy

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class WorkspaceSummary:
    """What a list shows of a workspace.

    Attributes:
        name: which.
        num_experiments: experiments that have a job.
        counts: its jobs by state.
        last_activity: when the record of one of its jobs was written last; None without a job.
        has_policy: it has a policy file of its own, also a broken or a misnamed one.
        is_policy_broken: that cannot be used; in a list: as the last pass of the timer told beside it.
    """

    name: str
    num_experiments: int
    counts: Mapping[JobState, int]
    last_activity: datetime | None
    has_policy: bool
    is_policy_broken: bool = False

    @property
    def num_jobs(self) -> int:
        """Its jobs in all."""
        return sum(self.counts.values())

    def to_json(self) -> Json:
        """Returns it as JSON for programs."""
        return {
            "workspace": self.name,
            "num_experiments": self.num_experiments,
            "num_jobs": self.num_jobs,
            "counts": dict(self.counts),
            "last_activity": time_out(self.last_activity),
            "has_policy": self.has_policy,
            "is_policy_broken": self.is_policy_broken,
        }

    @classmethod
    def from_json(cls, document: Json) -> "WorkspaceSummary":
        """Reads what `to_json` gave."""
        return cls(
            document["workspace"],
            document["num_experiments"],
            {JobState(state): number for state, number in document["counts"].items()},
            time_in(document["last_activity"]),
            document["has_policy"],
            document.get("is_policy_broken", False),  # functions of an earlier version do not tell
        )


@dataclass(frozen=True, slots=True)
class Use:
    """How much of its quota a workspace uses.

    Attributes:
        num_jobs, num_trials: jobs that have trials out, and trials that are out, as granted.
        num_waiting: jobs that want trials out and have none.
        max_jobs, max_trials: the limits; None: no bound.
    """

    num_jobs: int
    num_trials: int
    num_waiting: int
    max_jobs: int | None
    max_trials: int | None

    @classmethod
    def of(cls, ledger: Ledger) -> "Use":
        """Sums a ledger up."""
        entries = ledger.entries.values()
        return cls(
            sum(entry.granted > 0 for entry in entries),
            sum(entry.granted for entry in entries),
            sum(entry.granted == 0 < entry.wanted for entry in entries),
            ledger.limits.max_concurrent_jobs,
            ledger.limits.max_concurrent_trials,
        )

    def to_json(self) -> Json:
        """Returns it as JSON for programs."""
        return {
            "num_concurrent_jobs": self.num_jobs,
            "max_concurrent_jobs": self.max_jobs,
            "num_concurrent_trials": self.num_trials,
            "max_concurrent_trials": self.max_trials,
            "num_waiting_jobs": self.num_waiting,
        }

    @classmethod
    def from_json(cls, document: Json) -> "Use":
        """Reads what `to_json` gave."""
        return cls(
            document["num_concurrent_jobs"],
            document["num_concurrent_trials"],
            document["num_waiting_jobs"],
            document["max_concurrent_jobs"],
            document["max_concurrent_trials"],
        )


@dataclass(frozen=True, slots=True)
class WorkspaceView:
    """One workspace.

    Attributes:
        summary: what a list shows of it.
        experiments: those that have a job, by name.
        file: the policy file that holds for it, in the container `workspaces`; empty without one.
        policy: what that file says, as in the file, with its defaults; None when there is none or it is broken.
        problems: what is wrong with the file.
        use: how much of the quota is used; None without a quota.
    """

    summary: WorkspaceSummary
    experiments: tuple[ExperimentSummary, ...]
    file: str
    policy: Mapping[str, Any] | None
    problems: tuple[Problem, ...]
    use: Use | None

    def to_json(self) -> Json:
        """Returns it as JSON for programs."""
        return {
            **self.summary.to_json(),
            "experiments": [experiment.to_json() for experiment in self.experiments],
            "file": self.file,
            "policy": None if self.policy is None else dict(self.policy),
            "problems": [problem.to_json() for problem in self.problems],
            "quota": None if self.use is None else self.use.to_json(),
        }

    @classmethod
    def from_json(cls, document: Json) -> "WorkspaceView":
        """Reads what `to_json` gave."""
        problems = [Problem(**{**told, "severity": Severity(told["severity"])}) for told in document["problems"]]
        return cls(
            WorkspaceSummary.from_json(document),
            tuple(ExperimentSummary.from_json(experiment) for experiment in document["experiments"]),
            document["file"],
            document["policy"],
            tuple(problems),
            None if document["quota"] is None else Use.from_json(document["quota"]),
        )


def list_workspaces(store: Store, *, on_corrupt: OnCorrupt | None = None) -> list[WorkspaceSummary]:
    """Returns the workspaces that have a job or a policy file, by name; one storage operation for each job.

    Args:
        store: the storage account.
        on_corrupt: as `listing.list_jobs`.

    Raises:
        StorageCorrupt: a record cannot be read, and there is no `on_corrupt`.
    """
    with_policy, broken = _with_policy(store)
    grouped: dict[str, list[ExperimentSummary]] = {name: [] for name in with_policy}
    for experiment in list_experiments(store, on_corrupt=on_corrupt):
        grouped.setdefault(experiment.workspace, []).append(experiment)
    return [
        summed_up(name, found, has_policy=name in with_policy, is_policy_broken=name in with_policy & broken)
        for name, found in sorted(grouped.items())
    ]


def show_workspace(store: Store, workspace: str, *, on_corrupt: OnCorrupt | None = None) -> WorkspaceView:
    """Returns one workspace; one storage operation for each job, and a few more.

    Raises:
        NotFoundError: it has neither a job nor a policy file.
        DropsweepError: a name that is none.
        StorageCorrupt: a record cannot be read, and there is no `on_corrupt`.
    """
    # Imported here: it brings pydantic with it, which a list does not need.
    from dropsweep.steps.retain import policy_of

    check_place(workspace)
    unreadable: list[Any] = []

    def note(key: Any, error: Any) -> None:
        if on_corrupt is None:
            raise error
        unreadable.append(key)
        on_corrupt(key, error)

    experiments = list_experiments(store, workspace, on_corrupt=note)
    found = policy_of(store, workspace)
    file, reading = found or ("", None)
    has_policy = stem_of(file) == workspace
    if not experiments and not unreadable and not has_policy:
        raise no_workspace(workspace)
    policy = reading.policy if reading else None
    ledger = store.blobs.read(RUNS, quota_ledger(workspace))
    read = Ledger.from_json(ledger.body) if ledger else None
    return WorkspaceView(
        summed_up(workspace, experiments, has_policy=has_policy, is_policy_broken=has_policy and policy is None),
        tuple(experiments),
        file,
        None if policy is None else policy_out(policy),
        reading.problems if reading else (),
        Use.of(read) if read is not None and read.limits.is_bounded else None,
    )


def no_workspace(workspace: str) -> NotFoundError:
    """Returns the error for a workspace of which there is nothing."""
    return NotFoundError(
        f"{workspace}: this workspace has neither a job nor a policy file. `dropsweep workspace list` shows what there "
        "is"
    )


def summed_up(
    name: str, experiments: Iterable[ExperimentSummary], *, has_policy: bool, is_policy_broken: bool
) -> WorkspaceSummary:
    """Returns what a list shows of a workspace with these experiments."""
    found = list(experiments)
    counts: Counter[JobState] = Counter()
    for experiment in found:
        counts.update(experiment.counts)
    present = {state: counts[state] for state in JobState if counts[state]}
    times = [experiment.last_activity for experiment in found if experiment.last_activity is not None]
    return WorkspaceSummary(name, len(found), present, max(times, default=None), has_policy, is_policy_broken)


def policy_out(policy: "WorkspacePolicy") -> Json:
    """Returns what a policy file says, with its own keys; null where it says nothing."""
    return {
        "description": policy.description,
        "tags": dict(policy.tags),
        "limits": {
            "max_concurrent_jobs": policy.limits.max_concurrent_jobs,
            "max_concurrent_trials": policy.limits.max_concurrent_trials,
        },
        "retention": {
            "delete_after_days": policy.retention.delete_after_days,
            "keep_last": policy.retention.keep_last,
        },
    }


def _with_policy(store: Store) -> tuple[set[str], set[str]]:
    """The workspaces that have a policy file of their own, and those beside whose file it is told what is wrong."""
    try:
        files = {found.name for found in store.blobs.files(WORKSPACES, "")}
    except NotFoundError:
        return set(), set()  # an account that was prepared before there were policy files
    named = {stem for stem in map(stem_of, files) if stem is not None and stem != DEFAULT_POLICY}
    return named, {name.removesuffix(ERROR_SUFFIX) for name in files if name.endswith(ERROR_SUFFIX)}
