"""Jobs of a workspace with quotas: what is beyond them waits, and never more is out, whoever passes when."""

import itertools
import json
import random
import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from azure.core.rest import HttpRequest

from dropsweep.decisions import num_out
from dropsweep.messages import AdvanceMessage
from dropsweep.names import RUNS, WORKSPACES, JobKey, quota_ledger, workspace_file
from dropsweep.quotas import WAITS
from dropsweep.records import TrialRecord
from dropsweep.records.ledger import Ledger
from dropsweep.states import JobState, TrialReason
from dropsweep.steps._policies import Policies
from dropsweep.steps.advance import LastLooks, advance
from dropsweep.steps.cancel import cancel
from dropsweep.steps.edit import edit
from dropsweep.steps.pause import pause, resume
from dropsweep.steps.retry import retry
from dropsweep.storage import Store, Tally
from tests.emulator.deployment import Deployment, sweep
from tests.emulator.faults import DIE_AFTER, DIE_BEFORE, Died, Fault, Faults


@pytest.fixture
def deployment(deployment: Deployment) -> Deployment:
    deployment.looks = LastLooks(policies=Policies(max_age_s=-1))
    return deployment


def limit(deployment: Deployment, **limits: int) -> None:
    """Writes the workspace's policy file."""
    body = json.dumps({"limits": limits}).encode()
    deployment.store.blobs.put(WORKSPACES, workspace_file(deployment.workspace), body)


def drop(deployment: Deployment, number: int, num_trials: int = 4, **limits: Any) -> JobKey:
    return deployment.drop(sweep("exit 1", num_trials, limits=limits), f"e/job{number}.json")


def ledger(deployment: Deployment) -> Ledger:
    return Ledger.from_json(deployment.text(quota_ledger(deployment.workspace)).encode())


def granted(deployment: Deployment) -> dict[JobKey, int]:
    return {key: entry.granted for key, entry in ledger(deployment).entries.items()}


def end(deployment: Deployment, key: JobKey, *trials: int, reason: TrialReason = TrialReason.SUCCEEDED) -> None:
    """Writes the final records of trials, as workers would."""
    for trial in trials:
        record = TrialRecord(key, trial, 1, reason, {"x": trial}, metric=0.5, finished=datetime.now(UTC))
        assert deployment.store.blobs.create(RUNS, key.trial(trial), record.to_json(), record.to_metadata())


def out(deployment: Deployment, *keys: JobKey) -> list[int]:
    """How many trials of each job are out, counted by its records alone."""
    counts = []
    for key in keys:
        ended = num_ended(deployment, key)
        counts.append(deployment.job(key).next_trial - ended)
    return counts


def num_ended(deployment: Deployment, key: JobKey) -> int:
    """How many trials have ended; where they end in their order, the next one to end."""
    return sum(1 for _ in deployment.store.blobs.list(RUNS, key.shard(0)))


def test_three_jobs_share_a_quota_in_their_order_and_what_one_leaves_goes_to_the_next(deployment: Deployment) -> None:
    limit(deployment, max_concurrent_trials=6)
    keys = [drop(deployment, number) for number in range(3)]
    for key in keys:
        deployment.look(key)
    deployment.deliver_hints()  # those that came with the jobs
    assert out(deployment, *keys) == [4, 2, 0]
    end(deployment, keys[0], 0, 1, 2)
    deployment.look(keys[0])
    deployment.deliver_hints()
    assert out(deployment, *keys) == [1, 4, 1]


def test_a_job_beyond_the_limit_of_jobs_waits_and_says_why_until_another_ends(deployment: Deployment) -> None:
    limit(deployment, max_concurrent_jobs=1)
    first, second = drop(deployment, 1, 1), drop(deployment, 2)
    deployment.look(first)
    waiting = deployment.look(second)
    assert (waiting.state, waiting.next_trial) == (JobState.QUEUED, 0)
    deployment.deliver_hints()  # those that came with the jobs
    assert waiting.message == f"{WAITS}workspace {deployment.workspace} has 1 of its 1 jobs running"
    end(deployment, first, 0)
    assert deployment.look(first).state is JobState.COMPLETED
    deployment.deliver_hints()
    begun = deployment.job(second)
    assert (begun.state, begun.next_trial, begun.message) == (JobState.RUNNING, 4, "")
    assert granted(deployment) == {second: 4}


