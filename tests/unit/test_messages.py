import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropsweep.errors import MessageError
from dropsweep.messages import AdvanceMessage, TrialMessage
from dropsweep.names import JobKey

KEY = JobKey("w", "e", "j-0123456789")


@given(st.lists(st.integers(0, 2**40), max_size=5))
def test_messages_survive_their_text(trials: list[int]) -> None:
    for hint in (AdvanceMessage(KEY, tuple(trials)), AdvanceMessage(KEY, is_alarm=True)):
        assert AdvanceMessage.from_text(hint.to_text()) == hint
    for trial in trials:
        assert TrialMessage.from_text(TrialMessage(KEY, trial).to_text()) == TrialMessage(KEY, trial)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "[]",
        "{}",
        '{"version": 2, "job": "w/e/j", "trial": 0}',
        '{"version": 1, "trial": 0}',
        '{"version": 1, "job": "w/../j", "trial": 0, "trials": [0]}',
        '{"version": 1, "job": "w/e/j", "trial": -1, "trials": [-1]}',
        '{"version": 1, "job": "w/e/j", "trial": true, "trials": [true]}',
        '{"version": 1, "job": "w/e/j", "trial": "0", "trials": "0"}',
        "[" * 100_000,
    ],
)
def test_what_is_not_ours_is_refused(text: str) -> None:
    with pytest.raises(MessageError):
        TrialMessage.from_text(text)
    with pytest.raises(MessageError):
        AdvanceMessage.from_text(text)


@given(st.text(max_size=200))
def test_no_text_gives_anything_but_a_message_or_a_message_error(text: str) -> None:
    for kind in (TrialMessage, AdvanceMessage):
        try:
            kind.from_text(text)
        except MessageError:
            continue
