"""Code snapshots: a folder's files under the digest of what is in it, each written once."""

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Path, Request, Response

from dropsweep.api import answers, models
from dropsweep.api.parameters import MAX_PATH, Account, is_blob_path, raw_body, responses
from dropsweep.api.problems import Refused
from dropsweep.errors import ConflictError
from dropsweep.names import CODE
from dropsweep.snapshots import SNAPSHOTS

router = APIRouter(tags=["code"])
MAX_CODE_FILE_BYTES: Final = 64 * 1024 * 1024
"""The Functions host keeps whole requests in memory."""
_MAX_RELATIVE: Final = MAX_PATH - len(f"{SNAPSHOTS}/{'0' * 64}/")

Digest = Annotated[str, Path(pattern="^[0-9a-f]{64}$", description="SHA-256 over the paths and contents of the folder")]


@router.get(
    "/code/sha256/{digest}",
    operation_id="list_code",
    summary="List the files of a code snapshot that are there",
    response_class=Response,
    responses=responses(models.CodeFiles),
)
def list_them(request: Request, store: Account, digest: Digest) -> Response:
    """Empty for a snapshot of which nothing is there."""
    prefix = f"{SNAPSHOTS}/{digest}/"
    files = [
        {"path": found.name.removeprefix(prefix), "size_bytes": found.size_bytes}
        for found in store.blobs.list(CODE, prefix)
    ]
    return answers.representation(request, {"items": files})


_STORED: Final = {"model": models.CodeFile, "description": "The file was stored"}


@router.put(
    "/code/sha256/{digest}/{path:path}",
    operation_id="put_code",
    summary="Store one file of a code snapshot",
    response_class=Response,
    status_code=201,
    responses={
        **responses(models.CodeFile, 404, 409, 413, description="The file was there already", has_version=False),
        201: _STORED,
    },
    openapi_extra={
        "requestBody": {
            "description": "the file; without a body an empty one",
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
def put(
    store: Account,
    digest: Digest,
    path: Annotated[
        str, Path(min_length=1, max_length=_MAX_RELATIVE, description="below the folder; slashes stay as they are")
    ],
    body: Annotated[bytes, Depends(raw_body(MAX_CODE_FILE_BYTES))],
) -> Response:
    """What is there is never changed, for jobs run from it."""
    name = f"{SNAPSHOTS}/{digest}/{path}"
    if not is_blob_path(path):
        shown = path[:80] if path.isprintable() else ascii(path[:80])
        raise Refused(422, f"{shown}: it must be a file's path below the folder, without . and .. in it. Rename it")
    told = {"path": path, "size_bytes": len(body)}
    if store.blobs.create(CODE, name, body) is not None:
        return answers.document(told, status=201)
    known = store.blobs.read(CODE, name)
    if known is not None and known.body != body:
        raise ConflictError(
            f"{name} is there with another content of {known.size_bytes:,} bytes: a snapshot never changes. Take the "
            "digest of the folder anew; if it is right, somebody put something else there, which must be deleted"
        )
    return answers.document(told)
