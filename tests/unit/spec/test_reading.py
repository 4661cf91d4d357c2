"""A job file gives its normalised spec, or everything that is wrong with it at once."""

import contextlib
import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropsweep.clusters import Cluster
from dropsweep.errors import Severity
from dropsweep.script import METRIC_RULE, report
from dropsweep.spec import JobSpec, read_job
from tests.unit.spec.files import COMMAND, SWEEP, changed, read, spec_of, told


def test_defaults_are_those_of_azure_ml() -> None:
    spec = spec_of(changed(SWEEP, limits=...))
    assert spec.name == spec.display_name == "my-job"
    assert spec.cluster == "cpu"
    assert spec.limits.max_total_trials == spec.limits.max_concurrent_trials == spec.num_trials == 1000
    assert spec.limits.timeout_s == 5_184_000
    assert spec.limits.trial_timeout_s is None
    assert spec.sampling is not None
    assert spec.sampling.seed == 11


def test_the_seed_of_the_file_wins() -> None:
    spec = spec_of(changed(SWEEP, sampling_algorithm={"type": "random", "rule": "sobol", "seed": 3}))
    assert spec.sampling is not None
    assert (spec.sampling.rule, spec.sampling.seed) == ("sobol", 3)


def test_a_command_is_one_trial_without_parameters() -> None:
    spec = spec_of(changed(COMMAND, limits__timeout=60))
    assert (spec.num_trials, spec.limits.timeout_s, spec.sampling, spec.objective) == (1, 60, None, None)
    assert spec.parameters(0) == {}


@pytest.mark.parametrize("base", [SWEEP, COMMAND], ids=["sweep", "command"])
def test_retries_are_asked_for_at_the_top_of_either_type(base: dict[str, Any]) -> None:
    retry = spec_of(changed(base, retry_settings={"max_retries": 2, "exit_codes": [137, 75, 75]})).retry
    assert retry is not None
    assert (retry.max_retries, retry.exit_codes) == (2, (75, 137))
    assert [code for code in (0, 1, 75, 137, -9, -15) if retry.covers(code)] == [75, 137, -9]
    any_code = spec_of(changed(base, retry_settings={"max_retries": 1})).retry
    assert any_code is not None
    assert [code for code in (0, 1, -9) if any_code.covers(code)] == [1, -9]
    assert spec_of(base).retry is None
    assert spec_of(changed(base, retry_settings={"max_retries": 0})).retry is None


@pytest.mark.parametrize(
    ("settings", "path"),
    [
        ({}, "retry_settings.max_retries"),
        ({"max_retries": 101}, "retry_settings.max_retries"),
        ({"max_retries": 1, "exit_codes": [0]}, "retry_settings.exit_codes[0]"),
        ({"max_retries": 1, "exit_codes": []}, "retry_settings.exit_codes"),
        ({"max_retries": 1, "timeout": 5}, "retry_settings.timeout"),
    ],
)
def test_retries_that_cannot_be_are_refused_where_they_stand(settings: dict[str, Any], path: str) -> None:
    assert set(told(read(changed(COMMAND, retry_settings=settings)))) == {path}


def test_the_type_of_a_command_may_be_left_out() -> None:
    assert spec_of({"command": "true"}).type == "command"


@pytest.mark.parametrize(
    ("limits", "num_trials", "concurrent"),
    [({}, 6, 6), ({"max_total_trials": 4}, 4, 4), ({"max_total_trials": 100, "max_concurrent_trials": 2}, 6, 2)],
)
def test_a_grid_has_as_many_trials_as_points_or_as_its_limit(
    limits: dict[str, int], num_trials: int, concurrent: int
) -> None:
    space = {"lr": {"type": "choice", "values": [1, 2]}, "b": {"type": "randint", "upper": 3}}
    spec = spec_of(changed(SWEEP, sampling_algorithm="grid", search_space=space, limits=limits))
    assert spec.num_trials == num_trials
    assert spec.limits.max_concurrent_trials == concurrent
    assert len({json.dumps(spec.parameters(k)) for k in range(num_trials)}) == num_trials
    with pytest.raises(ValueError, match="does not exist"):
        spec.parameters(6)  # the points are 6, and max_total_trials may be raised to that while the job runs


