"""A real trainer whose requests are written down, held at gates or spoiled, and whose wall clock may be wrong.

Run as `python trainer.py PLAN --work … --slots …`: the first argument is a `Plan` as JSON, the others are the trainer's
own. Only what is below the storage SDK's retries and what Python takes for the time of day is changed.
"""

import datetime
import json
import os
import re
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

LOST_ANSWER = "answer lost"
UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is special about one trainer.

    Attributes:
        requests: file to which a JSON line is appended for each request that was answered.
        gates: name → pattern of `METHOD path?query state`; a request that matches waits until the file `open` exists.
        gate_folder: where `{name}.{pid}` appears once a request waits at a gate, and where `open` is looked for.
        renewals: what becomes of renewals of messages: "", `LOST_ANSWER` or `UNAVAILABLE`.
        shift_s: how far the clock is off.
        shift_from: the clock is right until this file exists; empty: off from the start.
        is_frozen: the clock stands still.
    """

    requests: str = ""
    gates: tuple[tuple[str, str], ...] = ()
    gate_folder: str = ""
    renewals: str = ""
    shift_s: float = 0.0
    shift_from: str = ""
    is_frozen: bool = False

    def to_json(self) -> str:
        return json.dumps(asdict(self))


def set_clock(plan: Plan) -> None:
    """Makes the time of day wrong for everything that is imported afterwards; monotonic clocks never jump."""
    right, start = time.time, time.time()

    def wrong() -> float:
        now = start if plan.is_frozen else right()
        return now + plan.shift_s if not plan.shift_from or os.path.exists(plan.shift_from) else now

    class WrongDatetime(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Any:
            return cls.fromtimestamp(wrong(), tz)

        @classmethod
        def utcnow(cls) -> Any:
            return cls.fromtimestamp(wrong(), datetime.UTC).replace(tzinfo=None)

    time.time = wrong
    time.time_ns = lambda: int(wrong() * 1e9)
    datetime.datetime = WrongDatetime  # type: ignore[misc]


def set_policy(plan: Plan) -> None:
    """Puts a policy below the retries of each client that this process makes."""
    from azure.core.exceptions import ServiceRequestError
    from azure.core.pipeline.policies import HTTPPolicy

    from dropsweep.storage import Store

    class Watch(HTTPPolicy[Any, Any]):
        """One for all clients of the process."""

        lock = threading.Lock()

        def send(self, request: Any) -> Any:
            asked = request.http_request
            entry = {"asked_s": time.monotonic(), "method": asked.method, **self.described(asked)}
            for name, pattern in plan.gates:
                if re.search(pattern, f"{asked.method} {entry['path']}?{entry['query']} {entry['state']}"):
                    self.wait_at(name)
            is_renewal = asked.method == "PUT" and "visibilitytimeout=" in entry["query"]
            if is_renewal and plan.renewals == UNAVAILABLE:
                self.write_down(entry | {"status": 503})
                raise ServiceRequestError("the queue service cannot be reached")
            answer = self.next.send(request)
            if is_renewal and plan.renewals == LOST_ANSWER:
                answer = self.next.send(request)  # what the SDK does; the first one has used the receipt up
            headers = answer.http_response.headers
            entry |= {"status": answer.http_response.status_code, "modified": headers.get("Last-Modified", "")}
            self.write_down(entry)
            return answer

        def described(self, asked: Any) -> dict[str, str]:
            url = urlsplit(asked.url)
            state = asked.headers.get("x-ms-meta-state", "")
            return {"path": unquote(url.path), "query": unquote(url.query), "state": state}

        def wait_at(self, name: str) -> None:
            folder = Path(plan.gate_folder)
            (folder / f"{name}.{os.getpid()}").touch()
            while not (folder / "open").exists():
                time.sleep(0.02)

        def write_down(self, entry: dict[str, Any]) -> None:
            if plan.requests:
                with self.lock, Path(plan.requests).open("a") as log:
                    log.write(json.dumps(entry) + "\n")

    connect = Store.connect

    def watched(settings: Any, *policies: Any, **options: Any) -> Store:
        return connect(settings, *policies, Watch(), **options)

    Store.connect = watched  # type: ignore[method-assign]


if __name__ == "__main__":
    given = json.loads(sys.argv.pop(1))
    plan = Plan(**given)
    if plan.shift_s or plan.is_frozen:
        set_clock(plan)
    set_policy(plan)
    from dropsweep_trainer.__main__ import main

    sys.exit(main())
