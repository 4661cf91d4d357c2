import json
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropsweep.errors import IllegalMove, StorageCorrupt
from dropsweep.names import JobKey
from dropsweep.nodes import BUDGET
from dropsweep.quotas import WAITS
from dropsweep.records import Best, JobRecord, JobSummary, Retried, Retries, TrialRecord, TrialSummary, duration_s
from dropsweep.states import JobReason, JobState, TrialReason, TrialState, Wish

KEY = JobKey("w", "e", "digits-0123456789")
TIMES = st.integers(1_600_000_000, 2_200_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
# Not a lone surrogate: UTF-8 has none, so neither a job file nor a decoded log line can bring one in.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
COUNT = st.integers(0, 99)
RUNNING = JobRecord(KEY, "sweep", JobReason.DISPATCHING, "digits", 2_000, datetime(2026, 1, 1, tzinfo=UTC))
NUMBERS = st.floats(allow_nan=False)
COUNTS = st.dictionaries(st.sampled_from(TrialState), st.integers(0, 10**9))
BESTS = st.none() | st.builds(Best, st.integers(0, 10**9), st.floats(allow_nan=False, allow_infinity=False))

JOBS = st.builds(
    JobRecord,
    key=st.just(KEY),
    kind=st.sampled_from(["sweep", "command"]),
    reason=st.sampled_from(JobReason),
    name=TEXT,
    num_trials=st.integers(0, 2**62),
    created=TIMES,
    message=TEXT,
    display_name=TEXT,
    tags=st.dictionaries(TEXT, TEXT, max_size=3),
    cluster=TEXT,
    timeout_s=st.none() | st.floats(1, 1e6),
    goal=st.none() | st.sampled_from(["minimize", "maximize"]),
    primary_metric=st.none() | TEXT,
    closed=st.lists(st.integers(0, 99)).map(tuple),
    closed_counts=COUNTS,
    closed_best=BESTS,
    counts=COUNTS,
    best=BESTS,
    started=st.none() | TIMES,
    finished=st.none() | TIMES,
    warnings=st.lists(TEXT, max_size=2).map(tuple),
    trial_timeout_s=st.none() | st.floats(1, 1e6),
    requests=st.dictionaries(st.integers(0, 10**6), st.sampled_from(Wish), max_size=3),
    retries=st.builds(Retries, COUNT, COUNT, st.dictionaries(st.integers(0, 10**6), COUNT, max_size=3)),
    retried=st.builds(Retried, COUNT, COUNT),
    closed_retried=st.builds(Retried, COUNT, COUNT),
    paused=st.none() | TIMES,
    idle_s=st.floats(0, 1e6),
)
LATER_FIELDS = ("runs_alone", "start", "ran_s")
TRIALS = st.builds(
    TrialRecord,
    job=st.just(KEY),
    trial=st.integers(0, 10**9),
    attempt=st.integers(0, 99),
    reason=st.sampled_from(TrialReason),
    parameters=st.dictionaries(TEXT, TEXT | st.integers() | st.booleans() | st.none(), max_size=4),
    message=TEXT,
    metric=st.none() | NUMBERS,
    metrics=st.dictionaries(TEXT, NUMBERS, max_size=4),
    exit_code=st.none() | st.integers(-64, 255),
    started=st.none() | TIMES,
    finished=st.none() | TIMES,
    round=COUNT,
    num_retries=COUNT,
    num_lost_in_all=COUNT,
    runs_alone=st.booleans(),
    start=TEXT,
    ran_s=st.floats(0, 1e9),
)


@given(JOBS)
def test_a_job_record_survives_its_json(job: JobRecord) -> None:
    assert JobRecord.from_json(job.to_json()) == job


@given(TRIALS)
def test_a_trial_record_survives_its_json(trial: TrialRecord) -> None:
    assert TrialRecord.from_json(trial.to_json()) == trial


def test_a_trial_record_of_an_earlier_version_says_nothing_of_its_start_and_its_company() -> None:
    record = TrialRecord(KEY, 0, 1, TrialReason.SUCCEEDED, {}, runs_alone=True, start="warm", ran_s=2.5)
    document = {name: value for name, value in json.loads(record.to_json()).items() if name not in LATER_FIELDS}
    assert TrialRecord.from_json(json.dumps(document).encode()) == replace(
        record, runs_alone=False, start="", ran_s=0.0
    )


@given(TRIALS)
def test_a_trial_s_metadata_is_ascii_and_gives_its_summary(trial: TrialRecord) -> None:
    metadata = trial.to_metadata(step=3.0)
    assert all(key.isidentifier() and value.isascii() and value.isprintable() for key, value in metadata.items())
    summary = TrialSummary.from_metadata(trial.trial, metadata)
    assert (summary.state, summary.attempt, summary.metric, summary.step) == (
        trial.state,
        trial.attempt,
        trial.metric,
        3.0,
    )
    assert (summary.message, summary.started, summary.finished) == (trial.message, trial.started, trial.finished)
    assert summary.metrics == trial.metrics


@given(JOBS)
def test_a_job_s_metadata_is_ascii_and_gives_its_summary(job: JobRecord) -> None:
    metadata = job.to_metadata()
    assert all(value.isascii() for value in metadata.values())
    summary = JobSummary.from_metadata(job.key, metadata)
    assert (summary.state, summary.best, summary.created) == (job.state, job.best, job.created)
    assert summary.is_waiting == job.is_waiting


@pytest.mark.parametrize("begins", [WAITS, BUDGET])
def test_a_live_job_whose_message_says_what_it_waits_for_is_waiting(begins: str) -> None:
    job = replace(RUNNING, message=f"{begins}whatever")
    assert job.is_waiting
    assert not replace(job, message="as ever").is_waiting
    assert not replace(job, reason=JobReason.CANCELLED_BY_REQUEST).is_waiting


def test_metadata_stays_under_the_service_s_eight_kilobytes_whatever_a_script_reports() -> None:
    metrics = {f"metric-{number}": float(number) for number in range(5_000)}
    trial = TrialRecord(KEY, 0, 1, TrialReason.EXIT_CODE, {}, message="é" * 9_000, metrics=metrics)
    assert sum(len(key) + len(value) for key, value in trial.to_metadata().items()) < 8_000


def test_numbers_that_json_does_not_have_stand_as_strings() -> None:
    record = TrialRecord(KEY, 0, 1, TrialReason.SUCCEEDED, {}, metrics={"a": math.nan, "b": math.inf, "c": -math.inf})
    document = json.loads(record.to_json(), parse_constant=lambda text: pytest.fail(f"{text} is not JSON"))
    assert document["metrics"] == {"a": "NaN", "b": "Infinity", "c": "-Infinity"}
    assert math.isnan(TrialRecord.from_json(record.to_json()).metrics["a"])


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"version": 2}', b'{"version": 1}', b"\xff", b"[" * 100_000])
def test_what_is_no_record_is_called_corrupt(body: bytes) -> None:
    with pytest.raises(StorageCorrupt):
        JobRecord.from_json(body)
    with pytest.raises(StorageCorrupt):
        TrialRecord.from_json(body)


