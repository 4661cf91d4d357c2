"""The local host's web server, with functions that tell what they are given."""

import gc
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

from local.host.connection import Limits
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
def listening(limits: Limits | None = None) -> Iterator[HttpListener]:
    stopping = threading.Event()
    listener = HttpListener(FUNCTIONS, "api", {}, 0, stopping, limits)
    thread = threading.Thread(target=listener.listen)
    thread.start()
    try:
        yield listener
    finally:
        stopping.set()
        thread.join(60)
        assert not thread.is_alive()


@pytest.fixture(scope="module")
def listener() -> Iterator[HttpListener]:
    with listening() as listener:
        yield listener


@pytest.fixture
def line(listener: HttpListener) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection("127.0.0.1", listener.port, timeout=60)
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


def test_an_answer_does_not_wait_until_its_first_part_is_acknowledged(line: http.client.HTTPConnection) -> None:
    """It would take 40 ms more."""
    ask(line, "GET", "/api/x")
    assert line.sock is not None
    near = line.sock.getsockname()
    [far] = [found for found in gc.get_objects() if type(found) is socket.socket and leads_to(found, near)]
    assert far.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def leads_to(line: socket.socket, where: object) -> bool:
    try:
        return bool(line.getpeername() == where)
    except OSError:
        return False  # closed, or a listener


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


def sent(listener: HttpListener, head: bytes, body: bytes = b"", host: str = "") -> bytes:
    """Sends bytes as they are and returns all that comes until the connection ends."""
    with socket.create_connection(("127.0.0.1", listener.port), timeout=60) as raw:
        named = f"Host: {host or f'127.0.0.1:{listener.port}'}".encode()
        raw.sendall(b"%b\r\n%b\r\n\r\n%b" % (head, named, body))
        return raw.makefile("rb").read()


@pytest.mark.parametrize(
    "head",
    [
        b"GET /api/%00 HTTP/1.1",
        b"POST /api/x HTTP/1.1\r\nContent-Length: x",
        b"POST /api/x HTTP/1.1\r\nContent-Length: -1",
        b"POST /api/x HTTP/1.1\r\nContent-Length : 41",
        b"POST /api/x HTTP/1.1\r\nTransfer-Encoding: xchunked",
        b"POST /api/x HTTP/1.1\r\nTransfer-Encoding: gzip, chunked",
        b"POST /api/x HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5",
    ],
)
def test_what_breaks_the_rules_is_400_and_ends_the_connection(listener: HttpListener, head: bytes) -> None:
    answer = sent(listener, head, b"0\r\n\r\nGET /api/fixed/name HTTP/1.1\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")
    # What follows is no request of its own: who stands between may have taken it for a body.
    assert answer.count(b"HTTP/1.1") == 1
    assert b"Connection: close" in answer


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "localhost.:{port}"]
)
def test_a_name_that_somebody_else_points_here_is_403(listener: HttpListener, host: str) -> None:
    answer = sent(listener, b"POST /api/x HTTP/1.1\r\nConnection: close", host=host.format(port=listener.port))
    assert answer.startswith(b"HTTP/1.1 403 ")


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "LocalHost:{port}", "[::1]:{port}"])
def test_every_name_of_this_machine_is_answered(listener: HttpListener, host: str) -> None:
    named = host.format(port=listener.port)
    for head in ("", f"\r\nOrigin: http://{named}"):
        answer = sent(listener, f"POST /api/x HTTP/1.1\r\nConnection: close{head}".encode(), host=named)
        assert answer.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1", "http://localhost"])
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_a_page_of_another_site_is_403(line: http.client.HTTPConnection, method: str, origin: str) -> None:
    answer, body = ask(line, method, "/api/x", headers={"Origin": origin})
    assert (answer.status, b"127.0.0.1" in body) == (403, True)


