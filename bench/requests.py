"""What was asked of the storage: by all together, from the emulator's log, and by each party, from its own."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, unquote

from dropsweep.names import (
    ADVANCE_QUEUE,
    DROP_POISON_QUEUE,
    JOBS,
    RUNS,
    SUBMISSIONS_QUEUE,
    poison_queue,
    trials_queues,
)
from local.tail import Tail

_LINE: Final = re.compile(r'^\S+ - - \[[^\]]+\] "([A-Z]+) (\S+) HTTP/[\d.]+" (\d{3}) (\d+|-)')
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
_EMPTY_BYTES: Final = 150
"""An answer that lists no message is shorter, one with a message is longer. A queue that is not there is empty too."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request that the storage answered.

    Attributes:
        kind: what it did to what, as in `write trial record`.
        path: container or queue and what follows, as sent, without the query; of a list, its prefix.
        status: of the answer.
        num_bytes: of its body; None where the log does not say.
    """

    kind: str
    path: str
    status: int
    num_bytes: int | None = None


class RequestLog:
    """Follows the log of a running emulator that logs its requests."""

    def __init__(self, log: Path) -> None:
        """Starts at the log's present end."""
        self._tail = Tail([log])

    def fresh(self) -> list[Request]:
        """Returns the requests that were answered since the last call, in the order of their answers; never waits."""
        return [request for _, line in self._tail.read() if (request := parse(line)) is not None]


class PartyLogs:
    """Follows the logs into which the processes of a stack write their requests themselves.

    A party is a process, or a part of one that has a log of its own: `host` is what the Functions host asks for,
    `functions` what the functions do that it runs.
    """

    def __init__(self, folder: Path) -> None:
        """Starts at the beginning of each log in the folder; those that come later are followed as well."""
        self._folder = folder
        self._tail = Tail([])

    def fresh(self) -> dict[str, list[Request]]:
        """Returns what each party asked for since the last call; never waits.

        What got no answer is left out, for the storage did not see it, or tells of it in its own log alone.
        """
        for log in self._folder.glob("*.log"):
            self._tail.follow(log)
        found: dict[str, list[Request]] = {}
        for party, line in self._tail.read():
            request = parse(line)
            if request is not None and request.status:
                found.setdefault(party, []).append(request)
        return found


def parse(line: str) -> Request | None:
    """Reads one line of the log (common log format); None for a line that tells of no request to the account."""
    match = _LINE.match(line)
    if match is None:
        return None
    method, target, status, size = match.groups()
    num_bytes = None if size == "-" else int(size)
    path, _, query = target.partition("?")
    _, _, rest = path.lstrip("/").partition("/")  # the account's name comes first
    if not rest:
        return None
    parameters = {name: values[-1] for name, values in parse_qs(query).items()}
    container, _, blob = unquote(rest).partition("/")
    comp = parameters.get("comp", "")
    if comp == "list":
        prefix = parameters.get("prefix", "")
        return Request(f"list {_what(container, prefix)}", f"{container}/{prefix}", int(status), num_bytes)
    if container != RUNS and blob.partition("/")[0] == "messages":
        return Request(f"{_QUEUE_VERBS[method]} {container}", container, int(status), num_bytes)
    verb = _PUT_VERBS.get(comp, "write") if method == "PUT" else _BLOB_VERBS.get(method, method)
    return Request(f"{verb} {_what(container, blob)}", f"{container}/{blob}", int(status), num_bytes)


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

    Idle are the scans for dropped files, and of the receives of a queue those that found it empty, as the size of the
    answer tells. Where the log says nothing of it, as that of the emulator does, as many receives as there are
    deletions count as work, and the rest is idle: a receive that finds something takes at least one message, and each
    message is deleted once. For messages that are received several at a time the work is too high then.

    Args:
        requests: of all processes, from before a drop until everything is settled.
        cluster: whose queues the trials went through.

    Returns:
        Work and idle polling.
    """
    asked = [request for request in requests if request.kind != DROP]
    kinds = Counter(request.kind for request in asked)
    empty = Counter(
        request.kind for request in asked if request.status != 200 or (request.num_bytes or 0) < _EMPTY_BYTES
    )
    untold = Counter(request.kind for request in asked if request.num_bytes is None)
    idle = Counter({SCAN: kinds[SCAN]})
    for queue in _polled(cluster):
        receive, delete = f"{_QUEUE_VERBS['GET']} {queue}", f"{_QUEUE_VERBS['DELETE']} {queue}"
        idle[receive] = max(0, kinds[receive] - kinds[delete]) if untold[receive] else empty[receive]
    return kinds - idle, +idle


def _polled(cluster: str) -> tuple[str, ...]:
    """The queues into which somebody looks again and again."""
    listened = (ADVANCE_QUEUE, SUBMISSIONS_QUEUE)
    return (*listened, *map(poison_queue, listened), DROP_POISON_QUEUE, *trials_queues(cluster))


def work_of(parties: Mapping[str, Sequence[Request]], cluster: str) -> dict[str, Counter[str]]:
    """Counts what each party asked for by kind, without idle polling, the busiest party first.

    Args:
        parties: their requests, from before a drop until everything is settled.
        cluster: whose queues the trials went through.

    Returns:
        As `split` counts work.
    """
    counted = {party: split(requests, cluster)[0] for party, requests in parties.items()}
    return dict(sorted(((party, work) for party, work in counted.items() if work), key=lambda one: -one[1].total()))


def difference(requests: Iterable[Request], parties: Mapping[str, Sequence[Request]], cluster: str) -> Counter[str]:
    """Returns by kind how far what the emulator counted is from what the parties did; empty when they agree.

    Without what is asked again and again whether or not there is work, for some of it is always on its way.
    """
    everywhere = Counter(request.kind for request in requests)
    apart = Counter(request.kind for party in parties.values() for request in party)
    polled = {SCAN, *(f"{_QUEUE_VERBS['GET']} {queue}" for queue in _polled(cluster))}
    kinds = (everywhere.keys() | apart.keys()) - polled
    return +Counter({kind: abs(everywhere[kind] - apart[kind]) for kind in kinds})
