"""Results as JSON: the records as they lie in the storage, and what the client makes of them."""

import json
from typing import Any

from dropsweep.client import BestTrial, Progress
from dropsweep.metrics import Point
from dropsweep.records import Best, JobRecord, JobSummary, TrialRecord, TrialSummary
from dropsweep.records.codec import number_out, time_out

Json = dict[str, Any]


def of_record(record: JobRecord | TrialRecord) -> Json:
    """Returns a record exactly as its blob has it."""
    document: Json = json.loads(record.to_json())
    return document


def of_job(job: JobSummary) -> Json:
    """Returns a job as a list shows it."""
    return {
        "job": job.key.path,
        "state": job.state,
        "reason": job.reason,
        "kind": job.kind,
        "num_trials": job.num_trials,
        "num_final": job.num_final,
        "best": of_best(job.best),
        "created": time_out(job.created),
    }


def of_trial(trial: TrialSummary) -> Json:
    """Returns a trial as a list shows it."""
    return {
        "trial": trial.trial,
        "state": trial.state,
        "reason": trial.reason,
        "attempt": trial.attempt,
        "step": number_out(trial.step),
        "metric": number_out(trial.metric),
        "metrics": {name: number_out(value) for name, value in trial.metrics.items()},
        "message": trial.message,
        "started": time_out(trial.started),
        "finished": time_out(trial.finished),
    }


def of_best(best: Best | None) -> Json | None:
    """Returns which trial is best and its metric."""
    return None if best is None else {"trial": best.trial, "metric": number_out(best.metric)}


def of_best_trial(best: BestTrial) -> Json:
    """Returns the best trial as best.json has it."""
    return {
        "version": 1,
        "job": best.job.path,
        "trial": best.trial,
        "attempt": best.attempt,
        "primary_metric": best.primary_metric,
        "goal": best.goal,
        "metric": number_out(best.metric),
        "parameters": dict(best.parameters),
        "metrics": {name: number_out(value) for name, value in best.metrics.items()},
        "files": dict(best.files),
    }


def of_progress(progress: Progress) -> Json:
    """Returns one look at a job."""
    record = progress.record
    return {
        "job": record.key.path,
        "state": record.state,
        "reason": record.reason,
        "message": record.message,
        "num_trials": record.num_trials,
        "num_final": progress.num_final,
        "counts": dict(progress.counts),
        "best": of_best(progress.best),
        "running": [of_trial(trial) for trial in progress.running],
        "elapsed_s": progress.elapsed_s,
    }


def of_action(record: JobRecord, trial: int | None, note: str) -> Json:
    """Returns how a job stands after it, or one of its trials, was to be changed; `note` tells why nothing was done."""
    return {
        "job": record.key.path,
        "trial": trial,
        "state": record.state,
        "reason": record.reason,
        "message": record.message,
        "note": note,
    }


def of_limits(record: JobRecord) -> Json:
    """Returns the limits of a job, named as in the job file."""
    return {
        "job": record.key.path,
        "state": record.state,
        "limits": {
            "max_total_trials": record.num_trials,
            "max_concurrent_trials": record.window,
            "timeout": record.timeout_s,
            "trial_timeout": record.trial_timeout_s,
        },
    }


def of_point(point: Point) -> Json:
    """Returns what one line of metrics says."""
    return {"step": number_out(point.step), "values": {name: number_out(value) for name, value in point.values.items()}}
