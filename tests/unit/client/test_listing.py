from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropsweep.client.listing import JobFilter
from dropsweep.errors import DropsweepError
from dropsweep.names import JobKey
from dropsweep.records import JobSummary
from dropsweep.states import JobReason, JobState

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("45s", timedelta(seconds=45)),
        ("30m", timedelta(minutes=30)),
        ("12h", timedelta(hours=12)),
        ("2d", timedelta(days=2)),
        ("1w", timedelta(weeks=1)),
        ("2026-01-02", datetime(2026, 1, 2, tzinfo=UTC)),
        ("2026-01-02T03:04:05Z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02T03:04:05+02:00", datetime(2026, 1, 2, 1, 4, 5, tzinfo=UTC)),
    ],
)
def test_since_is_a_duration_or_a_time(text: str, expected: datetime | timedelta) -> None:
    assert JobFilter.parse(since=text).since == expected


@pytest.mark.parametrize("text", ["2 days", "d", "-2d", "2.5h", "yesterday", "2026-13-01", "99999999999d"])
def test_any_other_since_is_refused_with_its_rule(text: str) -> None:
    with pytest.raises(DropsweepError, match="Write it like 2d or"):
        JobFilter.parse(since=text)


def test_what_names_no_state_no_tag_or_no_number_is_refused() -> None:
    for wrong in ({"states": ["runing"]}, {"tags": ["=x"]}, {"limit": 0}):
        with pytest.raises(DropsweepError):
            JobFilter.parse(**wrong)  # type: ignore[arg-type]


def test_a_filter_takes_so_many_tags_of_such_a_length_and_no_more() -> None:
    most = [f"t{number}=x" for number in range(10)]
    assert len(JobFilter.parse(tags=most).tags) == 10
    with pytest.raises(DropsweepError, match="11 tags are asked for: at most 10 may be"):
        JobFilter.parse(tags=[*most, "more"])
    assert JobFilter.parse(tags=[f"t={'x' * 254}"]).tags == {"t": "x" * 254}
    with pytest.raises(DropsweepError, match="has 257 characters: name=value has at most 256"):
        JobFilter(tags={"t": "x" * 255})


def test_the_longest_duration_reaches_back_without_an_error() -> None:
    job = JobSummary(
        JobKey("w", "e", "j"),
        JobState.QUEUED,
        JobReason.ACCEPTED,
        "sweep",
        1,
        0,
        None,
        datetime(2025, 1, 1, tzinfo=UTC),
    )
    assert JobFilter.parse(since="9999999999w").admits(job, None, NOW)


TEXTS = st.text(st.characters(codec="ascii", exclude_characters="=", categories=["L", "N"]), min_size=1, max_size=8)


@given(
    states=st.frozensets(st.sampled_from(list(JobState))),
    tags=st.dictionaries(TEXTS, st.none() | TEXTS, max_size=3),
    schedule=st.just("") | TEXTS,
    since=st.none()
    | st.integers(1, 10**6).map(lambda seconds: timedelta(seconds=seconds))
    | st.datetimes(NOW.replace(tzinfo=None), timezones=st.just(UTC)),
)
def test_conditions_survive_their_way_through_a_url(
    states: frozenset[JobState],
    tags: dict[str, str | None],
    schedule: str,
    since: datetime | timedelta | None,
) -> None:
    where = JobFilter(states, tags, schedule, since)
    query = where.to_query()
    given_ = {"states": query.get("state", ()), "tags": query.get("tag", ())}
    again = JobFilter.parse(**given_, schedule=query.get("schedule", ""), since=query.get("since", ""))
    assert again == where
