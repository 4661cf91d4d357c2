"""References to container images: what one looks like, and when two name the same image.

Source:
    The grammar of https://github.com/distribution/reference, and Docker's short forms: without a registry an image lies
    in docker.io, there without a folder in `library`, and without a tag it is `latest`.
"""

import re
from typing import Final

IMAGE_RULE: Final = (
    "an image's reference is [registry/]name[:tag][@digest], the name in lower case, as registry.example/team/image:1.0"
)
_MAX_LENGTH: Final = 512
_HOST: Final = r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*(?::\d+)?"
_PART: Final = r"[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*"
_REFERENCE: Final = re.compile(
    rf"(?:(?P<host>{_HOST})/)??(?P<path>{_PART}(?:/{_PART})*)"
    r"(?::(?P<tag>\w[\w.-]{0,127}))?(?:@(?P<digest>[A-Za-z0-9_+.-]+:[0-9a-fA-F]{32,}))?",
    re.ASCII,
)
_DOCKER: Final = "docker.io"


def is_image(text: str) -> bool:
    """True for a reference to an image (`IMAGE_RULE`)."""
    return canonical(text) is not None


def canonical(text: str) -> str | None:
    """Returns the one spelling of all references to an image; None for what is no reference.

    A digest says which image it is, so a tag beside it is left out.
    """
    if len(text) > _MAX_LENGTH or (found := _REFERENCE.fullmatch(text)) is None:
        return None
    host, path = found["host"] or "", found["path"]
    first, slash, rest = path.partition("/")
    # Docker's own rule: only a dot, a port or `localhost` make the first part a registry.
    if not host and slash and ("." in first or first == "localhost"):
        host, path = first, rest
    elif host and not ("." in host or ":" in host or host == "localhost" or host != host.lower()):
        host, path = "", f"{host}/{path}"
    if "." in host or ":" in host or host.lower() == "localhost":
        host = host.lower()  # not where upper case alone makes it a registry
    if host in ("", "index.docker.io"):
        host = _DOCKER
    if host == _DOCKER and "/" not in path:
        path = f"library/{path}"
    end = f"@{found['digest'].lower()}" if found["digest"] else f":{found['tag'] or 'latest'}"
    return f"{host}/{path}{end}"
