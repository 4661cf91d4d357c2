"""Writes down each request that leaves the process, with its answer's status: what each party asks of the account."""

import contextlib
import os
import time
from typing import Any, Final
from urllib.parse import urlsplit

from azure.core.pipeline import PipelineRequest, PipelineResponse
from azure.core.pipeline.policies import SansIOHTTPPolicy

from dropsweep.errors import ConfigError

_TOLD: Final = ("comp", "restype", "prefix", "numofmessages")
"""Parameters that say what a request does; others may hold a signature or a pop receipt."""
_RECEIVES: Final = "numofmessages="
_NO_ANSWER: Final = "000"


class RequestLog(SansIOHTTPPolicy[Any, Any]):
    """Appends a line for each request to a file, retries included; safe to share between threads and processes.

    It sits below the retry policy, where one call is one request on the wire. A line is in the common log format, as
    the storage emulator writes it, so that one program reads both; without an answer the status is 000. A line is
    written at once and as a whole, so that no end of the process loses one. The size is that of the answer's body, by
    which a look into an empty queue is told from one that found messages. A file that cannot be written to any more
    stops no request.

    Source:
        https://httpd.apache.org/docs/2.4/logs.html#common
    """

    def __init__(self, path: str) -> None:
        """Opens the file, which only its owner may read, to append to it.

        Raises:
            ConfigError: it cannot be opened.
        """
        super().__init__()
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigError(
                f"DROPSWEEP_REQUEST_LOG is {path}: it must be a file in a folder that is there, and this process must "
                f"be able to write to it ({error.strerror}). Correct it, or remove it"
            ) from error

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError, OSError):
            os.close(self._file)

    def on_response(self, request: PipelineRequest[Any], response: PipelineResponse[Any, Any]) -> None:
        """Writes the line of a request that was answered."""
        answer = response.http_response
        num_bytes = answer.headers.get("Content-Length", "-")
        if _RECEIVES in request.http_request.url:
            num_bytes = str(len(answer.body()))  # it comes in chunks, and is small
        self._write(request, f"{answer.status_code:03}", num_bytes)

    def on_exception(self, request: PipelineRequest[Any]) -> None:
        """Writes the line of a request that got no answer."""
        self._write(request, _NO_ANSWER, "-")

    def _write(self, request: PipelineRequest[Any], status: str, num_bytes: str) -> None:
        sent = request.http_request
        url = urlsplit(sent.url)
        told = "&".join(part for part in url.query.split("&") if part.partition("=")[0] in _TOLD)
        target = url.path + ("?" + told if told else "")
        at = time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime())
        with contextlib.suppress(OSError):
            os.write(self._file, f'- - - [{at}] "{sent.method} {target} HTTP/1.1" {status} {num_bytes}\n'.encode())
