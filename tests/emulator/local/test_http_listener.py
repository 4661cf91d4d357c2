"""The local host's web server, with functions that tell what they are given."""

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import azure.functions as func
import pytest

from local.host.functions import Function
from local.host.http import HttpListener


def echo(req: func.HttpRequest) -> func.HttpResponse:
    told = {
        "method": req.method,
        "url": req.url.partition("/api/")[2],
        "route": dict(req.route_params),
        "headers": dict(req.headers),
        "body": req.get_body().decode(),
    }
    return func.HttpResponse(json.dumps(told), headers={"X-One": "1"}, mimetype="application/json")


async def which(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(f"fixed on {threading.current_thread().name}")


def nothing(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(status_code=304, headers={"ETag": '"1"'})


def long(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(headers={"Content-Length": "12345", "Content-Type": "text/csv"})


def function(name: str, route: str, call: Any) -> Function:
    return Function(name, "req", {"type": "httpTrigger", "route": route, "authLevel": "anonymous"}, call)


FUNCTIONS = [
    function("echo", "{*path}", echo),
    function("one", "fixed/{name}", echo),
    function("which", "fixed/name", which),
    function("nothing", "nothing", nothing),
    function("long", "long", long),
]


@contextmanager
def listening() -> Iterator[HttpListener]:
    stopping = threading.Event()
    listener = HttpListener(FUNCTIONS, "api", {}, 0, stopping)
    thread = threading.Thread(target=listener.listen)
    thread.start()
    try:
        yield listener
    finally:
        stopping.set()
        thread.join(10)
        assert not thread.is_alive()


@pytest.fixture(scope="module")
def listener() -> Iterator[HttpListener]:
    with listening() as listener:
        yield listener


@pytest.fixture
def line(listener: HttpListener) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection("127.0.0.1", listener.port, timeout=10)
    yield connection
    connection.close()


def ask(
    line: http.client.HTTPConnection, method: str, path: str, **more: Any
) -> tuple[http.client.HTTPResponse, bytes]:
    line.request(method, path, **more)
    answer = line.getresponse()
    return answer, answer.read()


def test_one_connection_serves_many_requests(line: http.client.HTTPConnection) -> None:
    used = set()
    for number in range(5):
        _, body = ask(line, "POST", "/api/x", body=f"{number}".encode())
        assert json.loads(body)["body"] == f"{number}"
        assert line.sock is not None
        used.add(line.sock.getsockname()[1])
    assert len(used) == 1


def test_a_request_on_an_open_connection_waits_for_nothing(line: http.client.HTTPConnection) -> None:
    ask(line, "GET", "/api/x")
    began = time.monotonic()
    for _ in range(20):
        ask(line, "POST", "/api/x", body=b"x")
    # Where each answer waited for an acknowledgement of its first part, it would take 40 ms each.
    assert time.monotonic() - began < 0.6


def test_a_body_in_chunks_reaches_the_function(line: http.client.HTTPConnection) -> None:
    _, body = ask(line, "POST", "/api/x", body=iter([b"one ", b"two"]), encode_chunked=True)
    assert json.loads(body)["body"] == "one two"


def test_a_header_that_stands_twice_is_joined(line: http.client.HTTPConnection) -> None:
    line.putrequest("GET", "/api/x")
    line.putheader("If-None-Match", '"a"')
    line.putheader("If-None-Match", '"b"')
    line.endheaders()
    assert json.loads(line.getresponse().read())["headers"]["if-none-match"] == '"a","b"'


def test_head_has_the_headers_of_the_answer_and_no_body(line: http.client.HTTPConnection) -> None:
    got, body = ask(line, "GET", "/api/x")
    asked, none = ask(line, "HEAD", "/api/x")
    assert (asked.status, none) == (200, b"")
    assert int(asked.headers["Content-Length"]) >= len(body)
    assert asked.headers["X-One"] == got.headers["X-One"]
    told, _ = ask(line, "HEAD", "/api/long")
    assert (told.headers["Content-Length"], told.headers.get_all("Content-Type")) == ("12345", ["text/csv"])


def test_an_answer_without_content_has_no_length(line: http.client.HTTPConnection) -> None:
    answer, body = ask(line, "GET", "/api/nothing")
    assert (answer.status, body, answer.headers["Content-Length"]) == (304, b"", None)
    assert ask(line, "GET", "/api/x")[0].status == 200


def test_the_route_that_says_more_is_taken_whatever_the_order(line: http.client.HTTPConnection) -> None:
    assert ask(line, "GET", "/api/fixed/name")[1].startswith(b"fixed on ")
    assert json.loads(ask(line, "GET", "/api/fixed/other")[1])["route"] == {"name": "other"}
    assert json.loads(ask(line, "GET", "/api/fixed/other/more")[1])["route"] == {"path": "fixed/other/more"}


def test_asynchronous_functions_share_one_loop(line: http.client.HTTPConnection) -> None:
    assert {ask(line, "GET", "/api/fixed/name")[1] for _ in range(3)} == {b"fixed on asynchronous functions"}


def test_an_encoded_slash_stays_encoded_and_dots_are_resolved(line: http.client.HTTPConnection) -> None:
    told = json.loads(ask(line, "GET", "/api/a%2Fb%20c/../d%20e?x=%2F")[1])
    assert (told["url"], told["route"]) == ("d%20e?x=%2F", {"path": "d e"})
    assert json.loads(ask(line, "GET", "/api/a%2Fb")[1])["route"] == {"path": "a%2Fb"}


@pytest.mark.parametrize(
    "request_line",
    [
        b"GET /api/%00 HTTP/1.1",
        b"POST /api/x HTTP/1.1\r\nContent-Length: x",
        b"POST /api/x HTTP/1.1\r\nContent-Length: -1",
    ],
)
def test_what_breaks_the_rules_is_400_and_ends_the_connection(listener: HttpListener, request_line: bytes) -> None:
    with socket.create_connection(("127.0.0.1", listener.port), timeout=10) as raw:
        raw.sendall(request_line + b"\r\nHost: h\r\n\r\n")
        assert raw.makefile("rb").read().startswith(b"HTTP/1.1 400 ")


def test_an_open_connection_does_not_hold_up_the_end() -> None:
    with listening() as listener:
        connection = http.client.HTTPConnection("127.0.0.1", listener.port, timeout=10)
        ask(connection, "GET", "/api/x")
        began = time.monotonic()
        listener.stopping.set()
    assert time.monotonic() - began < 5
    connection.close()
