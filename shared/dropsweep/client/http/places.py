"""The same methods over the HTTP API."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, NoReturn

from dropsweep.client.experiments import ExperimentSummary, ExperimentView
from dropsweep.client.http import wire
from dropsweep.client.listing import OnCorrupt
from dropsweep.client.lookup import JobRef, check_place
from dropsweep.client.places import Places
from dropsweep.client.workspaces import WorkspaceSummary, WorkspaceView
from dropsweep.errors import DropsweepError, NotFoundError, StorageCorrupt
from dropsweep.names import JobKey

if TYPE_CHECKING:
    from dropsweep.client.http.web import Web
    from dropsweep.steps.delete import Deleted
    from dropsweep.steps.retain import Finished, Retained

_WORKSPACES: Final = "workspaces"


class HttpPlaces(Places):
    """What a client over HTTP tells of workspaces and experiments."""

    _web: "Web"

    def workspaces(self, *, on_corrupt: OnCorrupt | None = None) -> list[WorkspaceSummary]:
        """Lists the workspaces that have a job or a policy file, by name."""
        found = self._web.get(_WORKSPACES).document()
        with wire.reading("the list of workspaces"):
            _tell(found.get("errors", ()), on_corrupt)
            return [WorkspaceSummary.from_json(item) for item in found["items"]]

    def workspace(self, workspace: str, *, on_corrupt: OnCorrupt | None = None) -> WorkspaceView:
        """Returns one workspace: its experiments, its policy, and how much of its quota is used."""
        check_place(workspace)
        found = self._web.get(_WORKSPACES, workspace).document()
        with wire.reading("a workspace"):
            _tell(found.get("errors", ()), on_corrupt)
            return WorkspaceView.from_json(found)

    def experiments(
        self, workspace: str | None = None, *, on_corrupt: OnCorrupt | None = None
    ) -> list[ExperimentSummary]:
        """Lists the experiments that have a job, by name; of one workspace or (None) of all."""
        if workspace is not None:
            names = {workspace}
        else:
            unreadable: list[JobKey] = []
            found = self.workspaces(on_corrupt=lambda key, _error: unreadable.append(key))
            names = {one.name for one in found if one.num_jobs} | {key.workspace for key in unreadable}
        try:
            return [one for name in sorted(names) for one in self.workspace(name, on_corrupt=on_corrupt).experiments]
        except NotFoundError:
            return []  # the one that was named has no job

    def experiment_view(
        self, workspace: str, experiment: str, *, on_corrupt: OnCorrupt | None = None
    ) -> ExperimentView:
        """Returns one experiment: its jobs, and the best of them for each objective."""
        check_place(workspace, experiment)
        found = self._web.get(_WORKSPACES, workspace, "experiments", experiment).document()
        with wire.reading("an experiment"):
            _tell(found.get("errors", ()), on_corrupt)
            return ExperimentView.from_json(found)

    def delete(self, job: JobRef, *, with_source: bool = False) -> "Deleted":
        """Deletes a job that has ended; of a large one the functions' timer deletes what this call does not."""
        from dropsweep.steps.delete import Deleted

        key = self.resolve(job)
        params = {"with_source": "true"} if with_source else {}
        where = ("jobs", key.workspace, key.experiment, key.job)
        found = self._web.send("DELETE", *where, params=params, is_idempotent=True).document()
        with wire.reading("a deletion"):
            return Deleted.from_json(found)

    def due(self, workspace: str) -> "list[Finished]":
        """Is not told over HTTP."""
        _refuse(workspace)

    def retain(self, workspace: str) -> "Retained":
        """Is not done over HTTP."""
        _refuse(workspace)


def _tell(errors: Iterable[dict[str, Any]], on_corrupt: OnCorrupt | None) -> None:
    for told in errors:
        error = StorageCorrupt(told["message"])
        if on_corrupt is None:
            raise error
        on_corrupt(JobKey.parse(told["job"]), error)


def _refuse(workspace: str) -> NoReturn:
    raise DropsweepError(
        f"{workspace}: what retention deletes is told by the storage account alone, and this is an HTTP API. Name the "
        "account by --connection or DROPSWEEP_STORAGE"
    )
