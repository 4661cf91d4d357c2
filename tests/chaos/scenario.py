"""A plot from the drop to the end: each delivery, timer pass and worker that it takes, and what must hold meanwhile."""

import json
import time
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from dropsweep.names import (
    ADVANCE_QUEUE,
    JOBS,
    LIVE,
    RUNS,
    SUBMISSIONS_QUEUE,
    WORKSPACES,
    JobKey,
    quota_ledger,
    trials_queue,
    workspace_file,
)
from dropsweep.records.ledger import Ledger
from dropsweep.storage import Listed, Store
from tests.chaos import parties
from tests.chaos.faults import LATE, Log, Operation, Party
from tests.chaos.outcome import FINAL, changed_when_final, is_job, left_over, missing, of_cancelled, outcome
from tests.chaos.parties import DROPPED, EXPERIMENT, NAME, SHARED, WORKSPACE, Run, Stuck


class Plot(StrEnum):
    """What happens in a run besides the fault.

    PLAIN: every event and every message arrives. DEAF: no event of the dropped file and no hint to look at a job ever
    arrives, and each trial's message is lost once. CANCELLED: a person cancels the job while trial 1 runs. SUBMITTED:
    the job, of one trial, comes by a message, whose sender wants to be told of each change of its state. LIMITED: the
    workspace has a quota of one trial. CRAMPED: the job has one trial, which runs out of memory unless it is alone on
    its node.
    """

    PLAIN = "plain"
    DEAF = "deaf"
    CANCELLED = "cancelled"
    SUBMITTED = "submitted"
    LIMITED = "limited"
    CRAMPED = "cramped"


TRAINING: Final = """
x=${{search_space.x}}; step=0
if [ -n "$DROPSWEEP_RESUME_FROM" ]; then
  step=$(cat "$DROPSWEEP_RESUME_FROM/step"); grep -qx frozen "$DROPSWEEP_RESUME_FROM/same" || exit 5
fi
steps=$((x == 1 ? 3 : 1))
while [ $step -lt $steps ]; do
  step=$((step + 1)); echo trial $x step $step
  printf '{"step": %s, "score": %s}\\n' $step $((10 * x * (3 - x) + 3 * step / steps)) >> "$DROPSWEEP_METRICS"
  mkdir "$DROPSWEEP_CHECKPOINTS/.new"; echo $step > "$DROPSWEEP_CHECKPOINTS/.new/step"
  echo frozen > "$DROPSWEEP_CHECKPOINTS/.new/same"
  mv "$DROPSWEEP_CHECKPOINTS/.new" "$DROPSWEEP_CHECKPOINTS/step-$step"
  pause=0
  while [ $x = 1 ] && [ $pause -lt NUM_PAUSES ] && [ -d "$DROPSWEEP_CHECKPOINTS" ]; do
    pause=$((pause + 1)); sleep 0.1
  done
done
if [ $x = 0 ]; then echo no luck >&2; exit 3; fi
"""
"""Trial 0 fails; trial 1 outlives heartbeats and makes so many checkpoints that one is removed, but for the file that
never changes, which the others refer to; trial 2 is as good.

A trial whose worker has died ends once its folder is gone.
"""
_NUM_PAUSES: Final = {Plot.PLAIN: 4, Plot.DEAF: 4, Plot.CANCELLED: 600, Plot.SUBMITTED: 4}
_SHORT_PAUSES: Final = 1
_CRAMPED: Final = f'[ -z "${SHARED}" ] || {{ echo MemoryError >&2; exit 1; }}'
"""What is shared with others is not seen by a trial that is alone."""
_ANSWERS: Final = "answers"
_TOLD: Final = (("1", "queued"), ("2", "running"), ("3", "completed"))
_PATIENCE_S: Final = 90.0
_HIDDEN_S: Final = 1.5
_PAUSE_S: Final = 0.25
_CONTAINERS: Final = (JOBS, WORKSPACES, RUNS)
_MAX_COLLECTIONS: Final = 3


def sweep(plot: Plot) -> dict[str, Any]:
    """Returns the job file."""
    training = TRAINING.replace("NUM_PAUSES", str(_NUM_PAUSES.get(plot, _SHORT_PAUSES)))
    return {
        "type": "sweep",
        "trial": {"command": f"{_CRAMPED}\n{training}" if plot is Plot.CRAMPED else training},
        "search_space": {
            "x": {"type": "choice", "values": [2] if plot in (Plot.SUBMITTED, Plot.CRAMPED) else [0, 1, 2]}
        },
        "sampling_algorithm": "grid",
        "objective": {"goal": "maximize", "primary_metric": "score"},
        "limits": {"max_concurrent_trials": 2},
    }


