from datetime import UTC, datetime
from pathlib import Path

import pytest

from dropsweep.errors import StagingError
from dropsweep.settings import StorageSettings
from dropsweep.storage import Listed, Store
from dropsweep_trainer.staging.downloads import Download
from dropsweep_trainer.staging.objects import Objects

_ACCOUNT = "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=a2V5;BlobEndpoint=http://127.0.0.1:1/a;"
_ACCOUNT += "QueueEndpoint=http://127.0.0.1:1/a"


def listed(name: str, md5: str = "", etag: str = "v1", size_bytes: int = 3) -> Listed:
    return Listed(name, etag, datetime.now(UTC), size_bytes, {}, md5)


def download(folder: Path, *blobs: Listed, container: str = "data", prefix: str = "set/") -> Download:
    store = Store.connect(StorageSettings(_ACCOUNT))
    return Download(store, Objects(folder), container, prefix, blobs, len(prefix))


@pytest.mark.parametrize("name", ["set/../evil", "set/a/../../evil", "set//etc/evil", "set/."])
def test_no_name_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(StagingError, match=f"data/{name} would be written outside its folder"):
        download(tmp_path, listed(name))


def test_the_key_is_that_of_paths_and_contents_wherever_they_lie_in_a_container(tmp_path: Path) -> None:
    a, b = listed("set/a", "00"), listed("set/b", "01")
    key = download(tmp_path, a, b).key
    moved = [listed("other/b", "01", etag="v2"), listed("other/a", "00")]
    assert download(tmp_path, *moved, prefix="other/").key == key
    assert download(tmp_path, *moved, container="code", prefix="other/").key != key
    for others in (
        (a,),
        (a, listed("set/b", "02")),
        (a, listed("set/c", "01")),
        (a, listed("set/b", "01", size_bytes=4)),
        (listed("set/a", "01"), listed("set/b", "00")),
        (a, b, listed("set/empty", size_bytes=0)),
    ):
        assert download(tmp_path, *others).key != key


def test_without_a_hash_the_key_is_that_of_blob_and_version(tmp_path: Path) -> None:
    key = download(tmp_path, listed("set/a")).key
    assert download(tmp_path, listed("set/a")).key == key
    assert download(tmp_path, listed("set/a", etag="v2")).key != key
    assert download(tmp_path, listed("set/a"), container="code").key != key
    assert download(tmp_path, listed("other/a"), prefix="other/").key != key


def test_a_snapshot_s_key_is_its_digest(tmp_path: Path) -> None:
    digest = "ab" * 32
    prefix = f"sha256/{digest}/"
    assert download(tmp_path, listed(f"{prefix}a"), container="code", prefix=prefix).key == f"snapshot-{digest}"
    assert digest not in download(tmp_path, listed(f"{prefix}a"), container="data", prefix=prefix).key
