"""The examples' job files are accepted without a warning once their code is uploaded, and their commands are right."""

import shlex
from pathlib import Path

import pytest

from dropsweep.clusters import Cluster
from dropsweep.spec import JobSpec, launch, read_job

EXAMPLES = Path(__file__).parents[3] / "examples"
JOB_FILES = sorted(path.relative_to(EXAMPLES).as_posix() for path in EXAMPLES.glob("*/*.yaml"))


def read(job_file: str) -> JobSpec:
    """Reads the file as the client drops it: `code` names the uploaded snapshot of the job file's folder."""
    body = (EXAMPLES / job_file).read_bytes()
    assert body.count(b"code: .\n") == 1
    dropped = body.replace(b"code: .\n", b"code: sha256/0123456789abcdef\n")
    reading = read_job(
        dropped, file_name=Path(job_file).name, clusters=[Cluster("default")], seed=1, experiment="digits"
    )
    assert reading.problems == ()
    assert reading.spec is not None
    return reading.spec


def test_every_example_has_a_job_file() -> None:
    assert JOB_FILES == ["digits/sweep.yaml", "shell/job.yaml", "shell/sweep.yaml"]


@pytest.mark.parametrize("job_file", JOB_FILES)
def test_each_trial_starts_a_script_of_its_folder_with_all_its_parameters(job_file: str) -> None:
    spec = read(job_file)
    parameters = spec.parameters(spec.num_trials - 1)
    command = shlex.split(launch(spec, parameters, inputs={}, outputs={}).command)
    assert command[0] in ("python", "sh")
    assert (EXAMPLES / job_file).with_name(command[1]).is_file()
    assert {str(value) for value in parameters.values()} <= set(command)


@pytest.mark.parametrize(("job_file", "num_trials"), [("digits/sweep.yaml", 16), ("shell/sweep.yaml", 9)])
def test_a_sweep_has_the_number_of_trials_that_is_said_of_it(job_file: str, num_trials: int) -> None:
    assert read(job_file).num_trials == num_trials
