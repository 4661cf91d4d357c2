"""What is peculiar to the way over HTTP: submissions that are answered at once, code, files, and what cannot be had."""

import json
import os
import uuid
from pathlib import Path

import pytest
import requests

from dropsweep.cli.exits import ExitCode
from dropsweep.client import Client
from dropsweep.client.code import read_folder
from dropsweep.client.http import HttpClient
from dropsweep.client.http.web import KEY_HEADER
from dropsweep.errors import DropsweepError, NotFoundError, SpecError, StorageDenied, SubmissionReused
from dropsweep.names import CODE
from dropsweep.records import JobRecord
from dropsweep.states import JobState, TrialReason
from tests.emulator.client.conftest import API_KEY, Run, World

COMMAND = "type: command\nname: hello\ncode: ./src\ncommand: python train.py\n"


@pytest.fixture
def http(api_url: str) -> HttpClient:
    return HttpClient(api_url, API_KEY, patience_s=0)


@pytest.fixture
def job_file(tmp_path: Path) -> Path:
    (tmp_path / "src" / "sub").mkdir(parents=True)
    (tmp_path / "src" / "train.py").write_text(f"print({os.urandom(8).hex()!r})")
    (tmp_path / "src" / "sub" / "data #1 + é?.txt").write_bytes(b"")
    file = tmp_path / "job.yaml"
    file.write_text(COMMAND)
    return file


def answers_of(client: HttpClient) -> list[requests.Response]:
    """Every answer that the client gets from now on."""
    seen: list[requests.Response] = []
    client._web._session.hooks["response"].append(lambda response, **_: seen.append(response))
    return seen


def test_a_submitted_file_is_a_job_at_once_with_its_code_uploaded_once(
    world: World, http: HttpClient, job_file: Path
) -> None:
    seen = answers_of(http)
    job = http.submit(job_file, workspace=world.workspace)
    assert http.record(job.key).state is JobState.QUEUED
    assert http.spec(job.key).command == "python train.py"
    folder = read_folder(job_file.parent / "src", where="code").blob
    names = {found.name.removeprefix(f"{folder}/") for found in world.store.blobs.list(CODE, f"{folder}/")}
    assert names == {"train.py", "sub/data #1 + é?.txt"}
    assert [answer.request.method for answer in seen].count("PUT") == 2
    seen.clear()
    http.submit(job_file, workspace=world.workspace)
    assert "PUT" not in {answer.request.method for answer in seen}


def test_one_submission_id_is_one_job_whichever_way_it_comes(
    world: World, http: HttpClient, account: Client, tmp_path: Path
) -> None:
    file = tmp_path / "job.yaml"
    file.write_text("type: command\ncommand: x\n")
    submission_id = uuid.uuid4().hex
    first = http.submit(file, workspace=world.workspace, submission_id=submission_id).key
    assert http.submit(file, workspace=world.workspace, submission_id=submission_id).key == first
    assert account.submit(file, workspace=world.workspace, submission_id=submission_id).key == first
    file.write_text("type: command\ncommand: y\n")
    with pytest.raises(SubmissionReused):
        http.submit(file, workspace=world.workspace, submission_id=submission_id)


def test_a_file_that_is_wrong_is_refused_with_every_problem(
    world: World, http: HttpClient, run: Run, api_url: str, tmp_path: Path
) -> None:
    file = tmp_path / "job.yaml"
    file.write_text("type: command\ncomand: x\ntimeout: -1\n")
    with pytest.raises(SpecError) as told:
        http.submit(file, workspace=world.workspace)
    assert len(told.value.problems) > 1
    with pytest.raises(NotFoundError):
        http.workspace(world.workspace)
    done = run("submit", file, "-w", world.workspace, "--url", api_url)
    assert done.exit_code == ExitCode.REJECTED
    assert done.stderr.count("\n") >= len(told.value.problems)


def test_a_code_folder_that_does_not_go_over_http_is_refused_before_anything_is_sent(
    world: World, http: HttpClient, job_file: Path
) -> None:
    (job_file.parent / "src" / "data%41").write_text("x")
    seen = answers_of(http)
    with pytest.raises(SpecError, match=r"data%41: .*decoded more than once"):
        http.submit(job_file, workspace=world.workspace)
    (job_file.parent / "src" / "data%41").unlink()
    with (job_file.parent / "src" / "data.bin").open("wb") as large:
        large.truncate(65 * 2**20)  # takes no space on the disk
    with pytest.raises(SpecError, match=r"data\.bin: .*at most 64 MiB"):
        http.submit(job_file, workspace=world.workspace)
    assert seen == []


