import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http import HTTPStatus

import pytest
from azure.core.rest import HttpRequest

from dropsweep.errors import ClaimLost, StorageCorrupt, StorageError, StorageUnavailable
from dropsweep.names import RUNS, JobKey
from dropsweep.records import TrialRecord, TrialSummary
from dropsweep.settings import Settings
from dropsweep.states import TrialReason, TrialState
from dropsweep.steps.attempt import Claim, FinalTrial, Held, claim
from dropsweep.storage import Store
from tests.emulator.faults import Fault, Faults, LoseAnswer
from tests.emulator.leaping import LeapingClock

SHORT_S = 30.0
"""A claim timeout that a claim of this moment keeps, however slow the machine is."""


def try_claim(store: Store, key: JobKey, worker: str = "a", *, timeout_s: float = 60.0) -> Claim | Held | FinalTrial:
    return claim(store, key, 0, {"x": 1}, worker=worker, claim_timeout_s=timeout_s, max_lost_workers=3)


def record(store: Store, key: JobKey) -> TrialRecord:
    blob = store.blobs.read(RUNS, key.trial(0))
    assert blob is not None
    return TrialRecord.from_json(blob.body)


@pytest.fixture
def let_grow_old(service_clock: LeapingClock) -> Callable[[], None]:
    """Makes every record older than a claim timeout of `SHORT_S`, by the service's clock."""
    return lambda: service_clock.leap(2 * SHORT_S)


def test_of_sixteen_threads_exactly_one_claims_a_trial(store: Store, key: JobKey) -> None:
    barrier = threading.Barrier(16)

    def race(number: int) -> Claim | Held | FinalTrial:
        barrier.wait()
        return try_claim(store, key, f"worker-{number}")

    with ThreadPoolExecutor(16) as pool:
        outcomes = list(pool.map(race, range(16)))
    [won] = [outcome for outcome in outcomes if isinstance(outcome, Claim)]
    assert sum(isinstance(outcome, Held) for outcome in outcomes) == 15
    assert record(store, key).worker == won.record.worker
    assert record(store, key).attempt == 1


def test_of_sixteen_threads_exactly_one_takes_a_stale_trial_over(
    store: Store, key: JobKey, let_grow_old: Callable[[], None]
) -> None:
    assert isinstance(try_claim(store, key, "dead"), Claim)
    let_grow_old()
    barrier = threading.Barrier(16)

    def race(number: int) -> Claim | Held | FinalTrial:
        barrier.wait()
        return try_claim(store, key, f"worker-{number}", timeout_s=SHORT_S)

    with ThreadPoolExecutor(16) as pool:
        outcomes = list(pool.map(race, range(16)))
    [won] = [outcome for outcome in outcomes if isinstance(outcome, Claim)]
    assert (won.record.attempt, won.record.num_lost) == (2, 1)
    assert record(store, key).attempt == 2


def test_a_worker_that_lost_its_claim_can_write_nothing_more(
    store: Store, key: JobKey, let_grow_old: Callable[[], None]
) -> None:
    stale = try_claim(store, key, "stale")
    assert isinstance(stale, Claim)
    let_grow_old()
    fresh = try_claim(store, key, "fresh", timeout_s=SHORT_S)
    assert isinstance(fresh, Claim)
    with pytest.raises(ClaimLost, match="attempt 1 of stale"):
        stale.beat(metric=None, step=None, metrics={})
    with pytest.raises(ClaimLost):
        stale.end(TrialReason.SUCCEEDED, "")
    assert record(store, key).worker == "fresh"
    fresh.end(TrialReason.SUCCEEDED, "", metric=1.0)
    assert record(store, key).state is TrialState.COMPLETED


def test_a_trial_that_is_taken_over_keeps_the_time_of_its_first_claim(
    store: Store, key: JobKey, let_grow_old: Callable[[], None]
) -> None:
    first = try_claim(store, key)
    assert isinstance(first, Claim)
    let_grow_old()
    first.beat(metric=None, step=None, metrics={})
    let_grow_old()
    second = try_claim(store, key, "b", timeout_s=SHORT_S)
    assert isinstance(second, Claim)
    assert second.record.started == first.record.started


