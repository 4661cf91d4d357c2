"""Cancel, pause, resume, retry and edit, by command line and client, as the functions and workers will see them."""

import json
import re

import pytest
from azure.core.pipeline import PipelineRequest, PipelineResponse
from azure.core.pipeline.policies import HTTPPolicy
from azure.core.rest import HttpRequest, HttpResponse
from typer.testing import Result

from dropsweep.cli.exits import ExitCode, code_of
from dropsweep.cli.session import Session
from dropsweep.client import Client
from dropsweep.errors import ConflictError, DropsweepError, NotFoundError, StorageCorrupt
from dropsweep.names import RUNS, JobKey
from dropsweep.records import JobRecord
from dropsweep.settings import Settings
from dropsweep.states import JobReason, JobState, TrialReason, TrialState, Wish
from dropsweep.storage import Store
from tests.emulator.client.conftest import Run, World
from tests.emulator.deployment import Deployment, command, sweep

BOTH_WAYS = True


@pytest.fixture
def failed(world: World) -> JobRecord:
    """A failed sweep of two trials, both of them failed."""
    record = world.job(world.key("failed"), num_trials=2, next_trial=2)
    for trial in range(2):
        world.trial(trial, TrialReason.EXIT_CODE, key=record.key, message="exit code 3", exit_code=3)
    counts = {TrialState.FAILED: 2}
    return world.finish(record, JobReason.NO_TRIAL_COMPLETED, counts=counts, message="2 failed")


def document(result: Result) -> dict[str, object]:
    told: dict[str, object] = json.loads(result.stdout)
    return told


def test_a_job_is_paused_resumed_and_cancelled_and_each_command_tells_how_it_stands(run: Run, world: World) -> None:
    key = world.job().key
    for name, state, reason in (
        ("pause", JobState.PAUSED, JobReason.PAUSE_REQUESTED),
        ("resume", JobState.RUNNING, JobReason.RESUMED),
        ("cancel", JobState.CANCELLING, JobReason.CANCEL_REQUESTED),
    ):
        told = document(run(name, key.path, "--json"))
        assert (told["job"], told["state"], told["reason"], told["note"]) == (key.path, state, reason, "")
        assert world.client.record(key).reason is reason


def test_people_are_told_what_was_done_and_what_they_may_do_next(run: Run, world: World) -> None:
    key = world.job().key
    paused = run("pause", key.path)
    assert paused.stdout == f"{key.path}  paused  paused by request\n"
    assert re.fullmatch(rf"to let it go on: \S*dropsweep resume {key.path}\n", paused.stderr)
    resumed = run("resume", key.path)
    assert resumed.stdout == f"{key.path}  running  it goes on\n"
    assert re.fullmatch(rf"see how it goes: \S*dropsweep watch {key.path}\n", resumed.stderr)
    assert run("pause", key.path, 2).stdout == f"{key.path}  trial 2: it is being paused\n"
    assert run("resume", key.path, 2).stdout == f"{key.path}  trial 2: it goes on\n"
    assert run("cancel", key.path, 3).stdout == f"{key.path}  trial 3: it is being cancelled\n"


def test_a_trial_of_a_paused_job_goes_on_when_its_job_does(run: Run, world: World) -> None:
    record = world.job(reason=JobReason.PAUSE_REQUESTED)
    world.trial(1, TrialReason.EXIT_CODE)
    done = run("resume", record.key.path, 2)
    said = "it was not paused by itself: it goes on when its job goes on"
    assert done.stdout == f"{record.key.path}  trial 2: {said}\n"
    assert f"dropsweep resume {record.key.path}\n" in done.stderr
    assert document(run("resume", record.key.path, 2, "--json"))["note"] == said
    assert world.client.record(record.key) == record
    assert run("pause", record.key.path, 2).stdout == f"{record.key.path}  trial 2: it is being paused\n"
    done = run("resume", record.key.path, 2)
    assert done.stdout == f"{record.key.path}  trial 2: it goes on when its job goes on\n"
    done = run("retry", record.key.path, 1)
    assert done.stdout == f"{record.key.path}  trial 1: it is tried again when its job goes on\n"
    assert f"dropsweep resume {record.key.path}\n" in done.stderr


