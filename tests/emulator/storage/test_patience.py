"""For how long a request is repeated, and how its waits are chosen; time passes by waiting alone."""

import threading
import time

import pytest
from azure.core.exceptions import ClientAuthenticationError

from dropsweep.errors import StorageDenied, StorageUnavailable
from dropsweep.names import RUNS
from dropsweep.settings import Settings, StorageSettings
from dropsweep.storage import PATIENCE_S, Clock, Store
from tests.emulator.faults import (
    BUSY,
    ERROR,
    LOST_ANSWER,
    NOT_APPLIED,
    THROTTLED,
    UNREACHABLE,
    FastClock,
    Fault,
    Faults,
)

QUEUE = "advance"


@pytest.mark.parametrize("fault", [*NOT_APPLIED, LOST_ANSWER], ids=str)
def test_a_minute_of_trouble_is_survived(settings: Settings, store: Store, workspace: str, fault: Fault) -> None:
    clock = FastClock()
    faults = Faults(lambda *_: fault if clock.now_s() < 60 else None)
    troubled = Store.connect(settings.storage, faults, clock=clock)
    assert troubled.blobs.create(RUNS, f"{workspace}/a", b"one") is not None
    assert 60 <= clock.now_s() <= PATIENCE_S
    assert 4 <= faults.num_spoilt < 60
    assert troubled.outage_age_s == 0


def test_both_services_are_given_up_once_the_patience_has_ended(settings: Settings) -> None:
    clock = FastClock()
    troubled = Store.connect(settings.storage, Faults(lambda *_: ERROR), clock=clock)
    with pytest.raises(StorageUnavailable):
        troubled.blobs.read(RUNS, "a")
    assert clock.now_s() == pytest.approx(PATIENCE_S)
    with pytest.raises(StorageUnavailable):
        troubled.queues.count(QUEUE)
    assert clock.now_s() == pytest.approx(2 * PATIENCE_S)


def test_waits_are_drawn_below_a_ceiling_that_doubles(settings: Settings) -> None:
    firsts: list[float] = []
    for _ in range(40):
        clock = FastClock()
        with pytest.raises(StorageUnavailable):
            Store.connect(settings.storage, Faults(lambda *_: UNREACHABLE), clock=clock).blobs.head(RUNS, "a")
        ceilings = [min(8.0, 0.5 * 2**number) for number in range(len(clock.waits))]
        assert all(0 <= wait <= ceiling for wait, ceiling in zip(clock.waits, ceilings, strict=True))
        firsts.append(clock.waits[0])
    assert min(firsts) < 0.2
    assert max(firsts) > 0.3


@pytest.mark.parametrize(("fault", "asked_s"), [(BUSY, 7), (THROTTLED, 3)], ids=str)
def test_no_request_comes_back_before_it_was_asked_to(settings: Settings, fault: Fault, asked_s: float) -> None:
    clock = FastClock()
    faults = Faults(lambda number, _: fault if number < 3 else None)
    Store.connect(settings.storage, faults, clock=clock).queues.count(QUEUE)
    assert len(clock.waits) == 3
    assert all(asked_s <= wait <= asked_s + 2 for wait in clock.waits)


def test_what_the_service_refuses_is_not_asked_again(settings: Settings, connection_string: str) -> None:
    head, _, tail = connection_string.partition("AccountKey=")
    denied = StorageSettings(f"{head}AccountKey={'A' * 86}=={tail[tail.index(';') :]}")
    faults = Faults(lambda *_: None)
    with pytest.raises(StorageDenied):
        Store.connect(denied, faults).blobs.read(RUNS, "a")
    assert faults.num_requests == 1
    assert Store.connect(settings.storage, faults).blobs.read(RUNS, "no-such/blob") is None
    assert faults.num_requests == 2


def test_an_identity_that_cannot_be_had_is_not_asked_for_again(settings: Settings) -> None:
    faults = Faults(lambda *_: Fault("no identity", False, lambda: ClientAuthenticationError("no identity found")))
    with pytest.raises(StorageDenied):
        Store.connect(settings.storage, faults).blobs.read(RUNS, "a")
    assert faults.num_requests == 1


def test_a_process_that_shall_end_gives_up_within_seconds(settings: Settings) -> None:
    clock, stopping = FastClock(), threading.Event()

    def at_wait() -> None:
        if clock.now_s() > 20:
            stopping.set()

    clock.at_wait = at_wait
    troubled = Store.connect(settings.storage, Faults(lambda *_: UNREACHABLE), stopping=stopping, clock=clock)
    with pytest.raises(StorageUnavailable):
        troubled.blobs.read(RUNS, "a")
    assert 25 < clock.now_s() < 34


def test_a_process_that_shall_end_still_repeats_its_last_requests(
    settings: Settings, store: Store, workspace: str
) -> None:
    stopping = threading.Event()
    stopping.set()
    clock = FastClock()
    faults = Faults(lambda number, _: UNREACHABLE if number < 3 else None)
    last = Store.connect(settings.storage, faults, stopping=stopping, clock=clock)
    assert last.blobs.create(RUNS, f"{workspace}/a", b"one") is not None
    assert clock.now_s() < 5


def test_a_wait_ends_when_the_process_shall_end() -> None:
    stopping = threading.Event()
    threading.Timer(0.05, stopping.set).start()
    started = time.monotonic()
    Clock().wait(600, stopping)
    assert time.monotonic() - started < 60


def test_short_trouble_is_no_outage_and_a_long_one_is_remembered(settings: Settings) -> None:
    clock = FastClock()
    faults = Faults(lambda number, _: UNREACHABLE if number < 2 or 2 < clock.now_s() < 20 else None)
    troubled = Store.connect(settings.storage, faults, clock=clock)
    troubled.queues.count(QUEUE)
    assert clock.waits
    assert troubled.outage_age_s == float("inf")
    clock.waits.append(2.1)
    troubled.queues.count(QUEUE)
    assert troubled.outage_age_s == 0
    clock.waits.append(100)
    assert troubled.outage_age_s == pytest.approx(100)
