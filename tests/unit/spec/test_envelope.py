import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropsweep.names import is_reply_queue, is_submission_id
from dropsweep.spec.envelope import read_envelope

JOB = {"type": "command", "command": "true"}
YAML = b"type: command\ncommand: 'true'\nworkspace: vision\nsubmission_id: 7f-1\n"


def body(document: object) -> bytes:
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    "message",
    [
        YAML,
        body({**JOB, "workspace": "vision", "submission_id": "7f-1"}),
        body({"job": JOB, "workspace": "vision", "submission_id": "7f-1"}),
        body({"job": "type: command\ncommand: 'true'", "workspace": "vision", "submission_id": "7f-1"}),
        b"job:\n  type: command\n  command: 'true'\nworkspace: vision\nsubmission_id: 7f-1\n",
    ],
    ids=["yaml", "json", "inline", "text", "yaml inline"],
)
@pytest.mark.parametrize("is_base64", [False, True])
def test_each_form_says_the_same_plain_and_in_base64(message: bytes, is_base64: bool) -> None:
    envelope = read_envelope(base64.encodebytes(message) if is_base64 else message)
    assert envelope.document.data == JOB
    assert (envelope.workspace, envelope.experiment, envelope.submission_id) == ("vision", None, "7f-1")
    assert (envelope.is_base64, envelope.problems, envelope.document.problems) == (is_base64, (), ())


def test_a_file_in_storage_is_named_by_container_and_path() -> None:
    envelope = read_envelope(body({"blob": "jobs-in/a b/large.yaml", "experiment": "e", "reply_to": "answers"}))
    assert envelope.blob == ("jobs-in", "a b/large.yaml")
    assert (envelope.workspace, envelope.experiment, envelope.reply_to) == ("default", "e", "answers")
    assert envelope.problems == ()


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ({"blob": "runs/w/e/job/spec.json"}, "blob"),
        ({"blob": "azure-webjobs-secrets/app/host.json"}, "blob"),
        ({"blob": "nothing"}, "blob"),
        ({"blob": "c/../runs/x"}, "blob"),
        ({"blob": 3}, "blob"),
        ({"blob": "abc/x.yaml", "job": JOB}, "blob"),
        ({"blob": "abc/x.yaml", "reply": "answers"}, "reply"),
        ({**JOB, "workspace": 3}, "workspace"),
        ({**JOB, "submission_id": "two words"}, "submission_id"),
        ({**JOB, "submission_id": 12}, "submission_id"),
        ({**JOB, "reply_to": "Answers"}, "reply_to"),
        ({**JOB, "reply_to": "advance"}, "reply_to"),
        ({**JOB, "reply_to": "trials-gpu"}, "reply_to"),
        ({**JOB, "reply_to": "answers-poison"}, "reply_to"),
    ],
)
def test_what_is_wrong_is_told_by_its_key(document: dict[str, object], told: str) -> None:
    assert [problem.path for problem in read_envelope(body(document)).problems] == [told]


@pytest.mark.parametrize("document", [{"job": 3}, {"job": [1]}, {"job": "- a list"}, {"job": ""}])
def test_a_job_that_is_no_mapping_is_told(document: dict[str, object]) -> None:
    envelope = read_envelope(body(document))
    assert envelope.document.data is None
    assert envelope.document.problems


def test_problems_of_an_inline_job_are_told_by_their_place_in_the_job() -> None:
    message = b'{"job": {"command": "a", "command": "b"}, "workspace": "w", "workspace": "v"}'
    envelope = read_envelope(message)
    assert [problem.path for problem in envelope.document.problems] == ["command"]
    assert [problem.path for problem in envelope.problems] == ["workspace"]


def test_a_sender_that_is_wrong_elsewhere_still_gets_its_answer() -> None:
    envelope = read_envelope(body({"blob": "", "workspace": 1, "reply_to": "answers", "submission_id": "a"}))
    assert (envelope.reply_to, envelope.submission_id) == ("answers", "a")
    assert len(envelope.problems) == 2


KEYS = st.sampled_from(["job", "blob", "workspace", "experiment", "submission_id", "reply_to", "command", "x"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=8,
)


@given(st.binary() | st.dictionaries(KEYS, VALUES, max_size=6).map(lambda data: json.dumps(data).encode()))
def test_whatever_comes_is_read_without_an_error(message: bytes) -> None:
    for plain in (message, base64.b64encode(message)):
        envelope = read_envelope(plain)
        assert envelope.submission_id == "" or is_submission_id(envelope.submission_id)
        assert envelope.reply_to == "" or is_reply_queue(envelope.reply_to)
        assert envelope.document.data is not None or envelope.document.problems or envelope.problems or envelope.blob