@pytest.mark.parametrize("size_bytes", [0, 1, 4 * 2**20, 4 * 2**20 + 1, 40 * 2**20])
@pytest.mark.parametrize("has_links", [True, False])
def test_a_file_of_any_size_comes_home_whole(
    world: World, sweep: JobRecord, http: HttpClient, tmp_path: Path, size_bytes: int, has_links: bool
) -> None:
    content = os.urandom(size_bytes)
    world.file(f"{sweep.key.outputs(1, 2)}model.bin", content)
    if not has_links:

        def refuse(response: requests.Response, **_: object) -> None:
            if "link=true" in str(response.url):
                response.status_code = 501

        http._web._session.hooks["response"].append(refuse)
    seen = answers_of(http)
    http.download(sweep.key, tmp_path / "home", trial=1)
    (found,) = (tmp_path / "home").rglob("model.bin")
    assert found.read_bytes() == content
    straight = [answer for answer in seen if "/api/" not in str(answer.url)]
    assert len(straight) == (1 if has_links and size_bytes > 4 * 2**20 else 0)
    assert all(KEY_HEADER not in answer.request.headers for answer in straight)


def test_a_file_whose_name_cannot_be_said_over_http_is_left_out_and_never_taken_for_another(
    world: World, sweep: JobRecord, http: HttpClient, run: Run, api_url: str, tmp_path: Path
) -> None:
    name = f"{sweep.key.outputs(1, 2)}a%41.txt"
    world.file(name, "with %")
    world.file(f"{sweep.key.outputs(1, 2)}aA.txt", "another")
    done = http.download(sweep.key, tmp_path / "home", trial=1)
    ((left_out, reason),) = [(blob.name, blob.reason) for blob in done.refused]
    assert left_out == name
    assert "cannot be asked for over HTTP" in reason
    told = run("download", sweep.key.path, tmp_path / "other", "--trial", 1, "--url", api_url, "--json")
    assert told.exit_code == ExitCode.FAILED
    assert json.loads(told.stdout)["refused"] == [{"name": name, "reason": reason}]


def test_a_log_that_grows_is_read_on_from_where_the_last_read_ended(world: World, http: HttpClient) -> None:
    record = world.job()
    world.trial(0, TrialReason.CLAIMED)
    name = record.key.stdout(0, 1)
    lines = [f"line {number}\n".encode() * 1000 for number in range(4)]
    seen = answers_of(http)
    pieces = http.logs(record.key, 0, follow=True)
    offset, got = 0, b""
    for line in lines:
        assert world.store.blobs.append("runs", name, line, offset)
        offset += len(line)
        while len(got) < offset:
            got += next(pieces)
    world.trial(0, TrialReason.SUCCEEDED, 0.5)
    assert b"".join([got, *pieces]) == b"".join(lines)
    sent = sum(len(answer.content) for answer in seen if answer.status_code in (200, 206))
    assert sent == offset


def test_looking_again_at_what_did_not_change_costs_no_body(world: World, sweep: JobRecord, http: HttpClient) -> None:
    seen = answers_of(http)
    assert http.record(sweep.key) == http.record(sweep.key) == sweep
    assert [answer.status_code for answer in seen] == [200, 304]
    assert len(seen[1].content) == 0


def test_a_wrong_key_is_told_and_no_key_too(api_url: str) -> None:
    with pytest.raises(StorageDenied, match="refuses the key"):
        HttpClient(api_url, "wrong", patience_s=0).jobs()
    with pytest.raises(StorageDenied, match="got none"):
        HttpClient(api_url, "", patience_s=0).jobs()


def test_buried_messages_are_not_to_be_had_and_the_way_to_them_is_told(http: HttpClient) -> None:
    for ask in (http.buried, lambda: http.requeue("x")):
        with pytest.raises(DropsweepError, match="--connection"):
            ask()


def test_the_command_line_takes_a_url_before_the_account_of_the_environment(
    world: World, sweep: JobRecord, run: Run, api_url: str
) -> None:
    unreachable = "http://127.0.0.1:1/api"
    done = run("list", "-w", world.workspace, "--url", api_url, "--json")
    assert [job["job"] for job in json.loads(done.stdout)["jobs"]] == [sweep.key.path]
    done = run("--url", unreachable, "list")
    assert done.exit_code == ExitCode.STORAGE
    assert f"{unreachable} does not answer" in done.stderr
    done = run("poison", "list", "--url", api_url)
    assert done.exit_code == ExitCode.USAGE