def test_a_trial_s_record_tells_to_the_millisecond_how_long_workers_held_it(store: Store, key: JobKey) -> None:
    first = try_claim(store, key)
    assert isinstance(first, Claim)
    first.asked_at -= 10.25  # as if it were so long ago
    given_back = first.end(TrialReason.PREEMPTED, "")
    assert 10.25 <= given_back.ran_s <= time.monotonic() - first.asked_at + 0.001
    second = try_claim(store, key, "b")
    assert isinstance(second, Claim)
    second.asked_at -= 5.5
    ended = second.end(TrialReason.SUCCEEDED, "")
    held_s = given_back.ran_s + time.monotonic() - second.asked_at
    assert given_back.ran_s + 5.5 <= ended.ran_s <= held_s + 0.001
    assert record(store, key).ran_s == round(ended.ran_s, 3)


def test_of_an_attempt_whose_worker_went_silent_the_time_to_its_last_heartbeat_counts(
    store: Store, key: JobKey, let_grow_old: Callable[[], None]
) -> None:
    first = try_claim(store, key)
    assert isinstance(first, Claim)
    first.asked_at -= 20.0
    first.beat(metric=None, step=None, metrics={})
    [listed] = store.blobs.list(RUNS, key.shard(0), metadata=True)
    told_s = TrialSummary.from_metadata(0, listed.metadata).ran_s
    assert told_s >= 20.0
    let_grow_old()
    second = try_claim(store, key, "b", timeout_s=SHORT_S)
    assert isinstance(second, Claim)
    assert second.record.ran_s == told_s


def test_a_trial_whose_heartbeat_tells_a_damaged_time_is_corrupt(
    store: Store, key: JobKey, let_grow_old: Callable[[], None]
) -> None:
    assert isinstance(try_claim(store, key), Claim)
    head = store.blobs.head(RUNS, key.trial(0))
    assert head is not None
    assert store.blobs.touch(RUNS, key.trial(0), head.etag, {**head.metadata, "ran_s": "soon"})
    let_grow_old()
    with pytest.raises(StorageCorrupt, match="ran_s"):
        try_claim(store, key, "b", timeout_s=SHORT_S)


def test_a_heartbeat_keeps_the_claim_and_shows_the_metrics(
    store: Store, key: JobKey, let_grow_old: Callable[[], None]
) -> None:
    held = try_claim(store, key)
    assert isinstance(held, Claim)
    let_grow_old()
    held.beat(metric=0.5, step=3.0, metrics={"score": 0.5})
    assert isinstance(try_claim(store, key, "b", timeout_s=SHORT_S), Held)
    [listed] = store.blobs.list(RUNS, key.shard(0), metadata=True)
    seen = TrialSummary.from_metadata(0, listed.metadata)
    assert (seen.state, seen.metric, seen.step, seen.metrics) == (TrialState.RUNNING, 0.5, 3.0, {"score": 0.5})


def test_a_final_trial_is_not_claimed_again(store: Store, key: JobKey) -> None:
    held = try_claim(store, key)
    assert isinstance(held, Claim)
    held.end(TrialReason.EXIT_CODE, "exit code 1", exit_code=1)
    assert try_claim(store, key, "b", timeout_s=0.0) == FinalTrial(TrialState.FAILED)
    assert record(store, key).message == "exit code 1"


def test_a_trial_given_back_is_claimed_as_the_next_attempt(store: Store, key: JobKey) -> None:
    first = try_claim(store, key)
    assert isinstance(first, Claim)
    first.end(TrialReason.PREEMPTED, "its worker was stopped", num_preempted=1, start="warm")
    assert (record(store, key).state, record(store, key).start) == (TrialState.QUEUED, "warm")
    second = try_claim(store, key, "b")
    assert isinstance(second, Claim)
    assert (second.record.attempt, second.record.num_lost, second.record.num_preempted) == (2, 0, 1)
    assert second.record.start == "", "nobody knows yet how this attempt starts"


