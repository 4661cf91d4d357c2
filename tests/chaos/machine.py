"""A state machine over the steps: whatever comes, in whatever order, broken off or interleaved anywhere."""

import json
from dataclasses import replace
from typing import Any, ClassVar, Final, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from dropsweep.errors import DropsweepError, NotFoundError
from dropsweep.names import ADVANCE_QUEUE, JOBS, trials_queue
from dropsweep.steps.cancel import cancel
from dropsweep.steps.edit import edit
from dropsweep.steps.pause import pause, resume
from dropsweep.steps.pick_up import pick_up
from dropsweep.steps.repair import repair
from dropsweep.steps.retry import retry
from dropsweep.storage import Message
from tests.chaos.book import Book
from tests.chaos.cast import FAULTS, Cast, Move, Party, Trainer, Trouble
from tests.chaos.material import FILES, JUNK, LIMITS, PASSES_S
from tests.chaos.rest import Rest
from tests.chaos.serving import Ending, Running

_MAX_DROPS: Final = 3
_MAX_AT_ONCE: Final = 8
_PartyT = TypeVar("_PartyT", bound=Party)
_WHICH = st.integers(0, 3)
_HOW = st.integers(0, 5)
_VERBS: Final = ("cancel", "pause", "resume", "retry", "edit")
_NAMES: Final = (
    *("announce", "deliver", "deliver", "serve", "serve", "beat", "finish", "finish", "die", "tick", "pass_time"),
    *_VERBS,
)
_AT = st.integers(0, 14)
_MOVES = st.tuples(st.sampled_from(_NAMES), _WHICH, _HOW)
TROUBLES = st.one_of(
    st.none(),
    st.none(),
    st.builds(Trouble, _AT, fault=st.sampled_from(list(FAULTS))),
    st.builds(Trouble, _AT, meanwhile=st.lists(_MOVES, min_size=1, max_size=4).map(tuple)),
)


