"""Many blobs deleted by few requests, and what becomes of them when such a request fails."""

from collections.abc import Callable

import pytest
from azure.core.rest import HttpRequest

from dropsweep.errors import StorageUnavailable
from dropsweep.names import RUNS
from dropsweep.settings import Settings
from dropsweep.storage import Store, Tally
from tests.emulator.faults import BUSY, LOST_ANSWER, Fault, Faults

REFUSED = Fault("400", False, status=400)
FORBIDDEN = Fault("403", False, status=403)


def is_batch(request: HttpRequest) -> bool:
    return request.query.get("comp") == "batch"


def blobs(store: Store, workspace: str, num: int = 5) -> list[str]:
    names = [f"{workspace}/a b/é-{number}%41+#?&.txt" for number in range(num)]
    for name in names:
        store.blobs.put(RUNS, name, b"x")
    return names


def left(store: Store, workspace: str) -> list[str]:
    return [found.name for found in store.blobs.list(RUNS, f"{workspace}/")]


def spoilt(settings: Settings, script: Callable[[int, HttpRequest], Fault | None]) -> Store:
    return Store.connect(settings.storage, Faults(script), patience_s=0)


def test_256_blobs_go_by_one_request_whatever_their_names(store: Store, settings: Settings, workspace: str) -> None:
    names = blobs(store, workspace, 300)
    tally = Tally()
    Store.connect(settings.storage, tally).blobs.delete_all(RUNS, names)
    assert tally.by_kind() == {"POST batch": 2}
    assert left(store, workspace) == []


def test_what_is_not_there_is_as_good_as_deleted(store: Store, workspace: str) -> None:
    names = blobs(store, workspace)
    store.blobs.delete_all(RUNS, [names[0], f"{workspace}/never-was", names[1]])
    store.blobs.delete_all(RUNS, names[:3])
    store.blobs.delete_all(RUNS, [])
    assert left(store, workspace) == names[3:]


@pytest.mark.parametrize("fault", [REFUSED, FORBIDDEN], ids=str)
def test_where_such_requests_are_refused_blobs_go_one_by_one(
    store: Store, settings: Settings, workspace: str, fault: Fault
) -> None:
    names = blobs(store, workspace)
    spoilt(settings, lambda _, request: fault if is_batch(request) else None).blobs.delete_all(RUNS, names)
    assert left(store, workspace) == []


@pytest.mark.parametrize("fault", [BUSY, LOST_ANSWER], ids=str)
def test_a_service_that_is_away_is_not_asked_one_by_one(
    store: Store, settings: Settings, workspace: str, fault: Fault
) -> None:
    names = blobs(store, workspace)
    with pytest.raises(StorageUnavailable):
        spoilt(settings, lambda _, request: fault if is_batch(request) else None).blobs.delete_all(RUNS, names)
    assert len(left(store, workspace)) == (0 if fault.is_sent else len(names))


def test_a_request_whose_answer_was_lost_is_sent_again(store: Store, settings: Settings, workspace: str) -> None:
    names = blobs(store, workspace)
    faults = Faults(lambda number, _: LOST_ANSWER if number == 0 else None)
    Store.connect(settings.storage, faults).blobs.delete_all(RUNS, names)
    assert (faults.num_requests, left(store, workspace)) == (2, [])
