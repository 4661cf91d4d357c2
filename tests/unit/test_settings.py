import pytest

from dropsweep.errors import ConfigError
from dropsweep.settings import Settings, StorageSettings, emulator_connection_string

EMULATOR = {"DROPSWEEP_STORAGE": "UseDevelopmentStorage=true"}
URLS = {
    "DROPSWEEP_STORAGE__blobServiceUri": "https://a.blob.core.windows.net",
    "DROPSWEEP_STORAGE__queueServiceUri": "https://a.queue.core.windows.net",
}


def test_the_short_form_for_the_emulator_is_spelled_out() -> None:
    settings = StorageSettings.from_env(EMULATOR)
    assert settings.connection_string == emulator_connection_string(10000, 10001)


def test_two_urls_stand_for_an_identity() -> None:
    settings = StorageSettings.from_env(URLS | {"DROPSWEEP_STORAGE__clientId": "c"})
    assert (settings.connection_string, settings.client_id) == ("", "c")
    assert settings.blob_uri == "https://a.blob.core.windows.net"
    assert settings.queue_uri == "https://a.queue.core.windows.net"


def test_the_key_is_not_in_what_gets_logged() -> None:
    assert "AccountKey" not in repr(Settings.from_env(EMULATOR))


@pytest.mark.parametrize("name", sorted(URLS))
def test_one_url_alone_is_refused_and_the_other_is_named(name: str) -> None:
    with pytest.raises(ConfigError, match=next(other for other in URLS if other != name)):
        StorageSettings.from_env({name: URLS[name]})


def test_no_account_at_all_is_refused_with_both_ways_to_name_one() -> None:
    with pytest.raises(ConfigError, match=r"DROPSWEEP_STORAGE .*blobServiceUri"):
        StorageSettings.from_env({})


@pytest.mark.parametrize(
    ("extra", "told"),
    [
        ({"DROPSWEEP_STORAGE": "nonsense"}, "AccountName"),
        ({"DROPSWEEP_CLUSTERS": "A100"}, "A100"),
        ({"DROPSWEEP_CLUSTERS": " , "}, "empty"),
        ({"DROPSWEEP_HEARTBEAT_S": "soon"}, "soon"),
        ({"DROPSWEEP_HEARTBEAT_S": "-1"}, "-1"),
        ({"DROPSWEEP_HEARTBEAT_S": "nan"}, "nan"),
        ({"DROPSWEEP_DISPATCH_WINDOW": "0.5"}, "whole number"),
        ({"DROPSWEEP_HEARTBEAT_S": "0.1", "DROPSWEEP_CLAIM_TIMEOUT_S": "0.5"}, "whole seconds"),
        ({"DROPSWEEP_HEARTBEAT_S": "30", "DROPSWEEP_CLAIM_TIMEOUT_S": "60"}, "three heartbeats"),
    ],
)
def test_a_wrong_setting_is_refused_with_its_value(extra: dict[str, str], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        Settings.from_env(EMULATOR | extra)
