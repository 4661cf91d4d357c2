"""How long an answer asks to wait."""

import pytest

from dropsweep.storage.retrying import retry_after_s

DATE = "Wed, 21 Oct 2015 07:28:00 GMT"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 0),
        ({"Retry-After": "7"}, 7),
        ({"Retry-After": " 7 "}, 7),
        ({"Retry-After": "0"}, 0),
        ({"Retry-After": "3600"}, 30),
        ({"Retry-After": "9" * 400}, 30),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:12 GMT", "Date": DATE}, 12),
        ({"Retry-After": "Wed, 21 Oct 2015 09:28:00 GMT", "Date": DATE}, 30),
        ({"Retry-After": "Wed, 21 Oct 2015 07:27:00 GMT", "Date": DATE}, 0),
    ],
)
def test_a_wait_is_read_in_seconds_or_as_a_date_and_is_bounded(headers: dict[str, str], seconds: float) -> None:
    assert retry_after_s(headers) == seconds


@pytest.mark.parametrize(
    "headers",
    [
        {"Retry-After": "soon"},
        {"Retry-After": "-5"},
        {"Retry-After": "1.5e3"},
        {"Retry-After": "²"},
        {"Retry-After": "Wed, 21 Oct 2015 07:28:12 GMT"},
        {"Retry-After": "Wed, 21 Oct 2015 07:28:12 GMT", "Date": "yesterday"},
        {"Retry-After": "Wed, 21 Oct 2015 07:28:12 -0000", "Date": DATE},
    ],
)
def test_a_wait_that_cannot_be_read_is_none(headers: dict[str, str]) -> None:
    assert retry_after_s(headers) == 0
