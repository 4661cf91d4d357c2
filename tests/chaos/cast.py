"""Who acts in the state machine: each party has its own way into the account, and may be struck at any request."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from azure.core.rest import HttpRequest

from dropsweep.errors import MessageError, NotFoundError
from dropsweep.messages import AdvanceMessage
from dropsweep.names import ADVANCE_QUEUE
from dropsweep.settings import Settings
from dropsweep.steps.advance import LastLooks, advance
from dropsweep.steps.bury import bury
from dropsweep.storage import Message, Store
from tests.chaos.by_hand import Account, Role
from tests.chaos.serving import Serving
from tests.emulator.faults import BUSY, DIE_AFTER, DIE_BEFORE, LOST_ANSWER, Died, FastClock, Fault, Faults

Move = tuple[str, int, int]
"""A rule's name and what it is to pick."""
FAULTS: Final = MappingProxyType({fault.name: fault for fault in (DIE_BEFORE, DIE_AFTER, LOST_ANSWER, BUSY)})
_DEADLY: Final = (DIE_BEFORE, DIE_AFTER)


@dataclass(frozen=True, slots=True)
class Trouble:
    """What strikes a party in the middle of what it does.

    Attributes:
        at: before or at which of its requests, from 0.
        fault: what becomes of this request, by name; empty: nothing.
        meanwhile: what others do before this request is sent.
    """

    at: int
    fault: str = ""
    meanwhile: tuple[Move, ...] = ()

    @property
    def is_deadly(self) -> bool:
        """True when the process ends by it."""
        return FAULTS.get(self.fault) in _DEADLY


class Party:
    """One process.

    Attributes:
        store: its way into the account.
        is_busy: it is in the middle of something.
    """

    def __init__(self, settings: Settings, account: Account, role: Role) -> None:
        self.store = Store.connect(settings.storage, Faults(self._strike), account.policy(role), clock=FastClock())
        self.is_busy = False
        self.start()

    def start(self) -> None:
        """Begins a new life."""
        self._trouble: Trouble | None = None
        self._play: Callable[[Move], None] = lambda _: None
        self._num_requests = 0
        self._is_dead = False

    @contextmanager
    def acting(self, trouble: Trouble | None, play: Callable[[Move], None]) -> Iterator[None]:
        """Strikes it as `trouble` says; whoever dies has a new life afterwards."""
        self.start()
        self._trouble, self._play = trouble, play
        self.is_busy = True
        try:
            yield
        except Died:
            self.restart()
        finally:
            self.is_busy = False
            self.start()

    def restart(self) -> None:
        """Forgets what a process that died has in its memory."""

    def _strike(self, _number: int, _request: HttpRequest) -> Fault | None:
        if self._is_dead:
            return DIE_BEFORE  # its other threads have died with it
        trouble, number = self._trouble, self._num_requests
        self._num_requests += 1
        if trouble is None or number != trouble.at:
            return None
        for move in trouble.meanwhile:
            self._play(move)
        self._is_dead = trouble.is_deadly
        return FAULTS.get(trouble.fault)


class Host(Party):
    """A process of the functions.

    Attributes:
        looks: its memory of its passes.
        late: hints that it has received and not acted on.
    """

    def __init__(self, settings: Settings, account: Account) -> None:
        super().__init__(settings, account, Role.FUNCTION)
        self.restart()

    def restart(self) -> None:
        self.looks = LastLooks()
        self.late: list[Message] = []

    def look(self, settings: Settings, message: Message) -> None:
        """Acts on a hint as the function does, and deletes it as the host does."""
        try:
            hint = AdvanceMessage.from_text(message.text)
            advance(self.store, settings, hint, self.looks, is_repeat=message.dequeue_count > 1)
        except (MessageError, NotFoundError) as error:
            bury(self.store, ADVANCE_QUEUE, message.id, message.text.encode(), str(error), message.dequeue_count)
        self.store.queues.delete(message)


class Trainer(Party):
    """A worker's process."""

    def __init__(self, settings: Settings, account: Account, name: str) -> None:
        super().__init__(settings, account, Role.WORKER)
        self.serving = Serving(self.store, settings, name, lambda: account.now)

    def restart(self) -> None:
        self.serving.die()


class Cast:
    """Everybody who acts, two or three of a kind, so that another can act while one is busy."""

    def __init__(self, settings: Settings, account: Account) -> None:
        self.settings = settings
        self.account = account
        self.hosts = [Host(settings, account) for _ in range(3)]
        self.trainers = [Trainer(settings, account, f"worker-{number}") for number in range(3)]
        self.people = [Party(settings, account, Role.PERSON) for _ in range(2)]

    def begin(self) -> None:
        """Empties the account and gives everybody a new life."""
        self.account.wipe()
        for party in (*self.hosts, *self.trainers, *self.people):
            party.is_busy = False
            party.start()
            party.restart()
        for trainer in self.trainers:
            trainer.serving.num_buried = 0
        self.people[0].store.prepare(self.settings.cluster_names)