def operations(plot: Plot, log: Log) -> list[Operation]:
    """Returns a run's operations that get a fault in this plot: not again those that an earlier plot has just so."""
    seen: Counter[tuple[Party, str]] = Counter()
    found = []
    parties_of = {
        Plot.DEAF: (Party.TIMER,),
        Plot.SUBMITTED: (Party.SUBMISSIONS, Party.ADVANCE),
        Plot.LIMITED: (Party.ADVANCE,),
        Plot.CRAMPED: (Party.WORKER,),
    }.get(plot, tuple(Party))
    has_begun = plot is not Plot.CANCELLED
    for request in log.requests:
        seen[request.party, request.what] += 1
        has_begun |= request.party is Party.PERSON
        if has_begun and request.party in parties_of:
            found.append(Operation(request.party, request.what, seen[request.party, request.what]))
    return found


@dataclass(frozen=True, slots=True)
class End:
    """What a run came to.

    Attributes:
        outcome: what must be the same however the run was disturbed.
        faults: what must never be, in words.
    """

    outcome: dict[str, Any]
    faults: tuple[str, ...]


class Scenario:
    """One run of a plot; `play` takes it to its end."""

    def __init__(self, run: Run, plot: Plot) -> None:
        """Prepares the run's account.

        Args:
            run: on an account that nothing else uses.
            plot: what happens besides the fault.
        """
        self._run = run
        self._plot = plot
        self._store = Store.connect(run.settings.storage)
        self._queues = run.queues()
        self._cluster_queue = trials_queue(run.settings.cluster_names[0])
        told = (ADVANCE_QUEUE, SUBMISSIONS_QUEUE)
        self._heard = (self._cluster_queue,) if plot is Plot.DEAF else (self._cluster_queue, *told)
        for container in _CONTAINERS:
            self._store.blobs.create_container(container)
        for queue in (SUBMISSIONS_QUEUE, ADVANCE_QUEUE, self._cluster_queue):
            self._store.queues.create_queue(queue)
        if plot is Plot.LIMITED:
            limits = {"max_concurrent_jobs": 1, "max_concurrent_trials": 1}
            policy = json.dumps({"limits": limits}).encode()
            self._store.blobs.put(WORKSPACES, workspace_file(WORKSPACE), policy)
        self._num_delivered = 0
        self._lost: set[str] = set()
        self._is_cancelled = False

    def play(self) -> End:
        """Goes round by round, delivery, timer pass, worker, until nothing is left to do."""
        give_up = time.monotonic() + _PATIENCE_S
        faults: list[str] = []
        try:
            if self._plot is Plot.SUBMITTED:
                self._send()
            while self._plot is not Plot.SUBMITTED and not self._num_events():
                parties.submit(self._run, sweep(self._plot))
            while not self._is_done():
                if time.monotonic() > give_up:
                    raise Stuck(f"it did not end within {_PATIENCE_S:g} s")
                self._round()
            for _ in range(_MAX_COLLECTIONS):
                if self._list(LIVE):
                    parties.tick(self._run, marker_age_s=0.0)
        except Stuck as stuck:
            faults.append(str(stuck))
        blobs = self._list()
        # That the end has been told is noted in a record that is final already.
        faults += () if self._plot is Plot.SUBMITTED else changed_when_final(self._run.log)
        faults += self._untold() if self._plot is Plot.SUBMITTED else ()
        faults += self._granted() if self._plot is Plot.LIMITED else ()
        faults += [f"queue {queue} has {count} messages" for queue, count in self._messages().items()]
        faults += missing(blobs)
        faults += left_over(self._store, blobs)
        found = outcome(self._store, blobs)
        if self._plot is Plot.CRAMPED and not all(trial["runs_alone"] for trial in found["trials"].values()):
            faults.append("the trial was never alone")
        return End(of_cancelled(found) if self._plot is Plot.CANCELLED else found, tuple(faults))

    def remove(self) -> None:
        """Removes what the run has made, so that the emulator stays small."""
        service = self._run.blobs()
        for container in _CONTAINERS:
            service.delete_container(container)

    def _send(self) -> None:
        """Another system sends the job."""
        given = {"workspace": WORKSPACE, "experiment": EXPERIMENT, "reply_to": _ANSWERS}
        document = {"job": {**sweep(self._plot), "name": NAME}, **given}
        self._queues.get_queue_client(SUBMISSIONS_QUEUE).send_message(json.dumps(document))

    def _untold(self) -> list[str]:
        """Tells what is wrong with the answers: each change must come, in its order, and may come again."""
        queue = self._queues.get_queue_client(_ANSWERS)
        events = [json.loads(message.content) for message in queue.receive_messages()]
        told = tuple(dict.fromkeys((event["id"], event["data"]["state"]) for event in events))
        return [] if told == _TOLD else [f"told was {told}"]

    def _granted(self) -> list[str]:
        """Tells what the ledger still grants once everything has ended."""
        blob = self._store.blobs.read(RUNS, quota_ledger(WORKSPACE))
        assert blob is not None
        return [f"{key.path} is still granted {entry}" for key, entry in Ledger.from_json(blob.body).entries.items()]

    def _round(self) -> None:
        """Delivers what is due and lets one worker serve; the timer's turn is when there is nothing of it."""
        is_busy = False
        if self._plot is Plot.DEAF:
            parties.tick(self._run)
            self._lose_messages()
        elif self._plot is Plot.SUBMITTED and self._has_visible(SUBMISSIONS_QUEUE):
            parties.deliver_submission(self._run)
            is_busy = True
        elif self._num_delivered < self._num_events():
            self._num_delivered += parties.deliver_drop(self._run)
            is_busy = True
        elif self._has_visible(ADVANCE_QUEUE):
            parties.deliver_hints(self._run)
            is_busy = True
        if self._has_visible(self._cluster_queue):
            self._serve()
            is_busy = True
        if not is_busy:
            if self._plot is not Plot.DEAF:
                parties.tick(self._run)
            self._wait_for_messages()

    def _wait_for_messages(self) -> None:
        """Waits, for what a party that died had received is hidden for a while; after that it is the timer's turn."""
        until = time.monotonic() + _HIDDEN_S
        while time.monotonic() < until and not any(map(self._has_visible, self._heard)):
            time.sleep(_PAUSE_S)

    def _serve(self) -> None:
        """Lets one worker serve; in the plot that wants it, a person cancels meanwhile, and again until it is heard."""
        worker = parties.start_to_serve(self._run)
        if self._plot is Plot.CANCELLED and not self._is_cancelled and self._trial_1_runs(worker):
            self._is_cancelled = True
            while not parties.ask_to_cancel(self._run, self._key()):
                pass
        worker.wait()

    def _trial_1_runs(self, worker: parties.Child) -> bool:
        while worker.is_alive():
            if self._run.log.num_applied("PUT runs/w/e/{job}/records/0000/0000001.json"):
                return True
            time.sleep(_PAUSE_S / 10)
        return False

    def _lose_messages(self) -> None:
        """Loses every hint, and each trial's message when it is first seen."""
        self._queues.get_queue_client(ADVANCE_QUEUE).clear_messages()
        queue = self._queues.get_queue_client(self._cluster_queue)
        # One page: those that are made visible again would be on the next one.
        for message in next(queue.receive_messages(messages_per_page=32, visibility_timeout=1).by_page(), ()):
            if message.content in self._lost:
                queue.update_message(message, visibility_timeout=0)
            else:
                self._lost.add(message.content)
                queue.delete_message(message)

    def _has_visible(self, queue: str) -> bool:
        return bool(self._queues.get_queue_client(queue).peek_messages())

    def _num_events(self) -> int:
        """Each applied write of the file is one event."""
        return self._run.log.num_applied(f"PUT {JOBS}/{DROPPED}")

    def _key(self) -> JobKey:
        (record,) = (blob.name for blob in self._list() if blob.name.endswith("/job.json"))
        return JobKey.parse(record.removesuffix("/job.json"))

    def _is_done(self) -> bool:
        """True once the job is final, every event is delivered and no message is left."""
        states = [request.state for request in self._run.log.requests if request.is_applied_write and is_job(request)]
        has_ended = bool(states) and states[-1] in FINAL
        is_heard = self._plot is Plot.DEAF or self._num_delivered >= self._num_events()
        return has_ended and is_heard and not self._messages()

    def _messages(self) -> dict[str, int]:
        """Counts the messages of every queue, hidden ones too, but for those that are to arrive long after the run."""
        if self._plot is Plot.DEAF:
            self._queues.get_queue_client(ADVANCE_QUEUE).clear_messages()
        names = [str(queue.name) for queue in self._queues.list_queues() if queue.name != _ANSWERS]
        counts = {name: self._store.queues.count(name) for name in names}
        if self._plot is not Plot.DEAF:
            counts[ADVANCE_QUEUE] -= self._run.log.num_applied(f"POST {LATE} {ADVANCE_QUEUE}/messages")
        return {name: count for name, count in counts.items() if count}

    def _list(self, prefix: str = "") -> list[Listed]:
        return list(self._store.blobs.list(RUNS, prefix))
