"""Files of a job: what is listed, what is sent, and that nobody gets at anything else."""

import socket
from urllib.parse import quote, urlsplit

import pytest
import requests
from azure.storage.blob import BlobServiceClient

from dropsweep.names import RUNS, JobKey
from dropsweep.records import JobRecord
from dropsweep.settings import Settings, StorageSettings
from dropsweep.storage import Store
from tests.emulator.api.conftest import Api
from tests.emulator.api.test_reading import job

__all__ = ["job"]


def test_all_files_are_listed_page_by_page(api: Api, job: JobRecord) -> None:
    seen: list[str] = []
    cursor = None
    while True:
        page = api.get(f"/jobs/{job.key.path}/files", limit=2, cursor=cursor).json()
        seen += [item["path"] for item in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert seen == sorted(seen)
    assert {"job.json", "records/0000/0000001.json", "trials/0000000/attempts/1/stdout.txt"} <= set(seen)


def test_the_files_of_one_trial_come_with_the_job_s_results(api: Api, job: JobRecord) -> None:
    items = api.get(f"/jobs/{job.key.path}/files", trial=0).json()["items"]
    paths = [item["path"] for item in items]
    assert {"job.json", "records/0000/0000000.json", "trials/0000000/attempts/1/outputs/model.bin"} <= set(paths)
    assert not any("0000001" in path for path in paths)
    assert {item["path"]: item["size_bytes"] for item in items}["trials/0000000/attempts/1/outputs/model.bin"] == 1024


def test_a_file_is_sent_whole_or_in_parts(api: Api, job: JobRecord) -> None:
    at = f"/jobs/{job.key.path}/files/trials/0000000/attempts/1/outputs/model.bin"
    whole = api.get(at)
    assert (whole.status_code, whole.content) == (200, bytes(range(256)) * 4)
    assert whole.headers["Content-Security-Policy"].startswith("sandbox; default-src 'none'")
    assert "script" not in whole.headers["Content-Security-Policy"]
    assert whole.headers["Referrer-Policy"] == "no-referrer"
    part = api.get(at, headers={"Range": "bytes=250-259"})
    assert (part.status_code, part.content) == (206, bytes([250, 251, 252, 253, 254, 255, 0, 1, 2, 3]))
    assert api.get(at, headers={"If-None-Match": whole.headers["ETag"]}).status_code == 304


def test_only_the_job_s_own_report_runs_its_script(api: Api, store: Store, job: JobRecord) -> None:
    for path, runs in (("report.html", True), ("trials/0000000/attempts/1/outputs/report.html", False)):
        store.blobs.put(RUNS, f"{job.key.path}/{path}", b"<script>location.href</script>")
        told = api.get(f"/jobs/{job.key.path}/files/{path}").headers["Content-Security-Policy"]
        assert ("allow-scripts" in told) == ("script-src 'unsafe-inline'" in told) == runs
        assert "default-src 'none'" in told


def test_a_file_that_does_not_fit_into_an_answer_is_never_cut_unasked(api: Api, store: Store, job: JobRecord) -> None:
    at = f"/jobs/{job.key.path}/files/trials/0000000/attempts/1/outputs/large.bin"
    fitting = bytes(5 * 2**20)
    store.blobs.put(RUNS, f"{job.key.outputs(0, 1)}large.bin", fitting)
    whole = api.get(at)
    assert (whole.status_code, whole.content) == (200, fitting)
    store.blobs.put(RUNS, f"{job.key.outputs(0, 1)}large.bin", bytes(32 * 2**20 + 1))
    refused = api.get(at)
    assert (refused.status_code, refused.json()["type"]) == (422, "/problems/too-long")
    assert "link=true" in refused.json()["detail"]
    part = api.get(at, headers={"Range": "bytes=0-"})
    assert (part.status_code, len(part.content)) == (206, 32 * 2**20)


@pytest.mark.parametrize("name", ["ä ö.txt", "100%.txt", "a+b&c=d?.txt", "semi;colon", "quote'\"", "日本"])
def test_a_file_of_any_name_is_found_again(api: Api, store: Store, job: JobRecord, name: str) -> None:
    store.blobs.put(RUNS, f"{job.key.outputs(0, 1)}{name}", b"x")
    listed = [item["path"] for item in api.get(f"/jobs/{job.key.path}/files").json()["items"]]
    path = f"trials/0000000/attempts/1/outputs/{name}"
    assert path in listed
    assert api.get(f"/jobs/{job.key.path}/files/{quote(path)}").content == b"x"


def raw(api: Api, path: str) -> int:
    """Sends a path that no client library would leave as it is; returns the status."""
    port = urlsplit(api.url).port
    with socket.create_connection(("127.0.0.1", port), timeout=60) as line:
        host = f"Host: 127.0.0.1:{port}".encode()
        line.sendall(b"GET " + path.encode("latin-1") + b" HTTP/1.1\r\n" + host + b"\r\nConnection: close\r\n\r\n")
        return int(line.makefile("rb").readline().split()[1])


@pytest.mark.parametrize(
    "way",
    [
        "../other/job.json",
        "%2e%2e/other/job.json",
        "..%2fother/job.json",
        "%2e%2e%2fother%2fjob.json",
        "..%252fother/job.json",
        "..\\other\\job.json",
        "..%5cother%5cjob.json",
        "./../other/job.json",
        "a/../../other/job.json",
        "%2fjobs",
        "//job.json",
        "job.json/",
        "job.json%00",
        "%00",
        "%ff%fe",
        "%ed%a0%80",
        "%0d%0aX:1",
        "%c2%85",
        "a" * 1100,
        "%E2%80%AE",
    ],
)
def test_no_path_leads_out_of_a_job_s_folder_or_breaks_anything(
    api: Api, store: Store, job: JobRecord, way: str
) -> None:
    other = JobKey(job.key.workspace, job.key.experiment, "other")
    store.blobs.put(RUNS, other.record, b"secret")
    assert raw(api, f"/api/jobs/{job.key.path}/files/{way}") in (400, 404, 422)


def test_odd_names_in_every_place_are_refused_and_never_a_crash(api: Api) -> None:
    for odd in ("%00", "%ff", "..%2f", "%2e", "%F0%9F%98%80", "a%0Ab", "-", "~", "'", '"', "<script>", "{job}"):
        for path in (f"/jobs/{odd}/e/j", f"/jobs/w/{odd}/j/best", f"/jobs/w/e/{odd}/trials/0", f"/schedules/w/{odd}"):
            assert raw(api, f"/api{path}") in (400, 404, 405, 422), path
        for path in (f"/jobs/w/e/j/trials/{odd}", f"/code/sha256/{odd}", f"/{odd}", f"/jobs?workspace={odd}"):
            assert raw(api, f"/api{path}") in (400, 404, 405, 422), path


def test_a_link_reads_its_file_without_a_key_and_nothing_else(api: Api, job: JobRecord) -> None:
    made = api.get(f"/jobs/{job.key.path}/files/job.json", link="true")
    assert made.headers["Cache-Control"] == "no-store"
    url = made.json()["url"]
    read = requests.get(url, timeout=60)
    assert JobRecord.from_json(read.content) == job
    assert requests.put(url, data=b"x", headers={"x-ms-blob-type": "BlockBlob"}, timeout=60).status_code == 403
    assert requests.delete(url, timeout=60).status_code == 403
    elsewhere = url.replace("job.json", "records/0000/0000000.json")
    assert requests.get(elsewhere, timeout=60).status_code == 403


def test_a_link_to_nothing_is_404(api: Api, job: JobRecord) -> None:
    assert api.get(f"/jobs/{job.key.path}/files/nothing", link="true").status_code == 404


def test_an_account_opened_with_a_signature_makes_no_links(settings: Settings, store: Store, key: JobKey) -> None:
    from datetime import UTC, datetime, timedelta

    from azure.storage.blob import AccountSasPermissions, ResourceTypes, generate_account_sas

    with BlobServiceClient.from_connection_string(settings.storage.connection_string) as account:
        sas = generate_account_sas(
            account_name=str(account.account_name),
            account_key=account.credential.account_key,
            resource_types=ResourceTypes(service=True, container=True, object=True),
            permission=AccountSasPermissions(read=True, list=True),
            expiry=datetime.now(UTC) + timedelta(hours=1),
        )
        blob_uri = account.url.rstrip("/")
    queue_uri = dict(part.split("=", 1) for part in settings.storage.connection_string.split(";") if part)[
        "QueueEndpoint"
    ]
    text = f"BlobEndpoint={blob_uri};QueueEndpoint={queue_uri};SharedAccessSignature={sas}"
    signed = Store.connect(StorageSettings(text))
    store.blobs.put(RUNS, key.record, b"x")
    head = signed.blobs.head(RUNS, key.record)
    assert head is not None
    assert signed.blobs.link(RUNS, key.record, head.served) is None
