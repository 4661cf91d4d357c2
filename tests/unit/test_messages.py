import base64
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dropsweep.errors import MessageError
from dropsweep.messages import (
    MAX_MESSAGE_BYTES,
    AdvanceMessage,
    FailedBlob,
    TrialMessage,
    _shown,
    num_requeues,
    requeued,
)
from dropsweep.names import JobKey

KEY = JobKey("w", "e", "j-0123456789")
HINT = AdvanceMessage(KEY, (3, 4))
DROP = {"ContainerName": "jobs", "BlobName": "w/e/Ärger 1.yaml", "ETag": '"0x8D"'}

leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
values = st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner), max_leaves=4)
keys = st.sampled_from(["version", "job", "trial", "trials", "is_alarm", "num_requeues", "ContainerName", "BlobName"])
near = st.sampled_from([1, "w/e/j", "w/../j", [0], "jobs", "../x", "\ud800", 2**63, 10**30, 1e300])
documents = st.dictionaries(keys | st.text(max_size=5), near | values).map(json.dumps)


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def nested(depth: int) -> str:
    return '{"version": ' + "[" * depth + "]" * depth + "}"


@given(st.lists(st.integers(0, 2**40), max_size=5))
def test_messages_survive_their_text_plain_and_in_base64(trials: list[int]) -> None:
    for hint in (AdvanceMessage(KEY, tuple(trials)), AdvanceMessage(KEY, is_alarm=True)):
        for text in (hint.to_text(), encoded(hint.to_text()), f" {encoded(hint.to_text())}\n"):
            assert AdvanceMessage.from_text(text) == hint
            assert AdvanceMessage.from_body(text.encode()) == hint
    for trial in trials:
        message = TrialMessage(KEY, trial)
        assert TrialMessage.from_text(message.to_text()) == message
        assert TrialMessage.from_text(encoded(message.to_text())) == message


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "[]",
        "{}",
        "1e999",
        "NaN",
        "9" * 5000,
        "true",
        '{"version": 2, "job": "w/e/j", "trial": 0}',
        '{"version": true, "job": "w/e/j", "trial": 0}',
        '{"version": 1.0, "job": "w/e/j", "trial": 0}',
        '{"version": 1, "trial": 0}',
        '{"version": 1, "job": ["w/e/j"], "trial": 0}',
        '{"version": 1, "job": "' + "w" * 60_000 + '", "trial": 0}',
        '{"version": 1, "job": "w/e/\\ud800", "trial": 0}',
        '{"version": 1, "job": "w/../j", "trial": 0, "trials": [0]}',
        '{"version": 1, "job": "w/e/j", "trial": -1, "trials": [-1]}',
        '{"version": 1, "job": "w/e/j", "trial": 1e999, "trials": [1e999]}',
        '{"version": 1, "job": "w/e/j", "trial": 9223372036854775808, "trials": [9223372036854775808]}',
        '{"version": 1, "job": "w/e/j", "trial": ' + "9" * 4000 + ', "trials": [' + "9" * 4000 + "]}",
        '{"version": 1, "job": "w/e/j", "trial": ' + "9" * 5000 + ', "trials": [' + "9" * 5000 + "]}",
        '{"version": 1, "job": "w/e/j", "trial": true, "trials": [true]}',
        '{"version": 1, "job": "w/e/j", "trial": "0", "trials": "0"}',
        "[" * 100_000,
        "{" * 100_000,
        '{"a":' * 100_000,
        encoded('{"a":' * 100_000),
        encoded("hello"),
        encoded(encoded(HINT.to_text())),
        encoded(HINT.to_text())[1:],
        base64.b64encode(b'{"job": "\xff"}').decode(),
        " " * 60_000 + "!",
        "A" * 60_000 + "!",
        "\ud800",
        "\x00\x1b[31m",
    ],
)
def test_what_is_not_ours_is_refused_in_a_few_printable_words(text: str) -> None:
    for read in (TrialMessage.from_text, AdvanceMessage.from_text):
        with pytest.raises(MessageError) as refused:
            read(text)
        assert str(refused.value).isprintable()
        assert len(str(refused.value)) < 1500


@pytest.mark.parametrize("body", [b"\xff", b'{"version": 1, "job": "\xc3"}', "Grüße".encode("utf-16")])
def test_what_is_not_utf_8_is_refused_with_the_place(body: bytes) -> None:
    with pytest.raises(MessageError, match="it must be UTF-8, and byte"):
        AdvanceMessage.from_body(body)
    with pytest.raises(MessageError, match="it must be UTF-8, and byte"):
        FailedBlob.from_body(body)


