"""The soak's arithmetic: what must run, what ended how, and what counts as lost, doubled or wrong."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropsweep.names import JobKey
from dropsweep.records import Best, JobRecord, TrialSummary
from dropsweep.states import JobReason, TrialReason, TrialState
from local.soak.killer import Deck, Strike
from local.soak.ledger import Ledger, Work
from local.soak.plan import Ending, JobPlan, TrialPlan, plans
from local.soak.verdict import End, judge
from local.soak.watch import Finals, Sight

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
PLAN = JobPlan("job", (TrialPlan(0, 1, 100), TrialPlan(1, 3, 100), TrialPlan(2, 1, 100, Ending.REFUSED)))
HEADER = "trial,state,reason,attempt,started,finished,duration_s,metric,message"


def summary(trial: TrialPlan, reason: TrialReason | None = None, attempt: int = 1) -> TrialSummary:
    reason = reason or trial.reason
    metric = trial.metric if reason is TrialReason.SUCCEEDED else None
    finished = None if reason is TrialReason.CLAIMED else NOW
    return TrialSummary(trial.index, reason, attempt, metric, message="two\nlines", started=NOW, finished=finished)


def row(found: TrialSummary) -> str:
    time, metric = "2026-01-02T03:04:05Z", "" if found.metric is None else found.metric
    return f'{found.trial},{found.state},{found.reason},{found.attempt},{time},{time},0.0,{metric},"two\nlines"'


def ended(*found: TrialSummary, rows: list[str] | None = None) -> End:
    counts = Counter(trial.state for trial in found)
    completed = [trial for trial in found if trial.state is TrialState.COMPLETED]
    metrics = {trial.metric: trial.trial for trial in completed if trial.metric is not None}
    best = Best(metrics[max(metrics)], max(metrics)) if metrics else None
    record = JobRecord(
        JobKey("w", "e", "job-0123456789"),
        "sweep",
        JobReason.TRIALS_COMPLETED,
        "job",
        len(PLAN.trials),
        NOW,
        goal="maximize",
        counts=counts,
        best=best,
    )
    lines = [HEADER, *(rows if rows is not None else map(row, found))]
    return End(record, {trial.trial: trial for trial in found}, "\n".join(lines) + "\n", {})


GOOD = [summary(trial) for trial in PLAN.trials]


def test_an_end_as_planned_is_good_and_further_attempts_are_counted() -> None:
    verdict = judge(PLAN, ended(GOOD[0], replace(GOOD[1], attempt=4), GOOD[2]))
    assert verdict.is_good
    assert verdict.num_extra_attempts == 3


def test_a_trial_without_a_record_or_without_a_final_one_is_lost() -> None:
    running = summary(PLAN.trials[1], TrialReason.CLAIMED)
    verdict = judge(PLAN, ended(running, GOOD[2], rows=[row(GOOD[2])]))
    assert verdict.lost == (
        "job trial 0: it has no result, it is without a record",
        "job trial 1: it has no result, it is running",
    )


def test_a_trial_without_a_row_is_lost_and_one_with_two_rows_is_doubled() -> None:
    verdict = judge(PLAN, ended(*GOOD, rows=[row(GOOD[0]), row(GOOD[2]), row(GOOD[2])]))
    assert verdict.lost == ("job trial 1: results.csv has no row for it",)
    assert verdict.doubled == ("job trial 2: results.csv has 2 rows for it",)
    assert not verdict.is_good


def test_a_final_record_that_changed_is_doubled() -> None:
    verdict = judge(PLAN, replace(ended(*GOOD), changed={1: "its final record is gone"}))
    assert verdict.doubled == ("job trial 1: its final record is gone",)
    assert not verdict.is_good


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"metric": 5.0}, "its metric is 5.0, not 6.0"),
        ({"reason": TrialReason.WORKERS_LOST}, "it ended workers_lost in attempt 1, not succeeded"),
        ({"reason": TrialReason.SIGNAL}, "it ended signal in attempt 1, not succeeded"),
    ],
)
def test_another_end_than_planned_is_wrong(changes: dict[str, Any], told: str) -> None:
    other = replace(GOOD[1], **changes)
    verdict = judge(PLAN, ended(GOOD[0], other, GOOD[2]))
    assert verdict.lost == verdict.doubled == ()
    assert [told in line for line in verdict.wrong] == [True]


@pytest.mark.parametrize(("is_retried", "num_wrong"), [(False, 0), (True, 1)])
def test_a_killed_process_may_fail_its_trial_only_where_nothing_is_retried(is_retried: bool, num_wrong: int) -> None:
    plan = replace(PLAN, is_retried=is_retried)
    signalled = summary(PLAN.trials[1], TrialReason.SIGNAL)
    end = replace(ended(GOOD[0], signalled, GOOD[2]), killed={1})
    assert len(judge(plan, end).wrong) == num_wrong
    assert judge(plan, replace(ended(*GOOD), killed={1})).is_good


@pytest.mark.parametrize(
    ("column", "before", "after"),
    [
        ("state", "completed", "failed"),
        ("attempt", ",1,", ",2,"),
        ("metric", ",6.0,", ",7.0,"),
        ("message", "lines", ""),
    ],
)
def test_results_that_differ_from_the_records_are_wrong(column: str, before: str, after: str) -> None:
    other = row(GOOD[1]).replace(before, after, 1)
    [line] = judge(PLAN, ended(*GOOD, rows=[row(GOOD[0]), other, row(GOOD[2])])).wrong
    assert line.startswith(f"job trial 1: its {column} is ")


def test_a_job_that_did_not_complete_or_counts_otherwise_is_wrong() -> None:
    end = ended(*GOOD)
    assert end.record is not None
    record = replace(end.record, reason=JobReason.DISPATCHING, counts={TrialState.COMPLETED: 3})
    assert judge(PLAN, replace(end, record=record)).wrong == (
        "job: it is running (dispatching), not completed",
        "job: its record counts 3 completed, and its trials are 2 completed, 1 failed",
    )
    assert judge(PLAN, replace(end, record=None)).wrong == ("job: it has no record",)


@pytest.mark.parametrize("best", [None, Best(0, 0.0), Best(1, 5.0)])
def test_another_best_trial_than_that_of_the_records_is_wrong(best: Best | None) -> None:
    end = ended(*GOOD)
    assert end.record is not None
    [line] = judge(PLAN, replace(end, record=replace(end.record, best=best))).wrong
    assert line.endswith("that of its trials is Best(trial=1, metric=6.0)")


def test_a_trial_that_nobody_asked_for_is_wrong() -> None:
    more = summary(TrialPlan(7, 1, 100))
    assert "job: there is a trial 7, which was not asked for" in judge(PLAN, ended(*GOOD, more)).wrong


def sight(etag: str, reason: TrialReason, attempt: int = 1) -> Sight:
    return Sight(etag, TrialSummary(0, reason, attempt))


def test_a_record_may_change_until_it_is_final_and_never_after() -> None:
    finals = Finals()
    finals.note({0: sight("a", TrialReason.CLAIMED)})
    finals.note({0: sight("b", TrialReason.WORKER_LOST)})
    finals.note({0: sight("c", TrialReason.SUCCEEDED, 2)})
    finals.note({0: sight("c", TrialReason.SUCCEEDED, 2)})
    assert finals.num_final == 1
    assert finals.changed == {}
    finals.note({0: sight("d", TrialReason.SUCCEEDED, 2)})
    finals.note({0: sight("d", TrialReason.SUCCEEDED, 2)})
    assert list(finals.changed) == [0]
    assert "attempt 2, version c" in finals.changed[0]
    assert "attempt 2, version d" in finals.changed[0]


def test_a_final_record_that_goes_back_or_away_has_changed() -> None:
    back, away = Finals(), Finals()
    for finals in (back, away):
        finals.note({0: sight("a", TrialReason.SUCCEEDED)})
    back.note({0: sight("b", TrialReason.CLAIMED, 2)})
    away.note({})
    assert "to claimed" in back.changed[0]
    assert "is gone" in away.changed[0]


@given(st.integers(0, 10**6), st.integers(3, 60))
def test_plans_are_a_function_of_the_seed_and_have_every_trial_once(seed: int, num_trials: int) -> None:
    jobs = plans(num_trials, seed)
    assert jobs == plans(num_trials, seed)
    assert sum(len(job.trials) for job in jobs) == num_trials
    for job in jobs:
        assert [trial.index for trial in job.trials] == list(range(len(job.trials)))
        values = job.document(Path("/ledger"))["search_space"]["plan"]["values"]
        assert len(set(values)) == len(job.trials)


def test_only_the_job_that_asks_for_retries_has_trials_that_need_one() -> None:
    for job in plans(300, 1):
        endings = {trial.ending for trial in job.trials}
        assert endings == (set(Ending) if job.is_retried else {Ending.OK})
        assert ("retry_settings" in job.document(Path("/ledger"))) is job.is_retried


@given(st.integers(0, 10**6), st.sets(st.sampled_from(Strike), min_size=1))
def test_strikes_are_a_function_of_the_seed_and_each_round_has_every_kind(seed: int, strikes: set[Strike]) -> None:
    decks = [Deck(seed, strikes, 4.0) for _ in range(2)]
    drawn, again = ([deck.draw() for _ in range(3 * len(strikes))] for deck in decks)
    assert drawn == again
    for start in range(0, len(drawn), len(strikes)):
        assert {strike for _, strike, _ in drawn[start : start + len(strikes)]} == strikes
    assert all(2.0 <= pause_s <= 6.0 and 0 <= pick < 1 for pause_s, _, pick in drawn)


def test_the_ledger_counts_whole_lines_and_knows_the_latest_trial_of_a_process(tmp_path: Path) -> None:
    file = tmp_path / "ledger"
    assert Ledger.read(file) == Ledger()
    file.write_text(
        "begin w/e/a 0 1 71\nend w/e/a 0 1 71\nbegin w/e/b 3 1 71\nbegin w/e/a 0 2 72\nend w/e/a 0 2 72\nbeg"
    )
    ledger = Ledger.read(file)
    a, b = Work("w/e/a", 0), Work("w/e/b", 3)
    assert ledger.begun == {a: 2, b: 1}
    assert ledger.ended == {a: 2}
    assert ledger.num_repeated == 1
    assert ledger.by_pid == {71: b, 72: a}
