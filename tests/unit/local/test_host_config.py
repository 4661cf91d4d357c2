"""What the host reads from host.json and the app settings."""

import json
from pathlib import Path
from typing import Any

import pytest

from dropsweep.errors import ConfigError
from local.host.account import connect
from local.host.config import HostConfig, QueueLimits, read_config, resolve, seconds
from local.paths import ROOT


def _config(folder: Path, settings: dict[str, str] | None = None, **document: Any) -> HostConfig:
    (folder / "host.json").write_text(json.dumps({"version": "2.0", **document}))
    return read_config(folder, settings or {})


def test_an_empty_host_json_means_the_real_hosts_defaults(tmp_path: Path) -> None:
    assert _config(tmp_path) == HostConfig(QueueLimits(16, 8, 5, 0.0, 60.0, is_base64=True), 5, 8, "api")


def test_the_projects_host_json_says_plain_text_and_five_tries() -> None:
    config = read_config(ROOT, {})
    assert not config.queues.is_base64
    assert (config.queues.batch_size, config.queues.new_batch_threshold, config.queues.max_dequeue_count) == (16, 8, 5)


def test_an_app_setting_stands_above_host_json(tmp_path: Path) -> None:
    queues = {"extensions": {"queues": {"batchSize": 4, "maxPollingInterval": "00:00:02"}}}
    settings = {"AzureFunctionsJobHost__extensions__queues__maxPollingInterval": "00:00:00.1"}
    limits = _config(tmp_path, settings, **queues).queues
    assert (limits.batch_size, limits.new_batch_threshold, limits.max_polling_interval_s) == (4, 2, 0.1)


@pytest.mark.parametrize(
    "queues",
    [
        {"batchSize": 33},
        {"batchSize": 0},
        {"batchSize": "many"},
        {"messageEncoding": "utf8"},
        {"visibilityTimeout": "5"},
        {"newBatchThreshold": -1},
    ],
)
def test_a_value_that_cannot_be_is_refused_with_a_remedy(tmp_path: Path, queues: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="Correct it"):
        _config(tmp_path, extensions={"queues": queues})


def test_a_missing_or_older_host_json_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_config(tmp_path, {})
    with pytest.raises(ConfigError, match="version"):
        _config(tmp_path, version="1.0")


@pytest.mark.parametrize(("text", "expected"), [("00:00:30", 30), ("1.02:03:04.5", 93_784.5), ("00:00:00.1", 0.1)])
def test_time_spans_are_read(text: str, expected: float) -> None:
    assert seconds(text) == expected


def test_names_in_percent_signs_are_app_settings() -> None:
    assert resolve("trials-%CLUSTER%-%SIDE%", {"CLUSTER": "local", "SIDE": "a"}) == "trials-local-a"
    with pytest.raises(ConfigError, match="CLUSTER, which is not set"):
        resolve("%CLUSTER%", {})


def test_a_connection_is_a_string_or_two_addresses() -> None:
    account = connect("STORE", {"STORE": "UseDevelopmentStorage=true"})
    assert (account.blobs.account_name, account.queues.account_name) == ("devstoreaccount1", "devstoreaccount1")
    account.blobs.close()
    account.queues.close()
    uris = {f"STORE__{kind}ServiceUri": f"https://mine.{kind}.core.windows.net" for kind in ("blob", "queue")}
    account = connect("STORE", uris)
    assert (account.blobs.account_name, account.queues.account_name) == ("mine", "mine")
    account.blobs.close()
    account.queues.close()
    with pytest.raises(ConfigError, match="no setting names the storage account"):
        connect("STORE", {"STORE__blobServiceUri": "https://mine.blob.core.windows.net"})
