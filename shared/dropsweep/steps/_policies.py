"""The policy files of workspaces, as a process knows them: read when they change, looked for every few seconds."""

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

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
from dropsweep.storage import Listed, Store

if TYPE_CHECKING:
    from dropsweep.spec.workspace import WorkspaceReading

# What reads the files is imported where it is called: it brings pydantic with it, which `stem_of` does not need.

_log = logging.getLogger(__name__)
_MAX_AGE_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class PolicyFile:
    """One policy file as it was read last.

    Attributes:
        path: where it lies in the container `workspaces`.
        etag: its version; empty when that has not been read.
        reading: what came of it; what is misnamed, or could not be read, is broken.
    """

    path: str
    etag: str
    reading: "WorkspaceReading"


def stem_of(path: str) -> str | None:
    """Returns whose policy file lies at a path of the container `workspaces`, also when its ending is wrong.

    Returns:
        The workspace, or `_default`; None for what is nobody's: reports, and names that are none.
    """
    stem = path.split(".")[0]
    return stem if not path.endswith(ERROR_SUFFIX) and (is_name(stem) or stem == DEFAULT_POLICY) else None


class Policies:
    """The policy files as of a few seconds ago. Safe to use from many threads; keep one a process."""

    def __init__(self, max_age_s: float = _MAX_AGE_S) -> None:
        """Begins without knowing any; one list call every `max_age_s` finds what has changed."""
        self._max_age_s = max_age_s
        self._guard = threading.Lock()
        self._looked_at: float | None = None
        self._known: Mapping[str, PolicyFile] = {}

    def of(self, store: Store, workspace: str) -> PolicyFile | None:
        """Returns the file that holds for a workspace: its own one, also when it is broken, else the default one.

        Returns:
            None without either.

        Raises:
            StorageError: as the storage does.
        """
        known = self._fresh(store)
        return known.get(workspace) or known.get(DEFAULT_POLICY)

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
            known = self._known
        broken: dict[str, list[tuple[str, tuple[Problem, ...]]]] = defaultdict(list)
        for name, policy in known.items():
            if policy.reading.policy is None and policy.path == workspace_file(name):
                broken[name].append((policy.path, policy.reading.problems))
        for file in files:
            if not file.name.endswith(ERROR_SUFFIX) and not _is_named_well(file.name):
                broken[file.name.split(".")[0]].append((file.name, (_misnamed(file.name),)))
        told = {file.name for file in files if file.name.endswith(ERROR_SUFFIX)}
        for name, found in broken.items():
            path = workspace_error(name)
            report = _report(found)
            before = store.blobs.read(WORKSPACES, path) if path in told else None
            if before is None or before.body != report:
                store.blobs.put(WORKSPACES, path, report)
                _log.warning("policies: %s/%s cannot be used: %s", WORKSPACES, found[0][0], found[0][1][0])
        for path in told - {workspace_error(name) for name in broken}:
            store.blobs.delete(WORKSPACES, path)

    def _fresh(self, store: Store) -> Mapping[str, PolicyFile]:
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

    def _read(self, store: Store, files: Iterable[Listed]) -> Iterable[tuple[str, PolicyFile]]:
        # Those with the right name last: where a workspace has one, it holds, whatever lies beside it.
        for file in sorted(files, key=lambda file: (_is_named_well(file.name), file.name)):
            name = stem_of(file.name)
            if name is None:
                continue
            known = self._known.get(name)
            if known is None or known.path != file.name or known.etag != file.etag:
                known = _read(store, file, known)
            yield name, known


def _read(store: Store, file: Listed, before: PolicyFile | None) -> PolicyFile:
    """Reads a file that is new.

    One that is misnamed is broken, and so is one that is listed and yet cannot be read, unless it could be before: it
    is about to be replaced, or to go. Neither lets the default policy hold, which may delete what this one keeps.
    """
    from dropsweep.spec.workspace import WorkspaceReading, read_workspace

    if not _is_named_well(file.name):
        return PolicyFile(file.name, file.etag, WorkspaceReading(None, (_misnamed(file.name),)))
    blob = store.blobs.read(WORKSPACES, file.name)
    if blob is not None:
        return PolicyFile(file.name, file.etag, read_workspace(blob.body, file_name=file.name))
    if before is not None and before.path == file.name:
        return replace(before, etag="")
    problem = Problem("", f"{WORKSPACES}/{file.name}", "the file went away while it was read", "Put it there again")
    return PolicyFile(file.name, "", WorkspaceReading(None, (problem,)))


def _is_named_well(path: str) -> bool:
    stem = stem_of(path)
    return stem is not None and path == workspace_file(stem)


def _misnamed(path: str) -> Problem:
    rule = f"a policy file's name is that of its workspace ({NAME_RULE}) or {DEFAULT_POLICY}, and ends in .yaml"
    return Problem("", f"{WORKSPACES}/{path}", rule, "Rename it")


def _report(found: Sequence[tuple[str, tuple[Problem, ...]]]) -> bytes:
    """Returns what is wrong with the files of one stem; the first of them is the one to look at."""
    problems = [problem.to_json() for _, broken in found for problem in broken]
    return dump({"version": VERSION, "source": f"{WORKSPACES}/{found[0][0]}", "problems": problems})
