"""`dropsweep doctor` where the HTTP API looks in our place."""

import json

import pytest
from typer.testing import CliRunner

from dropsweep import __version__
from dropsweep.cli import app
from dropsweep.cli.exits import ExitCode
from dropsweep.client.doctor import here
from dropsweep.client.doctor.findings import CONNECTION, Status
from dropsweep.client.http import HttpClient
from tests.emulator.client.conftest import API_KEY


def examined(url: str, key: str = API_KEY) -> tuple[int, list[dict[str, str]]]:
    env = {"DROPSWEEP_URL": url, "DROPSWEEP_KEY": key, "DROPSWEEP_STORAGE": ""}
    done = CliRunner().invoke(app, ["doctor", "--json"], env=env, catch_exceptions=False)
    findings: list[dict[str, str]] = json.loads(done.stdout)["findings"]
    return done.exit_code, findings


def test_what_the_functions_see_is_told_after_both_versions_and_the_address(api_url: str) -> None:
    _, findings = examined(api_url)
    assert findings[0]["message"].startswith(f"here: dropsweep {__version__}")
    assert findings[1]["message"].startswith(f"{api_url} answers, with dropsweep {__version__}")
    assert {finding["check"] for finding in findings[2:]} >= {"connection", "containers", "jobs", "quotas"}
    assert findings[2:] == [
        finding.to_json() | {"message": told["message"]}
        for finding, told in zip(HttpClient(api_url, API_KEY).examine(), findings[2:], strict=True)
    ], "but for times"


def test_functions_of_another_version_are_told(api_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # The API runs in this process too: it is this side that changes.
    monkeypatch.setattr(here, "__version__", "99.0")
    _, findings = examined(api_url)
    told = [finding for finding in findings if (finding["check"], finding["status"]) == ("versions", "warning")]
    assert told[0]["message"].startswith(f"the functions that serve the HTTP API run dropsweep {__version__}")
    assert told[0]["remedy"] == "Deploy the functions anew"


@pytest.mark.parametrize(("url", "key"), [("http://127.0.0.1:9/api", API_KEY), ("", "a-wrong-key")])
def test_an_api_that_does_not_answer_or_refuses_is_the_finding(api_url: str, url: str, key: str) -> None:
    code, findings = examined(url or api_url, key)
    assert code == ExitCode.FAILED
    assert (findings[-1]["check"], findings[-1]["status"]) == (CONNECTION, Status.ERROR)
    assert findings[-1]["remedy"]
    assert key not in json.dumps(findings)
