"""Data that is uploaded for jobs to read: what lies where afterwards, and what is refused."""

import hashlib
import json
import os
import pty
import select
import signal
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest

from dropsweep.cli.exits import ExitCode
from dropsweep.client import Client
from dropsweep.client.datasets import UploadProgress
from dropsweep.errors import ConflictError, StorageUnavailable
from dropsweep.storage import SINGLE_PUT_BYTES, Blobs
from tests.emulator.client.conftest import Run

BOTH_WAYS = True


@pytest.fixture
def name() -> str:
    return f"set-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of five files, of which one is empty."""
    root = tmp_path / "here"
    (root / "sub").mkdir(parents=True)
    for number in range(4):
        (root / "sub" / f"{number}.txt").write_text(f"file {number}\n")
    (root / ".empty").touch()
    return root


def stored(client: Client, name: str, container: str = "data") -> dict[str, bytes]:
    prefix = f"{name}/"
    found = {}
    for blob in client.store.blobs.files(container, prefix):
        content = client.store.blobs.read(container, blob.name)
        assert content is not None
        found[blob.name.removeprefix(prefix)] = content.body
    return found


def local(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_is_uploaded_and_the_lines_for_the_job_file_are_all_that_is_printed(
    run: Run, account: Client, connection_string: str, folder: Path, name: str
) -> None:
    done = run("upload", folder, name)
    assert done.exit_code == 0
    assert done.stdout == f"inputs:\n  {name}:\n    type: uri_folder\n    path: data/{name}\n"
    assert f"data/{name}: 5 files sent (28 bytes)" in done.stderr
    assert f"${{{{inputs.{name}}}}}" in done.stderr
    assert stored(account, name) == local(folder)


def test_what_is_there_with_the_same_content_is_not_sent_again(
    run: Run, account: Client, connection_string: str, folder: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (folder / "large.bin").open("wb") as file:
        file.write(os.urandom(SINGLE_PUT_BYTES + 1))
    assert run("upload", folder, name).exit_code == 0
    [large] = [blob for blob in account.store.blobs.list("data", f"{name}/") if blob.name.endswith("large.bin")]
    assert large.content_md5 == hashlib.md5((folder / "large.bin").read_bytes(), usedforsecurity=False).hexdigest()
    monkeypatch.setattr(Blobs, "upload", None)  # nothing may be sent
    told = json.loads(run("upload", folder, name, "--json").stdout)
    counts = (told["num_files"], told["size_bytes"], told["num_same"], told["num_others"])
    assert counts == (0, 0, 6, 0)
    assert told["inputs"] == {name: {"type": "uri_folder", "path": f"data/{name}"}}
    assert told["path"] == f"data/{name}"


def test_a_place_that_holds_something_else_is_left_alone_unless_that_is_asked_for(
    run: Run, account: Client, connection_string: str, folder: Path, name: str
) -> None:
    account.store.blobs.create_container("data")
    account.store.blobs.put("data", f"{name}/other.txt", b"other")
    refused = run("upload", folder, name)
    assert refused.exit_code == ExitCode.FAILED
    assert f"data/{name} holds 1 blob that the folder has not: nothing was sent" in refused.stderr
    assert "--add" in refused.stderr
    assert stored(account, name) == {"other.txt": b"other"}
    added = run("upload", folder, name, "--add")
    assert "5 files sent (28 bytes), 1 other blob left there" in added.stderr
    assert stored(account, name) == {**local(folder), "other.txt": b"other"}


def test_other_content_is_overwritten_by_replace_alone(
    run: Run, account: Client, connection_string: str, folder: Path, name: str
) -> None:
    run("upload", folder, name)
    (folder / "sub" / "2.txt").write_text("FILE 2\n")  # of the same length
    (folder / "new.txt").write_text("new")
    before = stored(account, name)
    for options in ((), ("--add",)):
        refused = run("upload", folder, name, *options)
        assert refused.exit_code == ExitCode.FAILED
        assert "other content under the names of sub/2.txt: nothing was sent" in refused.stderr
        assert "--replace overwrites" in refused.stderr
        assert stored(account, name) == before
    done = run("upload", folder, name, "--replace")
    assert "2 files sent (10 bytes), 4 there already" in done.stderr
    assert stored(account, name) == local(folder)


@pytest.mark.parametrize(
    ("their", "our"), [("sub", "sub/0.txt"), ("sub/0.txt/part/1", "sub/0.txt"), (".empty/a", ".empty")]
)
def test_a_file_is_never_put_where_a_folder_is_nor_a_folder_where_a_file_is(
    run: Run, account: Client, connection_string: str, folder: Path, name: str, their: str, our: str
) -> None:
    account.store.blobs.create_container("data")
    account.store.blobs.put("data", f"{name}/{their}", b"other")
    for options in ((), ("--add",), ("--replace",)):
        refused = run("upload", folder, name, *options)
        assert refused.exit_code == ExitCode.FAILED
        told = f"data/{name} holds {their}, and the folder has {our}: {min(their, our, key=len)} cannot be a file and"
        assert told in refused.stderr
        assert "Nothing was sent" in refused.stderr
        assert stored(account, name) == {their: b"other"}


@pytest.mark.parametrize(
    ("error", "goes_on"),
    [(StorageUnavailable("no answer"), True), (ConflictError("edited"), False), (PermissionError(13, "no"), False)],
)
def test_only_what_may_be_over_soon_promises_that_the_same_command_goes_on(
    run: Run,
    connection_string: str,
    folder: Path,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    goes_on: bool,
) -> None:
    send = Blobs.upload

    def upload(blobs: Blobs, container: str, blob: str, file: Path, **more: Any) -> None:
        if blob.endswith("3.txt"):  # the fifth, which begins when another one is there
            raise error
        send(blobs, container, blob, file, **more)

    monkeypatch.setattr(Blobs, "upload", upload)
    done = run("upload", folder, name)
    assert done.exit_code != 0
    assert f" of 5 files are in data/{name}, each as a whole" in done.stderr
    assert ("the same command goes on" in done.stderr) is goes_on


def test_a_container_is_made_when_there_is_none_and_one_of_ours_is_refused(
    run: Run, account: Client, connection_string: str, folder: Path, name: str
) -> None:
    container = f"c{uuid.uuid4().hex[:12]}"
    assert run("upload", folder, f"{container}/deep/{name}").exit_code == 0
    assert stored(account, f"deep/{name}", container) == local(folder)
    assert run("upload", folder, f"jobs/{name}").exit_code == ExitCode.USAGE
    assert list(account.store.blobs.list("jobs", f"{name}/")) == []


def test_over_http_it_is_said_that_the_account_is_needed(run: Run, way: str, folder: Path, name: str) -> None:
    done = run("upload", folder, name)
    if way == "http":
        assert done.exit_code == ExitCode.USAGE
        assert done.stdout == ""
        assert "data is not uploaded over HTTP" in done.stderr
        assert "Name the storage account: --connection" in done.stderr
    else:
        assert done.exit_code == 0


def test_an_upload_that_is_ended_keeps_what_is_whole_and_goes_on_from_there(
    account: Client, connection_string: str, folder: Path, name: str
) -> None:
    class Enough(Exception):
        pass

    for number in range(35):
        (folder / f"more-{number}").write_text(f"{number}")
    progress = UploadProgress()

    def check() -> None:
        if progress.num_sent >= 2:
            raise Enough

    with pytest.raises(Enough):
        account.upload(folder, name, progress=progress, check=check)
    there = stored(account, name)
    assert 2 <= len(there) == progress.num_sent < 40
    assert there.items() <= local(folder).items()
    done = account.upload(folder, name)
    assert (done.num_files, done.num_same, done.num_others) == (40 - len(there), len(there), 0)
    assert stored(account, name) == local(folder)


def test_a_file_that_was_edited_while_it_was_sent_is_told(
    account: Client, connection_string: str, folder: Path, name: str
) -> None:
    class Editing(UploadProgress):
        def send(self, num_bytes: int) -> None:
            super().send(num_bytes)
            (folder / "sub" / "3.txt").write_text("edited, and longer than before")

    with pytest.raises(ConflictError, match=r"sub/3\.txt was edited while it was sent.*--replace"):
        account.upload(folder, name, progress=Editing())
    account.upload(folder, name, existing="replace")
    assert stored(account, name) == local(folder)


_HELD = """
import itertools, signal, time
signal.signal(signal.SIGINT, signal.default_int_handler)
from dropsweep.cli import main
from dropsweep.storage import Blobs
send, numbers = Blobs.upload, itertools.count()
def held(blobs, *arguments, check, **more):
    number = next(numbers)
    while number >= 2:
        time.sleep(0.01)
        try:
            check()
        except Exception:
            if number > 2:
                raise
            time.sleep(0.5)  # a request that is on its way
            break
    send(blobs, *arguments, **more)
Blobs.upload = held
main()
"""


def test_ctrl_c_ends_an_upload_and_says_what_was_done_with_what_was_on_its_way(
    run: Run, account: Client, connection_string: str, folder: Path, name: str
) -> None:
    env = {**os.environ, "DROPSWEEP_STORAGE": connection_string, "DROPSWEEP_URL": "", "TERM": "xterm", "COLUMNS": "200"}
    env["PYTHONPATH"] = os.pathsep.join(sys.path)
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", _HELD, "upload", str(folder), name]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=theirs) as process:
        os.close(theirs)
        shown, has_signalled = b"", False
        while select.select([ours], [], [], 60)[0]:
            try:
                piece = os.read(ours, 65536)
            except OSError:  # Linux says so when the other side is closed
                break
            if not piece:
                break
            shown += piece
            if b"2/5 files" in shown and not has_signalled:
                process.send_signal(signal.SIGINT)
                has_signalled = True
        assert process.wait(60) == ExitCode.INTERRUPTED
        assert process.stdout is not None
        assert process.stdout.read() == b""
    os.close(ours)
    assert has_signalled, shown
    assert f"3 of 5 files are in data/{name}, each as a whole; the same command goes on from there" in shown.decode()
    assert len(stored(account, name)) == 3
    assert "2 files sent" in run("upload", folder, name).stderr
    assert stored(account, name) == local(folder)
