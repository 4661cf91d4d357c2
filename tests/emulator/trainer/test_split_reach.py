"""A worker that reaches the queue but not the blobs, or the reverse: one result, and no message is left over."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from dropsweep.names import RUNS, JobKey, trials_queue
from dropsweep.settings import StorageSettings, emulator_connection_string
from dropsweep.states import JobState, TrialReason, TrialState
from dropsweep.storage import Store
from dropsweep_trainer.worker.worker import Worker
from tests.emulator.deployment import REPORT_X, Deployment, sweep, until
from tests.emulator.proxy import Proxy

InBackground = Callable[[Worker], threading.Thread]
LASTS_S = 10.0
"""How long a trial of these tests runs: so much longer than a claim stands without heartbeats (5 s) that, were they to
cease, another worker would take it over before its end."""


@pytest.fixture
def shaky(blob_line: Proxy, queue_line: Proxy) -> Store:
    """The account as the one worker reaches it whose lines are cut."""
    return Store.connect(StorageSettings(emulator_connection_string(blob_line.port, queue_line.port)))


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A file that gets a line for each time that the command was started."""
    return tmp_path / "runs"


@pytest.fixture
def key(deployment: Deployment, runs: Path) -> JobKey:
    key = deployment.drop(sweep(f'echo "$DROPSWEEP_ATTEMPT" >> {runs}; sleep {LASTS_S}; {REPORT_X}', 1))
    deployment.look(key)
    return key


def num_started(runs: Path) -> int:
    return len(runs.read_text().splitlines()) if runs.exists() else 0


def settled(deployment: Deployment, key: JobKey) -> bool:
    """True when the trial is final and its message has gone."""
    is_final = deployment.trial(key, 0).state.is_final
    return is_final and deployment.store.queues.count(trials_queue(deployment.cluster)) == 0


@pytest.mark.parametrize("trouble", [Proxy.cut, Proxy.stall], ids=["cut", "stalled"])
def test_a_worker_that_cannot_reach_the_queue_keeps_its_trial(
    deployment: Deployment,
    key: JobKey,
    shaky: Store,
    queue_line: Proxy,
    runs: Path,
    in_background: InBackground,
    trouble: Callable[[Proxy], None],
) -> None:
    in_background(deployment.worker(name="shaky", idle_s=None, store=shaky))
    until(lambda: num_started(runs) == 1)
    trouble(queue_line)
    # Its message becomes visible and this one receives it, while the heartbeats go on.
    in_background(deployment.worker(name="sound", idle_s=None))
    until(lambda: deployment.trial(key, 0).state.is_final)
    written = deployment.store.blobs.head(RUNS, key.trial(0))
    until(lambda: settled(deployment, key))
    queue_line.mend()
    trial = deployment.trial(key, 0)
    assert (trial.state, trial.attempt, trial.metric) == (TrialState.COMPLETED, 1, 0.0)
    assert num_started(runs) == 1
    assert deployment.look(key).state is JobState.COMPLETED
    after = deployment.store.blobs.head(RUNS, key.trial(0))
    assert written is not None
    assert after is not None
    assert after.etag == written.etag


def test_alone_it_settles_once_it_reaches_the_queue_again(
    deployment: Deployment, key: JobKey, shaky: Store, queue_line: Proxy, runs: Path, in_background: InBackground
) -> None:
    in_background(deployment.worker(name="shaky", idle_s=None, store=shaky))
    until(lambda: num_started(runs) == 1)
    queue_line.cut()
    until(lambda: deployment.trial(key, 0).state.is_final)
    queue_line.mend()
    until(lambda: settled(deployment, key))
    assert (deployment.trial(key, 0).attempt, num_started(runs)) == (1, 1)


def test_a_worker_that_cannot_reach_the_blobs_loses_its_trial_and_writes_nothing_more(
    deployment: Deployment, key: JobKey, shaky: Store, blob_line: Proxy, runs: Path, in_background: InBackground
) -> None:
    in_background(deployment.worker(name="shaky", idle_s=None, store=shaky))
    until(lambda: num_started(runs) == 1)
    blob_line.cut()
    in_background(deployment.worker(name="sound", idle_s=None))
    until(lambda: num_started(runs) == 2)
    # Now the first has a result in its hands, or will have one, that it must not write.
    blob_line.mend()
    until(lambda: deployment.trial(key, 0).state.is_final)
    assert deployment.trial(key, 0).attempt == 2
    written = deployment.store.blobs.head(RUNS, key.trial(0))
    until(lambda: settled(deployment, key))
    until(lambda: deployment.look(key).state.is_final)
    trial = deployment.trial(key, 0)
    assert (trial.state, trial.attempt, trial.worker) == (TrialState.COMPLETED, 2, "sound/0")
    assert num_started(runs) == 2
    after = deployment.store.blobs.head(RUNS, key.trial(0))
    assert written is not None
    assert after is not None
    assert after.etag == written.etag


def test_alone_it_commits_once_it_reaches_the_blobs_again(
    deployment: Deployment, key: JobKey, shaky: Store, blob_line: Proxy, runs: Path, in_background: InBackground
) -> None:
    in_background(deployment.worker(name="shaky", idle_s=None, store=shaky))
    until(lambda: num_started(runs) == 1)
    blob_line.cut()
    threading.Event().wait(LASTS_S + 1)
    assert deployment.trial(key, 0).state is TrialState.RUNNING
    blob_line.mend()
    until(lambda: settled(deployment, key))
    trial = deployment.trial(key, 0)
    assert (trial.reason, trial.attempt, num_started(runs)) == (TrialReason.SUCCEEDED, 1, 1)
