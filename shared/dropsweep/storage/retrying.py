"""Sends a request again that got no answer, or one that means "later": for about a minute, and with jitter.

The SDK's own policies do not do for us: they give up after three tries of one kind (some 17 s), never repeat a 429, do
not look at Retry-After, and leave the body of a download to an inner loop of three tries.
"""

import logging
import random
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import urlsplit

import requests
from azure.core.exceptions import AzureError, ClientAuthenticationError, ServiceResponseError
from azure.core.pipeline import PipelineRequest, PipelineResponse
from azure.storage.blob import ExponentialRetry

_log = logging.getLogger(__name__)
PATIENCE_S: Final = 70.0
"""How long a request is repeated: an outage of a minute is survived, with some seconds to find out that it is over."""
LATER: Final = frozenset({408, 429, 500, 502, 503, 504})
"""Answers after which the same request may well succeed."""
OUTAGE_S: Final = 5.0
"""A request that had to be repeated for so long has seen an outage; anything shorter is everyday trouble."""
PATIENCE: Final = "patience_s"
"""Keyword of an SDK call: how long to repeat the requests of this call, if shorter than the account's patience."""
_KEPT: Final = {
    "raw_response_hook": "response_callback",
    "data_stream_total": "data_stream_total",
    "download_stream_current": "download_stream_current",
    "upload_stream_current": "upload_stream_current",
}
"""Options of a request, and where the SDK's policies below look for them first. They take them out of the options at
the first try and put them there only once it has an answer (12.31): without an answer they would be lost, and the hook
on the answers, by which we learn the service's time, would not be called at the second try."""
_FIRST_WAIT_S: Final = 0.5
_LONGEST_WAIT_S: Final = 8.0
_LONGEST_RETRY_AFTER_S: Final = 30.0
_PATIENCE_AT_STOP_S: Final = 5.0
_LONGEST_WAIT_AT_STOP_S: Final = 1.0


class Clock:
    """What the waiting goes by; tests bring one that is ahead of time."""

    def now_s(self) -> float:
        """Returns seconds since some moment; never goes back."""
        return time.monotonic()

    def wait(self, seconds: float, stopping: threading.Event | None) -> None:
        """Waits, but no longer than until `stopping` is set."""
        if stopping is None:
            time.sleep(seconds)
        else:
            stopping.wait(seconds)