class AnyOrder(RuleBasedStateMachine):
    """Drops, deliveries, workers, people and time, in any order; then everything comes to rest.

    No precondition looks at the account: threads of a step, and names that follow from random ETags, let two runs of
    one example differ a little, and what is drawn must not.
    """

    cast: ClassVar[Cast]
    """Set before the machine is run; it serves all examples, one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.cast.begin()
        settings = self.cast.settings
        self.book = Book(claim_timeout_s=settings.claim_timeout_s, max_window=settings.dispatch_window)
        self.cast.account.on_write = lambda write: self.book.note(write, self.cast.account.now)
        self.paths: list[str] = []
        self.junk: set[tuple[str, str]] = set()
        self._num_drops = 0
        self._is_gentle = False
        self._has_failed = False

    @initialize(how=_HOW, is_gentle=st.booleans())
    def begin(self, how: int, is_gentle: bool) -> None:
        """There is a job; in every other example no message is lost and no process dies."""
        self._is_gentle = is_gentle
        self.drop(0, how)
        self._play(("announce", 0, 0), None)

    @precondition(lambda self: self._num_drops < _MAX_DROPS)
    @rule(which=_WHICH, how=_HOW)
    def drop(self, which: int, how: int) -> None:
        """Somebody drops a job file, perhaps over an earlier one."""
        path = f"w/e/{'ab'[which % 2]}.json"
        self.cast.people[0].store.blobs.put(JOBS, path, json.dumps(FILES[how]).encode())
        self._num_drops += 1
        if path not in self.paths:
            self.paths.append(path)

    @rule(which=_WHICH, trouble=TROUBLES)
    def announce(self, which: int, trouble: Trouble | None) -> None:
        self._play(("announce", which, 0), trouble)

    @rule(which=_WHICH, how=_HOW, trouble=TROUBLES)
    def deliver(self, which: int, how: int, trouble: Trouble | None) -> None:
        self._play(("deliver", which, how), trouble)

    @rule(which=_WHICH, how=_HOW, trouble=TROUBLES)
    def serve(self, which: int, how: int, trouble: Trouble | None) -> None:
        self._play(("serve", which, how), trouble)

    @rule(which=_WHICH, how=_HOW, trouble=TROUBLES)
    def beat(self, which: int, how: int, trouble: Trouble | None) -> None:
        self._play(("beat", which, how), trouble)

    @rule(which=_WHICH, how=_HOW, trouble=TROUBLES)
    def finish(self, which: int, how: int, trouble: Trouble | None) -> None:
        self._play(("finish", which, how), trouble)

    @rule(which=_WHICH)
    def die(self, which: int) -> None:
        self._play(("die", which, 0), None)

    @rule(trouble=TROUBLES)
    def tick(self, trouble: Trouble | None) -> None:
        self._play(("tick", 0, 0), trouble)

    @rule(
        verb=st.sampled_from(["cancel", "pause", "resume", "retry", "edit"]), which=_WHICH, how=_HOW, trouble=TROUBLES
    )
    def ask(self, verb: str, which: int, how: int, trouble: Trouble | None) -> None:
        self._play((verb, which, how), trouble)

    @rule(which=_WHICH, is_doubled=st.booleans())
    def lose_or_double(self, which: int, is_doubled: bool) -> None:
        """A message is lost, or is there twice."""
        queues = self.cast.people[0].store.queues
        for message in queues.receive(self._queue(which), visibility_s=self.cast.settings.claim_timeout_s):
            if is_doubled or self._is_gentle:
                queues.send(message.queue, message.text)
                queues.release(message)
            else:
                queues.delete(message)

    @rule(which=_WHICH, how=_HOW)
    def send_junk(self, which: int, how: int) -> None:
        """Somebody sends what no program of ours would."""
        queue, text = self._queue(which), JUNK[how % len(JUNK)]
        self.cast.people[0].store.queues.send(queue, text)
        self.junk.add((queue, text))

    @rule(how=_HOW)
    def pass_time(self, how: int) -> None:
        self._play(("pass_time", 0, how), None)

    @invariant()
    def nothing_happened_that_never_may(self) -> None:
        if self.book.faults:
            self._has_failed = True
        assert not self.book.faults, self.book.faults

    def teardown(self) -> None:
        """Whatever happened, everything comes to its end."""
        if not self._has_failed:
            Rest(self.cast, self.book).come(self.paths, self.junk, needs_timer=not self._is_gentle)

    def _play(self, move: Move, trouble: Trouble | None) -> None:
        if trouble is not None and trouble.is_deadly and self._is_gentle:
            trouble = None
        try:
            name, which, how = move
            getattr(self, f"_{name}")(which, how, trouble)
        except BaseException:
            self._has_failed = True
            raise

    def _play_meanwhile(self, move: Move) -> None:
        if self.paths if move[0] == "announce" else self.book.jobs:
            self._play(move, None)

    def _announce(self, which: int, _how: int, trouble: Trouble | None) -> None:
        host = _free(self.cast.hosts, which)
        with host.acting(trouble, self._play_meanwhile):
            pick_up(host.store, self.cast.settings, self.paths[which % len(self.paths)])

    def _deliver(self, which: int, how: int, trouble: Trouble | None) -> None:
        """A host receives hints and acts on them, or keeps one for later, or acts on one that it had kept."""
        host = _free(self.cast.hosts, which)
        with host.acting(trouble, self._play_meanwhile):
            if how == 0 and host.late:
                host.look(self.cast.settings, host.late.pop(which % len(host.late)))
                return
            for _ in range(_MAX_AT_ONCE if how > 3 else 1):
                received = host.store.queues.receive(ADVANCE_QUEUE, visibility_s=self.cast.settings.claim_timeout_s)
                for message in received:
                    if how == 1:
                        host.late.append(message)
                    else:
                        host.look(self.cast.settings, message)

    def _serve(self, which: int, how: int, trouble: Trouble | None) -> None:
        """A worker receives a message and claims its trial, which may end at once."""
        trainer = _free(self.cast.trainers, which)
        earlier = list(trainer.serving.running)
        with trainer.acting(trouble, self._play_meanwhile):
            trainer.serving.serve(may_be_old=how % 2 == 1)
            for running in list(trainer.serving.running):
                if how > 3 and running not in earlier:
                    trainer.serving.finish(running, Ending.FAILS if which % 2 else Ending.SUCCEEDS)

    def _running(self) -> list[tuple[Trainer, Running]]:
        """Who runs what, of those that are not busy."""
        return [
            (trainer, running)
            for trainer in self.cast.trainers
            if not trainer.is_busy
            for running in trainer.serving.running
        ]

    def _beat(self, which: int, how: int, trouble: Trouble | None) -> None:
        if found := self._running():
            trainer, running = found[which % len(found)]
            with trainer.acting(trouble, self._play_meanwhile):
                trainer.serving.beat(running, may_be_old=how % 2 == 1, has_progressed=how > 3)

    def _finish(self, which: int, how: int, trouble: Trouble | None) -> None:
        if found := self._running():
            trainer, running = found[which % len(found)]
            with trainer.acting(trouble, self._play_meanwhile):
                trainer.serving.finish(running, list(Ending)[how % len(Ending)])

    def _die(self, which: int, _how: int, _trouble: Trouble | None) -> None:
        _free(self.cast.trainers, which).restart()

    def _tick(self, which: int, _how: int, trouble: Trouble | None) -> None:
        host = _free(self.cast.hosts, which)
        with host.acting(trouble, self._play_meanwhile):
            done = repair(host.store, self.cast.settings, host.looks)
            assert not done.num_failed, done

    def _pass_time(self, which: int, how: int, _trouble: Trouble | None) -> None:
        """Time passes; who had received a message that nobody else receives meanwhile can still delete it."""
        receipts = self.cast.account.pass_time(PASSES_S[how % len(PASSES_S)])
        if which % 2:
            return
        for host in self.cast.hosts:
            host.late = [_renewed(message, receipts) for message in host.late]
        for trainer in self.cast.trainers:
            for running in trainer.serving.running:
                running.message = _renewed(running.message, receipts)

    def _cancel(self, which: int, how: int, trouble: Trouble | None) -> None:
        self._ask(trouble, lambda person, key: cancel(person.store, key, _trial(how)), which)

    def _pause(self, which: int, how: int, trouble: Trouble | None) -> None:
        self._ask(trouble, lambda person, key: pause(person.store, key, _trial(how)), which)

    def _resume(self, which: int, how: int, trouble: Trouble | None) -> None:
        self._ask(trouble, lambda person, key: resume(person.store, key, _trial(how)), which)

    def _retry(self, which: int, how: int, trouble: Trouble | None) -> None:
        self._ask(trouble, lambda person, key: retry(person.store, key, _trial(how)), which)

    def _edit(self, which: int, how: int, trouble: Trouble | None) -> None:
        self._ask(trouble, lambda person, key: edit(person.store, key, **LIMITS[how]), which)

    def _ask(self, trouble: Trouble | None, verb: Any, which: int) -> None:
        """A person asks for something; that it cannot be had is told."""
        keys = list(self.book.jobs)
        person = _free(self.cast.people, which)
        with person.acting(trouble, self._play_meanwhile):
            try:
                verb(person, keys[which % len(keys)])
            except DropsweepError as error:
                if type(error) not in (DropsweepError, NotFoundError):
                    raise

    def _queue(self, which: int) -> str:
        return ADVANCE_QUEUE if which % 2 else trials_queue(self.cast.settings.cluster_names[0])


def _free(parties: list[_PartyT], which: int) -> _PartyT:
    free = [party for party in parties if not party.is_busy]
    return free[which % len(free)]


def _trial(how: int) -> int | None:
    """Every other time the whole job, else one of the first trials, so that requests meet each other."""
    return None if how < 3 else (how - 3) // 2


def _renewed(message: Message, receipts: dict[str, str]) -> Message:
    return replace(message, pop_receipt=receipts.get(message.id, message.pop_receipt))
