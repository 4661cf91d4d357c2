"""A handle tells the same of a job whether it asks the storage account or the HTTP API."""

import pytest

from dropsweep.client import Client
from dropsweep.client.http import HttpClient
from local.paths import ROOT
from local.stack import Stack


def test_a_job_handed_in_over_http_is_the_same_through_both_clients(stack: Stack, client: Client) -> None:
    pytest.importorskip("pandas")
    remote = HttpClient(stack.url)
    job = remote.submit(
        ROOT / "examples/shell/sweep.yaml",
        workspace="handles",
        overrides={"search_space.num_rounds.values": [2, 3], "search_space.rule.values[0]": "simpson"},
    )
    assert job.wait(timeout_s=120).state == "completed"
    same = client.job(job)
    assert job.record == same.record
    assert job.spec == same.spec
    assert job.spec.num_trials == 6
    assert job.results() == same.results()
    assert job.to_pandas().equals(same.to_pandas())
    assert job.to_pandas(curves=True).equals(same.to_pandas(curves=True))
    assert len(job.to_pandas(curves=True)) == 2 * 3 * (2 + 3)  # two metrics, three rules, rounds
    assert job.best() == same.best()
    assert job.leaderboard() == same.leaderboard()
    assert b"".join(job.logs(0)) == b"".join(same.logs(0)) != b""
    assert job._repr_html_() == same._repr_html_()
    assert "lowest error" in job._repr_html_()


def test_the_table_of_a_job_has_the_columns_of_its_results_file(stack: Stack, client: Client) -> None:
    pandas = pytest.importorskip("pandas")
    job = client.submit(ROOT / "examples/shell/sweep.yaml", workspace="handles", experiment="columns").wait(120)
    blob = client.store.blobs.read("runs", job.key.results)
    assert blob is not None
    lines = blob.body.decode().splitlines()
    table = job.to_pandas()
    assert ["trial", *table.columns] == lines[0].split(",")
    assert len(table) == len(lines) - 1
    assert not pandas.isna(table["metric.error"]).any()
