"""What of this machine's surroundings a request goes by: proxies, and no passwords."""

from pathlib import Path

import pytest
import requests

from dropsweep.storage.transport import transport

PROXY = "http://proxy.example:3128"


@pytest.fixture(autouse=True)
def proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, PROXY)


def proxies(url: str) -> dict[str, str]:
    found = transport(20.0).session.merge_environment_settings(url, {}, False, True, None)["proxies"]
    return dict(found)


@pytest.mark.parametrize("host", ["127.0.0.1:10000", "localhost:10000", "[::1]:10000", "LOCALHOST"])
def test_this_machine_is_reached_without_a_proxy(host: str) -> None:
    assert proxies(f"http://{host}/devstoreaccount1/jobs") == {}


@pytest.mark.parametrize("host", ["account.blob.core.windows.net", "localhost.example", "127.0.0.1.example"])
def test_a_real_account_is_reached_through_the_proxy(host: str) -> None:
    assert proxies(f"https://{host}/jobs")["https"] == PROXY


def test_a_request_with_a_stream_keeps_its_signature_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login anybody password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    signed = requests.Request("PUT", "https://account.example/jobs", headers={"Authorization": "SharedKey a:b"})
    assert transport(20.0).session.prepare_request(signed).headers["Authorization"] == "SharedKey a:b"
