"""Faults below the SDK's retries: pipeline policies that spoil chosen requests, and a clock that is ahead of time."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime

import requests
from azure.core.exceptions import ServiceRequestError, ServiceResponseError, ServiceResponseTimeoutError
from azure.core.pipeline import PipelineRequest, PipelineResponse
from azure.core.pipeline.policies import HTTPPolicy
from azure.core.rest import HttpRequest, HttpResponse
from azure.core.rest._requests_basic import RestRequestsTransportResponse

from dropsweep.storage import Clock


class Died(BaseException):
    """Stands for the end of the process: nothing that handles errors sees it."""


@dataclass(frozen=True)
class Fault:
    """What happens to one request.

    Attributes:
        is_sent: the service gets the request, and so applies it; only then comes what is below.
        error: raised in place of an answer.
        status: of the answer that comes when there is no `error`.
        headers: of that answer.
    """

    name: str
    is_sent: bool
    error: Callable[[], BaseException] | None = None
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name


def _dated(**headers: str) -> dict[str, str]:
    return {"Date": format_datetime(datetime.now(UTC), usegmt=True)} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }


DIE_BEFORE = Fault("dies before", False, Died)
DIE_AFTER = Fault("dies after", True, Died)
LOST_ANSWER = Fault("answer lost", True, lambda: ServiceResponseError("the answer was lost"))
TIMED_OUT_AFTER = Fault("timeout after", True, lambda: ServiceResponseTimeoutError("no answer in time"))
ERROR_AFTER = Fault("500 after", True, status=500, headers=_dated())
UNREACHABLE = Fault("unreachable", False, lambda: ServiceRequestError("no connection"))
TIMED_OUT = Fault("timeout", False, lambda: ServiceResponseTimeoutError("no answer in time"))
RESET = Fault("reset", False, lambda: ServiceResponseError("connection reset by peer"))
TIMEOUT_408 = Fault("408", False, status=408, headers=_dated())
THROTTLED = Fault("429", False, status=429, headers=_dated(Retry_After="3"))
ERROR = Fault("500", False, status=500, headers=_dated())
GATEWAY = Fault("502 without a date", False, status=502)
BUSY = Fault("503", False, status=503, headers=_dated(Retry_After="7"))
LATE = Fault("504", False, status=504, headers=_dated())

APPLIED = (LOST_ANSWER, TIMED_OUT_AFTER, ERROR_AFTER)
"""The service has applied the request, and its sender does not know."""
NOT_APPLIED = (UNREACHABLE, TIMED_OUT, RESET, TIMEOUT_408, THROTTLED, ERROR, GATEWAY, BUSY, LATE)


class Faults(HTTPPolicy[HttpRequest, HttpResponse]):
    """Spoils requests as a script says, which gets each request's number (from 0) and the request.

    Attributes:
        num_requests: how many have come; num_spoilt: how many of them were spoilt.
    """

    def __init__(self, script: Callable[[int, HttpRequest], Fault | None]) -> None:
        super().__init__()
        self._script = script
        self._lock = threading.Lock()
        self.num_requests = 0
        self.num_spoilt = 0

    def send(self, request: PipelineRequest[HttpRequest]) -> PipelineResponse[HttpRequest, HttpResponse]:
        with self._lock:
            fault = self._script(self.num_requests, request.http_request)
            self.num_requests += 1
            self.num_spoilt += fault is not None
        if fault is None:
            return self.next.send(request)
        if fault.is_sent:
            # Read by nobody, its connection would be found open by whoever collects it.
            self.next.send(request).http_response.internal_response.close()  # type: ignore[attr-defined]
        if fault.error is not None:
            raise fault.error()
        return _answered(request, fault)


class LoseAnswer(Faults):
    """Sends the request, then loses its answer, once for the first request that `matches`."""

    def __init__(self, matches: Callable[[HttpRequest], bool]) -> None:
        super().__init__(lambda _, request: LOST_ANSWER if self.num_lost == 0 and matches(request) else None)

    @property
    def num_lost(self) -> int:
        return self.num_spoilt


class Gate(HTTPPolicy[HttpRequest, HttpResponse]):
    """Holds every request that `matches` back until it is opened, for a minute at most.

    Attributes:
        num_come: how many such requests have come so far.
    """

    def __init__(self, matches: Callable[[HttpRequest], bool]) -> None:
        super().__init__()
        self._matches = matches
        self._is_open = threading.Event()
        self.num_come = 0

    def open(self) -> None:
        """Lets everything through, what waits here and what is still to come."""
        self._is_open.set()

    def send(self, request: PipelineRequest[HttpRequest]) -> PipelineResponse[HttpRequest, HttpResponse]:
        if self._matches(request.http_request):
            self.num_come += 1
            self._is_open.wait(60)
        return self.next.send(request)


class FastClock(Clock):
    """Time that passes only by waiting, which takes none.

    Attributes:
        waits: how long each wait was, in seconds. at_wait: called at each.
    """

    def __init__(self) -> None:
        self.waits: list[float] = []
        self.at_wait: Callable[[], None] = lambda: None

    def now_s(self) -> float:
        return sum(self.waits)

    def wait(self, seconds: float, stopping: threading.Event | None) -> None:
        self.at_wait()
        if stopping is None or not stopping.is_set():
            self.waits.append(seconds)


def _answered(request: PipelineRequest[HttpRequest], fault: Fault) -> PipelineResponse[HttpRequest, HttpResponse]:
    """Answers in the service's place, as a gateway before it does."""
    answer = requests.Response()
    answer.status_code, answer.reason = fault.status, "trouble"
    answer.headers.update(fault.headers)
    answer._content = b""
    answer._content_consumed = True  # type: ignore[attr-defined]  # as after reading it all
    response = RestRequestsTransportResponse(request=request.http_request, internal_response=answer, block_size=4096)
    return PipelineResponse(request.http_request, response, request.context)
