"""The methods of every client that concern workspaces and experiments, and what it takes to delete jobs."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING

from dropsweep.client.compare import Comparison, compare
from dropsweep.client.experiments import ExperimentSummary, ExperimentView, list_experiments, show_experiment
from dropsweep.client.listing import OnCorrupt
from dropsweep.client.lookup import JobRef, check_place, keys
from dropsweep.client.workspaces import (
    WorkspaceSummary,
    WorkspaceView,
    list_workspaces,
    no_workspace,
    show_workspace,
)
from dropsweep.errors import DropsweepError
from dropsweep.names import JobKey
from dropsweep.records import JobRecord

if TYPE_CHECKING:
    from dropsweep.client.results import BestTrial
    from dropsweep.spec.workspace import Retention
    from dropsweep.steps.delete import Deleted
    from dropsweep.steps.retain import Finished, Retained
    from dropsweep.storage import Store

# The steps are imported where they are called: they bring pydantic with them, which looking at jobs does not need.


class Places(ABC):
    """What a client tells of workspaces and experiments.

    A list costs one storage operation for each job. `on_corrupt` is told of each job whose record cannot be read, which
    is then left out; without it the first of them is raised as StorageCorrupt.
    """

    @abstractmethod
    def resolve(self, job: JobRef) -> JobKey:
        """Returns the key of the one job that a text means."""

    @abstractmethod
    def record(self, job: JobRef) -> JobRecord:
        """Returns the job's record."""

    @abstractmethod
    def best(self, job: JobRef) -> "BestTrial | None":
        """Returns the best completed trial."""

    @abstractmethod
    def workspaces(self, *, on_corrupt: OnCorrupt | None = None) -> list[WorkspaceSummary]:
        """Lists the workspaces that have a job or a policy file, by name."""

    @abstractmethod
    def workspace(self, workspace: str, *, on_corrupt: OnCorrupt | None = None) -> WorkspaceView:
        """Returns one workspace: its experiments, its policy, and how much of its quota is used.

        Raises:
            NotFoundError: it has neither a job nor a policy file. DropsweepError: a name that is none.
        """

    @abstractmethod
    def experiments(
        self, workspace: str | None = None, *, on_corrupt: OnCorrupt | None = None
    ) -> list[ExperimentSummary]:
        """Lists the experiments that have a job, by name; of one workspace or (None) of all."""

    @abstractmethod
    def experiment_view(
        self, workspace: str, experiment: str, *, on_corrupt: OnCorrupt | None = None
    ) -> ExperimentView:
        """Returns one experiment: its jobs, and the best of them for each objective.

        Raises:
            NotFoundError: it has no job. DropsweepError: a name that is none.
        """

    def compare(self, jobs: Iterable[JobRef]) -> Comparison:
        """Puts jobs side by side: the best trial of each with its parameters; a few operations for each.

        Raises:
            NotFoundError: there is no such job. DropsweepError: a text fits several.
        """
        keys = list(dict.fromkeys(self.resolve(job) for job in jobs))
        return compare(keys, self.record, self.best)

    @abstractmethod
    def due(self, workspace: str) -> "list[Finished]":
        """Returns the jobs that the workspace's policy file wants deleted now; nothing is changed.

        Raises:
            NotFoundError: the workspace has neither a job nor a policy file. DropsweepError: the policy file is broken,
                the name is none, or the way to the storage account does not tell.
        """

    @abstractmethod
    def retain(self, workspace: str) -> "Retained":
        """Deletes what `due` returns, now, without waiting for the timer's pass.

        Raises:
            DropsweepError: as `due`.
        """


class StoredPlaces(Places):
    """These methods over a storage account."""

    store: "Store"

    def workspaces(self, *, on_corrupt: OnCorrupt | None = None) -> list[WorkspaceSummary]:
        """Lists the workspaces that have a job or a policy file, by name."""
        return list_workspaces(self.store, on_corrupt=on_corrupt)

    def workspace(self, workspace: str, *, on_corrupt: OnCorrupt | None = None) -> WorkspaceView:
        """Returns one workspace: its experiments, its policy, and how much of its quota is used."""
        return show_workspace(self.store, workspace, on_corrupt=on_corrupt)

    def experiments(
        self, workspace: str | None = None, *, on_corrupt: OnCorrupt | None = None
    ) -> list[ExperimentSummary]:
        """Lists the experiments that have a job, by name; of one workspace or (None) of all."""
        return list_experiments(self.store, workspace, on_corrupt=on_corrupt)

    def experiment_view(
        self, workspace: str, experiment: str, *, on_corrupt: OnCorrupt | None = None
    ) -> ExperimentView:
        """Returns one experiment: its jobs, and the best of them for each objective."""
        return show_experiment(self.store, workspace, experiment, on_corrupt=on_corrupt)

    def delete(self, job: JobRef, *, with_source: bool = False) -> "Deleted":
        """Deletes a job that has ended, with everything that belongs to it."""
        from dropsweep.steps.delete import delete

        return delete(self.store, self.resolve(job), with_source=with_source)

    def due(self, workspace: str) -> "list[Finished]":
        """Returns the jobs that the workspace's policy file wants deleted now; nothing is changed."""
        from dropsweep.steps.retain import plan

        return sorted(plan(self.store, workspace, self._retention(workspace)), key=lambda one: one.finished)

    def retain(self, workspace: str) -> "Retained":
        """Deletes what `due` returns, now."""
        from dropsweep.steps.retain import retain_in

        return retain_in(self.store, workspace, self._retention(workspace))

    def _retention(self, workspace: str) -> "Retention":
        from dropsweep.spec.workspace import Retention
        from dropsweep.steps._policies import stem_of
        from dropsweep.steps.retain import policy_of

        check_place(workspace)
        found = policy_of(self.store, workspace)
        has_own = found is not None and stem_of(found[0]) == workspace
        if not has_own and next(keys(self.store, workspace), None) is None:
            raise no_workspace(workspace)
        if found is None:
            return Retention()
        file, reading = found
        if reading.policy is None:
            raise DropsweepError(
                f"the policy file {file} is broken, and nothing is deleted: {reading.problems[0]} "
                f"`dropsweep workspace show {workspace}` tells everything that is wrong with it"
            )
        return reading.policy.retention
