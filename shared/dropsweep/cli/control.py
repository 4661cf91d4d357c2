"""The commands that change jobs: cancel, pause, resume, retry and edit."""

from typing import TYPE_CHECKING, Annotated

import typer

from dropsweep.cli.options import AsJson, Connection, Job
from dropsweep.cli.session import Session, session
from dropsweep.errors import DropsweepError

if TYPE_CHECKING:
    from dropsweep.client import Action

control = typer.Typer()
"""Has no name of its own: its commands stand among those of `app`."""

_Job = Annotated[
    str | None,
    typer.Argument(
        metavar="JOB",
        help="A job's id, its name, the beginning of an id, or workspace/experiment/job.",
        show_default=False,
    ),
]
_Trial = Annotated[
    int | None,
    typer.Argument(metavar="TRIAL", min=0, help="One trial's number, from 0, in place of all.", show_default=False),
]
_Workspace = Annotated[
    str | None,
    typer.Option("--workspace", "-w", metavar="NAME", help="With --experiment, in place of JOB: every job of it."),
]
_Experiment = Annotated[
    str | None,
    typer.Option("--experiment", "-e", metavar="NAME", help="With --workspace, in place of JOB: every job of it."),
]


def _examples(command: str) -> str:
    lines = (f"{command} digits-4k2", f"{command} digits-4k2 7", f"{command} -w vision -e digits")
    return "Examples:\n\n\b\n" + "\n".join(f"  dropsweep {line}" for line in lines)


def _add(action: str, told: str) -> None:
    """Adds the command that does to a job, a trial, or an experiment what an action's name says."""

    @control.command(action, help=told, epilog=_examples(action))
    def act(
        context: typer.Context,
        job: _Job = None,
        trial: _Trial = None,
        workspace: _Workspace = None,
        experiment: _Experiment = None,
        connection: Connection = None,
        as_json: AsJson = False,
    ) -> None:
        with session(context, connection, as_json) as here:
            _act(here, action, job, trial, workspace, experiment)


_add("cancel", "Cancel a job, a trial, or a whole experiment.")
_add("pause", "Pause a job, a trial, or a whole experiment.")
_add("resume", "Let what was paused go on, from its last checkpoints.")
_add("retry", "Try failed trials again, of jobs that have ended too.")


@control.command(epilog="Examples:\n\n\b\n  dropsweep edit digits-4k2 --max-total-trials 64 --timeout 7200")
def edit(
    context: typer.Context,
    job: Job,
    max_total_trials: Annotated[
        int | None, typer.Option("--max-total-trials", metavar="N", help="Trials in all.", show_default=False)
    ] = None,
    max_concurrent_trials: Annotated[
        int | None, typer.Option("--max-concurrent-trials", metavar="N", help="Trials at once.", show_default=False)
    ] = None,
    timeout_s: Annotated[
        int | None,
        typer.Option(
            "--timeout", metavar="S", help="Seconds for the whole job, without its pauses.", show_default=False
        ),
    ] = None,
    trial_timeout_s: Annotated[
        int | None,
        typer.Option("--trial-timeout", metavar="S", help="Seconds of one attempt of a trial.", show_default=False),
    ] = None,
    connection: Connection = None,
    as_json: AsJson = False,
) -> None:
    """Change the limits of a job that has not ended."""
    with session(context, connection, as_json) as here:
        record = here.client.edit(
            job,
            max_total_trials=max_total_trials,
            max_concurrent_trials=max_concurrent_trials,
            timeout_s=timeout_s,
            trial_timeout_s=trial_timeout_s,
        )
        if as_json:
            from dropsweep import documents

            here.write(documents.of_limits(record))
        else:
            from dropsweep import live
            from dropsweep.cli import show

            line = live.headline(record).append_text(live.literal(f"  {show.limits(record)}"))
            here.out.print(line, soft_wrap=True)


def _act(
    here: Session, name: str, job: str | None, trial: int | None, workspace: str | None, experiment: str | None
) -> None:
    # Not imported at the top: it brings the storage SDK with it.
    from dropsweep.client import Action

    action = Action(name)
    if job is not None:
        if workspace is not None or experiment is not None:
            raise DropsweepError("JOB and --workspace or --experiment exclude each other. Give one of them")
        _act_on_job(here, action, job, trial)
    elif workspace is not None and experiment is not None:
        act_on_experiment(here, name, workspace, experiment)
    else:
        raise DropsweepError(
            f"nothing is named to {action}. Name a JOB, or an experiment by --workspace and --experiment together"
        )


def _act_on_job(here: Session, action: "Action", job: str, trial: int | None) -> None:
    from dropsweep import documents
    from dropsweep.cli import told
    from dropsweep.steps._change import Left

    done = here.client.act(action, job, trial)
    if here.as_json:
        here.write(documents.of_action(action, done.record, trial, done.left))
        return
    here.out.print(told.line(action, done.record, done.left, trial), soft_wrap=True)
    # A trial of a paused job waits for the job, whether anything was done or not.
    is_said = done.left in (None, Left.ONLY_JOB_IS_PAUSED)
    hint = told.hint(action, done.record, trial) if is_said else None
    if hint is not None:
        here.remark(f"{hint[0]}: {here.program} {hint[1]}")


def act_on_experiment(here: Session, name: str, workspace: str, experiment: str) -> None:
    """Does to all jobs of an experiment what an action's name says; tells jobs that cannot be changed as errors."""
    from dropsweep import documents
    from dropsweep.cli import told
    from dropsweep.client import Action

    action = Action(name)
    outcomes = here.client.experiment(workspace, experiment).act(action)
    failed = {outcome.job: outcome.error for outcome in outcomes if outcome.error is not None}
    done = [(outcome.record, outcome.left) for outcome in outcomes if outcome.record is not None]
    if here.as_json:
        jobs = [documents.of_action(action, record, None, left) for record, left in done]
        here.write({"jobs": jobs, "errors": here.errors(failed)})
    else:
        for record, left in done:
            here.out.print(told.line(action, record, left, None), soft_wrap=True)
        if not outcomes:
            here.remark(f"{workspace}/{experiment} has no job to {action}")
    here.end_with(failed)
