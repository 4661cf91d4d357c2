from pathlib import Path

import pytest

from bench.requests import PartyLogs, Request, difference, parse, split, work_of


def line(request: str, status: int = 200, size: str = "-") -> str:
    return f'127.0.0.1 - - [21/Nov/2026:22:00:00 +0000] "{request} HTTP/1.1" {status} {size}'


def requests(*lines: str) -> list[Request]:
    return [found for text in lines if (found := parse(text)) is not None]


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


RECEIVE = "GET /account/trials-local/messages?numofmessages=32"
DELETE = "DELETE /account/trials-local/messages/id"


def test_where_the_size_of_answers_is_known_one_receive_of_many_messages_is_one_operation() -> None:
    empty, absent = line(RECEIVE, size="76"), line(RECEIVE, 404, "400")
    found = requests(line(RECEIVE, size="5000"), empty, empty, absent, *[line(DELETE, 204, "0")] * 10)
    work, polling = split(found, "local")
    assert work == {"receive from trials-local": 1, "delete from trials-local": 10}
    assert polling == {"receive from trials-local": 3}


def test_each_party_has_its_own_part_of_the_work_and_the_busiest_comes_first() -> None:
    parties = {
        "host": requests(line("GET /account/advance/messages?numofmessages=16", size="76")),
        "client": requests(line("PUT /account/jobs/w/e/job.json"), line("GET /account/runs/w/e/j/job.json")),
        "trainer-1": requests(line(RECEIVE, size="900"), line(DELETE, 204, "0")),
    }
    counted = work_of(parties, "local")
    assert counted == {
        "trainer-1": {"receive from trials-local": 1, "delete from trials-local": 1},
        "client": {"read job record": 1},
    }
    assert list(counted) == ["trainer-1", "client"]


def test_what_no_party_wrote_down_is_a_difference_and_polling_is_none() -> None:
    job, record = "GET /account/runs/w/e/j/job.json", "PUT /account/runs/w/e/j/records/0000/0000007.json"
    everywhere = requests(line(job), line(job), line(record), line(RECEIVE), line(RECEIVE))
    parties = {"functions": requests(line(job)), "trainer-1": requests(line(record), line(RECEIVE, size="76"))}
    assert difference(everywhere, parties, "local") == {"read job record": 1}
    parties["client"] = requests(line(job))
    assert difference(everywhere, parties, "local") == {}
    parties["client"] *= 3
    assert difference(everywhere, parties, "local") == {"read job record": 2}


def test_the_logs_of_parties_are_followed_whenever_they_come(tmp_path: Path) -> None:
    logs = PartyLogs(tmp_path)
    (tmp_path / "host.log").write_text(line(RECEIVE) + "\n")
    assert [(party, len(found)) for party, found in logs.fresh().items()] == [("host", 1)]
    unanswered = line(DELETE).replace(" 200 ", " 000 ")
    (tmp_path / "trainer-1.log").write_text(f"{line(DELETE)}\n{unanswered}\n")
    assert [(party, len(found)) for party, found in logs.fresh().items()] == [("trainer-1", 1)]
    assert logs.fresh() == {}
