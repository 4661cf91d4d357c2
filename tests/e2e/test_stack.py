"""Real jobs through the real processes."""

import csv
import time
from pathlib import Path

import pytest
import yaml
from azure.storage.blob import BlobServiceClient

from dropsweep.client import Client
from dropsweep.states import JobState, TrialState
from local.paths import ROOT
from local.stack import Stack


def test_a_small_sweep_of_the_real_training_completes(client: Client, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    document = yaml.safe_load((ROOT / "examples/digits/sweep.yaml").read_text())
    document["trial"]["code"] = str(ROOT / "examples/digits")
    document["inputs"]["epochs"] = 3
    document["limits"]["max_total_trials"] = 4
    file = tmp_path / "small.yaml"
    file.write_text(yaml.safe_dump(document))
    key = client.submit(file, workspace="e2e").key
    job = client.wait(key, timeout_s=150)
    assert (job.state, job.counts) == (JobState.COMPLETED, {TrialState.COMPLETED: 4})

    best = client.best(key)
    assert best is not None
    assert best.metric is not None
    assert best.metric > 0.5
    folder = client.download(key, tmp_path / "results", trial=best.trial).folder
    kept = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert {"results.csv", "best.json", "report.html", "spec.json"} <= kept
    prefix = f"trials/{best.trial:07}/"
    assert f"{prefix}attempts/1/outputs/model.pt" in kept
    assert len(
        [name for name in kept if name.startswith(f"{prefix}checkpoints/") and name.endswith("manifest.json")]
    ) in (1, 2)
    with (folder / "results.csv").open() as table:
        rows = list(csv.DictReader(table))
    assert len(rows) == 4
    assert max(float(row["metric.accuracy"]) for row in rows) == best.metric
    assert [point.step for point in client.metrics(key, best.trial)] == [1, 2, 3]


def test_a_job_in_another_language_runs_as_it_is(client: Client) -> None:
    key = client.submit(ROOT / "examples/shell/job.yaml", workspace="e2e").key
    assert client.wait(key, timeout_s=120).state is JobState.COMPLETED
    assert b"".join(client.logs(key, 0)).startswith(b"pi is about 3.14")


def test_a_file_dropped_by_the_storage_sdk_alone_runs_too(stack: Stack, client: Client) -> None:
    account = BlobServiceClient.from_connection_string(stack.connection_string)
    with account:
        body = (ROOT / "examples/shell/work.sh").read_bytes()
        account.get_blob_client("code", "e2e/shell/work.sh").upload_blob(body, overwrite=True)
        job = "type: command\ncode: e2e/shell\ncommand: sh work.sh midpoint 6\n"
        account.get_blob_client("jobs", "e2e/by-sdk/pi.yaml").upload_blob(job)
    end = time.monotonic() + 120
    while not (found := client.jobs("e2e", "by-sdk")):
        assert time.monotonic() < end
        time.sleep(0.1)
    assert client.wait(found[0].key, timeout_s=120).state is JobState.COMPLETED


def test_a_wrong_file_comes_back_as_rejected_with_every_problem(client: Client, tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text("type: sweep\ntrial:\n  comand: echo\nsearch_space: {}\nlimits: {max_total_trials: 0}\n")
    key = client.submit(file, workspace="e2e").key
    job = client.wait(key, timeout_s=120)
    assert job.state is JobState.REJECTED
    told = {problem.path for problem in client.problems(key)}
    assert {"trial.comand", "search_space", "objective", "limits.max_total_trials"} <= told


def test_cancelling_ends_a_running_sweep(client: Client, tmp_path: Path) -> None:
    file = tmp_path / "long.yaml"
    file.write_text("type: command\ncommand: echo up; sleep 600\n")
    key = client.submit(file, workspace="e2e").key
    assert any(update is not None and update.running for update in client.updates(key, timeout_s=120))
    assert next(iter(client.logs(key, 0, follow=True))) == b"up\n"
    client.cancel(key)
    assert client.wait(key, timeout_s=120).state is JobState.CANCELLED