def test_a_target_with_its_host_in_it_is_answered(listener: HttpListener) -> None:
    for host, status in ((f"127.0.0.1:{listener.port}", b"200"), ("evil.example", b"403")):
        answer = sent(listener, f"GET http://{host}/api/fixed/name HTTP/1.1\r\nConnection: close".encode())
        assert answer.startswith(b"HTTP/1.1 " + status)


def test_a_body_is_asked_for_before_it_is_sent(listener: HttpListener) -> None:
    with socket.create_connection(("127.0.0.1", listener.port), timeout=60) as raw:
        lines = f"POST /api/x HTTP/1.1\r\nHost: 127.0.0.1:{listener.port}\r\nExpect: 100-continue\r\nContent-Length: 4"
        raw.sendall(f"{lines}\r\n\r\n".encode())
        answer = raw.makefile("rb")
        assert answer.readline() == b"HTTP/1.1 100 Continue\r\n"
        assert answer.readline() == b"\r\n"
        raw.sendall(b"body")
        assert answer.readline() == b"HTTP/1.1 200 OK\r\n"


def test_two_requests_that_come_at_once_are_answered_in_their_order(listener: HttpListener) -> None:
    one = f"POST /api/{{}} HTTP/1.1\r\nHost: 127.0.0.1:{listener.port}\r\nContent-Length: 1\r\n{{}}\r\nx"
    with socket.create_connection(("127.0.0.1", listener.port), timeout=60) as raw:
        raw.sendall(
            f"{one.format('first', '')}{one.format('second', 'Connection: close' + chr(13) + chr(10))}".encode()
        )
        answer = raw.makefile("rb").read()
    assert answer.index(b'"path": "first"') < answer.index(b'"path": "second"')


HASTY = Limits(head_s=0.3, body_s=0.3)


@pytest.mark.parametrize(
    "begun", [b"GET /api/x HT", b"POST /api/x HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 9\r\n\r\nx"]
)
def test_a_request_that_comes_in_drips_is_given_up_after_a_while(begun: bytes) -> None:
    with (
        listening(HASTY) as listener,
        socket.create_connection(("127.0.0.1", listener.port), timeout=60) as raw,
    ):
        raw.sendall(begun.replace(b"{port}", str(listener.port).encode()))
        began = time.monotonic()
        raw.settimeout(0.05)
        while time.monotonic() - began < 60:
            try:
                answer = raw.recv(100)
                break
            except TimeoutError:
                raw.sendall(b"a")  # each comes in time; all of it does not
        assert answer.startswith(b"HTTP/1.1 408 ")


def test_one_connection_too_many_is_sent_away_and_holds_nobody_up() -> None:
    with listening(Limits(num_connections=2, idle_s=600.0, head_s=600.0, body_s=600.0)) as listener:
        where = ("127.0.0.1", listener.port)
        lines = [http.client.HTTPConnection(*where, timeout=60) for _ in range(2)]
        for line in lines:
            assert ask(line, "GET", "/api/x")[0].status == 200
        with socket.create_connection(where, timeout=60) as third:
            assert third.makefile("rb").read().startswith(b"HTTP/1.1 503 ")
        lines.pop().close()
        assert ask(lines[0], "GET", "/api/x")[0].status == 200
        lines[0].close()


def test_many_who_come_at_once_all_find_a_place(listener: HttpListener) -> None:
    assert listener._server.request_queue_size >= 128


def test_a_half_sent_request_does_not_hold_up_the_end() -> None:
    with listening(Limits(idle_s=600.0, head_s=600.0)) as listener:
        raw = socket.create_connection(("127.0.0.1", listener.port), timeout=60)
        raw.sendall(b"POST /api/x HTTP/1.1\r\n")
    raw.close()


def test_an_open_connection_does_not_hold_up_the_end() -> None:
    with listening(Limits(idle_s=600.0, head_s=600.0)) as listener:
        connection = http.client.HTTPConnection("127.0.0.1", listener.port, timeout=60)
        ask(connection, "GET", "/api/x")
    connection.close()