def test_a_grid_of_two_to_the_thirtieth_points_is_accepted() -> None:
    space = {f"p{number}": {"type": "choice", "values": list(range(8))} for number in range(10)}
    spec = spec_of(changed(SWEEP, sampling_algorithm="grid", search_space=space, limits=..., trial__command="true"))
    assert spec.num_trials == 2**30
    assert set(spec.parameters(2**30 - 1).values()) == {7}


def test_spec_json_round_trips() -> None:
    space = {
        "lr": SWEEP["search_space"]["lr"],
        "mixed": {
            "type": "choice",
            "values": [1, 1.0, True, None, "a", {"c": 0.1, "d": {"type": "randint", "upper": 3}}],
        },
    }
    spec = spec_of(changed(SWEEP, search_space=space, inputs__x=1.0, inputs__flag=True, outputs={"model": None}))
    again = JobSpec.from_json(spec.to_json())
    assert again == spec
    assert again.to_json() == spec.to_json()
    assert [again.parameters(k) for k in range(16)] == [spec.parameters(k) for k in range(16)]
    assert type(again.inputs["x"]) is float
    assert again.inputs["flag"] is True


def test_everything_wrong_is_told_at_once() -> None:
    reading = read(
        changed(
            SWEEP,
            naem="x",
            compute="azureml:gup",
            trial__code="../src",
            trial__command="run ${{search_space.rl}}",
            limits={"timeout": "1h"},
            objective={"goal": "maximise"},
            search_space__lr__min_value=0,
            search_space__lr__max_value=-1,
        )
    )
    assert reading.spec is None
    assert set(told(reading)) == {
        "naem",
        "compute",
        "trial.code",
        "trial.command",
        "limits.timeout",
        "objective.goal",
        "objective.primary_metric",
        "search_space.lr",
    }


