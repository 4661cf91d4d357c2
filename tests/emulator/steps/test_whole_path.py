"""Drop → accept → advance → claim → run → commit → advance → results, with the real parts in one process."""

import csv
import io
import json

from dropsweep.names import CODE, RUNS
from dropsweep.states import JobReason, JobState, TrialReason, TrialState
from tests.emulator.deployment import REPORT_X, Deployment, command, sweep


def test_a_dropped_sweep_comes_back_with_its_results_best_and_report(deployment: Deployment) -> None:
    key = deployment.drop(sweep(f"echo trial ${{{{search_space.x}}}}; {REPORT_X}; echo kept > outputs/x.txt", 5))
    job = deployment.run(key)
    assert (job.state, job.reason, job.counts) == (
        JobState.COMPLETED,
        JobReason.TRIALS_COMPLETED,
        {TrialState.COMPLETED: 5},
    )
    assert job.best is not None
    assert (job.best.trial, job.best.metric) == (4, 4.0)

    rows = list(csv.DictReader(io.StringIO(deployment.text(key.results))))
    assert [(row["trial"], row["state"], row["param.x"], row["metric.score"]) for row in rows] == [
        (str(k), "completed", str(k), str(float(k))) for k in range(5)
    ]
    best = json.loads(deployment.text(key.best))
    assert (best["trial"], best["parameters"], best["metric"]) == (4, {"x": 4}, 4.0)
    assert deployment.text(best["files"]["outputs"].removeprefix(f"{RUNS}/") + "x.txt") == "kept\n"
    assert deployment.text(best["files"]["stdout"].removeprefix(f"{RUNS}/")) == "trial 4\n"
    assert json.loads(deployment.text(best["files"]["metrics"].removeprefix(f"{RUNS}/"))) == {"step": 1, "score": 4}
    assert "<svg" in deployment.text(key.report)

    trial = deployment.trial(key, 3)
    assert (trial.attempt, trial.exit_code, trial.parameters, trial.metrics) == (1, 0, {"x": 3}, {"score": 3.0})
    assert trial.started is not None
    assert trial.finished is not None
    assert trial.started <= trial.finished


def test_a_command_job_is_a_sweep_of_one_trial_and_needs_no_metric(deployment: Deployment) -> None:
    store = deployment.store
    store.blobs.put(CODE, f"{deployment.workspace}/tool/run.sh", b'cat "$1"; cp "$1" "$2"/copy.txt; echo "$GREETING"\n')
    store.blobs.put(CODE, f"{deployment.workspace}/data/input file.txt", b"from the account\n")
    key = deployment.drop(
        command(
            "sh run.sh ${{inputs.data}} ${{outputs.result}}",
            code=f"{deployment.workspace}/tool",
            inputs={"data": {"type": "uri_file", "path": f"{CODE}/{deployment.workspace}/data/input file.txt"}},
            outputs={"result": {"type": "uri_folder"}},
            environment_variables={"GREETING": "it's $HOME"},
        )
    )
    job = deployment.run(key)
    assert job.state is JobState.COMPLETED, deployment.trial(key, 0)
    assert deployment.text(key.stdout(0, 1)) == "from the account\nit's $HOME\n"
    assert deployment.text(f"{key.outputs(0, 1)}result/copy.txt") == "from the account\n"
    assert json.loads(deployment.text(key.best))["trial"] == 0


def test_failures_are_told_with_their_reason_and_the_sweep_goes_on(deployment: Deployment) -> None:
    text = (
        "case ${{search_space.x}} in"
        " 0) echo oh no >&2; exit 3;;"
        " 1) kill -9 $$;;"
        " 2) ;;"
        """ 3) echo '{"score": "NaN"}' >> "$DROPSWEEP_METRICS";;"""
        """ 4) sleep 60;;"""
        f" *) {REPORT_X};; esac"
    )
    key = deployment.drop(sweep(text, 6, limits={"trial_timeout": 5}))
    job = deployment.run(key)
    assert job.state is JobState.COMPLETED
    assert job.counts == {TrialState.COMPLETED: 1, TrialState.FAILED: 5}
    told = {k: (deployment.trial(key, k).reason, deployment.trial(key, k).message) for k in range(5)}
    assert told[0] == (TrialReason.EXIT_CODE, "exit code 3: oh no")
    assert told[1][0] is TrialReason.SIGNAL
    assert "SIGKILL" in told[1][1]
    assert told[2][0] is TrialReason.NO_METRIC
    assert "no metric at all" in told[2][1]
    assert told[3][0] is TrialReason.NO_METRIC
    assert "nan" in told[3][1]
    assert told[4] == (TrialReason.TRIAL_TIMEOUT, "limits.trial_timeout of 5 s has passed")


def test_a_sweep_none_of_whose_trials_completes_has_failed(deployment: Deployment) -> None:
    key = deployment.drop(sweep("exit 1", 2))
    job = deployment.run(key)
    assert (job.state, job.reason, job.best) == (JobState.FAILED, JobReason.NO_TRIAL_COMPLETED, None)
    assert deployment.store.blobs.read(RUNS, key.best) is None


def test_a_trial_sees_its_parameters_and_none_of_the_worker_s_secrets(deployment: Deployment, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("DROPSWEEP_STORAGE", "AccountKey=secret")
    monkeypatch.setenv("AZURE_CLIENT_SECRET", "secret")
    monkeypatch.setenv("MY_TOKEN", "secret")
    key = deployment.drop(command("env; pwd"))
    deployment.run(key)
    printed = deployment.text(key.stdout(0, 1))
    assert "secret" not in printed
    seen = dict(line.split("=", 1) for line in printed.splitlines() if "=" in line)
    assert seen["DROPSWEEP_JOB"] == key.path
    assert seen["DROPSWEEP_TRIAL"] == "0"
    assert seen["DROPSWEEP_PARAMS"] == "{}"
    assert "DROPSWEEP_RESUME_FROM" not in seen
