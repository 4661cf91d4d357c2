"""What a trial's process is started with."""

import json
import subprocess

import pytest

from dropsweep.clusters import Cluster
from dropsweep.errors import StagingError
from dropsweep.spec import JobSpec, launch, read_job

FILE = b"""
type: sweep
trial:
  command: >-
    printf '%s|' ${{search_space.lr}} "${{search_space.opt.name}}" ${{search_space.opt.beta}} ${{inputs.data}}
    ${{inputs.flag}} '${{outputs.model}}'
  environment_variables: {A: 1, B: true, C: text}
inputs:
  data: {path: data/digits}
  flag: true
outputs: {model: }
sampling_algorithm: random
search_space:
  lr: {type: choice, values: [1.0e-5]}
  opt: {type: choice, values: [{name: "it's; $HOME"}, {name: b, beta: 2}]}
  batch-size: {type: choice, values: [16]}
objective: {goal: minimize, primary_metric: loss}
"""


@pytest.fixture
def spec() -> JobSpec:
    reading = read_job(FILE, file_name="a.yaml", clusters=[Cluster("cpu")], seed=0, experiment="e")
    assert reading.spec is not None
    return reading.spec


def test_the_shell_sees_every_value_as_one_word(spec: JobSpec) -> None:
    parameters = {"lr": 1e-5, "opt": {"name": "it's; $HOME"}, "batch-size": 16}
    started = launch(spec, parameters, inputs={"data": "/in/my data"}, outputs={"model": "outputs/model"})
    done = subprocess.run(["bash", "-c", started.command], capture_output=True, text=True, check=True)
    assert done.stdout == "1e-05|it's; $HOME||/in/my data|true|outputs/model|"


def test_the_environment_holds_parameters_and_variables_as_text(spec: JobSpec) -> None:
    parameters = {"lr": 1e-5, "opt": {"name": "b", "beta": 2}, "batch-size": 16}
    started = launch(spec, parameters, inputs={"data": "d"}, outputs={"model": "m"})
    assert json.loads(started.environment.pop("DROPSWEEP_PARAMS")) == parameters
    assert started.environment == {
        "A": "1",
        "B": "true",
        "C": "text",
        "DROPSWEEP_PARAM_LR": "1e-05",
        "DROPSWEEP_PARAM_OPT": '{"name":"b","beta":2}',
        "DROPSWEEP_PARAM_BATCH_SIZE": "16",
    }


def test_a_path_that_nobody_staged_is_an_error(spec: JobSpec) -> None:
    with pytest.raises(StagingError, match="data"):
        launch(spec, {"lr": 1, "opt": {}}, inputs={}, outputs={"model": "m"})
