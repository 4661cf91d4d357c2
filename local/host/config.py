"""What host.json and the app settings say, with the real host's defaults."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dropsweep.errors import ConfigError

HOST_ID: Final = "dropsweep-local"
"""Names the host if the app setting `AzureFunctionsWebHost__hostid` does not."""
HOST_CONTAINER: Final = "azure-webjobs-hosts"
"""The container in which a Functions host keeps what it must remember."""

_OVERRIDE: Final = "AzureFunctionsJobHost__"
_TIME_SPAN = re.compile(r"(?:(?P<days>\d+)\.)?(?P<hours>\d+):(?P<minutes>\d{1,2}):(?P<seconds>\d{1,2}(?:\.\d+)?)")
_SETTING = re.compile(r"%([^%]+)%")
_MAX_BATCH: Final = 32
"""The queue service gives no more messages at once."""


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """The section `extensions.queues` of host.json.

    Attributes:
        batch_size: messages fetched at once and run side by side, 1 to 32.
        new_batch_threshold: the next batch is fetched when no more than this many messages are still running.
        max_dequeue_count: failures after which a message is moved to the poison queue.
        visibility_timeout_s: seconds from a failure until the message is tried again.
        max_polling_interval_s: the longest pause between two looks into an empty queue.
        is_base64: whether message bodies are base64; plain text otherwise.
    """

    batch_size: int = 16
    new_batch_threshold: int = 8
    max_dequeue_count: int = 5
    visibility_timeout_s: float = 0.0
    max_polling_interval_s: float = 60.0
    is_base64: bool = True


@dataclass(frozen=True, slots=True)
class HostConfig:
    """What the host needs of host.json.

    Attributes:
        queues: how queues are read.
        poison_blob_threshold: failures after which a blob is given up (`extensions.blobs.poisonBlobThreshold`).
        max_blobs_at_once: blobs that are run side by side (`extensions.blobs.maxDegreeOfParallelism`).
        route_prefix: the first part of every HTTP path (`extensions.http.routePrefix`), without slashes; may be empty.
        host_id: names the host in the blobs in which it remembers what it has done.
    """

    queues: QueueLimits = QueueLimits()
    poison_blob_threshold: int = 5
    max_blobs_at_once: int = 8
    route_prefix: str = "api"
    host_id: str = HOST_ID


def read_config(app: Path, settings: Mapping[str, str]) -> HostConfig:
    """Reads host.json in the folder `app`; a setting `AzureFunctionsJobHost__a__b` stands above its value `a.b`.

    Raises:
        ConfigError: when host.json is missing, is not version 2.0, or holds a value that cannot be.
    """
    path = app / "host.json"
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{path} cannot be read ({error}): a function app needs it. Start in the app's folder or name it by --app"
        ) from error
    if not isinstance(raw, dict) or raw.get("version") != "2.0":
        raise ConfigError(f'{path}: version must be "2.0", the schema of hosts 2 to 4. Set it')
    for key, value in settings.items():
        if key.startswith(_OVERRIDE):
            _put(raw, key.removeprefix(_OVERRIDE).split("__"), value)
    extensions = raw.get("extensions", {})
    queues, blobs, http = (extensions.get(section, {}) for section in ("queues", "blobs", "http"))
    default = QueueLimits()
    encoding = queues.get("messageEncoding", "base64")
    if encoding not in ("base64", "none"):
        raise ConfigError(f"host.json: messageEncoding is {encoding!r}: it must be base64 or none. Correct it")
    batch_size = _count("batchSize", queues.get("batchSize", default.batch_size), _MAX_BATCH)
    return HostConfig(
        queues=QueueLimits(
            batch_size=batch_size,
            new_batch_threshold=_count("newBatchThreshold", queues.get("newBatchThreshold", batch_size // 2), least=0),
            max_dequeue_count=_count("maxDequeueCount", queues.get("maxDequeueCount", default.max_dequeue_count)),
            visibility_timeout_s=seconds(queues.get("visibilityTimeout", "00:00:00")),
            max_polling_interval_s=seconds(queues.get("maxPollingInterval", "00:01:00")),
            is_base64=encoding == "base64",
        ),
        poison_blob_threshold=_count("poisonBlobThreshold", blobs.get("poisonBlobThreshold", 5)),
        max_blobs_at_once=_count("maxDegreeOfParallelism", blobs.get("maxDegreeOfParallelism", 8)),
        route_prefix=str(http.get("routePrefix", "api")).strip("/"),
        host_id=settings.get("AzureFunctionsWebHost__hostid") or HOST_ID,
    )


def seconds(time_span: str) -> float:
    """Returns the seconds of a .NET time span `[d.]hh:mm:ss[.fff]`.

    Raises:
        ConfigError: when it is not one.
    """
    match = _TIME_SPAN.fullmatch(time_span)
    if match is None:
        raise ConfigError(f"host.json: {time_span!r} is no time span: it must look like 00:00:30. Correct it")
    days, hours, minutes = (int(match[part] or 0) for part in ("days", "hours", "minutes"))
    return ((days * 24 + hours) * 60 + minutes) * 60 + float(match["seconds"])


def resolve(text: str, settings: Mapping[str, str]) -> str:
    """Returns `text` with each `%NAME%` replaced by the app setting NAME.

    Raises:
        ConfigError: when there is no such setting.
    """

    def value(match: re.Match[str]) -> str:
        if match[1] not in settings:
            raise ConfigError(f"{text!r} names the app setting {match[1]}, which is not set. Set it in the environment")
        return settings[match[1]]

    return _SETTING.sub(value, text)


def _put(tree: dict[str, Any], path: list[str], value: str) -> None:
    *folders, leaf = path
    for folder in folders:
        tree = tree.setdefault(folder, {})
    tree[leaf] = value


def _count(name: str, value: object, most: int | None = None, *, least: int = 1) -> int:
    try:
        count = int(str(value))
    except ValueError:
        count = least - 1
    if count < least or (most is not None and count > most):
        upper = f" to {most}" if most else " or more"
        raise ConfigError(f"host.json: {name} is {value!r}: it must be {least}{upper}. Correct it")
    return count
