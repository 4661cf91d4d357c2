"""The real HTTP functions behind the local host's listener, in this process, on the account of the tests."""

import json
import os
import threading
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import azure.functions as func
import pytest
import requests

from dropsweep.names import JobKey
from dropsweep.settings import Settings
from dropsweep.storage import Store
from functions import api as function
from functions import deployment
from local.host.functions import Function, _read
from local.host.http import HttpListener


@dataclass
class Api:
    """A client that sends what it is told and knows nothing."""

    url: str
    session: requests.Session

    def ask(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | dict[str, Any] | None = None,
        **params: Any,
    ) -> requests.Response:
        told = dict(headers or {})
        if isinstance(body, dict):
            told.setdefault("Content-Type", "application/json")
            body = json.dumps(body).encode()
        return self.session.request(method, f"{self.url}{path}", headers=told, data=body, params=params, timeout=60)

    def get(self, path: str, headers: Mapping[str, str] | None = None, **params: Any) -> requests.Response:
        return self.ask("GET", path, headers=headers, **params)

    def submit(self, document: dict[str, Any], workspace: str, submission_id: str = "", **params: Any) -> JobKey:
        headers = {"Idempotency-Key": submission_id} if submission_id else {}
        answer = self.ask("POST", "/jobs", headers=headers, body=document, workspace=workspace, **params)
        assert answer.status_code in (200, 201), answer.text
        return JobKey.parse(answer.json()["job"])


@pytest.fixture(scope="session")
def over_http() -> list[Function]:
    """The functions of the API; they can be indexed once a process."""
    app = func.FunctionApp()
    app.register_functions(function.blueprint)
    return [_read(declared) for declared in app.get_functions()]


@pytest.fixture(scope="session")
def listener(over_http: list[Function], settings: Settings, store: Store) -> Iterator[HttpListener]:
    names = {"DROPSWEEP_STORAGE": settings.storage.connection_string, "DROPSWEEP_CLUSTERS": "local"}
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(names)
    for cached in (deployment.settings, function._store, function._middleware):
        cached.cache_clear()
    deployment.settings()
    for name, value in before.items():
        os.environ.pop(name) if value is None else os.environ.update({name: value})
    stopping = threading.Event()
    listener = HttpListener(over_http, "api", {}, 0, stopping)
    thread = threading.Thread(target=listener.listen)
    thread.start()
    yield listener
    stopping.set()
    thread.join(60)
    assert not thread.is_alive()


@pytest.fixture
def api(listener: HttpListener) -> Iterator[Api]:
    with requests.Session() as session:
        session.trust_env = False
        yield Api(listener.url, session)


@pytest.fixture
def submission_id() -> str:
    return uuid.uuid4().hex
