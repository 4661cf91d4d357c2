"""How the local host reads requests."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.host.wire import MAX_BODY_BYTES, BadRequest, TooLarge, decoded_path, encoded_path, read_body


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=5))
def test_a_body_in_chunks_is_read_whole(chunks: list[bytes]) -> None:
    wire = b"".join(b"%x;ext=1\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\nTrailer: x\r\n\r\nnext"
    reader = io.BytesIO(wire)
    assert read_body(reader, {"transfer-encoding": "Chunked"}) == b"".join(chunks)
    assert reader.read() == b"next"


def test_a_body_has_the_length_that_its_header_says() -> None:
    reader = io.BytesIO(b"12345")
    assert (read_body(reader, {"content-length": "3"}), reader.read()) == (b"123", b"45")
    assert read_body(io.BytesIO(b"x"), {}) == b""


@pytest.mark.parametrize("length", ["-1", "x", "1.5", "²", "", "+3"])
def test_a_length_that_is_none_is_a_bad_request(length: str) -> None:
    with pytest.raises(BadRequest):
        read_body(io.BytesIO(b"12345"), {"content-length": length})


@pytest.mark.parametrize("wire", [b"", b"z\r\n", b"3\r\nab", b"1\r\nabc\r\n", b"-1\r\n"])
def test_chunks_that_are_none_are_a_bad_request(wire: bytes) -> None:
    with pytest.raises(BadRequest):
        read_body(io.BytesIO(wire), {"transfer-encoding": "chunked"})


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
