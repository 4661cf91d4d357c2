"""How the local host reads requests."""

import io
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.host.wire import (
    MAX_BODY_BYTES,
    BadRequest,
    HeadTooLarge,
    LineTooLong,
    TooLarge,
    UnknownVersion,
    decoded_path,
    encoded_path,
    read_body,
    read_head,
)


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=5))
def test_a_body_in_chunks_is_read_whole(chunks: list[bytes]) -> None:
    wire = b"".join(b"%x;ext=1\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\nTrailer: x\r\n\r\nnext"
    reader = io.BytesIO(wire)
    assert read_body(reader, {"transfer-encoding": "Chunked"}) == b"".join(chunks)
    assert reader.read() == b"next"


def test_many_small_chunks_take_no_more_time_each_than_few() -> None:
    def seconds(num_chunks: int) -> float:
        reader = io.BytesIO((b"40\r\n" + b"x" * 64 + b"\r\n") * num_chunks + b"0\r\n\r\n")
        begun_s = time.process_time()
        assert len(read_body(reader, {"transfer-encoding": "chunked"})) == 64 * num_chunks
        return time.process_time() - begun_s

    # Where each chunk copied what came before it, thirty times as many would take 900 times as long.
    assert seconds(30_000) < 5 * 30 * min(seconds(1_000) for _ in range(3))


def test_a_body_has_the_length_that_its_header_says() -> None:
    reader = io.BytesIO(b"12345")
    assert (read_body(reader, {"content-length": "3"}), reader.read()) == (b"123", b"45")
    assert read_body(io.BytesIO(b"x"), {}) == b""


@pytest.mark.parametrize("length", ["-1", "x", "1.5", "²", "", "+3"])
def test_a_length_that_is_none_is_a_bad_request(length: str) -> None:
    with pytest.raises(BadRequest):
        read_body(io.BytesIO(b"12345"), {"content-length": length})


@pytest.mark.parametrize(
    "wire",
    [
        b"",
        b"z\r\n",
        b"3\r\nab",
        b"1\r\nabc\r\n",
        b"-1\r\n",
        b"1\na\r\n0\r\n\r\n",
        b"1\r\na\n0\r\n\r\n",
        b"0\r\n",
        b"0\r\nTrailer: x\r\n",
        b"0\r\nTrailer: x",
        b"0;" + b"x" * 5000,
        b"0\r\n" + b"Trailer: x\r\n" * 5000,
    ],
)
def test_chunks_that_are_none_are_a_bad_request(wire: bytes) -> None:
    with pytest.raises(BadRequest):
        read_body(io.BytesIO(wire), {"transfer-encoding": "chunked"})


@pytest.mark.parametrize("coding", ["xchunked", "gzip, chunked", "chunked, chunked", "identity", "", "chunked;q=1"])
def test_a_coding_that_is_not_read_here_is_a_bad_request(coding: str) -> None:
    with pytest.raises(BadRequest):
        read_body(io.BytesIO(b"0\r\n\r\n"), {"transfer-encoding": coding})


def test_a_body_of_two_lengths_is_a_bad_request() -> None:
    for headers in ({"transfer-encoding": "chunked", "content-length": "5"}, {"content-length": "5,5"}):
        with pytest.raises(BadRequest):
            read_body(io.BytesIO(b"0\r\n\r\n"), headers)


def head(wire: bytes, host: bytes = b"Host: h\r\n") -> object:
    return read_head(io.BytesIO(wire + b"\r\n" + host + b"\r\n"))


@pytest.mark.parametrize(
    "wire",
    [
        b"POST /x HTTP/1.1\r\nContent-Length : 41",
        b"POST /x HTTP/1.1\r\n Content-Length: 41",
        b"POST /x HTTP/1.1\r\nA: 1\r\n folded",
        b"POST /x HTTP/1.1\r\nA: 1\rContent-Length: 41",
        b"POST /x HTTP/1.1\r\nA: 1\nContent-Length: 41",
        b"POST /x HTTP/1.1\r\nA: \x00",
        b"POST /x HTTP/1.1\r\nno colon",
        b"POST /x HTTP/1.1\r\n: no name",
        b"POST /x HTTP/1.1\r\nHost: other",
        b"POST /x HTTP/1.0\r\nTransfer-Encoding: chunked",
        b"GET  /x HTTP/1.1",
        b"GET /x y HTTP/1.1",
        b"GET /x HTTP/1.1 ",
        b"GET /\xe4 HTTP/1.1",
        b"GET x HTTP/1.1",
        b"GET /x",
        b"",
    ],
)
def test_a_head_that_can_be_read_in_two_ways_is_a_bad_request(wire: bytes) -> None:
    with pytest.raises(BadRequest):
        head(wire)


def test_a_request_without_host_is_a_bad_request() -> None:
    for version in (b"1.0", b"1.1"):
        with pytest.raises(BadRequest):
            head(b"GET /x HTTP/" + version, host=b"")


def test_a_head_that_is_too_long_is_told_apart() -> None:
    with pytest.raises(LineTooLong):
        head(b"GET /" + b"x" * 70_000 + b" HTTP/1.1")
    for headers in (b"A: " + b"x" * 40_000, b"\r\n".join(b"A: 1" for _ in range(101))):
        with pytest.raises(HeadTooLarge):
            head(b"GET / HTTP/1.1\r\n" + headers)
    with pytest.raises(UnknownVersion):
        head(b"GET / HTTP/2.0")


def test_a_head_is_read_as_it_stands() -> None:
    wire = b"\r\nGET /a?b=c HTTP/1.1\r\nHOST: h\r\nX-One:1\r\nx-one: \t2 \r\nConnection: x, Close\r\n\r\nnext"
    reader = io.BytesIO(wire)
    found = read_head(reader)
    assert (found.method, found.target, found.is_last) == ("GET", "/a?b=c", True)
    assert found.headers == {"host": "h", "x-one": "1,2", "connection": "x, Close"}
    assert reader.read() == b"next"


@pytest.mark.parametrize(
    ("target", "host", "path"),
    [
        (b"http://there:7/api/version?x=1", "there:7", "/api/version?x=1"),
        (b"HTTP://there", "there", "/"),
        (b"http://there?x=1", "there", "/?x=1"),
        (b"/http://there/api", "h", "/http://there/api"),
    ],
)
def test_an_absolute_target_says_where_it_was_sent_to_whatever_host_says(target: bytes, host: str, path: str) -> None:
    found = read_head(io.BytesIO(b"GET " + target + b" HTTP/1.1\r\nHost: h\r\n\r\n"))
    assert (found.headers["host"], found.target) == (host, path)


@given(st.lists(st.sampled_from([b"GET / HTTP/1.1", b"Host: h", b"\r\n", b"\n", b" ", b":", b"A", b"\xff", b"0"])))
def test_whatever_comes_is_a_head_or_a_bad_request(pieces: list[bytes]) -> None:
    try:
        found = read_head(io.BytesIO(b"".join(pieces)))
    except BadRequest:
        return
    assert found.headers["host"] == "h"


def test_a_body_that_is_too_large_is_not_read() -> None:
    with pytest.raises(TooLarge):
        read_body(io.BytesIO(), {"content-length": str(MAX_BODY_BYTES + 1)})
    with pytest.raises(TooLarge):
        read_body(io.BytesIO(b"%x\r\n" % (MAX_BODY_BYTES + 1)), {"transfer-encoding": "chunked"})


@pytest.mark.parametrize(
    ("path", "seen", "sent"),
    [
        ("/api/a%20b", "/api/a b", "/api/a%20b"),
        ("/api/a%2Fb%2fc", "/api/a%2Fb%2fc", "/api/a%2Fb%2fc"),
        ("/api/a/../b", "/api/b", "/api/b"),
        ("/api/%2e%2e/b", "/b", "/b"),
        ("/../../b", "/b", "/b"),
        ("/a/.", "/a/", "/a/"),
        ("/a/b/..", "/a/", "/a/"),
        ("/a/..%2fb", "/a/..%2fb", "/a/..%2fb"),
        ("/%C3%A4", "/ä", "/%C3%A4"),
        ("/%ff", "/\udcff", "/%FF"),
        ("/100%25", "/100%", "/100%25"),
        ("/a%3Bb", "/a;b", "/a;b"),
    ],
)
def test_a_path_is_seen_and_passed_on_as_the_real_host_does(path: str, seen: str, sent: str) -> None:
    assert (decoded_path(path), encoded_path(seen)) == (seen, sent)


def test_a_nul_in_a_path_is_a_bad_request() -> None:
    with pytest.raises(BadRequest):
        decoded_path("/a%00b")


@given(st.text(alphabet="./ab%2Ff", max_size=30))
def test_no_dots_are_left_between_slashes(tail: str) -> None:
    assert not {".", ".."} & set(decoded_path(f"/{tail}").split("/")[1:])
