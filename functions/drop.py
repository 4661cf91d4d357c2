"""Blob trigger: a file was dropped into the container `jobs`."""

import azure.functions as func

from dropsweep.names import JOBS
from dropsweep.settings import STORAGE
from dropsweep.steps.pick_up import pick_up
from functions import deployment

blueprint = func.Blueprint()  # type: ignore[no-untyped-call]  # the package has no types for it


@blueprint.function_name("drop")
@blueprint.blob_trigger(
    arg_name="blob",
    path=f"{JOBS}/{{name}}",
    connection=STORAGE,
    source=func.BlobSource.EVENT_GRID,
)
def drop(blob: func.InputStream) -> None:
    """Accepts the file by its name: `pick_up` reads content and ETag in one answer, so that they belong together."""
    _, _, path = str(blob.name).partition("/")
    pick_up(deployment.store(), deployment.settings(), path)
