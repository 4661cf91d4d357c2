"""How the HTTP client sends its requests: what it repeats, what it never does, and what it makes of strange answers."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from dropsweep.client.http import HttpClient
from dropsweep.client.http.web import KEY_HEADER, READ_TIMEOUT_S, Web
from dropsweep.errors import (
    ConfigError,
    DropsweepError,
    NotFoundError,
    SpecError,
    StorageCorrupt,
    StorageDenied,
    StorageError,
    StorageUnavailable,
    SubmissionReused,
)
from dropsweep.names import JobKey
from dropsweep.records import TrialRecord
from dropsweep.states import TrialReason

PROBLEM = "application/problem+json"
SECRET = "the-function-key-of-this-test"


@dataclass
class Script:
    """Answers in their order, the last one again and again, and the requests that came."""

    answers: list[tuple[int, dict[str, str], bytes]]
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api"


Serve = Callable[..., Script]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a web server that answers as it is told."""
    running = []

    def start(*answers: tuple[int, dict[str, str], bytes]) -> Script:
        script = Script([*answers])

        class Handler(BaseHTTPRequestHandler):
            def respond(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                script.requests.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}))
                status, headers, body = script.answers.pop(0) if len(script.answers) > 1 else script.answers[0]
                if status == 0:
                    self.close_connection = True
                    return
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_PATCH = respond  # noqa: N815

            def log_message(self, format: str, *args: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        running.append((server, thread))
        script.port = server.server_port
        return script

    yield start
    for server, thread in running:
        server.shutdown()
        thread.join(60)
        server.server_close()


@pytest.fixture
def silence() -> Iterator[str]:
    """The URL of an API that takes every request and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/api"


def ok(document: dict[str, object], **headers: str) -> tuple[int, dict[str, str], bytes]:
    return 200, {"Content-Type": "application/json", **headers}, json.dumps(document).encode()


def problem(status: int, **members: object) -> tuple[int, dict[str, str], bytes]:
    document = {"title": "t", "status": status, "detail": "value: rule. Remedy", **members}
    return status, {"Content-Type": PROBLEM}, json.dumps(document).encode()


NOTHING = (0, {}, b"")
"""The connection ends without an answer."""
LATER = (503, {"Retry-After": "0"}, b"")
VERSION = ok({"version": "1.2.3", "api": 1})


def test_a_read_is_repeated_until_it_is_answered(serve: Serve) -> None:
    script = serve(LATER, (429, {}, b""), (502, {}, b"<html>"), VERSION)
    assert HttpClient(script.url, patience_s=20).version() == "1.2.3"
    assert len(script.requests) == 4


def test_a_read_is_given_up_when_the_patience_ends(serve: Serve) -> None:
    script = serve(LATER)
    with pytest.raises(StorageUnavailable, match="503"):
        HttpClient(script.url, patience_s=0.4).version()
    assert len(script.requests) > 1
    with pytest.raises(StorageUnavailable, match="503"):
        HttpClient(script.url, patience_s=0).version()


def test_a_change_that_would_be_made_twice_is_repeated_only_if_it_was_not_made(serve: Serve) -> None:
    script = serve(LATER)
    with pytest.raises(StorageUnavailable):
        Web(script.url, None, patience_s=5).send("POST", "x", is_idempotent=False)
    assert len(script.requests) == 1
    script = serve((429, {}, b""), VERSION)
    assert Web(script.url, None, patience_s=5).send("POST", "x", is_idempotent=False).status == 200
    assert len(script.requests) == 2


def test_a_change_that_may_be_made_twice_is_repeated(serve: Serve) -> None:
    script = serve(LATER, VERSION)
    assert Web(script.url, None, patience_s=5).send("PATCH", "x", is_idempotent=True).status == 200


def test_a_request_whose_answer_was_lost_is_repeated_only_where_that_does_no_harm(serve: Serve) -> None:
    script = serve(NOTHING, VERSION)
    assert Web(script.url, None, patience_s=5).send("POST", "x", is_idempotent=True).status == 200
    script = serve(NOTHING)
    with pytest.raises(StorageUnavailable, match="does not answer"):
        Web(script.url, None, patience_s=5).send("POST", "x", is_idempotent=False)
    assert len(script.requests) == 1


def test_a_job_of_a_schedule_whose_answer_was_lost_is_asked_for_again_under_its_key(serve: Serve) -> None:
    script = serve(NOTHING, ok({"schedule": "w/s", "job": "w/s/s-0123456789"}))
    schedules = HttpClient(script.url, patience_s=5).schedules
    assert schedules.run_now("w/s").path == "w/s/s-0123456789"
    first, second = [headers["idempotency-key"] for _, _, headers in script.requests]
    assert first == second
    schedules.run_now("w/s")
    schedules.run_now("w/s", submission_id="mine")
    assert len({headers["idempotency-key"] for _, _, headers in script.requests} - {"mine"}) == 2


def test_a_change_that_found_no_connection_is_repeated() -> None:
    began = time.monotonic()
    with pytest.raises(StorageUnavailable, match="Connection refused"):
        Web("http://127.0.0.1:1/api", None, patience_s=0.5).send("POST", "x", is_idempotent=False)
    assert time.monotonic() - began >= 0.5


def test_what_did_not_change_is_not_sent_again(serve: Serve) -> None:
    script = serve(ok({"version": "1", "api": 1}, ETag='"a"'), (304, {"ETag": '"a"'}, b""), ok({"version": "2"}))
    client = HttpClient(script.url, patience_s=0)
    assert [client.version() for _ in range(3)] == ["1", "1", "2"]
    assert [headers.get("if-none-match") for _, _, headers in script.requests] == [None, '"a"', '"a"']


def test_the_key_goes_in_a_header_and_into_no_error_and_no_path(serve: Serve) -> None:
    script = serve(VERSION, (401, {}, b""))
    client = HttpClient(script.url, SECRET, patience_s=0)
    client.version()
    ((_, path, headers),) = script.requests
    assert headers[KEY_HEADER] == SECRET
    assert SECRET not in path
    with pytest.raises(StorageDenied, match="DROPSWEEP_KEY") as told:
        client.version()
    assert SECRET not in str(told.value)
    assert SECRET not in client.place


def test_the_key_does_not_follow_a_redirect(serve: Serve) -> None:
    elsewhere = serve(VERSION)
    script = serve((302, {"Location": f"{elsewhere.url}/version?x=1"}, b""))
    with pytest.raises(ConfigError, match="leads elsewhere"):
        HttpClient(script.url, SECRET, patience_s=0).version()
    assert elsewhere.requests == []


@pytest.mark.parametrize(
    ("url", "rule"),
    [
        ("http://example.com/api", "in the clear"),
        ("https://example.com/api?code=hidden", "no API's URL"),
        ("https://someone:hidden@example.com/api", "no API's URL"),
        ("ftp://example.com", "no API's URL"),
        ("example.com/api", "no API's URL"),
        ("", "no API's URL"),
    ],
)
def test_an_address_to_which_no_key_may_go_is_refused_without_telling_a_secret(url: str, rule: str) -> None:
    with pytest.raises(ConfigError, match=rule) as told:
        HttpClient(url, SECRET)
    assert "hidden" not in str(told.value)
    assert SECRET not in str(told.value)


def test_a_key_with_a_line_end_is_refused_and_not_told() -> None:
    with pytest.raises(ConfigError, match="no function key") as told:
        HttpClient("https://example.com/api", f"{SECRET}\nX-Other: 1")
    assert SECRET not in str(told.value)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (problem(404, kind="NotFoundError"), NotFoundError),
        (problem(404), NotFoundError),
        (problem(422, kind="SubmissionReused"), SubmissionReused),
        (problem(422), DropsweepError),
        (problem(409, kind="NoSuchClass"), DropsweepError),
        (problem(409, kind="Problem"), DropsweepError),
        (problem(500, kind="ConfigError"), StorageError),
        (problem(502, kind="StorageDenied"), StorageDenied),
        (problem(422, kind="SpecError"), SpecError),
        ((500, {"Content-Type": "text/html"}, b"<html>"), StorageError),
        ((404, {"Content-Type": "text/html"}, b"<html>"), ConfigError),
        ((404, {}, b""), ConfigError),
        ((403, {}, b""), StorageDenied),
        ((200, {"Content-Type": "text/html"}, b"<html>sign in"), StorageUnavailable),
        ((200, {"Content-Type": "application/json"}, b"[1]"), StorageUnavailable),
        ((400, {"Content-Type": PROBLEM}, b"{"), ConfigError),
        (ok({}), StorageError),
    ],
)
def test_an_answer_that_is_no_success_is_the_error_that_it_stands_for(
    serve: Serve, answer: tuple[int, dict[str, str], bytes], kind: type[DropsweepError]
) -> None:
    with pytest.raises(kind) as told:
        HttpClient(serve(answer).url, patience_s=0).version()
    assert str(told.value)
    if answer[1].get("Content-Type") == PROBLEM and answer[2] != b"{":
        assert "value: rule" in str(told.value)


def test_the_problems_of_a_job_file_come_one_by_one(serve: Serve) -> None:
    entry = {"path": "limits.timeout", "value": "-1", "rule": "r", "remedy": "m", "severity": "error"}
    script = serve(problem(422, kind="SpecError", problems=[entry, {"path": 1}, "x"]))
    with pytest.raises(SpecError, match=r"limits\.timeout is -1: r\. m") as told:
        HttpClient(script.url, patience_s=0).version()
    assert [found.path for found in told.value.problems] == ["limits.timeout"]


def test_nobody_who_listens_is_told_with_the_reason() -> None:
    with pytest.raises(StorageUnavailable, match=r"http://127\.0\.0\.1:1/api does not answer: Connection refused"):
        HttpClient("http://127.0.0.1:1/api", patience_s=0).version()


def test_an_examination_of_an_api_that_does_not_answer_is_a_finding() -> None:
    (finding,) = HttpClient("http://127.0.0.1:1/api", patience_s=0).examine()
    assert (finding.check, finding.status) == ("connection", "error")


def test_an_api_of_a_version_that_tells_of_no_checkpoints_has_none(serve: Serve) -> None:
    key = JobKey("w", "e", "job-0123456789")
    record = TrialRecord(key, 0, 1, TrialReason.SUCCEEDED, {})
    script = serve(problem(404), ok(json.loads(record.to_json())))
    assert HttpClient(script.url, patience_s=0).checkpoints(key, 0) == []
    assert [path.rpartition("/trials/")[2] for _, path, _ in script.requests] == ["0/checkpoints", "0"]
    for answers in ([problem(404, kind="NotFoundError")], [problem(404), problem(404, kind="NotFoundError")]):
        with pytest.raises(NotFoundError):
            HttpClient(serve(*answers).url, patience_s=0).checkpoints(key, 0)


def test_an_account_that_does_not_answer_is_told_as_the_one_behind_the_api(serve: Serve) -> None:
    script = serve(problem(503, kind="StorageUnavailable", detail="the storage account does not answer; ask again"))
    with pytest.raises(StorageUnavailable) as told:
        HttpClient(script.url, patience_s=0).version()
    assert str(told.value) == f"{script.url}: the storage account does not answer; ask again"


def test_a_list_whose_next_page_is_one_that_came_before_is_given_up(serve: Serve) -> None:
    for following in (["a"], ["a", "b", "a"]):
        pages = [ok({"items": [], "errors": [], "next": cursor}) for cursor in following]
        script = serve(*pages, pages[-1])
        with pytest.raises(StorageCorrupt, match="answers the same page again"):
            HttpClient(script.url, patience_s=0).jobs()
        assert len(script.requests) == len(following) + (len(following) == 1)


def test_the_answers_that_are_kept_have_a_bound_in_bytes(serve: Serve) -> None:
    mebibyte = "x" * (1024 * 1024 - 100)
    script = serve(ok({"x": mebibyte}, ETag='"a"'))
    web = Web(script.url, None, patience_s=0)
    for number in range(20):
        web.get("one", number)
    for number in range(20):
        web.get("one", number % 20)
    known = [headers.get("if-none-match") for _, _, headers in script.requests]
    assert known == [None] * 40, "the oldest has gone each time before it is asked for again"
    web.get("one", 19)
    assert script.requests[-1][2]["if-none-match"] == '"a"'
    assert sum(len(answer.body) for _, answer in web._kept.values()) == web._num_kept_bytes <= 16 * 1024 * 1024


def test_an_api_that_hangs_is_given_up_after_the_time_that_is_set(silence: str) -> None:
    began = time.monotonic()
    with pytest.raises(StorageUnavailable, match="no answer in time"):
        HttpClient(silence, patience_s=0, read_timeout_s=0.3).version()
    assert time.monotonic() - began < READ_TIMEOUT_S, "the usual time was waited for"