class Outages:
    """Remembers when an account was last out of reach; shared by everything that sends to it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen_at_s = float("-inf")

    def note(self) -> None:
        """Says that the account is out of reach, or was until now."""
        self._seen_at_s = self._clock.now_s()

    @property
    def age_s(self) -> float:
        """Seconds since a request was last seen that had to be repeated for `OUTAGE_S`; infinite if none ever was."""
        return self._clock.now_s() - self._seen_at_s


@dataclass(slots=True)
class _Patience:
    """How much longer one request is repeated."""

    started_s: float
    deadline_s: float
    num_tries: int = 1
    is_hurried: bool = False


class Retrying(ExponentialRetry):
    """The retry policy of both services; one instance a pipeline. Safe to use from many threads.

    A request is repeated after the answers in `LATER` and whenever no whole answer came: no connection, a reset, a
    timeout, a body that broke off. Never after a refused identity. The waits are drawn evenly between 0 and a ceiling
    that doubles from 0.5 s up to 8 s ("full jitter": https://aws.amazon.com/blogs/architecture/
    exponential-backoff-and-jitter/), on top of what the service asks for with Retry-After, of which at most 30 s are
    honoured. The last try is made when the patience ends.
    """

    def __init__(self, patience_s: float, stopping: threading.Event | None, clock: Clock, outages: Outages) -> None:
        """Makes a policy.

        Args:
            patience_s: seconds after its first try until which a request is repeated; 0: it is never.
            stopping: once it is set, a wait ends at once, and no request is repeated for more than 5 s from then on.
            clock: what the waiting goes by.
            outages: is told of requests that had to be repeated for long.
        """
        super().__init__()
        self._patience_s = patience_s
        self._stopping = stopping
        self._clock = clock
        self._outages = outages

    def send(self, request: PipelineRequest[Any]) -> PipelineResponse[Any, Any]:
        """Sends a request until it has its answer.

        Returns:
            The answer with its whole body; one of `LATER` when the patience ended with it.

        Raises:
            AzureError: there was no answer when the patience ended, or the identity was refused.
        """
        # The parent takes its options out of the context, which the transport would not know.
        options = self.configure_retries(request)
        patience_s = min(self._patience_s, request.context.options.pop(PATIENCE, self._patience_s))
        for option, kept in _KEPT.items():
            if option in request.context.options:
                request.context[kept] = request.context.options.pop(option)
        started_s = self._clock.now_s()
        patience = _Patience(started_s, started_s + patience_s)
        while True:
            response: PipelineResponse[Any, Any] | None = None
            error: AzureError | None = None
            try:
                response = self.next.send(request)
                _read_whole(response)
            except AzureError as caught:
                if isinstance(caught, ClientAuthenticationError):
                    raise  # azure-identity has its own retries, and asking again does not change who we are
                response, error = None, caught
            if response is not None and response.http_response.status_code not in LATER:
                # Where the parent says which of an account's two hosts has answered.
                response.http_response.location_mode = options["mode"]
                if patience.num_tries > 1:
                    self._note(patience)
                return response
            if not (_rewind(request, options["body_position"]) and self._wait(patience, request, response, error)):
                if error is not None:
                    raise error
                assert response is not None
                return response

    def _wait(
        self,
        patience: _Patience,
        request: PipelineRequest[Any],
        response: PipelineResponse[Any, Any] | None,
        error: AzureError | None,
    ) -> bool:
        """Waits for the next try; False when the patience has ended."""
        self._note(patience)
        now_s = self._clock.now_s()
        if self._stopping is not None and self._stopping.is_set() and not patience.is_hurried:
            patience.is_hurried = True
            patience.deadline_s = min(patience.deadline_s, now_s + _PATIENCE_AT_STOP_S)
        left_s = patience.deadline_s - now_s
        if left_s <= 0:
            return False
        longest_s = _LONGEST_WAIT_AT_STOP_S if patience.is_hurried else _LONGEST_WAIT_S
        ceiling_s = min(longest_s, _FIRST_WAIT_S * 2.0 ** min(patience.num_tries - 1, 10))
        asked_s = retry_after_s(response.http_response.headers) if response is not None else 0.0
        wait_s = min(left_s, asked_s + random.uniform(0.0, ceiling_s))
        # Without the query, in which a signature may stand.
        sent = f"{request.http_request.method} {urlsplit(request.http_request.url).path}"
        told = response.http_response.status_code if response is not None else f"{type(error).__name__}: {error}"
        _log.info("%s: %s; try %d follows in %.1f s", sent, told, patience.num_tries + 1, wait_s)
        self._clock.wait(wait_s, None if patience.is_hurried else self._stopping)
        patience.num_tries += 1
        return True

    def _note(self, patience: _Patience) -> None:
        if self._clock.now_s() - patience.started_s >= OUTAGE_S:
            self._outages.note()


def retry_after_s(headers: Mapping[str, str]) -> float:
    """Returns how many seconds an answer asks to wait for, from 0 to 30; 0 when it does not, or not readably.

    A Retry-After that is a date is measured from the Date of the same answer, for our clock does not count.

    Source: RFC 9110, section 10.2.3.
    """
    text = headers.get("Retry-After", "").strip()
    try:
        if text.isdecimal():
            asked_s = float(text)
        else:
            asked_s = (parsedate_to_datetime(text) - parsedate_to_datetime(headers["Date"])).total_seconds()
    except (KeyError, TypeError, ValueError):
        return 0.0
    return min(max(0.0, asked_s), _LONGEST_RETRY_AFTER_S)


def _read_whole(response: PipelineResponse[Any, Any]) -> None:
    """Reads the body of a download here, so that one that breaks off is asked for again.

    It costs no memory: the SDK asks for a large blob in ranges, and holds each of them whole anyway.

    Raises:
        ServiceResponseError: the body broke off.
    """
    try:
        response.http_response.body()
    except requests.RequestException as error:
        raise ServiceResponseError(f"the answer broke off: {error}", error=error) from error


def _rewind(request: PipelineRequest[Any], position: int | None) -> bool:
    """Sets a body that is a stream back to where it began; False when it cannot be, so the request cannot be sent."""
    body = request.http_request.body
    if not hasattr(body, "read"):
        return True
    if position is None:
        return False
    try:
        body.seek(position)
    except (AttributeError, OSError, ValueError):
        return False
    return True
