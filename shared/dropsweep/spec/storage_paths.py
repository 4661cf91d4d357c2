"""What a job file may point at in storage, and how."""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from dropsweep.errors import Problem
from dropsweep.names import CODE, HOST_CONTAINERS
from dropsweep.spec.problems import error, warning

_DATASTORE: Final = re.compile(r"azureml://datastores/([^/]+)/paths/(.*)")
_BLOB_URL: Final = re.compile(r"https://[a-z0-9]{3,24}\.blob\.core\.[a-z.]+/([^/?#]+)/([^?#]*)(.*)")
_CONTAINER: Final = re.compile(r"(?!.*--)[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
_CONTAINER_RULE: Final = "a container's name has 3 to 63 lower-case letters, digits and single -"
_MAX_PATH: Final = 1024
# XML, in which the service lists names, has no place for these.
_NO_TEXT: Final = re.compile(r"[\ud800-\udfff\ufffe\uffff]")
_UPLOAD: Final = "Upload the data into a container of the account, and write {container}/{path}"


@dataclass(frozen=True, slots=True)
class Reference:
    """Something in storage that the file points at.

    Attributes:
        path: where in the file, such as `inputs.data.path` or `code`.
        container: the container's name.
        blob: a blob's path, or a folder's without a slash at the end.
        is_folder: whether it is a folder.
        value: what stands in the file.
    """

    path: str
    container: str
    blob: str
    is_folder: bool
    value: str


def input_reference(path: str, value: str, *, is_folder: bool) -> tuple[Reference | None, list[Problem]]:
    """Reads an input's `path`.

    Args:
        path: where in the file it stands.
        value: `{container}/{path}`, `azureml://datastores/{container}/paths/{path}` or a blob's https address.
        is_folder: whether the input's type is uri_folder.
    """
    problems: list[Problem] = []
    if found := _DATASTORE.fullmatch(value):
        container, blob = found[1], found[2]
    elif found := _BLOB_URL.fullmatch(value):
        container, blob = found[1], unquote(found[2])
        if found[3]:
            rule = "an address carries no query, and a job file no secret"
            return None, [error(path, value.partition("?")[0], rule, "Remove everything from the `?` on")]
        rule = "is read from the storage account of this deployment, whatever account the address names"
        problems.append(warning(path, value, rule, f"Write {container}/{blob}"))
    elif value.startswith("azureml:") or "://" in value:
        what = "a registered asset" if value.startswith("azureml:") and "://" not in value else "this kind of address"
        return None, [error(path, value, f"{what} is not read", _UPLOAD)]
    elif value.startswith((".", "/", "~")) or "\\" in value or re.match(r"[A-Za-z]:", value):
        return None, [error(path, value, "a path on your own machine cannot be read", _UPLOAD)]
    else:
        container, _, blob = value.partition("/")
        if not blob:
            return None, [error(path, value, "names a container or a file, but not both", _UPLOAD)]
    if not _CONTAINER.fullmatch(container):
        return None, [*problems, error(path, value, _CONTAINER_RULE, "Correct the part before the path")]
    if container.startswith(HOST_CONTAINERS):
        rule = "holds what the Functions host keeps for itself, its keys among it"
        return None, [*problems, error(path, value, rule, "Read from a container of your own")]
    blob = blob.removesuffix("/") if is_folder else blob
    if reason := _unfit(blob):
        return None, [*problems, error(path, value, reason, "Write the path as it stands in the container")]
    return Reference(path, container, blob, is_folder, value), problems


def code_reference(path: str, value: str) -> tuple[Reference | None, list[Problem]]:
    """Reads `code`, a folder in the container `code`."""
    if value.startswith("azureml:") or "://" in value or value.startswith("git+"):
        return None, [error(path, value, "code is a folder in the container `code`", "Upload it there and name it")]
    if value.startswith((".", "/", "~")) or "\\" in value or re.match(r"[A-Za-z]:", value):
        remedy = (
            "Submit the file with `dropsweep submit`, which uploads it, or upload it into `code` and name the folder"
        )
        return None, [error(path, value, "a folder on your own machine cannot be read", remedy)]
    folder = value.removesuffix("/")
    if reason := _unfit(folder):
        return None, [error(path, value, reason, "Write the folder as it stands in the container `code`")]
    return Reference(path, CODE, folder, True, value), []


def _unfit(blob: str) -> str | None:
    if not blob:
        return "a path must name a file or folder inside its container"
    if len(blob) > _MAX_PATH:
        return f"a path has at most {_MAX_PATH} characters"
    if "\\" in blob or any(ord(character) < 32 or ord(character) == 127 for character in blob):
        return "a path holds no backslash and no control character"
    if _NO_TEXT.search(blob):
        return "a path holds no U+FFFE, no U+FFFF and no half of a surrogate pair"
    if any(segment in ("", ".", "..") for segment in blob.split("/")):
        return "a path has no empty part, no `.` and no `..`"
    return None
