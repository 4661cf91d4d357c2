"""What was asked of the storage, by all processes together, read from the storage emulator's own request log."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, unquote

from dropsweep.names import ADVANCE_QUEUE, DROP_POISON_QUEUE, JOBS, RUNS, poison_queue, trials_queues
from local.tail import Tail

_LINE: Final = re.compile(r'^\S+ - - \[[^\]]+\] "([A-Z]+) (\S+) HTTP/[\d.]+" (\d{3}) ')
_QUEUE_VERBS: Final = {"POST": "send to", "GET": "receive from", "DELETE": "delete from", "PUT": "renew in"}
_BLOB_VERBS: Final = {"GET": "read", "HEAD": "look at", "DELETE": "delete"}
_PUT_VERBS: Final = {"appendblock": "append to", "metadata": "touch", "block": "write a block of"}

DROP: Final = f"write {JOBS}"
"""A job file is dropped: what the measuring process does, and the system never."""
SCAN: Final = f"list {JOBS}"
"""The local host looks for dropped files; in Azure, Event Grid tells of them."""
CLAIM: Final = "write trial record"
JOB_RECORD: Final = "write job record"
REPORT: Final = "write report.html"


@dataclass(frozen=True, slots=True)
class Request:
    """One request that the storage answered.

    Attributes:
        kind: what it did to what, as in `write trial record`.
        path: container or queue and what follows, as sent, without the query; of a list, its prefix.
        status: of the answer.
    """

    kind: str
    path: str
    status: int


class RequestLog:
    """Follows the log of a running emulator that logs its requests."""

    def __init__(self, log: Path) -> None:
        """Starts at the log's present end."""
        self._tail = Tail([log])

    def fresh(self) -> list[Request]:
        """Returns the requests that were answered since the last call, in the order of their answers; never waits."""
        return [request for _, line in self._tail.read() if (request := parse(line)) is not None]


def parse(line: str) -> Request | None:
    """Reads one line of the log (common log format); None for a line that tells of no request to the account."""
    match = _LINE.match(line)
    if match is None:
        return None
    method, target, status = match.groups()
    path, _, query = target.partition("?")
    _, _, rest = path.lstrip("/").partition("/")  # the account's name comes first
    if not rest:
        return None
    parameters = {name: values[-1] for name, values in parse_qs(query).items()}
    container, _, blob = unquote(rest).partition("/")
    comp = parameters.get("comp", "")
    if comp == "list":
        prefix = parameters.get("prefix", "")
        return Request(f"list {_what(container, prefix)}", f"{container}/{prefix}", int(status))
    if container != RUNS and blob.partition("/")[0] == "messages":
        return Request(f"{_QUEUE_VERBS[method]} {container}", container, int(status))
    verb = _PUT_VERBS.get(comp, "write") if method == "PUT" else _BLOB_VERBS.get(method, method)
    return Request(f"{verb} {_what(container, blob)}", f"{container}/{blob}", int(status))


def _what(container: str, blob: str) -> str:
    """Names the class of a blob or prefix: what a trial or a job has one of, is one class."""
    if container != RUNS:
        return container
    match blob.split("/")[3:]:
        case ["records", *_]:
            return "trial record"
        case ["job.json"]:
            return "job record"
        case ["trials", _, "attempts", _, "outputs" | "logs" as folder, *_]:
            return folder
        case ["trials", _, "checkpoints", *_]:
            return "checkpoints"
        case [*_, file]:
            return file
        case _:
            return container


def split(requests: Iterable[Request], cluster: str) -> tuple[Counter[str], Counter[str]]:
    """Counts what the system asked for, by kind, in two parts: work and idle polling.

    Left out is the drop of job files, which the measuring process does itself.

    Idle are the scans for dropped files, and of the receives of a queue those that found it empty. The log does not
    tell an empty answer from another one, but a receive that finds something takes at least one message, and each
    message is deleted once: as many receives as there are deletes count as work, and the rest is idle. So for messages
    that are received several at a time (those of the queue `advance`), the work is rather too high than too low.

    Args:
        requests: of all processes, from before a drop until everything is settled.
        cluster: whose queues the trials went through.

    Returns:
        Work and idle polling.
    """
    kinds = Counter(request.kind for request in requests if request.kind != DROP)
    idle = Counter({SCAN: kinds[SCAN]})
    for queue in (ADVANCE_QUEUE, poison_queue(ADVANCE_QUEUE), DROP_POISON_QUEUE, *trials_queues(cluster)):
        receive, delete = f"{_QUEUE_VERBS['GET']} {queue}", f"{_QUEUE_VERBS['DELETE']} {queue}"
        idle[receive] = max(0, kinds[receive] - kinds[delete])
    return kinds - idle, +idle