@pytest.mark.parametrize(("version", "shown"), [(2, "2"), (None, "None"), ("1", "'1'")])
def test_an_unknown_version_is_told_with_the_known_one(version: Any, shown: str) -> None:
    text = json.dumps({"version": version, "job": KEY.path})
    with pytest.raises(MessageError, match=f"version is {shown}: this program reads version 1"):
        AdvanceMessage.from_text(text)


@given(st.text(max_size=200) | documents | documents.map(encoded) | st.integers(0, 3000).map(nested))
@example('{"version": 1, "job": "w/e/j", "trial": 1, "trials": [' + "[" * 980 + "]" * 980 + "]}")
def test_no_text_gives_anything_but_a_message_or_a_message_error(text: str) -> None:
    for read in (TrialMessage.from_text, AdvanceMessage.from_text):
        try:
            read(text)
        except MessageError:
            continue


@given(st.binary(max_size=200) | (documents | documents.map(encoded)).map(str.encode))
def test_no_body_gives_anything_but_a_message_or_a_message_error(body: bytes) -> None:
    for read in (AdvanceMessage.from_body, FailedBlob.from_body):
        try:
            read(body)
        except MessageError:
            continue


def test_every_depth_of_nesting_is_refused_however_near_to_the_interpreters_limit() -> None:
    for depth in range(850, 1010):
        with pytest.raises(MessageError):
            AdvanceMessage.from_text(nested(depth))


def test_a_value_that_cannot_be_shown_is_named_by_its_type() -> None:
    deep: list[Any] = []
    for _ in range(10_000):
        deep = [deep]
    assert _shown(deep) == "list too large to show"
    assert _shown(10**5000) == "int too large to show"
    assert _shown("\x1b" * 100_000).isprintable()


def test_the_hosts_message_about_a_blob_is_read_plain_and_in_base64() -> None:
    text = json.dumps({"FunctionId": "Host.Functions.drop", "BlobType": "BlockBlob", **DROP})
    for body in (text.encode(), base64.b64encode(text.encode())):
        assert FailedBlob.from_body(body) == FailedBlob("jobs", "w/e/Ärger 1.yaml", "0x8D")


@pytest.mark.parametrize(
    "change",
    [
        {"BlobName": ""},
        {"BlobName": None},
        {"BlobName": "x" * 1025},
        {"BlobName": "../runs/w/e/j/job.json"},
        {"BlobName": "w/./x.yaml"},
        {"BlobName": "\ud800"},
        {"ContainerName": ""},
        {"ContainerName": "jobs/../runs"},
        {"ContainerName": 7},
    ],
)
def test_a_name_that_no_blob_has_or_that_leads_elsewhere_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(MessageError):
        FailedBlob.from_body(json.dumps({**DROP, **change}).encode())


def test_a_requeued_message_counts_and_reads_as_before() -> None:
    body = HINT.to_text().encode()
    assert num_requeues(body) == 0
    for count in (1, 2, 3):
        body = requeued(body).encode()
        assert num_requeues(body) == count
        assert AdvanceMessage.from_body(body) == HINT
    assert num_requeues(requeued(encoded(HINT.to_text()).encode()).encode()) == 1


@given(st.binary(max_size=200) | (documents | st.text(max_size=50)).map(lambda text: text.encode(errors="replace")))
def test_what_is_requeued_can_be_sent_and_never_grows_over_the_limit(body: bytes) -> None:
    text = requeued(body)
    assert all(character in "\t\n\r" or " " <= character <= "\ufffd" or character > "\uffff" for character in text)
    assert not any("\ud800" <= character <= "\udfff" for character in text)
    assert num_requeues(text.encode()) >= num_requeues(body)


def test_a_message_that_would_grow_over_the_limit_is_sent_as_it_was() -> None:
    body = json.dumps({"version": 1, "job": KEY.path, "note": "ü" * 32_000}, ensure_ascii=False).encode()
    assert len(body) < MAX_MESSAGE_BYTES
    assert requeued(body) == body.decode()
    assert requeued(b"\xff\x00") == "/wA="
    assert requeued(b"a\x01") == base64.b64encode(b"a\x01").decode()
    assert requeued(b"not JSON") == "not JSON"
