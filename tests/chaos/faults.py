"""Faults at one chosen request: the process dies before or after it, its answer is lost, or the service refuses it.

The policy sits below the SDK's retries, so each request that leaves a process passes here. It also writes down every
request with its answer, by which a run is traced and its applied writes are counted.
"""

import json
import os
import re
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import requests
from azure.core.exceptions import ServiceResponseError
from azure.core.pipeline import PipelineRequest, PipelineResponse
from azure.core.pipeline.policies import HTTPPolicy
from azure.core.rest import HttpRequest, HttpResponse
from azure.core.rest._requests_basic import RestRequestsTransportResponse

KILLED: Final = 137
"""Exit status of a process that a fault ended, as of one that got SIGKILL."""
LATE: Final = "late"
"""Marks the sending of a message that is to arrive long after the run: the alarm for the job's timeout."""
_LATE_S: Final = 600
_BUSY: Final = b'<?xml version="1.0"?><Error><Code>ServerBusy</Code><Message>The server is busy.</Message></Error>'
_JOB_ID: Final = re.compile(r"(?<=/)chaos-[0-9a-z]{10}(?=/|$)")
_MESSAGE_ID: Final = re.compile(r"(?<=/messages/).+")
_LABEL: Final = re.compile(r"(?<=/checkpoints/)\d{4}-\d{6}-")


class Fault(StrEnum):
    """What happens at the chosen request."""

    DIE_BEFORE = "die before"
    DIE_AFTER = "die after"
    LOSE_ANSWER = "answer lost"
    REFUSE = "503"


class Party(StrEnum):
    """Who makes requests."""

    CLIENT = "client"
    DROP = "drop"
    SUBMISSIONS = "submissions"
    ADVANCE = "advance"
    TIMER = "timer"
    WORKER = "worker"
    PERSON = "person"


@dataclass(frozen=True, slots=True, order=True)
class Operation:
    """One request of a party: what it is, and the how many-th of its kind.

    Threads and clocks make the order of a party's requests vary a little from run to run, their kinds hardly.

    Attributes:
        what: method, `comp` and path, with everything replaced that differs from run to run.
        nth: from 1.
    """

    party: Party
    what: str
    nth: int

    def __str__(self) -> str:
        return f"{self.party}: {self.what}" + (f" (no. {self.nth})" if self.nth > 1 else "")


@dataclass(frozen=True, slots=True)
class Case:
    """One fault at one operation."""

    operation: Operation
    fault: Fault

    def __str__(self) -> str:
        return f"{self.operation}, {self.fault}"


@dataclass(frozen=True, slots=True)
class Request:
    """One line of the log.

    Attributes:
        status: of the answer; 0 when the request was not sent.
        state: what the request wrote as the state of a record, or nothing.
        fault: what was done to it, or nothing.
    """

    party: Party
    pid: int
    what: str
    status: int
    state: str
    fault: str

    @property
    def is_applied_write(self) -> bool:
        """True when the service applied a write, whether or not its sender heard of it."""
        return 200 <= self.status < 300 and self.what.startswith(("PUT", "DELETE", "POST"))


