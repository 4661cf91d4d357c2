"""The policy files of workspaces, as a process knows them: read when they change, looked for every few seconds."""

import logging
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from dropsweep.errors import NotFoundError, Problem
from dropsweep.names import (
    DEFAULT_POLICY,
    ERROR_SUFFIX,
    NAME_RULE,
    WORKSPACES,
    is_name,
    workspace_error,
    workspace_file,
)
from dropsweep.records.codec import VERSION, dump
from dropsweep.spec.workspace import WorkspaceReading, read_workspace
from dropsweep.storage import Listed, Store

_log = logging.getLogger(__name__)
_MAX_AGE_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class _Known:
    """One policy file as it was read last."""

    file: Listed
    reading: WorkspaceReading


class Policies:
    """The policy files as of a few seconds ago. Safe to use from many threads; keep one a process."""

    def __init__(self, max_age_s: float = _MAX_AGE_S) -> None:
        """Begins without knowing any; one list call every `max_age_s` finds what has changed."""
        self._max_age_s = max_age_s
        self._guard = threading.Lock()
        self._looked_at: float | None = None
        self._known: Mapping[str, _Known] = {}

    def of(self, store: Store, workspace: str) -> WorkspaceReading | None:
        """Returns what holds for a workspace: its own file, else the default one; None without either.

        Raises:
            StorageError: as the storage does.
        """
        known = self._fresh(store)
        found = known.get(workspace) or known.get(DEFAULT_POLICY)
        return found.reading if found else None

    def own(self, store: Store, workspace: str) -> WorkspaceReading | None:
        """Returns what a workspace's own file says, or that named `_default`; None without one."""
        found = self._fresh(store).get(workspace)
        return found.reading if found else None

    def names(self, store: Store) -> list[str]:
        """Returns the workspaces with a file of their own, and `_default` if there is one."""
        return sorted(self._fresh(store))

    def check(self, store: Store) -> None:
        """Looks at every file anew, tells beside each broken one what is wrong with it, and no more once it is mended.

        Raises:
            StorageError: as the storage does.
        """
        with self._guard:
            files = self._look(store)
        broken: dict[str, tuple[Listed, tuple[Problem, ...]]] = {
            name: (known.file, known.reading.problems)
            for name, known in self._known.items()
            if known.reading.policy is None
        }
        for file in files:
            name = file.name.split(".")[0]
            if not file.name.endswith(ERROR_SUFFIX) and _workspace_of(file.name) is None and name not in self._known:
                broken[name] = (file, (_misnamed(file.name),))
        told = {file.name: file for file in files if file.name.endswith(ERROR_SUFFIX)}
        for name, (file, problems) in broken.items():
            path = workspace_error(name)
            before = told.pop(path, None)
            if before is None or before.modified <= file.modified:
                store.blobs.put(WORKSPACES, path, _told(file.name, problems))
                _log.warning("policies: %s/%s cannot be used: %s", WORKSPACES, file.name, problems[0])
        for path in told:
            store.blobs.delete(WORKSPACES, path)

    def _fresh(self, store: Store) -> Mapping[str, _Known]:
        with self._guard:
            if self._looked_at is None or time.monotonic() - self._looked_at > self._max_age_s:
                self._look(store)
            return self._known

    def _look(self, store: Store) -> list[Listed]:
        """Lists the files and reads those that are new; to be called by one thread at a time."""
        began = time.monotonic()
        try:
            files = list(store.blobs.files(WORKSPACES, ""))
        except NotFoundError:
            files = []  # a deployment from before there were any
        self._known = dict(self._read(store, files))
        self._looked_at = began
        return files

    def _read(self, store: Store, files: Iterable[Listed]) -> Iterable[tuple[str, _Known]]:
        for file in files:
            name = _workspace_of(file.name)
            if name is None:
                continue
            known = self._known.get(name)
            if known is None or known.file.etag != file.etag:
                blob = store.blobs.read(WORKSPACES, file.name)
                if blob is None:
                    continue
                known = _Known(file, read_workspace(blob.body, file_name=file.name))
            yield name, known


def _workspace_of(path: str) -> str | None:
    """Returns the workspace whose policy file lies at a path of the container `workspaces`, or None."""
    name = path.removesuffix(".yaml")
    return name if path == workspace_file(name) and (is_name(name) or name == DEFAULT_POLICY) else None


def _misnamed(path: str) -> Problem:
    rule = f"a policy file's name is that of its workspace ({NAME_RULE}) or {DEFAULT_POLICY}, and ends in .yaml"
    return Problem("", f"{WORKSPACES}/{path}", rule, "Rename it")


def _told(path: str, problems: tuple[Problem, ...]) -> bytes:
    document = {"source": f"{WORKSPACES}/{path}", "problems": [problem.to_json() for problem in problems]}
    return dump({"version": VERSION, **document})
