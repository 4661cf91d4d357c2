"""What a job file points at in storage, and whether it is there."""

from dropsweep.errors import NotFoundError, Problem, Severity
from dropsweep.spec import Reading, Reference
from dropsweep.storage import Store


def absent(store: Store, reading: Reading) -> tuple[Problem, ...]:
    """Looks whether everything exists that the file points at, where it points at something that can exist."""
    wrong = {problem.path for problem in reading.problems if problem.severity is Severity.ERROR}
    return tuple(
        problem
        for reference in reading.references
        if reference.path not in wrong and (problem := _absence(store, reference)) is not None
    )


def _absence(store: Store, reference: Reference) -> Problem | None:
    if not reference.blob.isprintable():
        return Problem(
            reference.path, repr(reference.value), "a path has printable characters only", "Rename the blob or folder"
        )
    rule = "the folder must have at least one file in it" if reference.is_folder else "the file must exist"
    try:
        if reference.is_folder:
            prefix = f"{reference.blob}/" if reference.blob else ""
            exists = any(True for _ in store.blobs.files(reference.container, prefix))
        else:
            exists = store.blobs.head(reference.container, reference.blob) is not None
    except NotFoundError:
        exists = False  # no such container
    if exists:
        return None
    return Problem(
        reference.path,
        reference.value,
        f"{rule}, looked for {reference.container}/{reference.blob}",
        "Upload it before the job file, or correct the path",
    )
