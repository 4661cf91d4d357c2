"""Results as JSON: the records as they lie in the storage, and what the client makes of them."""

import json
from typing import Any, assert_never

from dropsweep.client import Action, BestTrial, Progress
from dropsweep.client.experiments import job_out
from dropsweep.client.schedules import ListedSchedule, ShownSchedule
from dropsweep.metrics import Point
from dropsweep.records import Best, JobRecord, JobSummary, TrialRecord, TrialSummary
from dropsweep.records.codec import number_out, time_out
from dropsweep.records.schedule import TickRecord
from dropsweep.steps._change import Left

Json = dict[str, Any]


def of_record(record: JobRecord | TrialRecord) -> Json:
    """Returns a record exactly as its blob has it."""
    document: Json = json.loads(record.to_json())
    return document


def of_job(job: JobSummary) -> Json:
    """Returns a job as every list shows it."""
    return job_out(job)


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
        "round": trial.round,
        "modified": time_out(trial.modified),
        "ran_s": trial.ran_s,
        "num_retries": trial.num_retries,
        "runs_alone": trial.runs_alone,
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


def of_action(action: Action, record: JobRecord, trial: int | None, left: Left | None) -> Json:
    """Returns how a job stands after it, or one of its trials, was to be changed, and why if nothing was done."""
    return {
        "job": record.key.path,
        "trial": trial,
        "state": record.state,
        "reason": record.reason,
        "message": record.message,
        "note": note_of(action, left),
        "left": left,
    }


def note_of(action: Action, left: Left | None) -> str:
    """Returns why nothing was done; empty when it was done as asked."""
    match left:
        case None:
            return ""
        case Left.HAS_ENDED:
            return f"it has ended already: there is nothing to {action}"
        case Left.IS_CANCELLING if action is Action.CANCEL:
            return "it is being cancelled already"
        case Left.IS_CANCELLING:
            return f"it is being cancelled: it cannot be {action}d"
        case Left.IS_PAUSED:
            return "it was paused already"
        case Left.IS_NOT_PAUSED:
            return f"it is not paused: there is nothing to {action}"
        case Left.ONLY_JOB_IS_PAUSED:
            return "it was not paused by itself: it goes on when its job goes on"
        case Left.NONE_HAS_FAILED:
            return f"no trial of it is known to have failed: there is nothing to {action}"
        case _:
            assert_never(left)


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


def of_schedule(schedule: ListedSchedule) -> Json:
    """Returns a schedule as a list shows it."""
    return {
        "schedule": schedule.key.path,
        "state": schedule.state,
        "next_due": time_out(schedule.next_due),
        "num_problems": schedule.num_problems,
        "file": schedule.file,
    }


def of_shown_schedule(schedule: ShownSchedule) -> Json:
    """Returns a schedule with what its file says and its latest due times."""
    return {
        "schedule": schedule.key.path,
        "state": schedule.state,
        "next_due": time_out(schedule.next_due),
        "file": schedule.file,
        "display_name": schedule.display_name,
        "description": schedule.description,
        "tags": dict(schedule.tags),
        "trigger": schedule.trigger,
        "time_zone": schedule.time_zone,
        "start": time_out(schedule.start),
        "end": time_out(schedule.end),
        "catch_up": schedule.catch_up,
        "overlap": schedule.overlap,
        "problems": [problem.to_json() for problem in schedule.problems],
        "counts": dict(schedule.counts),
        "ticks": [of_tick(tick) for tick in schedule.ticks],
    }


def of_tick(tick: TickRecord) -> Json:
    """Returns the record of a due time exactly as its blob has it."""
    document: Json = json.loads(tick.to_json())
    return document