def test_a_final_record_does_not_move() -> None:
    trial = TrialRecord(KEY, 0, 1, TrialReason.SUCCEEDED, {})
    with pytest.raises(IllegalMove, match="it is final"):
        trial.moved(TrialReason.CLAIMED)
    job = JobRecord(KEY, "sweep", JobReason.TRIALS_COMPLETED, "n", 1, datetime(2026, 1, 1, tzinfo=UTC))
    assert job.state is JobState.COMPLETED
    with pytest.raises(IllegalMove, match="it is final"):
        job.moved(JobReason.CANCEL_REQUESTED)


def test_only_the_time_in_which_a_job_ran_counts_for_its_timeout() -> None:
    began = datetime(2026, 1, 1, tzinfo=UTC)
    job = replace(RUNNING, started=began, paused=None, idle_s=0.0)
    later = began + timedelta(hours=2)
    assert job.spent_s(later) == 7200
    paused = replace(job, paused=began + timedelta(hours=1))
    assert paused.spent_s(later) == 3600
    resumed = paused.unpaused(later)
    assert (resumed.paused, resumed.spent_s(later + timedelta(minutes=1))) == (None, 3660)
    assert resumed.unpaused(later + timedelta(hours=9)) == resumed
    assert resumed.restarted(later).spent_s(later + timedelta(seconds=5)) == 5