def test_a_trial_that_takes_worker_after_worker_down_is_failed_with_that_story(
    store: Store, key: JobKey, let_grow_old: Callable[[], None]
) -> None:
    outcomes = []
    for number in range(4):
        outcomes.append(try_claim(store, key, f"worker-{number}", timeout_s=SHORT_S))
        let_grow_old()
    assert [type(outcome) for outcome in outcomes] == [Claim, Claim, Claim, FinalTrial]
    final = record(store, key)
    assert (final.reason, final.num_lost) == (TrialReason.WORKERS_LOST, 3)
    assert "memory" in final.message


def test_a_trial_that_makes_a_checkpoint_and_kills_its_worker_is_failed_in_the_end(
    store: Store, key: JobKey, let_grow_old: Callable[[], None]
) -> None:
    held = try_claim(store, key)
    assert isinstance(held, Claim)
    held.beat(metric=None, step=None, metrics={}, has_progressed=True)
    blob = store.blobs.read(RUNS, key.trial(0))
    assert blob is not None
    # As if 28 workers had gone silent before, each after it had made a checkpoint.
    before = replace(record(store, key), num_lost=1, num_lost_in_all=28)
    assert store.blobs.replace(RUNS, key.trial(0), before.to_json(), blob.etag, blob.metadata)
    let_grow_old()
    next_one = try_claim(store, key, "b", timeout_s=SHORT_S)
    assert isinstance(next_one, Claim)
    assert (next_one.record.num_lost, next_one.record.num_lost_in_all) == (1, 29)
    next_one.beat(metric=None, step=None, metrics={}, has_progressed=True)
    let_grow_old()
    assert try_claim(store, key, "c", timeout_s=SHORT_S) == FinalTrial(TrialState.FAILED)
    assert "1 attempts in a row, 30 in all," in record(store, key).message


def test_a_commit_whose_answer_was_lost_is_known_as_one_s_own(settings: Settings, store: Store, key: JobKey) -> None:
    def is_the_commit(request: HttpRequest) -> bool:
        return request.method == "PUT" and "If-Match" in request.headers

    fault = LoseAnswer(is_the_commit)
    held = try_claim(Store.connect(settings.storage, fault), key)
    assert isinstance(held, Claim)
    held.end(TrialReason.SUCCEEDED, "", metric=1.0)
    assert fault.num_lost == 1
    assert record(store, key).state is TrialState.COMPLETED


def test_a_heartbeat_that_got_no_answer_at_all_does_not_cost_the_claim(
    settings: Settings, store: Store, key: JobKey
) -> None:
    fault = LoseAnswer(lambda request: "comp=metadata" in request.url)
    held = try_claim(Store.connect(settings.storage, fault, patience_s=0), key)
    assert isinstance(held, Claim)
    with pytest.raises(StorageUnavailable):
        held.beat(metric=None, step=1.0, metrics={})
    held.beat(metric=None, step=2.0, metrics={})
    held.end(TrialReason.SUCCEEDED, "", metric=1.0)
    assert record(store, key).state is TrialState.COMPLETED


def test_a_commit_that_got_no_answer_at_all_can_be_made_again_but_no_other(
    settings: Settings, store: Store, key: JobKey
) -> None:
    fault = LoseAnswer(lambda request: request.method == "PUT" and "If-Match" in request.headers)
    held = try_claim(Store.connect(settings.storage, fault, patience_s=0), key)
    assert isinstance(held, Claim)
    with pytest.raises(StorageUnavailable):
        held.end(TrialReason.SUCCEEDED, "", metric=1.0)
    with pytest.raises(ClaimLost):
        held.give_back(TrialReason.NODE_ERROR, "no answer", max_lost_workers=3)
    held.end(TrialReason.SUCCEEDED, "", metric=1.0)
    assert (record(store, key).state, record(store, key).metric) == (TrialState.COMPLETED, 1.0)