@pytest.mark.parametrize(
    ("changes", "path", "words"),
    [
        ({"naem": "x"}, "naem", "Did you mean `name`"),
        ({"code": "x"}, "code", "Move it under `trial`"),
        ({"trial__compute": "x"}, "trial.compute", "Move it to the top"),
        ({"trial": ...}, "trial", "is required"),
        ({"trial__command": ...}, "trial.command", "is required"),
        ({"trial__command": "  "}, "trial.command", "must not be empty"),
        ({"trial__command": 5}, "trial.command", "must be text"),
        ({"type": "sweeep"}, "type", "Did you mean `sweep`"),
        ({"type": "pipeline"}, "type", "not run here"),
        ({"type": ...}, "type", "is required for a sweep"),
        ({"name": "my job"}, "name", "Write `my-job`"),
        ({"search_space": {}}, "search_space", "must not be empty"),
        ({"search_space": [1]}, "search_space", "must be a mapping"),
        ({"search_space__lr__type": "loguniforn"}, "search_space.lr.type", "Did you mean `loguniform`"),
        ({"search_space__lr__type": ...}, "search_space.lr.type", "is required"),
        ({"search_space__lr__min": 1}, "search_space.lr.min", "Did you mean `min_value`"),
        ({"search_space__lr__min_value": "1"}, "search_space.lr.min_value", "must be a number"),
        ({"search_space__lr__min_value": -2}, "search_space.lr", "must be less than"),
        ({"search_space__lr__max_value": 5000}, "search_space.lr", "exponents"),
        ({"search_space": {"a b": {"type": "randint", "upper": 2}}}, "search_space.a b", "Rename it"),
        ({"search_space__LR": {"type": "randint", "upper": 2}}, "search_space.LR", "would both be"),
        ({"sampling_algorithm": "grid"}, "search_space.lr", "a grid cannot walk"),
        ({"sampling_algorithm": "bayesian"}, "sampling_algorithm", "not supported yet"),
        ({"sampling_algorithm": {"type": "bayesian"}}, "sampling_algorithm", "not supported yet"),
        ({"sampling_algorithm": "sobol"}, "sampling_algorithm", "must be one of"),
        ({"sampling_algorithm": {"type": "random", "logbase": 10}}, "sampling_algorithm.logbase", "not supported"),
        ({"early_termination": {"type": "bandit", "slack_factor": 0.1}}, "early_termination", "not supported yet"),
        ({"early_termination": {"type": "bandti"}}, "early_termination.type", "Did you mean `bandit`"),
        ({"trial__distribution": {"type": "pytorch"}}, "trial.distribution", "not supported yet"),
        ({"trial__resources": {"instance_count": 2}}, "trial.resources.instance_count", "not supported yet"),
        ({"resources": {"instance_count": 2}}, "resources.instance_count", "not supported yet"),
        ({"trial__environment": {"conda_file": "c.yml"}}, "trial.environment.conda_file", "not built"),
        ({"trial__command": "run ${{search_space.l}}"}, "trial.command", "there is no `l`"),
        ({"trial__command": "run ${{inputs.dat}}"}, "trial.command", "Did you mean ${{inputs.data}}"),
        ({"trial__command": "run ${{outputs.m}}"}, "trial.command", "Add `m` under `outputs`"),
        ({"trial__command": "run ${{input.data}}"}, "trial.command", "Write ${{inputs.data}}"),
        ({"trial__command": "run ${{inputs.data.x}}"}, "trial.command", "have no parts"),
        ({"trial__command": "run ${{search_space.lr.x}}"}, "trial.command", "no value of the choice"),
        ({"trial__command": "run ${{search_space.lr"}, "trial.command", "needs its `}}`"),
        ({"trial__command": "run `x ${{search_space.lr}}`"}, "trial.command", "$DROPSWEEP_PARAM_LR"),
        ({"trial__command": "run '${{search_space.lr}}"}, "trial.command", "does not close"),
        ({"trial__command": "run $[[--x ${{inputs.data}}]]"}, "trial.command", "components"),
        ({"compute": "azureml:gpuu"}, "compute", "Did you mean `azureml:gpu`"),
        ({"compute": "GPU CLUSTER"}, "compute", "a cluster's name has"),
        ({"trial__code": "./src"}, "trial.code", "dropsweep submit"),
        ({"trial__code": "a/../b"}, "trial.code", "no `..`"),
        ({"trial__code": "/etc"}, "trial.code", "your own machine"),
        ({"trial__code": "azureml:code:1"}, "trial.code", "container `code`"),
        ({"inputs__data__path": "azureml:data:1"}, "inputs.data.path", "registered asset"),
        ({"inputs__data__path": "azure-webjobs-secrets/app"}, "inputs.data.path", "keeps for itself"),
        ({"inputs__data__path": "../data"}, "inputs.data.path", "your own machine"),
        ({"inputs__data__path": "C:\\data"}, "inputs.data.path", "your own machine"),
        ({"inputs__data__path": "data/../../x"}, "inputs.data.path", "no `..`"),
        ({"inputs__data__path": "data//x"}, "inputs.data.path", "no empty part"),
        ({"inputs__data__path": "data"}, "inputs.data.path", "not both"),
        ({"inputs__data__path": "Data/x"}, "inputs.data.path", "lower-case"),
        ({"inputs__data__path": "wasbs://c@a/x"}, "inputs.data.path", "not read"),
        ({"inputs__data__path": "https://acc.blob.core.windows.net/data/x?sig=s"}, "inputs.data.path", "no secret"),
        ({"inputs__data__mode": "rw_mount"}, "inputs.data.mode", "ro_mount"),
        ({"inputs__data__type": "mltable"}, "inputs.data.type", "uri_folder"),
        ({"inputs__n": {"type": "number", "path": "a/b"}}, "inputs.n", "the value itself"),
        ({"inputs__n": [1]}, "inputs.n", "single value"),
        ({"outputs": {"a/b": None}}, "outputs.a/b", "Write `a-b`"),
        ({"outputs": {"m": {"path": "x"}}}, "outputs.m.path", "written nowhere else"),
        ({"limits__max_total_trials": 0}, "limits.max_total_trials", "at least 1"),
        ({"limits__timeout": 1.5}, "limits.timeout", "whole number"),
        ({"limits__timeout": True}, "limits.timeout", "whole number"),
        ({"objective__goal": "maximise"}, "objective.goal", "Did you mean `maximize`"),
        ({"objective__primary_metric": "time"}, "objective.primary_metric", "never a metric"),
        ({"objective__primary_metric": "step"}, "objective.primary_metric", "never a metric"),
        ({"objective__primary_metric": "a b\n"}, "objective.primary_metric", METRIC_RULE),
        ({"objective__primary_metric": "a" * 201}, "objective.primary_metric", METRIC_RULE),
        ({"limits__max_total_trials": 2**53 + 1}, "limits.max_total_trials", "at most 9007199254740992"),
        ({"tags": {"a": [1]}}, "tags.a", "single value"),
        ({"trial__environment_variables": {"DROPSWEEP_X": "1"}}, "trial.environment_variables.DROPSWEEP_X", "Rename"),
        ({"trial__environment_variables": {"A-B": "1"}}, "trial.environment_variables.A-B", "Rename"),
        ({"trial__environment_variables": {"A": "${{inputs.data}}"}}, "trial.environment_variables.A", "only in the"),
    ],
)
def test_a_wrong_sweep_is_refused_with_path_rule_and_remedy(changes: dict[str, Any], path: str, words: str) -> None:
    reading = read(changed(SWEEP, **changes))
    assert reading.spec is None
    assert path in told(reading), reading.problems
    texts = [str(problem) for problem in reading.problems if problem.path == path]
    assert any(words in text for text in texts), texts


