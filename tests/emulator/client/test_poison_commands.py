"""`dropsweep poison`: what is shown of buried messages, and what sending them again does."""

import base64
import json
import re
import uuid
from collections.abc import Callable, Iterator

import pytest
from azure.core.pipeline import PipelineRequest, PipelineResponse
from azure.core.pipeline.policies import HTTPPolicy
from azure.core.rest import HttpRequest, HttpResponse
from typer.testing import CliRunner, Result

from dropsweep.cli import app
from dropsweep.cli.exits import ExitCode
from dropsweep.client import Client
from dropsweep.errors import MessageError, NotFoundError, StorageCorrupt
from dropsweep.messages import AdvanceMessage
from dropsweep.names import BURIED, CODE, DROP_POISON_QUEUE, JOBS, RUNS, JobKey, trials_queue
from dropsweep.records.buried import BuriedMessage
from dropsweep.settings import Settings
from dropsweep.steps.bury import bury
from dropsweep.storage import Store
from tests.emulator.deployment import Deployment

Run = Callable[..., Result]
HINT = AdvanceMessage(JobKey("w", "e", "job-0123456789")).to_text()


@pytest.fixture
def store(client: Client) -> Iterator[Store]:
    """The account with nothing buried in it."""
    for found in client.store.blobs.list(RUNS, BURIED):
        client.store.blobs.delete(RUNS, found.name)
    yield client.store
    for found in client.store.blobs.list(RUNS, BURIED):
        client.store.blobs.delete(RUNS, found.name)


@pytest.fixture
def queue(store: Store) -> str:
    name = f"trials-t{uuid.uuid4().hex[:12]}"
    store.queues.create_queue(name)
    return name


@pytest.fixture
def run(connection_string: str) -> Run:
    def run(*arguments: str) -> Result:
        env = {"DROPSWEEP_STORAGE": connection_string, "COLUMNS": "200"}
        return CliRunner().invoke(app, ["poison", *arguments], env=env, catch_exceptions=False)

    return run


def put(store: Store, queue: str, body: bytes | str = HINT, reason: str = "why", num_attempts: int = 5) -> str:
    """Buries a message and returns its id."""
    message_id = str(uuid.uuid4())
    assert bury(store, queue, message_id, body.encode() if isinstance(body, str) else body, reason, num_attempts)
    return message_id


def dropped(path: str, etag: str, container: str = JOBS) -> str:
    return json.dumps({"ContainerName": container, "BlobName": path, "ETag": etag})


def texts(store: Store, queue: str) -> list[str]:
    return [message.text for message in store.queues.receive(queue, visibility_s=1, max_messages=32)]


def test_the_table_shows_each_message_and_no_control_character(run: Run, store: Store, queue: str) -> None:
    first = put(store, queue, "\x1b[2J[red]hello[/red]\nworld" + "x" * 100, "it is \x1b]0;title\x07 [bold]wrong[/bold]")
    second = put(store, "advance", b"\xff\x00", num_attempts=2)
    shown = run("list")
    assert shown.exit_code == 0
    lines = shown.stdout.splitlines()
    assert lines[0].split() == ["id", "queue", "when", "attempts", "reason", "body"]
    row = next(line for line in lines if line.startswith(first[:8]))
    assert queue in row
    assert "UTC" in row
    assert "[red]hello[/red] world" in row
    assert "\\x1b]0;title\\x07 [bold]wrong[/bold]" in row
    assert row.rstrip().endswith("…")
    assert r"b'\xff\x00'" in next(line for line in lines if line.startswith(second[:8]))
    assert not {"\x1b", "\x07"} & set(shown.stdout)


def test_json_has_the_whole_of_each_message_newest_first(run: Run, store: Store, queue: str) -> None:
    whole = "x" * 60_000
    first, second = put(store, queue, whole), put(store, queue, b"\xff")
    messages = json.loads(run("list", "--json").stdout)["messages"]
    assert {message["id"] for message in messages} == {first, second}
    assert [message["when"] for message in messages] == sorted((m["when"] for m in messages), reverse=True)
    by_id = {message["id"]: message for message in messages}
    assert by_id[first].items() >= {"queue": queue, "body": whole, "encoding": "utf-8", "num_attempts": 5}.items()
    assert (by_id[second]["body"], by_id[second]["encoding"], by_id[second]["num_requeues"]) == ("/w==", "base64", 0)


def test_ids_are_shown_as_long_as_tells_them_apart(run: Run, store: Store, queue: str) -> None:
    for end in ("1111", "1122"):
        assert bury(store, queue, f"00000000-0000-{end}", b"x", "why", 1)
    ids = [line.split()[0] for line in run("list").stdout.splitlines()[1:]]
    assert sorted(ids) == ["00000000-0000-111", "00000000-0000-112"]


