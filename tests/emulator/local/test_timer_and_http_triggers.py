"""The host's timer and http triggers."""

import json
import time
import urllib.error
import urllib.request
from typing import Any

from .conftest import HostProcess, wait_until


def _ask(
    host: HostProcess, path: str, *, method: str = "GET", key: str | None = None, body: bytes | None = None
) -> Any:
    request = urllib.request.Request(f"http://127.0.0.1:{host.port}{path}", data=body, method=method)
    if key:
        request.add_header("x-functions-key", key)
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code, None


def test_a_timer_fires_at_each_due_second_and_makes_up_for_one_missed(host: HostProcess) -> None:
    wait_until(lambda: len(host.events("tick")) >= 3, "three ticks")
    host.stop()
    num_before = len(host.events("tick"))
    time.sleep(1.1)
    host.start()
    wait_until(lambda: len(host.events("tick")) > num_before, "a tick after the restart")
    ticks = host.events("tick")
    assert [tick["past_due"] for tick in ticks[:num_before]] == [False] * num_before
    assert ticks[num_before]["past_due"] is True


def test_routes_methods_keys_and_failures_are_answered_as_the_real_host_does(host: HostProcess) -> None:
    assert _ask(host, "/api/jobs/team/7?a=b") == (
        201,
        {"route": {"workspace": "team", "number": "7"}, "params": {"a": "b"}, "body": ""},
    )
    assert _ask(host, "/api/jobs/a%20b", method="POST", body=b"text")[1] == {
        "route": {"workspace": "a b"},
        "params": {},
        "body": "text",
    }
    assert _ask(host, "/api/jobs/team/seven")[0] == 404
    assert _ask(host, "/jobs/team")[0] == 404
    assert _ask(host, "/api/jobs/team", method="DELETE")[0] == 404
    assert _ask(host, "/api/jobs/team?fail=1")[0] == 500
    host.stop()
    host.start(DROPSWEEP_LOCAL_KEY="secret")
    assert _ask(host, "/api/jobs/team")[0] == 401
    assert _ask(host, "/api/jobs/team", key="wrong")[0] == 401
    assert _ask(host, "/api/jobs/team", key="secret")[0] == 201
    assert _ask(host, "/api/jobs/team?code=secret")[0] == 201
