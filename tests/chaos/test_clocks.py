"""Trainers with wrong clocks: only the storage service's clock says when a claim is stale."""

import signal
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

from dropsweep.states import TrialReason
from tests.chaos import processes
from tests.chaos.processes import PATIENCE_S, Trainer, Trainers, kill_group
from tests.chaos.trainer import Plan
from tests.emulator.deployment import REPORT_X, sweep, until

trainers = processes.trainers

CLAIM_TIMEOUT_S: Final = 5
NUM_LOOKS: Final = 2


def test_wrong_clocks_take_no_live_claim_over_and_leave_no_dead_one(trainers: Trainers) -> None:
    jump = trainers.folder / "jump"
    clocks = {
        "fast": Plan(shift_s=600),
        "slow": Plan(shift_s=-600),
        "jumping": Plan(shift_s=-3600, shift_from=str(jump)),
        "frozen": Plan(is_frozen=True),
    }
    script = f"""
        echo $$ > {trainers.folder}/${{{{search_space.x}}}}-$DROPSWEEP_ATTEMPT.pid
        until [ -e {trainers.folder}/finish ]; do sleep 0.1; done; {REPORT_X}"""
    key = trainers.deployment.drop(sweep(script, len(clocks)))
    trials = range(len(clocks))
    trainers.deployment.look(key)
    holders = [trainers.start(f"{name}-holder", plan) for name, plan in clocks.items()]
    until(lambda: all(trainers.is_running(key, 1, trial) for trial in trials), PATIENCE_S)
    lookers = [trainers.start(f"{name}-looker", plan) for name, plan in clocks.items()]
    until(lambda: all("serving cluster" in looker.log for looker in lookers), PATIENCE_S)
    jump.touch()
    held_at = [last_beat(holder) for holder in holders]
    # Each message is put back when its trial is held, so that some copies keep every looker looking.
    for trial in trials:
        trainers.send(key, trial, num_copies=4)
    until(lambda: all(num_looks(looker) >= NUM_LOOKS for looker in lookers), PATIENCE_S)
    long_enough = timedelta(seconds=CLAIM_TIMEOUT_S + 3)
    until(lambda: all(last_beat(h) - at > long_enough for h, at in zip(holders, held_at, strict=True)), PATIENCE_S)
    assert all(trainers.is_running(key, 1, trial) for trial in trials), "a live claim was taken over"

    held = {trainers.deployment.trial(key, trial).worker: trial for trial in trials}
    for holder in holders:
        holder.send(signal.SIGKILL)
        holder.process.wait()
    until(lambda: all(trainers.is_running(key, 2, trial) for trial in trials), PATIENCE_S)
    for trial in trials:
        kill_group(int(trainers.pid_file(f"{trial}-1").read_text()))
    for looker in lookers:
        [claim] = [r for r in looker.requests() if r.method == "PUT" and r.state == "running" and r.status == 201]
        [holder] = [h for h in holders if held_by(trainers, h, held) == trial_of(claim.path)]
        silent_s = (parsedate_to_datetime(claim.modified) - last_beat(holder)).total_seconds()
        assert silent_s > CLAIM_TIMEOUT_S, f"{looker.name} took over after {silent_s} s"

    (trainers.folder / "finish").touch()
    until(lambda: trainers.has_ended(key), PATIENCE_S)
    for trial in trials:
        final = trainers.deployment.trial(key, trial)
        assert (final.reason, final.attempt, final.num_lost) == (TrialReason.SUCCEEDED, 2, 1), trial
        head = trainers.deployment.store.blobs.head("runs", key.trial(trial))
        assert head is not None
        assert final.started is not None
        assert final.finished is not None
        assert abs(final.finished - head.modified) < timedelta(minutes=1), "a trainer's own clock is in the record"
        assert final.started < final.finished


def last_beat(holder: Trainer) -> datetime:
    """The time of a trainer's last heartbeat or claim, by the storage service's clock."""
    writes = [r for r in holder.requests() if "/records/" in r.path and r.method == "PUT" and r.status < 300]
    return parsedate_to_datetime(writes[-1].modified)


def num_looks(looker: Trainer) -> int:
    """How often a trainer has read a record, which it does only to learn whether a claim is stale."""
    return sum(r.method == "GET" and "/records/" in r.path and r.status < 300 for r in looker.requests())


def held_by(trainers: Trainers, holder: Trainer, held: dict[str, int]) -> int:
    """Which trial a trainer held: its process id is part of a worker's name."""
    [trial] = [trial for worker, trial in held.items() if worker.endswith(f"-{holder.process.pid}/0")]
    return trial


def trial_of(path: str) -> int:
    return int(path.rpartition("/")[2].removesuffix(".json"))
