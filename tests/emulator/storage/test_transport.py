"""What stands in this machine's environment and files changes no request that the SDK has signed."""

from pathlib import Path

import pytest

from dropsweep.names import RUNS
from dropsweep.settings import Settings
from dropsweep.storage import Store

pytestmark = pytest.mark.usefixtures("store")  # the account has its containers


@pytest.fixture
def netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A person's passwords for other services, as curl and git read them."""
    file = tmp_path / "netrc"
    file.write_text("machine 127.0.0.1 login somebody password secret\ndefault login anybody password secret\n")
    file.chmod(0o600)
    monkeypatch.setenv("NETRC", str(file))


@pytest.mark.usefixtures("netrc")
@pytest.mark.parametrize("size_bytes", [10, 9 * 1024 * 1024])
def test_a_password_file_takes_no_signature_away(
    settings: Settings, workspace: str, tmp_path: Path, size_bytes: int
) -> None:
    file, back = tmp_path / "model.bin", tmp_path / "back.bin"
    file.write_bytes(b"a" * size_bytes)
    store = Store.connect(settings.storage)
    store.blobs.upload(RUNS, f"{workspace}/model.bin", file)
    assert store.blobs.download(RUNS, f"{workspace}/model.bin", back)
    assert back.read_bytes() == file.read_bytes()


def test_names_of_any_script_and_sign_arrive_as_they_are(settings: Settings, workspace: str) -> None:
    store = Store.connect(settings.storage)
    names = [f"{workspace}/{name}" for name in ("a b", "ä/ö", "100%", "a+b=c&d", "q?x#y", "日本")]
    for name in names:
        store.blobs.put(RUNS, name, name.encode())
        blob = store.blobs.read(RUNS, name)
        assert blob is not None
        assert blob.body == name.encode()
    assert sorted(found.name for found in store.blobs.list(RUNS, f"{workspace}/")) == sorted(names)


def test_more_blobs_than_clients_are_kept_do_not_get_mixed_up(settings: Settings, workspace: str) -> None:
    store = Store.connect(settings.storage)
    bodies = {f"{workspace}/{number}.txt": str(number).encode() for number in range(140)}
    for name, body in bodies.items():
        store.blobs.put(RUNS, name, body)
    for name, body in bodies.items():
        blob = store.blobs.read(RUNS, name)
        assert blob is not None
        assert blob.body == body