def test_a_trial_alone_is_paused_and_cancelled_by_a_request_in_its_jobs_record(run: Run, world: World) -> None:
    key = world.job().key
    assert run("pause", key.path, 1).exit_code == 0
    assert run("cancel", key.path, 3).exit_code == 0
    assert world.client.record(key).requests == {1: Wish.PAUSE, 3: Wish.CANCEL}
    assert "pause trial 1, cancel trial 3" in run("show", key.path).stdout
    assert run("resume", key.path, 1).exit_code == 0
    assert world.client.record(key).requests == {3: Wish.CANCEL}


@pytest.mark.parametrize("name", ["cancel", "pause", "resume", "retry"])
def test_what_has_ended_stays_as_it_is_which_is_a_success_that_says_so(run: Run, world: World, name: str) -> None:
    record = world.finish(world.job(), counts={TrialState.COMPLETED: 4}, message="4 completed")
    done = run(name, record.key.path)
    assert done.exit_code == 0
    assert done.stdout.startswith(f"{record.key.path}  completed  4 completed  ")
    assert "nothing to" in done.stdout
    assert done.stderr == ""
    assert "nothing to" in str(document(run(name, record.key.path, "--json"))["note"])
    assert world.client.record(record.key) == record


@pytest.mark.parametrize("name", ["cancel", "pause"])
def test_a_trial_that_has_ended_stays_as_it_is_which_is_a_success_that_says_so(
    run: Run, world: World, name: str
) -> None:
    record = world.job()
    world.trial(0, metric=0.5)
    done = run(name, record.key.path, 0)
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout == f"{record.key.path}  trial 0: it has ended already: there is nothing to {name}\n"
    assert world.client.record(record.key) == record


def test_what_is_being_cancelled_is_neither_paused_nor_resumed(run: Run, world: World) -> None:
    whole = world.job(world.key("whole"), reason=JobReason.CANCEL_REQUESTED)
    one = world.job(world.key("one"), requests={1: Wish.CANCEL})
    for name in ("pause", "resume"):
        assert f"it is being cancelled: it cannot be {name}d" in run(name, whole.key.path).stdout
        assert f"trial 1: it is being cancelled: it cannot be {name}d" in run(name, one.key.path, 1).stdout
    assert world.client.record(whole.key) == whole
    assert world.client.record(one.key) == one


@pytest.mark.parametrize("reason", [JobReason.ACCEPTED, JobReason.DISPATCHING, JobReason.RESUMED])
def test_what_is_not_paused_is_not_resumed(run: Run, world: World, reason: JobReason) -> None:
    record = world.job(reason=reason, requests={0: Wish.PAUSE})
    assert "it is not paused: there is nothing to resume" in run("resume", record.key.path).stdout
    assert run("resume", record.key.path, 0).stdout == f"{record.key.path}  trial 0: it goes on\n"
    before = world.client.record(record.key)
    assert before.requests == {}
    for trial in (0, 1):
        said = run("resume", record.key.path, trial).stdout
        assert said == f"{record.key.path}  trial {trial}: it is not paused: there is nothing to resume\n"
    assert world.client.record(record.key) == before


def test_a_trial_that_has_ended_is_not_resumed(run: Run, world: World) -> None:
    for reason in (JobReason.DISPATCHING, JobReason.PAUSE_REQUESTED):
        record = world.job(world.key(reason.replace("_", "-")), reason=reason)
        world.trial(0, metric=0.5, key=record.key)
        done = run("resume", record.key.path, 0)
        assert done.stdout == f"{record.key.path}  trial 0: it has ended already: there is nothing to resume\n"
        assert done.stderr == ""


