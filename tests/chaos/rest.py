"""The end of an example: nothing is disturbed any more, and everything must come to its end within bounds."""

import csv
import io
import json
from typing import Final

from dropsweep.names import ADVANCE_QUEUE, BURIED, JOBS, LIVE, RUNS, Drop, JobKey, trials_queue
from dropsweep.records import JobRecord
from dropsweep.records.codec import number_out
from dropsweep.spec import name_of
from dropsweep.states import JobState, Wish
from dropsweep.steps.pause import resume
from dropsweep.steps.pick_up import key_of, pick_up
from dropsweep.steps.repair import repair
from tests.chaos.book import Book
from tests.chaos.cast import Cast
from tests.chaos.serving import Ending

MAX_ROUNDS: Final = 40
"""Rounds of time, timer, deliveries and worker within which everything must end."""
_ROUND_S: Final = 310
_WEEKS_S: Final = 100 * 24 * 3600
_MAX_MESSAGES: Final = 300


class Rest:
    """Takes an account to its end, with the timer, the deliveries and one worker that does well."""

    def __init__(self, cast: Cast, book: Book) -> None:
        self._cast = cast
        self._book = book
        self._host = cast.hosts[0]
        self._serving = cast.trainers[0].serving
        self._store = self._host.store
        self._queues = [ADVANCE_QUEUE, trials_queue(cast.settings.cluster_names[0])]

    def come(self, paths: list[str], junk: set[tuple[str, str]], *, needs_timer: bool) -> int:
        """Goes on until all has ended, and looks that it ended well.

        Args:
            paths: the files that were dropped.
            junk: queue and text of the messages that nobody can act on.
            needs_timer: a process died or a message was lost; else the events and messages alone must do.

        Returns:
            How many rounds it took.
        """
        self._resume()
        num_rounds = 0
        while not self._has_ended(paths):
            num_rounds += 1
            assert num_rounds <= MAX_ROUNDS, f"it does not end: {self._told()}"
            if not needs_timer:
                for path in paths:
                    pick_up(self._store, self._cast.settings, path)
            self._round(_ROUND_S, has_timer=needs_timer)
        # What is hidden for long, such as the alarm for a job's timeout, is there in the end.
        for _ in range(3):
            self._round(_WEEKS_S)
        assert {queue: self._store.queues.count(queue) for queue in self._queues} == dict.fromkeys(self._queues, 0)
        num_writes = self._book.num_writes
        self._round(_ROUND_S)
        assert self._book.num_writes == num_writes, f"it does not rest: {self._told()}"
        assert not self._book.faults, self._book.faults
        assert not list(self._store.blobs.list(RUNS, LIVE)), "markers are left over"
        self._check_buried(junk)
        for job in self._book.jobs.values():
            self._check_results(job)
        return num_rounds

    def _resume(self) -> None:
        for key, job in list(self._book.jobs.items()):
            if job.state is JobState.PAUSED:
                resume(self._cast.people[0].store, key)
            for trial, wish in job.requests.items():
                if wish is Wish.PAUSE and trial < job.num_trials and not job.state.is_final:
                    resume(self._cast.people[0].store, key, trial)

    def _round(self, seconds: float, *, has_timer: bool = True) -> None:
        self._cast.account.pass_time(seconds)
        if has_timer:
            done = repair(self._store, self._cast.settings, self._host.looks)
            assert not done.num_failed, done
        for _ in range(_MAX_MESSAGES):
            found = self._store.queues.receive(ADVANCE_QUEUE, visibility_s=self._cast.settings.claim_timeout_s)
            if not found:
                break
            self._host.look(self._cast.settings, found[0])
        else:
            raise AssertionError("hints do not end")
        for _ in range(_MAX_MESSAGES):
            if not self._serving.serve(may_be_old=False):
                break
            for running in list(self._serving.running):
                self._serving.finish(running, Ending.SUCCEEDS)
        else:
            raise AssertionError("messages of trials do not end")

    def _has_ended(self, paths: list[str]) -> bool:
        if not all(job.state.is_final for job in self._book.jobs.values()):
            return False
        return all(self._key(path) in self._book.jobs for path in paths)

    def _key(self, path: str) -> JobKey:
        """Names the job that the file becomes."""
        blob = self._store.blobs.read(JOBS, path)
        assert blob is not None
        return key_of(Drop.parse(path), name_of(blob.body, path), blob.etag)

    def _check_buried(self, junk: set[tuple[str, str]]) -> None:
        for blob in list(self._store.blobs.list(RUNS, BURIED)):
            found = self._store.blobs.read(RUNS, blob.name)
            assert found is not None
            record = json.loads(found.body)
            assert (record["queue"], record["body"]) in junk, record

    def _check_results(self, job: JobRecord) -> None:
        """The results equal the records; a rejected job has its reasons instead."""
        if job.state is JobState.REJECTED:
            assert json.loads(self._text(job.key.error))["problems"]
            return
        trials = list(self._book.of(job))
        assert len(trials) == job.next_trial
        rows = [
            tuple(row[column] for column in ("trial", "state", "reason", "attempt", "metric"))
            for row in csv.DictReader(io.StringIO(self._text(job.key.results)))
        ]
        records = [(trial.trial, trial.state, trial.reason, trial.attempt, _cell(trial.metric)) for trial in trials]
        assert rows == [tuple(map(str, record)) for record in records]
        assert "<html" in self._text(job.key.report)
        if job.best is not None:
            best = json.loads(self._text(job.key.best))
            trial = next(trial for trial in trials if trial.trial == job.best.trial)
            found = (best["trial"], best["attempt"], best["metric"])
            assert found == (trial.trial, trial.attempt, number_out(trial.metric))

    def _text(self, path: str) -> str:
        blob = self._store.blobs.read(RUNS, path)
        assert blob is not None, f"{path} is not there"
        return blob.body.decode()

    def _told(self) -> str:
        jobs = [f"{job.key.job} is {job.reason}, {dict(job.counts)}" for job in self._book.jobs.values()]
        trials = [
            f"{key.job} trial {trial}: {entry.record.reason}, attempt {entry.record.attempt}"
            for (key, trial), entry in self._book.trials.items()
        ]
        counts = [f"{queue} has {self._store.queues.count(queue)}" for queue in self._queues]
        return "; ".join([*jobs, *trials, *counts])


def _cell(value: float | None) -> str:
    return "" if value is None else str(value)