@pytest.mark.parametrize(
    ("changes", "path", "words"),
    [
        ({"experiment_name": "other"}, "experiment_name", "in whose folder"),
        ({"identity": {"type": "managed"}}, "identity", "no effect"),
        ({"trial__environment": "azureml:env@latest"}, "trial.environment", "no effect"),
        ({"trial__resources": {"shm_size": "2g"}}, "trial.resources.shm_size", "no effect"),
        ({"compute": "local"}, "compute", "runs on `cpu`"),
        ({"limits__max_concurrent_trials": 99}, "limits.max_concurrent_trials", "16 is the limit"),
        ({"search_space__unused": {"type": "randint", "upper": 2}}, "search_space.unused", "not used"),
        (
            {"search_space__lr": {"type": "loguniform", "min_value": 0.0001, "max_value": 0.1}},
            "search_space.lr",
            "exponents",
        ),
        ({"search_space__lr": {"type": "choice", "values": [1, 1]}}, "search_space.lr.values[1]", "twice"),
        (
            {"inputs__data__path": "https://acc.blob.core.windows.net/data/x"},
            "inputs.data.path",
            "whatever account",
        ),
        ({"trial__command": "bash -c 'run ${{search_space.lr}}'"}, "trial.command", "may run"),
    ],
)
def test_what_has_no_effect_or_may_surprise_is_a_warning(changes: dict[str, Any], path: str, words: str) -> None:
    reading = read(changed(SWEEP, **changes))
    assert reading.is_ok, reading.problems
    assert words in told(reading, Severity.WARNING)[path]
    assert all(problem.severity is Severity.WARNING for problem in reading.warnings)


@pytest.mark.parametrize("space", [[], None, "x"])
def test_a_sweep_with_an_unreadable_search_space_is_not_called_a_command(space: Any) -> None:
    assert set(told(read(changed(SWEEP, search_space=space)))) == {"search_space"}


def test_a_command_with_a_parameter_is_told_that_it_has_no_search_space() -> None:
    reading = read({"type": "command", "command": "echo ${{search_space.lr}}"})
    assert "a command job has no search space" in told(reading)["command"]


@pytest.mark.parametrize("compute", ["local", "azureml:local"])
def test_local_is_a_cluster_like_any_other_where_it_is_served(compute: str) -> None:
    body = json.dumps(changed(COMMAND, compute=compute)).encode()
    reading = read_job(
        body, file_name="a.json", clusters=[Cluster("gpu"), Cluster("local")], seed=0, experiment="digits"
    )
    assert reading.problems == ()
    assert reading.spec is not None
    assert reading.spec.cluster == "local"


@pytest.mark.parametrize("name", ["max_total_trials", "max_concurrent_trials", "timeout", "trial_timeout"])
def test_an_empty_limit_is_its_default(name: str) -> None:
    without, empty = changed(SWEEP, limits={}), changed(SWEEP, limits={name: None})
    assert spec_of(empty).limits == spec_of(without).limits