@pytest.mark.parametrize("trial", [(), (2,)], ids=["job", "trial"])
@pytest.mark.parametrize(
    ("name", "said"), [("cancel", "it is being cancelled already"), ("pause", "it was paused already")]
)
def test_what_was_asked_for_before_is_told_as_such(
    run: Run, world: World, name: str, said: str, trial: tuple[int, ...]
) -> None:
    key = world.job().key
    assert document(run(name, key.path, *trial, "--json"))["note"] == ""
    asked = world.client.record(key)
    done = run(name, key.path, *trial)
    assert done.exit_code == 0
    assert done.stdout.endswith(f"  {said}\n" if not trial else f"  trial 2: {said}\n")
    assert done.stderr == ""
    assert document(run(name, key.path, *trial, "--json"))["note"] == said
    assert world.client.record(key) == asked


def test_a_retry_of_a_paused_job_is_told_by_what_it_has_done(run: Run, world: World) -> None:
    sound = world.job(world.key("sound"), reason=JobReason.PAUSE_REQUESTED, message="paused by request")
    done = run("retry", sound.key.path)
    assert "no trial of it is known to have failed: there is nothing to retry" in done.stdout
    assert done.stderr == ""
    assert world.client.record(sound.key) == sound
    counts = {TrialState.COMPLETED: 3, TrialState.FAILED: 1}
    halved = world.job(
        world.key("halved"), reason=JobReason.PAUSE_REQUESTED, message="paused by request", counts=counts
    )
    done = run("retry", halved.key.path)
    assert (
        done.stdout
        == f"{halved.key.path}  paused  paused by request  its failed trials are tried again when it goes on\n"
    )
    assert f"dropsweep resume {halved.key.path}\n" in done.stderr
    assert world.client.record(halved.key).retries.round == 1


def test_a_trial_that_the_job_does_not_have_is_told_even_of_a_job_that_has_ended(
    run: Run, world: World, sweep: JobRecord
) -> None:
    running = world.job(world.key("running"))
    for key in (sweep.key, running.key):
        for name in ("cancel", "pause", "resume", "retry"):
            done = run(name, key.path, 4)
            assert (done.exit_code, done.stdout) == (ExitCode.NOT_FOUND, "")
            assert "has no trial 4: it has 4, counted from 0" in done.stderr
    with pytest.raises(NotFoundError, match="no trial -1"):
        world.client.cancel(sweep.key, -1)


def test_retry_reopens_a_job_that_has_ended_and_what_cannot_be_retried_is_wrong_usage(
    run: Run, world: World, failed: JobRecord
) -> None:
    done = run("retry", failed.key.path)
    assert done.stdout == f"{failed.key.path}  running  its failed trials are tried again\n"
    assert world.client.record(failed.key).state is JobState.RUNNING
    cancelled = world.job(world.key("cancelled"), reason=JobReason.CANCELLED_BY_REQUEST)
    done = run("retry", cancelled.key.path)
    assert (done.exit_code, done.stdout) == (ExitCode.USAGE, "")
    assert "is cancelled" in done.stderr
    world.trial(0, metric=0.5, key=world.job(world.key("going")).key)
    done = run("retry", world.key("going").path, 0)
    assert done.exit_code == ExitCode.USAGE
    assert "trial 0" in done.stderr
    assert "completed" in done.stderr


