"""Faults below the SDK's retries: a pipeline policy that spoils chosen requests."""

import threading
import time
from collections.abc import Callable

from azure.core.exceptions import ServiceResponseError
from azure.core.pipeline import PipelineRequest, PipelineResponse
from azure.core.pipeline.policies import HTTPPolicy
from azure.core.rest import HttpRequest, HttpResponse


class Slow(HTTPPolicy[HttpRequest, HttpResponse]):
    """Holds every request back that `matches`."""

    def __init__(self, matches: Callable[[HttpRequest], bool], delay_s: float) -> None:
        super().__init__()
        self._matches = matches
        self._delay_s = delay_s

    def send(self, request: PipelineRequest[HttpRequest]) -> PipelineResponse[HttpRequest, HttpResponse]:
        if self._matches(request.http_request):
            time.sleep(self._delay_s)
        return self.next.send(request)


class LoseAnswer(HTTPPolicy[HttpRequest, HttpResponse]):
    """Sends the request, then loses its answer, once for the first request that `matches`."""

    def __init__(self, matches: Callable[[HttpRequest], bool]) -> None:
        super().__init__()
        self._matches = matches
        self._lock = threading.Lock()
        self.num_lost = 0

    def send(self, request: PipelineRequest[HttpRequest]) -> PipelineResponse[HttpRequest, HttpResponse]:
        response = self.next.send(request)
        with self._lock:
            is_first = self.num_lost == 0 and self._matches(request.http_request)
            self.num_lost += is_first
        if is_first:
            raise ServiceResponseError("the answer was lost")
        return response