@pytest.mark.parametrize(
    ("file_name", "body", "path", "words"),
    [
        ("a.yaml", "command: x\ninputs: {z: .inf}", "inputs.z", "must be finite"),
        ("a.yaml", "command: x\ninputs: {z: 1e999}", "inputs.z", "must be finite"),
        ("a.json", '{"command": "x", "inputs": {"z": 1e999}}', "inputs.z", "must be finite"),
        ("a.yaml", "command: .nan", "command", "must be finite"),
        ("a.json", '{"command": 1e999}', "command", "must be finite"),
    ],
)
def test_a_value_is_told_one_thing_and_not_what_contradicts_it(
    file_name: str, body: str, path: str, words: str
) -> None:
    problems = read(body.encode(), file_name).problems
    assert [problem.path for problem in problems] == [path]
    assert words in problems[0].rule


@pytest.mark.parametrize(
    ("file_name", "key", "value", "words"),
    [
        ("a.json", "q", "true", "must be a number"),
        ("a.json", "q", '"x"', "must be a number"),
        ("a.json", "max_value", "1" + "0" * 400, "must lie within"),
        ("a.json", "q", "1" + "0" * 400, "must lie within"),
        ("a.yaml", "max_value", "1" + "0" * 400, "at most 400 characters"),
        ("a.json", "max_value", "1e999", "must be finite"),
    ],
)
def test_a_wrong_number_of_a_parameter_is_told_one_thing(file_name: str, key: str, value: str, words: str) -> None:
    lr = {"type": "quniform", "min_value": 0, "max_value": 1, "q": 1, key: "HERE"}
    body = json.dumps(changed(SWEEP, search_space={"lr": lr})).replace('"HERE"', value)
    (problem,) = read(body.encode(), file_name).problems
    assert problem.path == f"search_space.lr.{key}"
    assert words in problem.rule


@given(st.text("aZ0_./- \n:é", max_size=6) | st.sampled_from(["time", "step", "a" * 200, "a" * 201]))
def test_a_metric_may_be_the_primary_one_exactly_if_a_script_can_report_it(name: str) -> None:
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            report(**{name: 1.0})
        is_reported = name != "step"  # which is an argument of its own
    except (TypeError, ValueError):
        is_reported = False
    assert read(changed(SWEEP, objective__primary_metric=name)).is_ok == is_reported


def test_nobody_serves_any_cluster() -> None:
    reading = read_job(b"command: x", file_name="a.yaml", clusters=[], seed=0, experiment="e")
    assert "no cluster" in told(reading)["compute"]


@pytest.mark.parametrize(
    ("path", "container", "blob"),
    [
        ("data/a/b/", "data", "a/b"),
        ("azureml://datastores/data/paths/a/b", "data", "a/b"),
        ("https://acc.blob.core.windows.net/data/a%20b", "data", "a b"),
        ("runs/w/e/j/best.json", "runs", "w/e/j/best.json"),
    ],
)
def test_paths_in_storage_become_references(path: str, container: str, blob: str) -> None:
    reading = read(changed(SWEEP, inputs__data__path=path, limits="wrong"))
    assert not reading.is_ok
    code, data = reading.references
    assert (code.path, code.container, code.blob, code.is_folder) == ("trial.code", "code", "digits", True)
    assert (data.path, data.container, data.blob, data.is_folder) == ("inputs.data.path", container, blob, True)


def test_a_file_with_hundreds_of_problems_is_told_a_hundred() -> None:
    reading = read({"command": "x", **{f"key{number}": 1 for number in range(300)}})
    assert len(reading.problems) == 101
    assert "at least 200 more" in reading.problems[-1].rule


@pytest.mark.parametrize("name", ["x" * 100_000, "é\ud800" * 1000])
def test_what_is_told_of_a_name_without_measure_is_short_and_can_be_stored(name: str) -> None:
    space = {name: {"type": "uniform", "min_value": 0, "max_value": 1}, name.upper(): {"type": "randint", "upper": 2}}
    problems = read(changed(SWEEP, search_space=space, inputs={name: {"type": "x"}}), "x.json").problems
    assert len(problems) > 3
    for problem in problems:
        assert len(str(problem).encode()) < 3000