def test_a_waiting_job_costs_no_message_and_no_write_from_pass_to_pass(deployment: Deployment) -> None:
    limit(deployment, max_concurrent_trials=4)
    first, second = drop(deployment, 1), drop(deployment, 2)
    deployment.look(first)
    deployment.look(second)
    deployment.deliver_hints()
    tally = Tally()
    store = Store.connect(deployment.settings.storage, tally)
    assert advance(store, deployment.settings, AdvanceMessage(second), deployment.looks)
    assert {kind: count for kind, count in tally.by_kind().items() if "PUT" in kind or "POST" in kind} == {}


def test_a_workspace_without_limits_costs_one_look_for_policies_in_a_while(deployment: Deployment) -> None:
    key = drop(deployment, 1)
    tally = Tally()
    store, looks = Store.connect(deployment.settings.storage, tally), LastLooks()
    advance(store, deployment.settings, AdvanceMessage(key), looks)
    first = tally.total
    advance(store, deployment.settings, AdvanceMessage(key), looks)
    assert tally.total - first == 2  # job.json and the list of its trials' records
    assert deployment.store.blobs.head(RUNS, quota_ledger(deployment.workspace)) is None


def test_twelve_passes_at_once_never_have_more_out_than_the_quota(deployment: Deployment) -> None:
    limit(deployment, max_concurrent_trials=5, max_concurrent_jobs=3)
    keys = [drop(deployment, number, 6) for number in range(4)]
    barrier = threading.Barrier(12)

    def race(number: int) -> None:
        barrier.wait()
        looks = LastLooks()  # each as if in a process of its own
        for place in range(4):
            key = keys[(number + place) % 4]
            advance(deployment.store, deployment.settings, AdvanceMessage(key), looks)
            assert sum(out(deployment, *keys)) <= 5

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(race, range(12)))
    for key in keys:
        deployment.look(key)
    assert sum(out(deployment, *keys)) == 5


def test_workers_and_passes_in_any_order_end_all_jobs_within_the_quota(deployment: Deployment) -> None:
    limit(deployment, max_concurrent_trials=3, max_concurrent_jobs=2)
    keys = [drop(deployment, number, 4) for number in range(3)]
    dice, guard = random.Random(7), threading.Lock()

    def work(_: int) -> None:
        looks = LastLooks()
        for _ in range(60):
            with guard:
                key = dice.choice(keys)
                counts = out(deployment, *keys)
                assert sum(counts) <= 3
                assert sum(map(bool, counts)) <= 2
                if counts[keys.index(key)]:
                    end(deployment, key, num_ended(deployment, key))
            advance(deployment.store, deployment.settings, AdvanceMessage(key), looks)
            if all(deployment.job(key).state.is_final for key in keys):
                return

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(work, range(3)))
    for _ in range(8):
        for key in keys:
            left = range(deployment.job(key).next_trial)[-out(deployment, key)[0] or 99 :]
            end(deployment, key, *left)
            deployment.look(key)
    assert {deployment.job(key).state for key in keys} == {JobState.COMPLETED}
    assert granted(deployment) == {}


def test_limits_that_come_change_and_go_while_jobs_run(deployment: Deployment) -> None:
    first, second = drop(deployment, 1), drop(deployment, 2)
    deployment.look(first)
    limit(deployment, max_concurrent_trials=5)
    deployment.look(second)
    assert out(deployment, first, second) == [4, 1]  # what the first has out was counted
    limit(deployment, max_concurrent_trials=2)
    end(deployment, second, 0)
    assert deployment.look(second).next_trial == 1
    limit(deployment, max_concurrent_trials=6)
    deployment.look(second)
    assert out(deployment, first, second) == [4, 2]
    deployment.store.blobs.delete(WORKSPACES, workspace_file(deployment.workspace))
    deployment.look(second)
    assert out(deployment, first, second) == [4, 3]


