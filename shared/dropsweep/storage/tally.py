"""Counts the storage operations that really leave the process: they are what a trial costs."""

import threading
from collections import Counter
from typing import Any

from azure.core.pipeline import PipelineRequest
from azure.core.pipeline.policies import SansIOHTTPPolicy


class Tally(SansIOHTTPPolicy[Any, Any]):
    """Counts requests by what they are, retries included; safe to share between threads and clients.

    It sits below the retry policy, where one call is one request on the wire.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()

    def on_request(self, request: PipelineRequest[Any]) -> None:
        """Counts one request, named by method and `comp` (`PUT`, `PUT appendblock`, `GET list`, …)."""
        query = request.http_request.query
        kind = query.get("comp") or ("receive" if "numofmessages" in query else "")
        with self._lock:
            self._counts[f"{request.http_request.method} {kind}".strip()] += 1

    @property
    def total(self) -> int:
        """Requests so far."""
        with self._lock:
            return self._counts.total()

    def by_kind(self) -> dict[str, int]:
        """Requests so far, by kind."""
        with self._lock:
            return dict(self._counts)