def experiment(world: World) -> dict[str, JobKey]:
    """One job in each state that matters, in the experiment `e`, and a running one elsewhere."""
    reasons = {
        "queued": JobReason.ACCEPTED,
        "running": JobReason.DISPATCHING,
        "paused": JobReason.PAUSE_REQUESTED,
        "completed": JobReason.TRIALS_COMPLETED,
        "cancelled": JobReason.CANCELLED_BY_REQUEST,
        "rejected": JobReason.SPEC_INVALID,
    }
    keys = {name: world.job(world.key(name, "e"), reason=reason).key for name, reason in reasons.items()}
    both = {TrialState.COMPLETED: 3, TrialState.FAILED: 1}
    for name, reason in (("halved", JobReason.TRIALS_COMPLETED), ("resting", JobReason.PAUSE_REQUESTED)):
        keys[name] = world.job(world.key(name, "e"), reason=reason, counts=both).key
    keys["elsewhere"] = world.job(world.key("elsewhere", "other")).key
    return keys


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("cancel", dict.fromkeys(("queued", "running", "paused", "resting"), JobState.CANCELLING)),
        ("pause", dict.fromkeys(("queued", "running"), JobState.PAUSED)),
        ("resume", dict.fromkeys(("paused", "resting"), JobState.RUNNING)),
        ("retry", {"resting": JobState.PAUSED, "halved": JobState.RUNNING}),
    ],
)
def test_an_experiment_is_every_job_of_it_that_the_command_is_for(
    run: Run, world: World, name: str, changed: dict[str, JobState]
) -> None:
    keys = experiment(world)
    before = {job: world.client.record(key).state for job, key in keys.items()}
    done = run(name, "-w", world.workspace, "-e", "e", "--json")
    assert done.exit_code == 0
    jobs = json.loads(done.stdout)["jobs"]
    assert {JobKey.parse(job["job"]).job: job["state"] for job in jobs if not job["note"]} == changed
    left = {JobKey.parse(job["job"]).job: job["note"] for job in jobs if job["note"]}
    assert left == (dict.fromkeys(("paused", "resting"), "it was paused already") if name == "pause" else {})
    assert {job: world.client.record(key).state for job, key in keys.items()} == before | changed


def test_one_job_that_cannot_be_changed_holds_up_no_other_and_is_told_at_the_end(run: Run, world: World) -> None:
    keys = [world.job(world.key(f"job{number}", "e")).key for number in range(5)]
    head = world.store.blobs.head(RUNS, keys[2].record)
    assert head is not None
    assert world.store.blobs.replace(RUNS, keys[2].record, b"{}", head.etag, head.metadata)
    done = run("pause", "-w", world.workspace, "-e", "e")
    assert done.exit_code == ExitCode.FAILED
    assert sorted(line.split()[0] for line in done.stdout.splitlines()) == [
        key.path for number, key in enumerate(keys) if number != 2
    ]
    assert done.stderr.count("error: ") == 1
    assert f"error: {keys[2].path}: a record is not of version 1" in done.stderr
    told = run("cancel", "-w", world.workspace, "-e", "e", "--json")
    assert told.exit_code == ExitCode.FAILED
    assert [job["state"] for job in json.loads(told.stdout)["jobs"]] == ["cancelling"] * 4
    (error,) = json.loads(told.stdout)["errors"]
    assert (error["job"], error["kind"], error["exit_code"]) == (keys[2].path, "StorageCorrupt", 1)
    (outcome,) = [told for told in world.client.experiment(world.workspace, "e").cancel() if told.error]
    assert (outcome.job, outcome.record, type(outcome.error)) == (keys[2], None, StorageCorrupt)


def test_an_experiment_without_such_a_job_is_a_success_and_one_without_any_is_none(run: Run, sweep: JobRecord) -> None:
    place = ("-w", sweep.key.workspace, "-e")
    done = run("cancel", *place, "default")
    assert (done.exit_code, done.stdout) == (0, "")
    assert "no job to cancel" in done.stderr
    assert document(run("pause", *place, "default", "--json")) == {"jobs": [], "errors": []}
    done = run("cancel", *place, "absent")
    assert done.exit_code == ExitCode.NOT_FOUND
    assert "this experiment has no job" in done.stderr
    assert run("cancel", *place, "no/name").exit_code == ExitCode.USAGE


def test_edit_changes_the_limits_that_are_given_and_tells_them_all(run: Run, deployment: Deployment) -> None:
    key = deployment.drop(sweep_of(16))
    done = run("edit", key.path, "--max-total-trials", 8, "--timeout", 7200)
    assert done.exit_code == 0
    assert "8 trials, 16 at once, timeout 2 h 00 min" in done.stdout
    told = document(run("edit", key.path, "--max-concurrent-trials", 2, "--trial-timeout", 60, "--json"))
    limits = {"max_total_trials": 8, "max_concurrent_trials": 2, "timeout": 7200.0, "trial_timeout": 60.0}
    assert (told["state"], told["limits"]) == ("queued", limits)
    assert "8 trials, 2 at once, timeout 2 h 00 min, trial timeout 1 min 00 s" in run("show", key.path).stdout
    assert deployment.look(key).next_trial == 2