def test_with_nothing_buried_it_says_so(run: Run, store: Store) -> None:
    for arguments in (("list",), ("requeue", "--all")):
        shown = run(*arguments)
        assert (shown.exit_code, shown.stdout) == (0, "")
        assert "no message is buried" in shown.stderr
    assert json.loads(run("list", "--json").stdout) == {"messages": [], "errors": []}
    assert json.loads(run("requeue", "--all", "--json").stdout) == {"requeued": [], "refused": [], "errors": []}


def test_a_message_goes_back_to_its_queue_and_its_record_away(run: Run, store: Store, queue: str) -> None:
    message_id = put(store, queue)
    done = run("requeue", message_id[:8].upper())
    assert (done.exit_code, done.stdout) == (0, f"{message_id}  {queue}\n")
    (text,) = texts(store, queue)
    assert AdvanceMessage.from_text(text) == AdvanceMessage.from_text(HINT)
    assert json.loads(text)["num_requeues"] == 1
    assert run("requeue", message_id).exit_code == ExitCode.NOT_FOUND


def test_all_are_sent_past_those_that_cannot_be(run: Run, store: Store, queue: str) -> None:
    sent = [put(store, queue), put(store, queue, b"\xff\x00")]
    lost = put(store, "trials-that-never-was")
    done = run("requeue", "--all", "--json")
    assert done.exit_code == ExitCode.NOT_FOUND
    told = json.loads(done.stdout)
    assert sorted(message["id"] for message in told["requeued"]) == sorted(sent)
    assert [message["id"] for message in told["refused"]] == [lost]
    assert base64.b64encode(b"\xff\x00").decode() in texts(store, queue)
    again = run("requeue", "--all")
    assert (again.exit_code, again.stdout) == (ExitCode.NOT_FOUND, "")
    assert f"not sent: {lost}" in again.stderr


def test_what_no_queue_takes_is_told_and_stops_none_of_the_others(run: Run, store: Store, queue: str) -> None:
    large = put(store, queue, b"\xff" * 60_000)
    misplaced = put(store, "No Queue")
    sent = put(store, queue)
    done = run("requeue", "--all", "--json")
    told = json.loads(done.stdout)
    assert [message["id"] for message in told["requeued"]] == [sent]
    refused = {message["id"]: message["message"] for message in told["refused"]}
    assert set(refused) == {large, misplaced}
    assert "60,000 bytes cannot be sent as text, and are 80,000 in base64" in refused[large]
    assert "a message has at most 65,536" in refused[large]
    assert f"delete the record runs/.buried/{queue}/{large}.json" in refused[large]
    assert len(texts(store, queue)) == 1
    assert run("requeue", large).exit_code == ExitCode.FAILED
    assert {message.id for message in Client(store).buried()} == {large, misplaced}


def test_a_body_of_the_most_bytes_that_a_message_may_have_is_sent(run: Run, store: Store, queue: str) -> None:
    for body in (b"x" * 65_536, b"\xff" * 49_152):
        assert run("requeue", put(store, queue, body)).exit_code == 0
    assert sorted(map(len, texts(store, queue))) == [65_536, 65_536]


@pytest.mark.parametrize("option", ["", "--json"])
def test_what_was_sent_is_told_although_the_account_stops_answering(
    connection_string: str, store: Store, workspace: str, option: str
) -> None:
    written = store.blobs.create(JOBS, f"{workspace}/e/job.yaml", b"type: command")
    assert written
    assert bury(store, "advance", "a", HINT.encode(), "why", 5)
    assert bury(store, DROP_POISON_QUEUE, "z", dropped(f"{workspace}/e/job.yaml", written.etag).encode(), "why", 5)
    # The newest first, which needs no queue; of equal times that with the later id.
    env = {"DROPSWEEP_STORAGE": re.sub(r"(QueueEndpoint=http://[^:]+):\d+", r"\1:9", connection_string)}
    done = CliRunner().invoke(app, ["poison", "requeue", "--all", *filter(None, [option])], env=env)
    assert done.exit_code == ExitCode.STORAGE
    if option:
        told = {"requeued": [{"id": "z", "queue": DROP_POISON_QUEUE}], "refused": [], "errors": []}
        assert json.loads(done.stdout) == told
        assert json.loads(done.stderr)["error"]["kind"] == "StorageUnavailable"
    else:
        assert done.stdout == f"z  {DROP_POISON_QUEUE}\n"
        assert done.stderr.startswith("error: the storage account does not answer")
    assert [message.id for message in Client(store).buried()] == ["a"]


