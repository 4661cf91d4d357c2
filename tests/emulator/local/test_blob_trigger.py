"""The host's blob trigger, against the storage emulator."""

import json
import time
from typing import Any

from azure.storage.queue import QueueClient

from local.host.blob import POISON_QUEUE

from .conftest import HostProcess, wait_until


def _blobs(host: HostProcess, name: str) -> list[dict[str, Any]]:
    path = f"{host.container.container_name}/{name}"
    return [event for event in host.events("blob") if event["name"] == path]


def test_a_blob_in_folders_fires_with_its_content_and_properties(host: HostProcess) -> None:
    client = host.container.upload_blob("team/mnist/sweep.yaml", b"type: sweep")
    wait_until(lambda: _blobs(host, "team/mnist/sweep.yaml"), "the call")
    (event,) = _blobs(host, "team/mnist/sweep.yaml")
    assert (event["text"], event["length"], event["uri"]) == ("type: sweep", 11, client.url)
    assert event["properties"]["ETag"] == client.get_blob_properties().etag
    assert event["properties"]["ContentLength"] == 11


def test_each_version_of_a_blob_fires_once(host: HostProcess) -> None:
    for version in range(3):
        host.container.upload_blob("a.yaml", f"version {version}", overwrite=True)
        wait_until(lambda seen=version + 1: len(_blobs(host, "a.yaml")) == seen, "the call")
    time.sleep(0.7)
    assert [event["text"] for event in _blobs(host, "a.yaml")] == ["version 0", "version 1", "version 2"]


def test_a_restart_does_not_fire_again_but_finds_what_came_meanwhile(host: HostProcess) -> None:
    host.container.upload_blob("before.yaml", "before")
    wait_until(lambda: _blobs(host, "before.yaml"), "the call")
    assert host.stop() == 0
    host.container.upload_blob("meanwhile.yaml", "meanwhile")
    host.start()
    wait_until(lambda: _blobs(host, "meanwhile.yaml"), "the call")
    time.sleep(0.5)
    assert len(_blobs(host, "before.yaml")) == len(_blobs(host, "meanwhile.yaml")) == 1


def test_a_failing_blob_is_given_up_after_five_tries_for_good(host: HostProcess, connection_string: str) -> None:
    host.container.upload_blob("bad.yaml", "fail always")
    wait_until(lambda: "Its name was put on queue" in host.log.read_text(), "the move")
    assert list(host.container.list_blob_names()) == ["bad.yaml"]
    with QueueClient.from_connection_string(connection_string, POISON_QUEUE) as poison:
        bodies = [json.loads(message.content) for message in poison.peek_messages(max_messages=32)]
    (body,) = [body for body in bodies if body["ContainerName"] == host.container.container_name]
    assert (body["BlobName"], body["FunctionId"]) == ("bad.yaml", "Host.Functions.on_blob")
    host.stop()
    host.start()
    time.sleep(1.0)
    assert len(_blobs(host, "bad.yaml")) == 5