def test_a_trial_beyond_the_dispatched_ones_is_not_summed_up_with_its_shard() -> None:
    job = replace(RUNNING, next_trial=1_500, closed_below=1, closed=(1,))
    assert [job.is_summed_up(trial) for trial in (0, 999, 1_000, 1_499, 1_500, 1_999)] == [True] * 4 + [False] * 2


def test_a_record_from_before_submissions_is_read_as_one_that_nobody_wants_to_hear_of() -> None:
    later = ("submission_id", "schedule", "reply_to", "is_reply_base64", "num_changes", "untold", "deleted")
    older = {name: value for name, value in json.loads(RUNNING.to_json()).items() if name not in later}
    assert JobRecord.from_json(json.dumps(older).encode()) == RUNNING


def test_a_trial_took_what_its_attempts_ran_and_in_older_records_the_whole_seconds_to_its_end() -> None:
    began, ended = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, 0, 5, tzinfo=UTC)
    assert duration_s(0.417, began, ended) == 0.417
    assert duration_s(0.0, began, ended) == 300
    assert duration_s(0.0, ended, began) == 0
    assert duration_s(0.417, began, None) is None
    assert duration_s(0.0, None, ended) is None


def test_a_running_trial_has_run_since_its_heartbeat_and_what_that_told() -> None:
    beat, now = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, 0, 0, 3, tzinfo=UTC)
    running = TrialSummary(0, TrialReason.CLAIMED, 2, modified=beat, ran_s=10.5)
    assert running.running_s(now) == 13.5
    assert replace(running, ran_s=0.0).running_s(now) == 3  # just claimed for the first time
    assert (
        replace(running, ran_s=0.0, started=beat - timedelta(minutes=1)).running_s(now) == 63
    )  # of an earlier version
    assert replace(running, modified=None, ran_s=0.0).running_s(now) is None


@given(TRIALS)
def test_a_summary_tells_how_long_a_trial_ran_and_whether_it_was_tried_again(trial: TrialRecord) -> None:
    summary = TrialSummary.from_metadata(trial.trial, trial.to_metadata())
    told = (summary.ran_s, summary.num_retries, summary.runs_alone, summary.duration_s)
    assert told == (trial.ran_s, trial.num_retries, trial.runs_alone, trial.duration_s)


@pytest.mark.parametrize("damaged", ["nan", "inf", "-1", "soon", ""])
def test_a_time_that_no_trial_can_have_taken_is_damage(damaged: str) -> None:
    record = TrialRecord(KEY, 7, 1, TrialReason.CLAIMED, {}, ran_s=2.5)
    metadata = record.to_metadata() | {"ran_s": damaged}
    with pytest.raises(StorageCorrupt, match="metadata of trial 7"):
        TrialSummary.from_metadata(7, metadata)
    with pytest.raises(StorageCorrupt, match=rf"the metadata ran_s of runs/{KEY.trial(7)} cannot be read"):
        record.ran_until_beat_s(metadata)
    document = json.loads(record.to_json()) | {"ran_s": damaged}
    with pytest.raises(StorageCorrupt, match="record cannot be read"):
        TrialRecord.from_json(json.dumps(document).encode())


def test_trials_that_were_tried_again_are_counted_for_want_of_memory_too() -> None:
    trials = [TrialSummary(k, TrialReason.SUCCEEDED, 2, num_retries=k % 2, runs_alone=k == 2) for k in range(4)]
    assert Retried.of(trials) == Retried(3, 1)
    assert Retried.of(trials).plus(Retried(1, 0)) == Retried(4, 1)


def test_a_list_sees_how_many_trials_of_a_job_were_tried_again() -> None:
    assert JobSummary.from_metadata(KEY, replace(RUNNING, retried=Retried(5, 2)).to_metadata()).retried == Retried(5, 2)
    assert JobSummary.from_metadata(KEY, RUNNING.to_metadata()).retried == Retried()


def test_a_job_record_of_an_earlier_version_says_nothing_of_trials_that_were_tried_again() -> None:
    document = json.loads(replace(RUNNING, retried=Retried(5, 2), closed_retried=Retried(1, 1)).to_json())
    older = {name: value for name, value in document.items() if name not in ("retried", "closed_retried")}
    assert JobRecord.from_json(json.dumps(older).encode()) == RUNNING
