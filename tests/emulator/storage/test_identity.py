"""The account reached without a key, as in Azure: a managed identity's token over TLS.

Azurite checks the token's issuer, audience and lifetime, not its signature. The identity endpoint is a server of this
test that answers as that of App Service does; DefaultAzureCredential finds it by its two environment variables.
"""

import base64
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import parse_qs, urlparse

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from local.azurite import node
from local.paths import ROOT

RESOURCE = "https://storage.azure.com"
PROGRAM = """
import os
import requests
from dropsweep.settings import Settings
from dropsweep.storage import Store
settings = Settings.from_env(os.environ)
assert not settings.storage.connection_string
store = Store.connect(settings.storage, patience_s=0)
store.prepare(settings.cluster_names)
assert store.blobs.create("runs", "a/b.json", b"{}") is not None
assert store.blobs.create("runs", "a/b.json", b"{}") is None
store.queues.send("advance", "look")
[message] = store.queues.receive("advance", visibility_s=5)
store.queues.delete(message)
link = store.blobs.link("runs", "a/b.json", store.blobs.head("runs", "a/b.json").served)
assert requests.get(link.url).content == b"{}"
assert requests.delete(link.url).status_code == 403
print(store.blobs.read("runs", "a/b.json").body)
"""


def write_certificate(folder: Path) -> tuple[Path, Path]:
    """Makes a certificate for 127.0.0.1 that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, key_pem = folder / "cert.pem", folder / "key.pem"
    pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_pem.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return pem, key_pem


class IdentityEndpoint(BaseHTTPRequestHandler):
    """Answers as the identity endpoint of App Service, api-version 2019-08-01."""

    audience = RESOURCE

    def do_GET(self) -> None:
        query = parse_qs(urlparse(self.path).query)
        assert self.headers["X-IDENTITY-HEADER"] == "header"
        assert query["resource"] == [RESOURCE]
        now = int(time.time())
        claims = {
            "aud": self.audience,
            "oid": "11111111-2222-3333-4444-555555555555",
            "tid": "66666666-7777-8888-9999-000000000000",
            "iss": "https://sts.windows.net/tenant/",
            "iat": now - 60,
            "nbf": now - 60,
            "exp": now + 3600,
        }
        parts = [json.dumps(part).encode() for part in ({"alg": "none", "typ": "JWT"}, claims)]
        token = ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts) + ".c2ln"
        answer = {"access_token": token, "expires_on": str(now + 3600), "resource": RESOURCE, "token_type": "Bearer"}
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def identity_endpoint() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), IdentityEndpoint)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/token"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def account(tmp_path: Path, identity_endpoint: str) -> Iterator[dict[str, str]]:
    """The environment of a process that reaches an Azurite with TLS and OAuth by its identity."""
    certificate, key = write_certificate(tmp_path)
    command = [
        *(node(), str(ROOT / "node_modules/azurite/dist/src/azurite.js"), "--oauth=basic"),
        *(f"--cert={certificate}", f"--key={key}", f"--location={tmp_path}", "--silent", "--skipApiVersionCheck"),
        *("--blobPort=0", "--queuePort=0", "--tablePort=0", "--disableTelemetry"),
    ]
    log = tmp_path / "azurite.log"
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, cwd=tmp_path)
    ports: dict[str, str] = {}
    end = time.monotonic() + 60
    while len(ports) < 2 and time.monotonic() < end and process.poll() is None:
        ports = dict(re.findall(r"Azurite (Blob|Queue) service .*?listening at https://[^:\s]+:(\d+)", log.read_text()))
        time.sleep(0.05)
    yield {
        "PATH": os.environ["PATH"],
        "REQUESTS_CA_BUNDLE": str(certificate),
        "IDENTITY_ENDPOINT": identity_endpoint,
        "IDENTITY_HEADER": "header",
        "DROPSWEEP_STORAGE__blobServiceUri": f"https://127.0.0.1:{ports.get('Blob')}/devstoreaccount1",
        "DROPSWEEP_STORAGE__queueServiceUri": f"https://127.0.0.1:{ports.get('Queue')}/devstoreaccount1",
    }
    process.terminate()
    process.wait()


def run(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_an_identity_reaches_blobs_and_queues_without_a_key(account: dict[str, str]) -> None:
    done = run(account)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "b'{}'\n"


def test_a_token_for_something_else_is_denied_and_the_roles_are_named(
    account: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(IdentityEndpoint, "audience", "https://graph.microsoft.com")
    done = run(account)
    assert done.returncode != 0
    assert "StorageDenied" in done.stderr
    assert "Storage Queue Data Contributor" in done.stderr
