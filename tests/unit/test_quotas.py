"""Shares of a quota, dealt without storage: never above the limits, whatever the order in which jobs ask."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dropsweep.errors import StorageCorrupt
from dropsweep.names import JobKey
from dropsweep.quotas import WAITS, grant, next_up, why_waiting
from dropsweep.records import JobRecord
from dropsweep.records.ledger import Entry, Ledger, QuotaLimits
from dropsweep.states import JobReason

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def job(number: int) -> JobRecord:
    """Jobs with higher numbers are younger."""
    key = JobKey("w", "e", f"job-{number}")
    return JobRecord(key, "sweep", JobReason.ACCEPTED, "j", 100, NOW + timedelta(seconds=number))


def ledger(max_jobs: int | None, max_trials: int | None, **entries: tuple[int, int]) -> Ledger:
    """A ledger; `j3=(granted, wanted)` is the entry of job 3."""
    jobs = [(job(int(name[1:])), pair) for name, pair in entries.items()]
    found = {record.key: Entry(*pair, record.created) for record, pair in jobs}
    return Ledger("w", QuotaLimits(max_jobs, max_trials), found)


def granted(found: Ledger, number: int) -> int:
    return found.entries[job(number).key].granted


def test_a_job_gets_what_it_wants_while_there_is_room() -> None:
    assert granted(grant(ledger(None, 8), job(1), 0, 5), 1) == 5
    assert granted(grant(ledger(None, 8, j1=(5, 5)), job(2), 0, 5), 2) == 3
    assert granted(grant(ledger(1, None), job(1), 0, 5), 1) == 5


def test_a_job_beyond_the_limit_of_jobs_waits_and_keeps_nothing_from_those_that_run() -> None:
    full = grant(ledger(1, 8, j1=(2, 2)), job(2), 0, 5)
    assert granted(full, 2) == 0
    assert granted(grant(full, job(1), 2, 8), 1) == 8


def test_what_a_younger_job_gives_back_goes_to_an_older_one_that_lacks_it() -> None:
    found = ledger(None, 4, j1=(0, 4), j2=(4, 4))
    assert granted(grant(found, job(2), 3, 4), 2) == 3
    assert granted(grant(grant(found, job(2), 3, 4), job(1), 0, 4), 1) == 1


def test_the_oldest_waiting_job_has_the_first_place() -> None:
    waiting = ledger(1, None, j2=(0, 3), j3=(0, 3))
    assert granted(grant(waiting, job(3), 0, 3), 3) == 0
    assert granted(grant(waiting, job(1), 0, 3), 1) == 3
    assert next_up(waiting) == [job(2).key]


def test_a_job_between_two_trials_keeps_its_place() -> None:
    found = ledger(1, None, j1=(0, 3), j2=(1, 1))
    assert granted(grant(found, job(2), 0, 1), 2) == 1
    assert granted(grant(found, job(1), 0, 3), 1) == 0


def test_a_job_is_never_granted_less_than_it_has_out() -> None:
    assert granted(grant(ledger(1, 2, j1=(2, 2)), job(2), 3, 9), 2) == 3


def test_of_lowered_limits_the_youngest_jobs_run_out_first() -> None:
    lowered = ledger(1, None, j1=(4, 4), j2=(4, 4))
    assert granted(grant(lowered, job(1), 3, 4), 1) == 4
    assert granted(grant(lowered, job(2), 3, 4), 2) == 3
    assert granted(grant(ledger(None, 2, j1=(4, 9)), job(1), 3, 9), 1) == 3


def test_a_paused_job_keeps_only_what_it_has_out_and_loses_its_place_without_any() -> None:
    found = grant(ledger(1, None, j1=(4, 4), j2=(0, 2)), job(1), 0, 0)
    assert granted(found, 1) == 0
    assert next_up(found) == [job(2).key]


def test_only_jobs_that_would_gain_are_next() -> None:
    assert next_up(ledger(None, 6, j1=(2, 2), j2=(0, 3), j3=(0, 3), j4=(0, 3))) == [job(2).key, job(3).key]
    assert next_up(ledger(None, 5, j1=(2, 2), j2=(0, 3), j3=(0, 3))) == [job(2).key]
    assert next_up(ledger(None, None, j1=(2, 2))) == []


def test_no_job_begins_under_a_limit_of_0_and_it_says_so() -> None:
    for found in (grant(ledger(0, None), job(1), 0, 3), grant(ledger(None, 0), job(1), 0, 3)):
        assert granted(found, 1) == 0
        assert "lets nothing begin" in why_waiting(found, job(1).key)


def test_why_a_job_waits_is_told_in_words() -> None:
    by_jobs = grant(ledger(1, 9, j1=(2, 2)), job(2), 0, 3)
    assert why_waiting(by_jobs, job(2).key) == f"{WAITS}workspace w has 1 of its 1 jobs running"
    by_trials = grant(ledger(2, 2, j1=(2, 2)), job(2), 0, 3)
    assert "has its 2 trials out" in why_waiting(by_trials, job(2).key)
    assert why_waiting(by_trials, job(1).key) == why_waiting(by_trials, job(9).key) == ""


NUMBERS = st.integers(0, 5)
LIMITS = st.none() | st.integers(0, 6)


@settings(max_examples=200, deadline=None)
@given(LIMITS, LIMITS, st.lists(st.tuples(NUMBERS, st.integers(0, 4), st.booleans()), max_size=60))
def test_no_order_of_passes_exceeds_the_limits_and_the_oldest_that_can_run_does(
    max_jobs: int | None, max_trials: int | None, passes: list[tuple[int, int, bool]]
) -> None:
    found = ledger(max_jobs, max_trials)
    out = dict.fromkeys(range(6), 0)

    def look(number: int, num_wanted: int) -> None:
        nonlocal found
        found = grant(found, job(number), out[number], max(num_wanted, out[number]))
        out[number] = granted(found, number)
        assert max_trials is None or sum(out.values()) <= max_trials
        assert max_jobs is None or sum(map(bool, out.values())) <= max_jobs

    for number, num_wanted, ends in passes:
        out[number] -= min(out[number], 1) * ends
        look(number, num_wanted)
    for number in out:  # everything ends, and then each job that wants something gets it in its turn
        out[number] = 0
        look(number, 0)
    found = replace(found, entries={job(number).key: Entry(0, 2, job(number).created) for number in out})
    if max_jobs != 0 and max_trials != 0:
        for number in out:
            assert next_up(found)[0] == job(number).key
            look(number, 2)
            assert out[number] == min(2, max_trials or 2)
            out[number] = 0
            look(number, 0)


@settings(max_examples=50, deadline=None)
@given(LIMITS, LIMITS, st.dictionaries(NUMBERS, st.tuples(NUMBERS, NUMBERS)))
def test_a_ledger_reads_what_it_wrote(
    max_jobs: int | None, max_trials: int | None, entries: dict[int, tuple[int, int]]
) -> None:
    found = ledger(max_jobs, max_trials, **{f"j{number}": pair for number, pair in entries.items()})
    assert Ledger.from_json(found.to_json()) == found


@pytest.mark.parametrize("body", [b"{", b'{"version": 1}', b'{"version": 1, "workspace": "w", "jobs": {"a": 1}}'])
def test_a_ledger_that_cannot_be_read_is_corrupt(body: bytes) -> None:
    with pytest.raises(StorageCorrupt):
        Ledger.from_json(body)
