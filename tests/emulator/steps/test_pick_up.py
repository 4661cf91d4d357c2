import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from dropsweep.names import ADVANCE_QUEUE, CODE, JOBS, RUNS, JobKey
from dropsweep.spec import MAX_JOB_FILE_BYTES, JobSpec
from dropsweep.states import JobReason, JobState
from dropsweep.steps.pick_up import pick_up
from tests.emulator.deployment import Deployment, command, sweep


def rules(deployment: Deployment, key: JobKey) -> str:
    document = json.loads(deployment.text(key.error))
    return "\n".join(f"{problem['path']}: {problem['rule']}" for problem in document["problems"])


def test_the_same_event_twice_is_one_job_and_a_new_drop_is_another(deployment: Deployment) -> None:
    first = deployment.drop(command("true"))
    path = f"{deployment.workspace}/e/job.json"
    with ThreadPoolExecutor(8) as pool:
        again = set(pool.map(lambda _: pick_up(deployment.store, deployment.settings, path), range(8)))
    assert again == {first}
    second = deployment.drop(command("true"))
    assert second != first
    assert {deployment.job(key).state for key in (first, second)} == {JobState.QUEUED}


def test_an_accepted_job_has_its_spec_its_record_and_a_hint(deployment: Deployment) -> None:
    before = deployment.store.queues.count(ADVANCE_QUEUE)
    key = deployment.drop(sweep("echo ${{search_space.x}}", 7, limits={"max_concurrent_trials": 2, "timeout": 60}))
    spec = JobSpec.from_json(deployment.text(key.spec).encode())
    job = deployment.job(key)
    assert (spec.num_trials, spec.cluster) == (7, deployment.cluster)
    assert (job.num_trials, job.window, job.timeout_s, job.primary_metric) == (7, 2, 60.0, "score")
    assert job.source == f"{JOBS}/{deployment.workspace}/e/job.json"
    assert deployment.store.queues.count(ADVANCE_QUEUE) == before + 1


def test_a_wrong_file_is_rejected_with_every_reason_and_nothing_is_queued(deployment: Deployment) -> None:
    document = sweep("echo ${{search_space.y}}", objective={"goal": "more"}, limts={}, compute="azureml:nowhere")
    key = deployment.drop(document)
    job = deployment.job(key)
    assert (job.state, job.reason, job.num_trials) == (JobState.REJECTED, JobReason.SPEC_INVALID, 0)
    told = deployment.text(key.error)
    for word in ("search_space.y", "objective.goal", "objective.primary_metric", "limits", "nowhere"):
        assert word in told
    assert "more in error.json" in job.message
    assert deployment.store.blobs.read(RUNS, key.spec) is None
    assert deployment.look(key).state is JobState.REJECTED


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"code": "no-such-folder"}, "code: the folder must have at least one file in it"),
        ({"inputs": {"d": {"type": "uri_file", "path": "code/no-such-file"}}}, "the file must exist"),
        ({"inputs": {"d": {"type": "uri_folder", "path": "no-such-container/x"}}}, "the folder must have at least"),
    ],
)
def test_what_a_file_points_at_must_exist(deployment: Deployment, more: dict[str, object], told: str) -> None:
    key = deployment.drop(command("true", **more))
    assert deployment.job(key).state is JobState.REJECTED
    assert told in rules(deployment, key)


def test_a_file_over_one_mebibyte_is_rejected_unread(deployment: Deployment) -> None:
    path = f"{deployment.workspace}/e/large.yaml"
    deployment.store.blobs.put(JOBS, path, b"#" * (MAX_JOB_FILE_BYTES + 1))
    key = pick_up(deployment.store, deployment.settings, path)
    assert key is not None
    assert "at most 1,048,576 bytes" in rules(deployment, key)


@pytest.mark.parametrize("path", ["{w}/job.json", "{w}/e/deeper/job.json", "{w}/my exp/job.json", "{w}/e/notes.txt"])
def test_a_misplaced_file_is_rejected_with_where_it_belongs(deployment: Deployment, path: str) -> None:
    path = path.format(w=deployment.workspace)
    deployment.store.blobs.put(JOBS, path, json.dumps(command("true")).encode())
    key = pick_up(deployment.store, deployment.settings, path)
    assert key is not None
    assert key.workspace == deployment.workspace
    assert deployment.job(key).state is JobState.REJECTED


def test_a_deleted_file_and_a_folder_s_marker_are_no_jobs(deployment: Deployment) -> None:
    assert pick_up(deployment.store, deployment.settings, f"{deployment.workspace}/e/gone.yaml") is None
    assert pick_up(deployment.store, deployment.settings, f"{deployment.workspace}/e/") is None


def test_warnings_ride_along_on_the_job(deployment: Deployment) -> None:
    key = deployment.drop(sweep("exit 1"))
    [warning] = deployment.job(key).warnings
    assert "search_space.x" in warning


def test_an_event_whose_delivery_died_between_the_records_is_finished_by_the_next(deployment: Deployment) -> None:
    key = deployment.drop(command("true", code=None))
    deployment.store.blobs.delete(RUNS, key.record)
    assert pick_up(deployment.store, deployment.settings, f"{deployment.workspace}/e/job.json") == key
    assert deployment.job(key).state is JobState.QUEUED


def test_code_is_found_in_its_container(deployment: Deployment) -> None:
    deployment.store.blobs.put(CODE, f"{deployment.workspace}/src/run.sh", b"true")
    key = deployment.drop(command("sh run.sh", code=f"{deployment.workspace}/src"))
    assert deployment.job(key).state is JobState.QUEUED


def test_a_sweep_of_two_to_the_thirtieth_points_dispatches_a_window(deployment: Deployment) -> None:
    bits = {f"b{number}": {"type": "choice", "values": [0, 1]} for number in range(30)}
    used = " ".join(f"${{{{search_space.{name}}}}}" for name in bits)
    key = deployment.drop(sweep(f"echo {used}") | {"search_space": bits})
    job = deployment.look(key)
    assert (job.num_trials, job.next_trial) == (2**30, deployment.settings.dispatch_window)
    assert deployment.store.queues.count(f"trials-{deployment.cluster}") == deployment.settings.dispatch_window


def test_a_path_that_no_storage_can_have_is_rejected_and_not_asked_for(deployment: Deployment) -> None:
    path = f"{deployment.workspace}/e/odd.json"
    text = '{"type": "command", "command": "true", "inputs": {"d": {"type": "uri_file", "path": "code/a\\ud800"}}}'
    deployment.store.blobs.put(JOBS, path, text.encode())
    key = pick_up(deployment.store, deployment.settings, path)
    assert key is not None
    assert deployment.job(key).state is JobState.REJECTED
    assert "inputs.d" in rules(deployment, key)