def test_a_blob_that_is_no_record_is_shown_and_keeps_none_of_the_others(run: Run, store: Store, queue: str) -> None:
    stray = f"{BURIED}{queue}/stray.txt"
    store.blobs.put(RUNS, stray, b"hello")
    message_id = put(store, queue)
    shown = run("list")
    assert shown.exit_code == ExitCode.FAILED
    rows = [line.split()[:2] for line in shown.stdout.splitlines()[1:]]
    assert rows == [[message_id[:8], queue], ["stray.txt", queue]]
    assert "unreadable" in shown.stdout.splitlines()[-1]
    assert shown.stderr.startswith(f"error: runs/{stray}: ")
    told = json.loads(run("list", "--json").stdout)
    assert [message["id"] for message in told["messages"]] == [message_id]
    assert [(error["path"], error["kind"]) for error in told["errors"]] == [(stray, "StorageCorrupt")]
    done = run("requeue", "--all")
    assert (done.exit_code, done.stdout) == (ExitCode.FAILED, f"{message_id}  {queue}\n")
    assert done.stderr.startswith(f"error: runs/{stray}: ")
    again = run("requeue", "--all", "--json")
    assert (again.exit_code, again.stderr) == (ExitCode.FAILED, "")
    told = json.loads(again.stdout)
    assert (told["requeued"], told["refused"], [error["path"] for error in told["errors"]]) == ([], [], [stray])


@pytest.mark.parametrize(
    ("arguments", "code"),
    [((), ExitCode.USAGE), (("0000", "--all"), ExitCode.USAGE), (("",), ExitCode.NOT_FOUND)],
)
def test_neither_and_both_of_an_id_and_all_are_wrong_usage_and_no_id_fits_nothing(
    run: Run, store: Store, queue: str, arguments: tuple[str, ...], code: ExitCode
) -> None:
    assert bury(store, queue, "0000", HINT.encode(), "why", 5)
    assert run("requeue", *arguments).exit_code == code
    assert texts(store, queue) == []


class Meanwhile(HTTPPolicy[HttpRequest, HttpResponse]):
    """Has something else happen just after the first message was sent."""

    def __init__(self, happen: Callable[[], None]) -> None:
        super().__init__()
        self._happen: Callable[[], None] | None = happen

    def send(self, request: PipelineRequest[HttpRequest]) -> PipelineResponse[HttpRequest, HttpResponse]:
        response = self.next.send(request)
        happen = self._happen
        if happen and request.http_request.method == "POST":
            self._happen = None
            happen()
        return response


def test_a_message_that_is_buried_anew_while_it_is_sent_again_stays_on_record(
    store: Store, settings: Settings, deployment: Deployment
) -> None:
    queue = trials_queue(deployment.cluster)
    store.queues.send(queue, "hello")
    deployment.worker().run()
    (first,) = Client(store).buried()
    interrupted = Store.connect(settings.storage, Meanwhile(deployment.worker().run))
    Client(interrupted).requeue(first)
    assert store.queues.count(queue) == 0
    (second,) = Client(store).buried()
    assert (second.id, second.body) == (first.id, b"hello")


def test_a_message_that_somebody_else_has_sent_again_is_not_sent_twice(
    client: Client, store: Store, queue: str
) -> None:
    put(store, queue)
    (message,) = client.buried()
    client.requeue(message)
    with pytest.raises(NotFoundError, match="is not buried any more"):
        client.requeue(message)
    assert len(texts(store, queue)) == 1


def test_a_beginning_that_fits_several_sends_nothing(run: Run, store: Store, queue: str) -> None:
    for end in ("1111", "1122"):
        assert bury(store, queue, f"00000000-0000-{end}", b"x", "why", 1)
    refused = run("requeue", "0000")
    assert refused.exit_code == ExitCode.USAGE
    assert "fits 2 buried messages" in refused.stderr
    assert texts(store, queue) == []


def test_a_dropped_file_is_put_anew_once_and_keeps_what_it_says(client: Client, store: Store, workspace: str) -> None:
    path = f"{workspace}/e/job.yaml"
    first = store.blobs.create(JOBS, path, b"type: command", {"owner": "ada"})
    assert first
    message_id = put(store, DROP_POISON_QUEUE, dropped(path, first.etag))
    client.requeue(message_id)
    second = store.blobs.read(JOBS, path)
    assert second is not None
    assert second.etag != first.etag
    assert (second.body, second.metadata["owner"]) == (b"type: command", "ada")
    # As if the process had died before the record was deleted: the file is left alone.
    client.requeue(put(store, DROP_POISON_QUEUE, dropped(path, first.etag)))
    third = store.blobs.head(JOBS, path)
    assert third is not None
    assert third.etag == second.etag
    assert client.buried() == []


