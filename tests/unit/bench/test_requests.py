import pytest

from bench.requests import parse, split


def line(request: str, status: int = 200) -> str:
    return f'127.0.0.1 - - [21/Nov/2026:22:00:00 +0000] "{request} HTTP/1.1" {status} -'


@pytest.mark.parametrize(
    ("request_line", "kind"),
    [
        ("PUT /account/runs/w/e/j/records/0000/0000007.json", "write trial record"),
        ("PUT /account/runs/w/e/j/records/0000/0000007.json?comp=metadata", "touch trial record"),
        ("PUT /account/runs/w/e/j/job.json", "write job record"),
        ("GET /account/runs/w/e/j/job.json", "read job record"),
        ("PUT /account/runs/w/e/j/trials/0000000/attempts/1/stdout.txt?comp=appendblock", "append to stdout.txt"),
        ("POST /account/advance/messages?visibilitytimeout=0", "send to advance"),
        ("GET /account/trials-local/messages?numofmessages=1", "receive from trials-local"),
        ("DELETE /account/trials-local/messages/id?popreceipt=x", "delete from trials-local"),
        ("GET /account/jobs?restype=container&comp=list", "list jobs"),
    ],
)
def test_a_request_is_named_by_what_it_did(request_line: str, kind: str) -> None:
    found = parse(line(request_line))
    assert found is not None
    assert found.kind == kind


def test_other_lines_tell_of_no_request() -> None:
    assert parse("Azurite Blob service is starting") is None
    assert parse(line("GET /")) is None


def test_looks_into_empty_queues_are_polling_and_the_rest_is_work() -> None:
    receive, delete = "GET /account/trials-local/messages?numofmessages=1", "DELETE /account/trials-local/messages/id"
    lines = [line(receive)] * 5 + [line(delete, 204)] * 2 + [line("GET /account/jobs?restype=container&comp=list")]
    work, polling = split([found for text in lines if (found := parse(text)) is not None], "local")
    assert work["receive from trials-local"] == 2
    assert polling["receive from trials-local"] == 3
    assert polling["list jobs"] == 1
    assert "list jobs" not in work


@pytest.mark.parametrize("queue", ["advance", "advance-poison", "webjobs-blobtrigger-poison", "trials-local-low"])
def test_a_queue_that_is_found_empty_is_polled(queue: str) -> None:
    found = parse(line(f"GET /account/{queue}/messages?numofmessages=16"))
    assert found is not None
    work, polling = split([found], "local")
    assert (work.total(), polling.total()) == (0, 1)
