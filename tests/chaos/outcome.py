"""What comes out of a run, without what may differ from run to run; what is left over; and how two outcomes differ."""

import csv
import io
import json
import re
from collections.abc import Iterator
from typing import Any, Final

from dropsweep.manifests import Manifest
from dropsweep.names import MANIFEST_SUFFIX, RUNS, SUBMISSIONS, quota_ledger
from dropsweep.states import JobState, TrialState
from dropsweep.storage import Listed, Store
from tests.chaos.faults import Log, Request
from tests.chaos.parties import EXPERIMENT, NAME, WORKSPACE

_JOB_FIELDS: Final = ("state", "reason", "message", "num_trials", "next_trial", "counts", "best", "warnings")
_TRIAL_FIELDS: Final = ("state", "reason", "message", "parameters", "metric", "metrics", "exit_code", "runs_alone")
_BEST_FIELDS: Final = ("trial", "metric", "parameters", "metrics")
_ROW_FIELDS: Final = ("trial", "state", "reason", "metric", "param.x", "metric.score", "message")
FINAL: Final = frozenset(str(state) for state in (*TrialState, *JobState) if state.is_final)

_JOB: Final = rf"{WORKSPACE}/{EXPERIMENT}/{NAME}-[0-9a-z]{{10}}"
_CHECKPOINT: Final = re.compile(rf"{_JOB}/trials/\d{{7}}/checkpoints/[^/]+(?=/)")
_COMPARED: Final = re.compile(rf"{_JOB}/(job\.json|results\.csv|best\.json|report\.html|records/\d{{4}}/\d{{7}}\.json)")
_EXPECTED: Final = re.compile(
    rf"\.[a-z]+\.json|{re.escape(SUBMISSIONS)}{WORKSPACE}/[0-9a-f]{{32}}\.json"
    rf"|{re.escape(quota_ledger(WORKSPACE))}"
    rf"|{_JOB}/(spec\.json|job\.json|results\.csv|best\.json|report\.html|records/\d{{4}}/\d{{7}}\.json)"
    rf"|{_JOB}/trials/\d{{7}}/attempts/\d+/(stdout\.txt|stderr\.txt|metrics\.jsonl)"
    rf"|{_JOB}/trials/\d{{7}}/checkpoints/\d{{4}}-\d{{6}}-step-\d(/step|/same|{re.escape(MANIFEST_SUFFIX)})"
)
"""Every blob that may be there at the end."""


def outcome(store: Store, blobs: list[Listed]) -> dict[str, Any]:
    """Returns what must be the same however a run was disturbed: no times, no attempt numbers, no lost workers."""
    found: dict[str, Any] = {"num_jobs": 0, "trials": {}}
    for listed in blobs:
        if not _COMPARED.fullmatch(listed.name):
            continue
        blob = store.blobs.read(RUNS, listed.name)
        assert blob is not None
        file = listed.name.rpartition("/")[2]
        if file == "job.json":
            found["num_jobs"] += 1
            found["job"] = _fields(json.loads(blob.body), _JOB_FIELDS)
        elif file == "results.csv":
            found["results"] = [_fields(row, _ROW_FIELDS) for row in csv.DictReader(io.StringIO(blob.body.decode()))]
        elif file == "best.json":
            found["best"] = _fields(json.loads(blob.body), _BEST_FIELDS)
        elif file == "report.html":
            found["has_curves"] = "<svg" in blob.body.decode()
        else:
            record = json.loads(blob.body)
            found["trials"][record["trial"]] = _fields(record, _TRIAL_FIELDS)
    return found


def of_cancelled(found: dict[str, Any]) -> dict[str, Any]:
    """Returns what is sure of a job that was cancelled while trial 1 ran: how far the others came is chance."""
    trials = found["trials"]
    return {
        "num_jobs": found["num_jobs"],
        "job": _fields(found["job"], ("state", "reason")) if "job" in found else None,
        "trial 1": _fields(trials[1], ("state", "reason")) if 1 in trials else None,
        "unfinished": [trial for trial, record in trials.items() if record["state"] not in FINAL],
        "not in results.csv": sorted({*map(str, trials)} - {row["trial"] for row in found.get("results", ())}),
    }


def _fields(document: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: document.get(name) for name in names}


def is_job(request: Request) -> bool:
    """True for what writes or reads the job's record."""
    return request.what.endswith("{job}/job.json")


def changed_when_final(log: Log) -> Iterator[str]:
    """Tells of records that were written again after a write that made them final: each has one committed result."""
    final: set[str] = set()
    for request in log.requests:
        path = request.what.rpartition(" ")[2]
        is_record = is_job(request) or "{job}/records/" in path
        if not is_record or not request.is_applied_write:
            continue
        if path in final:
            yield f"{path} was {request.state} and final, and written again by {request.party} {request.pid}"
        if request.state in FINAL:
            final.add(path)


def missing(blobs: list[Listed]) -> Iterator[str]:
    """Tells of files that every ended job has, and this one lacks."""
    names = {blob.name.rpartition("/")[2] for blob in blobs}
    for name in ("spec.json", "job.json", "results.csv", "report.html"):
        if name not in names:
            yield f"{name} is missing"


def left_over(store: Store, blobs: list[Listed]) -> Iterator[str]:
    """Tells of everything that nobody refers to and no later pass would collect, and of what is missing to somebody."""
    names = {blob.name for blob in blobs}
    manifests = {name.removesuffix(MANIFEST_SUFFIX) for name in names if name.endswith(MANIFEST_SUFFIX)}
    needed = set()
    for label in manifests:
        blob = store.blobs.read(RUNS, f"{label}{MANIFEST_SUFFIX}")
        assert blob is not None
        folder, _, last = label.rpartition("/")
        needed |= {f"{folder}/{file.below(last)}" for file in Manifest.from_json(blob.body).files}
    yield from (f"{name} is missing to a checkpoint" for name in sorted(needed - names))
    for name in sorted(names):
        if not _EXPECTED.fullmatch(name):
            yield f"{name} is left over"
        elif _CHECKPOINT.match(name) and name not in needed:
            yield f"{name} is left over of a checkpoint without a manifest"


def differences(expected: Any, found: Any, where: str = "") -> Iterator[str]:
    """Tells, place by place, in what two outcomes differ."""
    if isinstance(expected, dict) and isinstance(found, dict):
        for key in sorted({*expected, *found}, key=str):
            yield from differences(expected.get(key), found.get(key), f"{where}.{key}".lstrip("."))
    elif isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        for index, pair in enumerate(zip(expected, found, strict=True)):
            yield from differences(*pair, f"{where}[{index}]")
    elif expected != found:
        yield f"{where} is {found!r} and not {expected!r}"