def test_a_stale_claim_is_left_alone_after_an_outage(
    store: Store, key: JobKey, let_grow_old: Callable[[], None]
) -> None:
    assert isinstance(try_claim(store, key), Claim)
    let_grow_old()
    arguments = {"worker": "b", "claim_timeout_s": SHORT_S, "max_lost_workers": 3}
    assert isinstance(claim(store, key, 0, {}, may_take_over=lambda: False, **arguments), Held)  # type: ignore[arg-type]
    assert isinstance(claim(store, key, 0, {}, may_take_over=lambda: True, **arguments), Claim)  # type: ignore[arg-type]


def test_losses_do_not_add_up_while_each_attempt_makes_a_checkpoint(
    store: Store, key: JobKey, let_grow_old: Callable[[], None]
) -> None:
    for attempt in range(1, 5):
        held = try_claim(store, key, f"worker-{attempt}", timeout_s=SHORT_S)
        assert isinstance(held, Claim)
        assert (held.record.attempt, held.record.num_lost) == (attempt, min(attempt - 1, 1))
        held.beat(metric=None, step=None, metrics={}, has_progressed=True)
        let_grow_old()


def test_attempts_that_the_node_ended_are_counted_and_the_last_tells_why(store: Store, key: JobKey) -> None:
    states = []
    for attempt in range(3):
        held = try_claim(store, key, f"worker-{attempt}")
        assert isinstance(held, Claim)
        held.give_back(TrialReason.NODE_ERROR, "no space left on device", max_lost_workers=3)
        states.append(record(store, key).state)
    assert states == [TrialState.QUEUED, TrialState.QUEUED, TrialState.FAILED]
    final = record(store, key)
    assert final.reason is TrialReason.WORKERS_LOST
    assert "no space left on device" in final.message


@pytest.mark.parametrize("reason", [TrialReason.SUCCEEDED, TrialReason.PAUSED, TrialReason.PREEMPTED])
def test_a_heartbeat_after_an_outcome_without_an_answer_never_hides_it(
    settings: Settings, store: Store, key: JobKey, reason: TrialReason
) -> None:
    fault = LoseAnswer(lambda request: request.method == "PUT" and "If-Match" in request.headers)
    held = try_claim(Store.connect(settings.storage, fault, patience_s=0), key)
    assert isinstance(held, Claim)
    with pytest.raises(StorageUnavailable):
        held.end(reason, "", metric=1.0)
    held.beat(metric=0.5, step=1.0, metrics={})
    [listed] = store.blobs.list(RUNS, key.shard(0), metadata=True)
    assert TrialSummary.from_metadata(0, listed.metadata).reason is reason
    assert record(store, key).reason is reason
    assert held.end(reason, "").reason is reason
    with pytest.raises(ClaimLost):
        held.end(TrialReason.NODE_ERROR, "")


def test_a_record_whose_metadata_tell_another_state_is_healed_by_the_next_claim(store: Store, key: JobKey) -> None:
    held = try_claim(store, key)
    assert isinstance(held, Claim)
    final = held.end(TrialReason.SUCCEEDED, "", metric=1.0)
    head = store.blobs.head(RUNS, key.trial(0))
    assert head is not None
    running = replace(final, reason=TrialReason.CLAIMED).to_metadata()
    assert store.blobs.touch(RUNS, key.trial(0), head.etag, running)
    assert try_claim(store, key, "b") == FinalTrial(TrialState.COMPLETED)
    [listed] = store.blobs.list(RUNS, key.shard(0), metadata=True)
    assert TrialSummary.from_metadata(0, listed.metadata).state is TrialState.COMPLETED


def test_an_outcome_that_is_refused_outright_leaves_room_for_another(
    settings: Settings, store: Store, key: JobKey
) -> None:
    refusals = [Fault("refused", False, status=HTTPStatus.BAD_REQUEST)]

    def refuse_first(_number: int, request: HttpRequest) -> Fault | None:
        return refusals.pop() if refusals and request.method == "PUT" and "If-Match" in request.headers else None

    held = try_claim(Store.connect(settings.storage, Faults(refuse_first)), key)
    assert isinstance(held, Claim)
    with pytest.raises(StorageError):
        held.end(TrialReason.SUCCEEDED, "")
    assert held.give_back(TrialReason.NODE_ERROR, "", max_lost_workers=3).reason is TrialReason.NODE_ERROR