def test_a_broken_policy_file_leaves_the_last_limits_in_force(deployment: Deployment) -> None:
    limit(deployment, max_concurrent_trials=4)
    first, second = drop(deployment, 1), drop(deployment, 2)
    deployment.look(first)
    deployment.store.blobs.put(WORKSPACES, workspace_file(deployment.workspace), b"limits: {max: 3}")
    deployment.look(second)
    assert out(deployment, first, second) == [4, 0]


def test_a_damaged_ledger_is_made_anew_of_the_jobs(deployment: Deployment) -> None:
    limit(deployment, max_concurrent_trials=5)
    first, second = drop(deployment, 1), drop(deployment, 2)
    deployment.look(first)
    deployment.store.blobs.put(RUNS, quota_ledger(deployment.workspace), b"{")
    deployment.look(second)
    assert granted(deployment) == {first: 4, second: 1}


def test_a_paused_job_leaves_its_place_and_waits_for_it_when_it_is_resumed(deployment: Deployment) -> None:
    limit(deployment, max_concurrent_trials=2)
    first, second = drop(deployment, 1, 2), drop(deployment, 2, 2)
    deployment.look(first)
    deployment.look(second)
    pause(deployment.store, first)
    deployment.look(first)
    assert granted(deployment)[first] == 2  # no worker has begun them: their messages are out
    for trial in range(2):
        record = TrialRecord(first, trial, 1, TrialReason.PAUSED, {"x": trial})
        deployment.store.blobs.create(RUNS, first.trial(trial), record.to_json(), record.to_metadata())
    deployment.look(first)
    deployment.deliver_hints()
    assert out(deployment, second) == [2]
    resume(deployment.store, first)
    resumed = deployment.look(first)
    assert resumed.message.startswith(WAITS)
    assert num_out(resumed) == 0
    end(deployment, second, 0, 1)
    deployment.look(second)
    deployment.deliver_hints()
    deployment.look(first)
    assert num_out(deployment.job(first)) == 2


def test_retries_wait_for_their_turn(deployment: Deployment) -> None:
    limit(deployment, max_concurrent_trials=2)
    first, second = drop(deployment, 1, 2), drop(deployment, 2, 2)
    deployment.look(first)
    end(deployment, first, 0, 1, reason=TrialReason.EXIT_CODE)
    assert deployment.look(first).state is JobState.FAILED
    deployment.look(second)
    retry(deployment.store, first)
    assert num_out(deployment.look(first)) == 0
    end(deployment, second, 0)
    deployment.look(second)
    deployment.deliver_hints()
    deployment.look(first)
    assert num_out(deployment.job(first)) == 1
    assert sum(granted(deployment).values()) == 2


def test_a_job_cancelled_while_it_waits_ends_and_leaves_the_ledger(deployment: Deployment) -> None:
    limit(deployment, max_concurrent_jobs=1)
    first, second = drop(deployment, 1), drop(deployment, 2)
    deployment.look(first)
    deployment.look(second)
    cancel(deployment.store, second)
    assert deployment.look(second).state is JobState.CANCELLED
    assert granted(deployment) == {first: 4}


def meanwhile(deployment: Deployment, path: str, act: Callable[[], Any]) -> tuple[Store, list[str]]:
    """A store that stalls once, before its first write of a blob of `runs`, while `act` happens; and what it wrote."""
    stalled: list[str] = []

    def stall(_: int, request: HttpRequest) -> None:
        if not stalled and request.method == "PUT" and request.url.split("?")[0].endswith(path):
            stalled.append(path)
            act()

    return Store.connect(deployment.settings.storage, Faults(stall)), stalled


def test_what_a_pass_gives_back_late_is_not_in_use_by_another_pass_of_the_job(deployment: Deployment) -> None:
    limit(deployment, max_concurrent_trials=4)
    first, second = drop(deployment, 1, 12, max_concurrent_trials=4), drop(deployment, 2)
    deployment.look(first)
    deployment.look(second)
    edit(deployment.store, first, max_concurrent_trials=2)
    end(deployment, first, 0, 1)

    def widen() -> None:
        edit(deployment.store, first, max_concurrent_trials=4)
        deployment.look(first)
        deployment.look(second)

    slow, stalled = meanwhile(deployment, quota_ledger(deployment.workspace), widen)
    advance(slow, deployment.settings, AdvanceMessage(first), LastLooks())
    deployment.look(second)
    assert stalled
    assert out(deployment, first, second) == [4, 0]
    assert granted(deployment) == {first: 4, second: 0}


