"""Every reader of what users and other systems send, in one form: bytes in, problems out."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import Final

from dropsweep.clusters import Cluster, dump_clusters, parse_clusters
from dropsweep.errors import MessageError, Problem, Severity
from dropsweep.messages import AdvanceMessage, FailedBlob, TrialMessage
from dropsweep.names import ScheduleKey, is_name
from dropsweep.schedules import MAX_CATCH_UP, CatchUp, due_times, plan
from dropsweep.spec import JobSpec, read_job
from dropsweep.spec.cluster import read_cluster
from dropsweep.spec.container_apps import check_container_apps
from dropsweep.spec.envelope import Envelope, read_envelope
from dropsweep.spec.problems import tidy
from dropsweep.spec.schedule import Schedule, read_schedule
from dropsweep.spec.workspace import read_workspace
from dropsweep.submissions import Submission
from tests.unit.fuzz.mutations import JOB_FILES, files

CLUSTERS: Final = (Cluster("cpu"), Cluster("gpu"))
_MAX_SPEC_BYTES: Final = 16 * 1024 * 1024
"""A file has at most 1 MiB; in spec.json each value of a list has a line of its own, indented."""
_MAX_NUM_PROBLEMS: Final = 2 * 101
_MAX_TOLD: Final = 2000


@dataclass(frozen=True)
class Reader:
    """One reader.

    Attributes:
        read: reads bytes; returns the problems, whether errors are among them or not, and raises nothing.
        files: real ones to begin with.
    """

    read: Callable[[bytes], Iterable[Problem]]
    files: list[bytes] = field(default_factory=lambda: JOB_FILES)


def _job(file_name: str) -> Callable[[bytes], Iterable[Problem]]:
    def read(body: bytes) -> Iterable[Problem]:
        reading = read_job(body, file_name=file_name, clusters=CLUSTERS, seed=11, experiment="digits")
        has_errors = any(problem.severity is Severity.ERROR for problem in reading.problems)
        assert (reading.spec is None) == has_errors
        if reading.spec is not None:
            spec = reading.spec.to_json()
            assert len(spec) <= _MAX_SPEC_BYTES
            if len(spec) < 100_000:
                assert JobSpec.from_json(spec) == reading.spec
        return reading.problems

    return read


def _envelope(body: bytes) -> Iterable[Problem]:
    envelope = read_envelope(body)
    document = envelope.document
    assert document.data is not None or document.problems or envelope.problems or envelope.blob
    if document.data is not None:
        _submission(envelope)
    return (*envelope.problems, *tidy(document.problems))


def _submission(envelope: Envelope) -> None:
    """What `accept` computes of a submission before it reads the job file."""
    submission = Submission(
        workspace=envelope.workspace,
        experiment=envelope.experiment or "digits",
        document=envelope.document,
        identity=("submissions", "1"),
        default_name="job",
        source="",
        submission_id=envelope.submission_id,
        reply_to=envelope.reply_to,
    )
    assert submission.key.job
    assert submission.digest
    assert len(submission.problems) <= 4


def _workspace(file_name: str) -> Callable[[bytes], Iterable[Problem]]:
    def read(body: bytes) -> Iterable[Problem]:
        reading = read_workspace(body, file_name=file_name)
        has_errors = any(problem.severity is Severity.ERROR for problem in reading.problems)
        assert (reading.policy is None) == has_errors
        return reading.problems

    return read


def _cluster(file_name: str) -> Callable[[bytes], Iterable[Problem]]:
    def read(body: bytes) -> Iterable[Problem]:
        reading = read_cluster(body, file_name=file_name)
        has_errors = any(problem.severity is Severity.ERROR for problem in reading.problems)
        assert (reading.cluster is None) == has_errors
        if reading.cluster is not None:
            assert parse_clusters(dump_clusters([reading.cluster])) == (reading.cluster,)
            assert len([*check_container_apps(reading.cluster)]) <= 10
        return reading.problems

    return read


def _schedule(file_name: str) -> Callable[[bytes], Iterable[Problem]]:
    def read(body: bytes) -> Iterable[Problem]:
        reading = read_schedule(body, file_name=file_name, key=ScheduleKey("vision", "x"), clusters=CLUSTERS)
        has_errors = any(problem.severity is Severity.ERROR for problem in reading.problems)
        assert (reading.schedule is None) == has_errors
        if reading.schedule is not None:
            _due(reading.schedule)
        return reading.problems

    return read


def _due(schedule: Schedule) -> None:
    """What each look at a sound schedule computes."""
    assert is_name(schedule.experiment(schedule.document()))
    for catch_up in CatchUp:
        found = plan(schedule.trigger, anchor=_HANDED_IN, after=_HANDED_IN, now=_A_YEAR_LATER, catch_up=catch_up)
        assert len(found.run) <= MAX_CATCH_UP + 10
        assert [*found.run] == sorted(set(found.run))
        assert all(_HANDED_IN < due <= _A_YEAR_LATER for due in found.run)
    following = [*islice(due_times(schedule.trigger, anchor=_HANDED_IN, after=_A_YEAR_LATER), 5)]
    assert following == sorted(set(following))


def _message(from_body: Callable[[bytes], object]) -> Callable[[bytes], Iterable[Problem]]:
    def read(body: bytes) -> Iterable[Problem]:
        try:
            from_body(body)
        except MessageError as error:
            return [Problem("", "", str(error), "Correct its sender")]
        return []

    return read


def _trial(body: bytes) -> TrialMessage:
    try:
        text = body.decode()
    except UnicodeDecodeError as error:  # the trainer's queue client refuses it before
        raise MessageError("it must be UTF-8") from error
    return TrialMessage.from_text(text)


_HANDED_IN: Final = datetime(2026, 2, 28, 23, 59, 30, tzinfo=UTC)
_A_YEAR_LATER: Final = datetime(2027, 3, 1, 12, tzinfo=UTC)
_SCHEDULES: Final = files("tests/unit/spec/azure_ml/schedule/*.yaml")
_POLICIES: Final = [
    b"description: the vision team\ntags: {team: vision}\nlimits:\n  max_concurrent_jobs: 4\n"
    b"  max_concurrent_trials: 16\nretention:\n  delete_after_days: 30\n  keep_last: 5\n"
]
_CLUSTERS: Final = [
    b"name: gpu\ndescription: one A100 a node\ntags: {team: vision}\nsize: Standard_NC24ads_A100_v4\n"
    b"workload_profile: NC24-A100\nimage: registry.example/trainer:1\nserves: [ubuntu]\ngpus_per_node: 1\n"
    b"cpus_per_node: 24\nmemory_per_node: 220Gi\nmin_instances: 0\nmax_instances: 4\ntier: dedicated\n"
    b"idle_time_before_scale_down: 300\nmonthly_node_hours: 99.5\nshm_size: 2g\n"
    b"mounts:\n- {name: data, share: data, path: /mnt/data}\n"
    b"warm_start: true\npreload: [torch, torch.nn]\ncuda_mps: false\ngpu_memory_fraction: 0.5\n"
    b"cache_size: 20Gi\ncheckpoint_rate: 100Mi\n"
    b"setup_command: pip install tqdm\nlimits: {memory: 8Gi, processes: 512}\n"
]
_SUBMISSIONS: Final = [
    *JOB_FILES,
    b'{"job": {"type": "command", "command": "true"}, "workspace": "vision", "experiment": "digits", '
    b'"submission_id": "a-1", "reply_to": "answers"}',
    b'{"blob": "jobs-in/digits.yaml", "workspace": "vision", "submission_id": "a-2"}',
    b"workspace: vision\ntype: command\ncommand: 'true'\n",
]
_HINTS: Final = [
    b'{"version": 1, "job": "vision/digits/lr-0123456789", "trials": [1, 2], "is_alarm": false}',
    b'{"version": 1, "job": "vision/digits/lr-0123456789", "trial": 3}',
    b'{"Type": "BlobTrigger", "ContainerName": "jobs", "BlobName": "a/b/c.yaml", "ETag": "0x8D"}',
]

READERS: Final[Mapping[str, Reader]] = {
    "job file, YAML": Reader(_job("x.yaml")),
    "job file, JSON": Reader(_job("x.json")),
    "submission": Reader(_envelope, _SUBMISSIONS),
    "workspace file, YAML": Reader(_workspace("vision.yaml"), _POLICIES),
    "workspace file, JSON": Reader(_workspace("vision.json"), _POLICIES),
    "cluster file, YAML": Reader(_cluster("gpu.yaml"), _CLUSTERS),
    "cluster file, JSON": Reader(_cluster("gpu.json"), _CLUSTERS),
    "schedule, YAML": Reader(_schedule("x.yaml"), _SCHEDULES),
    "schedule, JSON": Reader(_schedule("x.json"), _SCHEDULES),
    "advance message": Reader(_message(AdvanceMessage.from_body), _HINTS),
    "trial message": Reader(_message(_trial), _HINTS),
    "failed blob": Reader(_message(FailedBlob.from_body), _HINTS),
}


def check(problems: Iterable[Problem]) -> None:
    """Problems are few and short, can be stored, and each says what must hold and what to do."""
    told = [*problems]
    assert len(told) <= _MAX_NUM_PROBLEMS
    for problem in told:
        assert problem.rule
        assert problem.remedy
        assert len(str(problem)) <= _MAX_TOLD
    json.dumps([problem.to_json() for problem in told], ensure_ascii=False).encode()
