"""Which version of a blob is downloaded, and what a list says of its content."""

import hashlib
from pathlib import Path

from azure.storage.blob import BlobClient, BlobType, ContentSettings

from dropsweep.names import CODE
from dropsweep.storage import Digest, Store


def test_a_download_of_a_version_gives_that_one_or_none(store: Store, workspace: str, tmp_path: Path) -> None:
    name, file = f"{workspace}/a", tmp_path / "a"
    for size_bytes in (3, 20 * 2**20):  # in one request, and in several
        [old, new] = [bytes([number]) * size_bytes for number in (1, 2)]
        first = store.blobs.put(CODE, name, old)
        assert store.blobs.download(CODE, name, file, etag=first.etag)
        assert file.read_bytes() == old
        second = store.blobs.put(CODE, name, new)
        assert not store.blobs.download(CODE, name, file, etag=first.etag, digest=Digest())
        assert not file.exists()
        assert store.blobs.download(CODE, name, file, etag=second.etag)
        assert file.read_bytes() == new
    store.blobs.delete(CODE, name)
    assert not store.blobs.download(CODE, name, file, etag=second.etag)
    assert not file.exists()


def test_a_list_has_the_hashes_of_block_blobs_that_the_service_has(
    store: Store, workspace: str, connection_string: str
) -> None:
    store.blobs.put(CODE, f"{workspace}/known", b"content")
    store.blobs.put(CODE, f"{workspace}/unknown", b"content")
    with BlobClient.from_connection_string(connection_string, CODE, f"{workspace}/unknown") as blob:
        blob.set_http_headers(ContentSettings())
    with BlobClient.from_connection_string(connection_string, CODE, f"{workspace}/grows") as blob:
        # A client says it once, and the service keeps it whatever is appended.
        settings = ContentSettings(content_md5=bytearray(hashlib.md5(b"content", usedforsecurity=False).digest()))
        blob.upload_blob(b"content", blob_type=BlobType.APPENDBLOB, content_settings=settings)
    found = {blob.name.rpartition("/")[2]: blob.content_md5 for blob in store.blobs.list(CODE, f"{workspace}/")}
    md5 = hashlib.md5(b"content", usedforsecurity=False).hexdigest()
    assert found == {"known": md5, "unknown": "", "grows": ""}
