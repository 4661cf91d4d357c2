"""Which account or API a text names, and that no secret of it is told."""

import pytest

from dropsweep.cli.session import is_api
from dropsweep.client import Client
from dropsweep.client.account import place_of, settings_of
from dropsweep.errors import ConfigError
from dropsweep.settings import STORAGE, StorageSettings, emulator_connection_string

SECRET = "c2VjcmV0a2V5"
NAMED = f"DefaultEndpointsProtocol=https;AccountName=acme;AccountKey={SECRET};EndpointSuffix=core.windows.net"


def test_an_accounts_url_means_both_services_and_an_identity() -> None:
    for text in ("https://acme.blob.core.windows.net", " https://ACME.blob.core.windows.net/ "):
        expected = StorageSettings(
            blob_uri="https://acme.blob.core.windows.net", queue_uri="https://acme.queue.core.windows.net"
        )
        assert settings_of(text) == expected


def test_a_connection_string_stays_as_it_is_and_the_emulators_is_spelled_out() -> None:
    assert settings_of(NAMED) == StorageSettings(connection_string=NAMED)
    assert settings_of("UseDevelopmentStorage=true").connection_string == emulator_connection_string()


@pytest.mark.parametrize(
    "text",
    [
        "http://acme.blob.core.windows.net",
        "https://acme.blob.core.windows.net/jobs",
        "https://acme.blob.core.windows.net:444",
        f"https://acme.blob.core.windows.net/?sig={SECRET}",
        f"https://me:{SECRET}@acme.blob.core.windows.net",
        "https://acme.example",
        "acme",
        "",
    ],
)
def test_what_names_no_account_is_refused_without_telling_a_secret(text: str) -> None:
    with pytest.raises(ConfigError) as told:
        settings_of(text)
    assert SECRET not in str(told.value)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (NAMED, "https://acme.blob.core.windows.net"),
        ("https://acme.blob.core.windows.net/", "https://acme.blob.core.windows.net"),
        ("UseDevelopmentStorage=true", "http://127.0.0.1:10000/devstoreaccount1"),
        (f"BlobEndpoint=https://acme.example/x/;SharedAccessSignature={SECRET}", "https://acme.example/x"),
        (f"BlobEndpoint=https://acme.example/?sig={SECRET}", "https://acme.example"),
    ],
)
def test_an_account_is_told_by_its_address_without_its_key(text: str, place: str) -> None:
    assert place_of(settings_of(text)) == place


def test_a_client_opens_the_account_that_it_is_given_or_the_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Client(NAMED).place == Client.from_connection_string(NAMED).place == "https://acme.blob.core.windows.net"
    env = {STORAGE: "https://other.blob.core.windows.net"}
    assert Client.from_env(env).place == "https://other.blob.core.windows.net"
    monkeypatch.setenv(STORAGE, NAMED)
    assert Client().place == "https://acme.blob.core.windows.net"
    monkeypatch.delenv(STORAGE)
    with pytest.raises(ConfigError, match="must be named"):
        Client()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://acme.azurewebsites.net/api", True),
        ("http://127.0.0.1:7071/api", True),
        ("https://acme.blob.core.windows.net", False),
        (NAMED, False),
        ("UseDevelopmentStorage=true", False),
        ("BlobEndpoint=https://acme.example/", False),
    ],
)
def test_a_text_on_the_command_line_is_an_api_an_account_or_a_connection_string(text: str, expected: bool) -> None:
    assert is_api(text) is expected