def test_a_limit_that_cannot_be_is_wrong_usage_and_changes_nothing(run: Run, deployment: Deployment) -> None:
    key = deployment.drop(sweep_of(16))
    one = deployment.drop(command("true"), "e/one.json")
    before = deployment.job(key), deployment.job(one)
    for arguments, part in (
        ((key.path,), "name at least one"),
        ((key.path, "--max-concurrent-trials", 0), "max_concurrent_trials is 0"),
        ((key.path, "--max-total-trials", 17), "limits.max_total_trials is 17"),
        ((key.path, "--timeout", "soon"), "--timeout"),
        ((one.path, "--max-total-trials", 2), "is a command"),
    ):
        done = run("edit", *arguments)
        assert (done.exit_code, done.stdout) == (ExitCode.USAGE, "")
        assert part in done.stderr
    assert (deployment.job(key), deployment.job(one)) == before


def test_limits_of_a_job_that_has_ended_cannot_be_changed(run: Run, sweep: JobRecord) -> None:
    done = run("edit", sweep.key.path, "--timeout", 60)
    assert done.exit_code == ExitCode.USAGE
    assert "is completed" in done.stderr


def test_a_job_without_its_metadata_holds_up_no_other_of_its_experiment(run: Run, world: World) -> None:
    key = world.job(world.key("sound", "e")).key
    bare = world.key("bare", "e")
    world.store.blobs.put(RUNS, bare.record, world.job(world.key("other", "elsewhere")).to_json())
    done = run("pause", "-w", world.workspace, "-e", "e")
    assert done.exit_code == ExitCode.FAILED
    assert done.stdout.startswith(f"{key.path}  paused")
    assert done.stderr.startswith(f"error: runs/{bare.record}: metadata cannot be read")
    assert world.client.record(key).state is JobState.PAUSED


class Meddler(HTTPPolicy[HttpRequest, HttpResponse]):
    """Changes a record just before each conditional write of it."""

    def __init__(self, world: World, key: JobKey) -> None:
        super().__init__()
        self._world = world
        self._key = key

    def send(self, request: PipelineRequest[HttpRequest]) -> PipelineResponse[HttpRequest, HttpResponse]:
        if "If-Match" in request.http_request.headers:
            self._world.write(self._world.client.record(self._key))
        return self.next.send(request)


def test_a_record_that_others_change_again_and_again_is_not_told_as_an_account_that_does_not_answer(
    world: World, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    key = world.job().key
    client = Client(Store.connect(settings.storage, Meddler(world, key)))
    with pytest.raises(ConflictError) as told:
        client.pause(key)
    code = code_of(told.value)
    assert code is ExitCode.FAILED
    Session(None, as_json=False).tell(told.value, code)
    said = f"error: {key.path}: others changed its record 50 times just before it was to be written. Try again\n"
    assert capsys.readouterr().err == said
    assert world.client.record(key).state is JobState.RUNNING


def sweep_of(num_trials: int) -> dict[str, object]:
    return sweep("true", num_trials)


def test_show_tells_how_often_a_trial_was_tried_again_pre_empted_and_lost(run: Run, world: World) -> None:
    record = world.job()
    world.trial(0, num_retries=2, num_preempted=3, num_lost=1, attempt=7)
    lines = [line.split() for line in run("show", record.key.path, 0).stdout.splitlines()]
    for words in (["attempt", "7"], ["retries", "2"], ["pre-empted", "3"], ["workers", "lost", "1"]):
        assert words in lines
    world.trial(1)
    assert "retries" not in run("show", record.key.path, 1).stdout


def test_the_client_refuses_what_cannot_be_done(client: Client, failed: JobRecord, world: World) -> None:
    with pytest.raises(DropsweepError, match="name at least one"):
        client.edit(world.job().key)
    with pytest.raises(NotFoundError):
        client.experiment(world.workspace, "absent").retry()
    with pytest.raises(NotFoundError):
        client.pause(world.key("absent"))
    assert client.retry(failed.key, 1).retries.due(1) == 1
    assert client.record(failed.key).retries.due(0) == 0
