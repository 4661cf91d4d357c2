"""The schedules of a client, whether it works on the storage or over the HTTP API."""

import uuid
from abc import ABC, abstractmethod
from datetime import datetime
from typing import TYPE_CHECKING, Any

from dropsweep.client import schedules as on_storage
from dropsweep.client.http import wire
from dropsweep.client.http.refusals import problems_in
from dropsweep.client.lookup import check_place
from dropsweep.client.schedules import ListedSchedule, ScheduleState, ShownSchedule
from dropsweep.names import JobKey, ScheduleKey
from dropsweep.records.codec import dump, time_in, time_of
from dropsweep.records.schedule import TickOutcome, TickRecord
from dropsweep.storage import Store

if TYPE_CHECKING:
    from dropsweep.client.http.web import Web

_ROOT = "schedules"


class Schedules(ABC):
    """The schedules of a deployment; a schedule is named by `workspace/schedule`.

    Every method may raise what those of the client may; NotFoundError when there is no such schedule.
    """

    @abstractmethod
    def all(self, workspace: str | None = None) -> list[ListedSchedule]:
        """Lists the schedules in the order of their paths; of one workspace or (None) of all.

        Raises:
            DropsweepError: a workspace that cannot be one.
        """

    @abstractmethod
    def show(self, schedule: str, *, num_ticks: int = 10) -> ShownSchedule:
        """Returns one schedule with its latest due times, at most 100 of them."""

    @abstractmethod
    def pause(self, schedule: str) -> None:
        """Pauses it: no later due time becomes a job until it is resumed, and none is made up for then."""

    @abstractmethod
    def resume(self, schedule: str) -> None:
        """Lets it go on with its next due time."""

    @abstractmethod
    def run_now(self, schedule: str, *, submission_id: str = "") -> JobKey:
        """Asks for one job of it now; returns the key of the job that it becomes, on the storage within a minute.

        Args:
            schedule: which one.
            submission_id: what must not happen twice: the same one again gives the same job. Empty: each call makes a
                job, over HTTP one however often the request has to be sent.

        Raises:
            SpecError: its file is broken, or its job is refused; or the submission_id cannot be one.
        """

    @abstractmethod
    def upcoming(self, schedule: str, num: int = 10) -> list[datetime]:
        """Returns its next due times in UTC.

        Raises:
            SpecError: its file is broken. DropsweepError: `num` is not from 1 to `MAX_NUM_NEXT`.
        """


def of_account(store: Store) -> Schedules:
    """Returns the schedules in a storage account."""
    return _OfAccount(store)


def over_http(web: "Web") -> Schedules:
    """Returns the schedules behind the HTTP API."""
    return _OverHttp(web)


class _OfAccount(Schedules):
    def __init__(self, store: Store) -> None:
        self._store = store

    def all(self, workspace: str | None = None) -> list[ListedSchedule]:
        check_place(workspace)
        return on_storage.schedules(self._store, workspace)

    def show(self, schedule: str, *, num_ticks: int = 10) -> ShownSchedule:
        return on_storage.schedule(self._store, ScheduleKey.parse(schedule), num_ticks=num_ticks)

    def pause(self, schedule: str) -> None:
        on_storage.pause(self._store, ScheduleKey.parse(schedule))

    def resume(self, schedule: str) -> None:
        on_storage.resume(self._store, ScheduleKey.parse(schedule))

    def run_now(self, schedule: str, *, submission_id: str = "") -> JobKey:
        return on_storage.run_now(self._store, ScheduleKey.parse(schedule), submission_id=submission_id)

    def upcoming(self, schedule: str, num: int = 10) -> list[datetime]:
        return on_storage.next_due(self._store, ScheduleKey.parse(schedule), num)


class _OverHttp(Schedules):
    def __init__(self, web: "Web") -> None:
        self._web = web

    def all(self, workspace: str | None = None) -> list[ListedSchedule]:
        check_place(workspace)
        params = {"workspace": workspace} if workspace else {}
        found = self._web.get(_ROOT, params=params).document()
        with wire.reading("the list of schedules"):
            return [_listed(item) for item in found["items"]]

    def show(self, schedule: str, *, num_ticks: int = 10) -> ShownSchedule:
        found = self._web.get(*_place(schedule), params={"num_ticks": num_ticks}).document()
        with wire.reading("a schedule"):
            return _shown(found)

    def pause(self, schedule: str) -> None:
        self._web.send("POST", *_place(schedule), "pause", is_idempotent=True)

    def resume(self, schedule: str) -> None:
        self._web.send("POST", *_place(schedule), "resume", is_idempotent=True)

    def run_now(self, schedule: str, *, submission_id: str = "") -> JobKey:
        headers = {"Idempotency-Key": submission_id or uuid.uuid4().hex}
        found = self._web.send("POST", *_place(schedule), "run-now", headers=headers, is_idempotent=True).document()
        with wire.reading("a job of a schedule"):
            return JobKey.parse(found["job"])

    def upcoming(self, schedule: str, num: int = 10) -> list[datetime]:
        on_storage.check_num(num)
        found = self._web.get(*_place(schedule), "next", params={"num": num}).document()
        with wire.reading("due times"):
            return [time_of(due) for due in found["due"]]


def _place(schedule: str) -> tuple[str, str, str]:
    key = ScheduleKey.parse(schedule)
    return _ROOT, key.workspace, key.name


def _listed(document: dict[str, Any]) -> ListedSchedule:
    return ListedSchedule(
        key=ScheduleKey.parse(document["schedule"]),
        state=ScheduleState(document["state"]),
        next_due=time_in(document["next_due"]),
        num_problems=document["num_problems"],
        file=document["file"],
    )


def _shown(document: dict[str, Any]) -> ShownSchedule:
    return ShownSchedule(
        key=ScheduleKey.parse(document["schedule"]),
        state=ScheduleState(document["state"]),
        next_due=time_in(document["next_due"]),
        file=document["file"],
        display_name=document["display_name"],
        description=document["description"],
        tags=document["tags"],
        trigger=document["trigger"],
        time_zone=document["time_zone"],
        start=time_in(document["start"]),
        end=time_in(document["end"]),
        catch_up=document["catch_up"],
        overlap=document["overlap"],
        problems=problems_in(document["problems"]),
        counts={TickOutcome(outcome): num for outcome, num in document["counts"].items()},
        ticks=tuple(TickRecord.from_json(dump(tick)) for tick in document["ticks"]),
    )