class Log:
    """The requests of one run, from all of its processes, in one file."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "requests.jsonl"
        self._counts = folder
        self._file.touch()
        self._num_read_bytes = 0
        self._read: list[Request] = []

    def add(self, request: Request) -> None:
        """Appends a line; safe from many threads and processes, and whole once it returns."""
        descriptor = os.open(self._file, os.O_WRONLY | os.O_APPEND)
        try:
            os.write(descriptor, json.dumps(asdict(request)).encode() + b"\n")
        finally:
            os.close(descriptor)

    @property
    def requests(self) -> list[Request]:
        """All requests so far, in the order of their answers."""
        with self._file.open("rb") as lines:
            lines.seek(self._num_read_bytes)
            for line in lines.read().splitlines(keepends=True):
                if line.endswith(b"\n"):  # one that is being written is read the next time
                    self._num_read_bytes += len(line)
                    document = json.loads(line)
                    self._read.append(Request(**document | {"party": Party(document["party"])}))
        return self._read

    def num_applied(self, what: str) -> int:
        """Counts the writes of one kind that the service applied."""
        return sum(request.what == what and request.is_applied_write for request in self.requests)

    @property
    def has_fault(self) -> bool:
        """True once the fault has happened."""
        return any(request.fault for request in self.requests)

    def count(self, party: Party) -> int:
        """Counts one more request of the kind that the fault waits for, over all processes of the party."""
        # A byte each, for another thread may end the process at any moment.
        descriptor = os.open(self._counts / f"{party}.count", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, b".")
            return os.fstat(descriptor).st_size
        finally:
            os.close(descriptor)


class Saboteur(HTTPPolicy[HttpRequest, HttpResponse]):
    """Writes down every request of one party, and does what the case says to the one that it names."""

    def __init__(self, party: Party, log: Log, case: Case | None) -> None:
        super().__init__()
        self._party = party
        self._log = log
        self._case = case if case is not None and case.operation.party is party else None
        self._lock = threading.Lock()

    def send(self, request: PipelineRequest[HttpRequest]) -> PipelineResponse[HttpRequest, HttpResponse]:
        what = what_is(request.http_request)
        fault = self._fault(what)
        state = request.http_request.headers.get("x-ms-meta-state", "")
        if fault is Fault.DIE_BEFORE:
            self._note(what, 0, state, fault)
            os._exit(KILLED)
        if fault is Fault.REFUSE:
            self._note(what, 0, state, fault)
            return _refused(request)
        response = self.next.send(request)
        self._note(what, response.http_response.status_code, state, fault)
        if fault is Fault.DIE_AFTER:
            os._exit(KILLED)
        if fault is Fault.LOSE_ANSWER:
            raise ServiceResponseError("the answer was lost")
        return response

    def _fault(self, what: str) -> Fault | None:
        if self._case is None or self._case.operation.what != what:
            return None
        with self._lock:
            return self._case.fault if self._log.count(self._party) == self._case.operation.nth else None

    def _note(self, what: str, status: int, state: str, fault: Fault | None) -> None:
        self._log.add(Request(self._party, os.getpid(), what, status, state, fault or ""))


def what_is(request: HttpRequest) -> str:
    """Returns what a request is, in words that are the same in every run of a scenario."""
    url = urlsplit(request.url)
    query: Mapping[str, Any] = request.query
    _, _, path = unquote(url.path).lstrip("/").partition("/")  # the emulator's paths begin with the account
    comp = query.get("comp", "receive" if "numofmessages" in query else "")
    if int(query.get("visibilitytimeout", 0)) > _LATE_S:
        comp = LATE
    prefix = "/" + unquote(query["prefix"]) if "prefix" in query else ""
    where = _LABEL.sub("", _MESSAGE_ID.sub("{id}", _JOB_ID.sub("{job}", path + prefix)))
    return " ".join(part for part in (request.method, comp, where) if part)


def _refused(request: PipelineRequest[HttpRequest]) -> PipelineResponse[HttpRequest, HttpResponse]:
    """Answers as a throttled service does, without asking it."""
    answer = requests.Response()
    answer.status_code, answer.reason = 503, "Server Busy"
    answer.headers.update(
        {"Retry-After": "1", "x-ms-error-code": "ServerBusy", "Content-Type": "application/xml", "x-ms-request-id": "0"}
    )
    answer._content = _BUSY
    answer._content_consumed = True  # as after reading it all
    response: HttpResponse = RestRequestsTransportResponse(  # type: ignore[no-untyped-call]  # it has no types
        request=request.http_request, internal_response=answer, block_size=4096
    )
    return PipelineResponse(request.http_request, response, request.context)