def test_a_dropped_file_that_is_gone_cannot_be_put_anew(run: Run, store: Store, workspace: str) -> None:
    message_id = put(store, DROP_POISON_QUEUE, dropped(f"{workspace}/e/job.yaml", '"0x1"'))
    refused = run("requeue", message_id)
    assert refused.exit_code == ExitCode.NOT_FOUND
    assert "is not there any more" in refused.stderr
    assert message_id[:8] in run("list").stdout


def test_a_message_that_names_no_dropped_file_touches_nothing(client: Client, store: Store, workspace: str) -> None:
    written = store.blobs.put(CODE, f"{workspace}/a.py", b"x")
    for body in ("hello", dropped(f"{workspace}/a.py", "", CODE), dropped(f"../{CODE}/{workspace}/a.py", "")):
        message_id = put(store, DROP_POISON_QUEUE, body)
        with pytest.raises(MessageError):
            client.requeue(message_id)
    head = store.blobs.head(CODE, f"{workspace}/a.py")
    assert head is not None
    assert head.etag == written.etag
    assert len(client.buried()) == 3


def test_the_client_tells_what_it_does_not_find(client: Client, store: Store, queue: str) -> None:
    for text in ("", "  ", "no-such-id"):
        with pytest.raises(NotFoundError):
            client.requeue(text)
    put(store, queue)
    with pytest.raises(NotFoundError):
        client.requeue("")


def test_a_record_that_is_not_ours_is_told_with_its_path(client: Client, store: Store) -> None:
    store.blobs.put(RUNS, f"{BURIED}advance/i.json", b"{}")
    with pytest.raises(StorageCorrupt, match=r"runs/\.buried/advance/i\.json: a record is not of version 1"):
        client.buried()
    elsewhere = BuriedMessage("trials-x", "j", b"x", "why", 1)
    store.blobs.put(RUNS, f"{BURIED}advance/i.json", elsewhere.to_json())
    with pytest.raises(StorageCorrupt, match="it is the record of"):
        client.requeue("i")


def test_a_message_is_deleted_by_the_beginning_of_its_id_and_no_other(run: Run, store: Store, queue: str) -> None:
    first, second = put(store, queue), put(store, queue)
    done = run("delete", first[:13].upper())
    assert (done.exit_code, done.stdout) == (0, f"{first}  {queue}\n")
    assert [message["id"] for message in json.loads(run("list", "--json").stdout)["messages"]] == [second]
    again = run("delete", first)
    assert (again.exit_code, again.stdout) == (ExitCode.NOT_FOUND, "")
    assert texts(store, queue) == []


def test_a_record_that_cannot_be_read_can_be_deleted(run: Run, store: Store, queue: str) -> None:
    store.blobs.put(RUNS, f"{BURIED}{queue}/broken.json", b"{")
    done = run("delete", "broken", "--json")
    assert json.loads(done.stdout) == {"deleted": [{"id": "broken", "queue": queue}]}
    assert run("list").exit_code == 0


def test_all_are_deleted_once_it_is_confirmed_and_what_is_buried_anew_meanwhile_stays(
    run: Run, store: Store, client: Client, queue: str
) -> None:
    ids = {put(store, queue) for _ in range(3)}
    refused = run("delete", "--all")
    assert (refused.exit_code, refused.stdout) == (ExitCode.USAGE, "")
    assert "--yes" in refused.stderr
    names = client.delete_all_buried()
    first = next(names)
    others = ids - {first.id}
    for other in others:
        path = f"{BURIED}{queue}/{other}.json"
        blob = store.blobs.read(RUNS, path)
        assert blob is not None
        store.blobs.put(RUNS, path, blob.body)
    assert list(names) == []
    done = run("delete", "--all", "--yes", "--json")
    assert {name["id"] for name in json.loads(done.stdout)["deleted"]} == others
    assert "no message is buried" in run("delete", "--all", "--yes").stderr


@pytest.mark.parametrize("arguments", [(), ("5d1c", "--all")])
def test_what_is_to_be_deleted_must_be_named_and_once(run: Run, store: Store, arguments: tuple[str, ...]) -> None:
    done = run("delete", *arguments)
    assert (done.exit_code, done.stdout) == (ExitCode.USAGE, "")
    assert "ID or --all" in done.stderr