def test_what_a_pass_was_granted_and_another_gave_back_is_not_used(deployment: Deployment) -> None:
    limit(deployment, max_concurrent_trials=4)
    older, younger = drop(deployment, 1), drop(deployment, 2, 12, max_concurrent_trials=2)
    deployment.look(younger)
    edit(deployment.store, younger, max_concurrent_trials=4)

    def give_back() -> None:
        deployment.look(older)
        deployment.looks = LastLooks(policies=deployment.looks.policies)  # as if in a process of its own
        deployment.look(younger)
        deployment.look(older)

    slow, stalled = meanwhile(deployment, younger.record, give_back)
    advance(slow, deployment.settings, AdvanceMessage(younger), LastLooks())
    assert stalled
    assert out(deployment, older, younger) == [2, 2]
    assert granted(deployment) == {older: 2, younger: 2}


def test_what_a_pass_was_granted_stays_until_job_json_was_written_though_another_wants_less(
    deployment: Deployment,
) -> None:
    limit(deployment, max_concurrent_trials=5)
    older, younger = drop(deployment, 1, 1), drop(deployment, 2, 12, max_concurrent_trials=2)
    deployment.look(younger)
    edit(deployment.store, younger, max_concurrent_trials=5)

    def die_wanting_less() -> None:
        deployment.look(older)
        record = younger.record
        dying = Faults(lambda _, request: DIE_BEFORE if request.method == "PUT" and record in request.url else None)
        with pytest.raises(Died):
            advance(
                Store.connect(deployment.settings.storage, dying),
                deployment.settings,
                AdvanceMessage(younger),
                LastLooks(policies=deployment.looks.policies),
            )
        deployment.look(older)

    slow, stalled = meanwhile(deployment, younger.record, die_wanting_less)
    advance(slow, deployment.settings, AdvanceMessage(younger), LastLooks())
    assert stalled
    assert sum(out(deployment, older, younger)) == 5


def story(deployment: Deployment, store: Store, number: int) -> list[JobKey]:
    """Two jobs under a quota of three trials, from their first pass to their ends; says when more are out."""
    keys = [drop(deployment, 10 * number + place, 2) for place in range(2)]

    def look(key: JobKey) -> None:
        try:
            advance(store, deployment.settings, AdvanceMessage(key), LastLooks())
        except Died:  # the message is delivered again
            advance(deployment.store, deployment.settings, AdvanceMessage(key), LastLooks(), is_repeat=True)
        assert sum(out(deployment, *keys)) <= 3

    for _ in range(3):
        for key in keys:
            look(key)
            is_last = keys.index(key)
            num = deployment.job(key).next_trial
            end(deployment, key, *range(num - out(deployment, key)[0], num - (not is_last and num > 1)))
    for key in keys:
        end(deployment, key, *range(2 - out(deployment, key)[0], 2))
        look(key)
    return keys


@pytest.mark.parametrize("fault", [DIE_BEFORE, DIE_AFTER], ids=str)
def test_a_pass_that_dies_at_any_write_of_a_record_exceeds_nothing_and_holds_up_nobody(
    deployment: Deployment, fault: Fault
) -> None:
    limit(deployment, max_concurrent_trials=3)
    is_noted = lambda request: request.method == "PUT" and re.search(r"quotas/|job\.json", request.url)  # noqa: E731
    seen: list[str] = []
    noting = Faults(lambda _, request: seen.append(request.url) if is_noted(request) else None)
    keys = story(deployment, Store.connect(deployment.settings.storage, noting), 0)
    assert {deployment.job(key).state for key in keys} == {JobState.COMPLETED}
    assert 10 < len(seen) < 40
    for spoilt in range(len(seen)):
        count = itertools.count()
        spoiling = Faults(
            lambda _, request, count=count, at=spoilt: fault if is_noted(request) and next(count) == at else None
        )
        keys = story(deployment, Store.connect(deployment.settings.storage, spoiling), spoilt + 1)
        assert {deployment.job(key).state for key in keys} == {JobState.COMPLETED}, spoilt
        assert granted(deployment) == {}, spoilt
