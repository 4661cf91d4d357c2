"""The commands of `dropsweep` that hand jobs in, show them and bring results home, one function each."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dropsweep.cli.cluster import cluster
from dropsweep.cli.control import control
from dropsweep.cli.delete import deletion
from dropsweep.cli.doctor import doctor
from dropsweep.cli.download import EXAMPLES as DOWNLOAD_EXAMPLES
from dropsweep.cli.download import download, no_best
from dropsweep.cli.exits import BY_STATE, MEANINGS, ExitCode
from dropsweep.cli.experiment import experiment as experiments
from dropsweep.cli.options import AsJson, Connection, Experiment, Job, Workspace
from dropsweep.cli.poison import poison
from dropsweep.cli.schedule import schedule
from dropsweep.cli.session import Session, session
from dropsweep.cli.upload import EXAMPLES as UPLOAD_EXAMPLES
from dropsweep.cli.upload import upload
from dropsweep.cli.wait import EXAMPLES as WAIT_EXAMPLES
from dropsweep.cli.wait import wait
from dropsweep.cli.workspace import workspace as workspaces
from dropsweep.errors import DropsweepError, NotFoundError
from dropsweep.names import DEFAULT_NAME, JobKey, Priority
from dropsweep.states import TrialState

if TYPE_CHECKING:
    from dropsweep.records import JobRecord

_SUBMITTED_APPEARS_S = 180.0
"""How long `submit --watch` waits for the functions: in the cloud they may have to start first."""
_NONE_YET = "there is no job here yet: `dropsweep submit FILE` hands one in"
_EXISTING_APPEARS_S = 10.0
"""How long `watch` waits for a job that may have been submitted a moment ago, or may be a slip of the pen."""

# The formatter keeps the lines of a paragraph that begins with a backspace.
_EXIT_CODES = "\b\n" + "\n".join(f"{code:>5}  {meaning}" for code, meaning in MEANINGS.items())

app = typer.Typer(
    help="Hand in training jobs, watch them, and bring their results home.",
    epilog=f"Exit codes:\n\n{_EXIT_CODES}",
    rich_markup_mode=None,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(control)
app.add_typer(deletion)
app.add_typer(experiments, name="experiment")
app.add_typer(workspaces, name="workspace")
app.add_typer(schedule, name="schedule")
app.add_typer(cluster, name="cluster")
app.add_typer(poison, name="poison")
app.add_typer(doctor)


def _version(is_asked: bool) -> None:
    if is_asked:
        from dropsweep import __version__

        typer.echo(f"dropsweep {__version__}")
        raise typer.Exit


@app.callback()
def dropsweep(
    context: typer.Context,
    connection: Connection = None,
    _version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Hand in training jobs, watch them, and bring their results home."""
    context.obj = connection


@app.command(
    epilog="Examples:\n\n\b\n  dropsweep submit sweep.yaml -w vision -e digits --watch\n"
    "  dropsweep submit sweep.yaml --set limits.max_total_trials=4\n"
    "  dropsweep submit sweep.yaml -c gpu --priority high"
)
def submit(
    context: typer.Context,
    # As a text: typer 0.29 does not know `-` once it is a Path.
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE", exists=True, dir_okay=False, allow_dash=True, help="A job file; `-`: standard input."
        ),
    ],
    workspace: Annotated[str, typer.Option("--workspace", "-w", metavar="NAME", help="The workspace.")] = DEFAULT_NAME,
    experiment: Annotated[
        str | None,
        typer.Option(
            "--experiment",
            "-e",
            metavar="NAME",
            help=f"The experiment. [default: the file's experiment_name, or {DEFAULT_NAME}]",
        ),
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option("--cluster", "-c", metavar="NAME", help="The cluster, over the file's compute."),
    ] = None,
    priority: Annotated[
        Priority | None,
        typer.Option("--priority", metavar="PRIORITY", help="high, normal or low, over the file's own."),
    ] = None,
    values: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="Set a value over the file's, as limits.timeout=600."),
    ] = None,
    submission_id: Annotated[
        str | None,
        typer.Option("--submission-id", metavar="ID", help="What must not happen twice: one id is one job."),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Watch the job to its end.")] = False,
    connection: Connection = None,
    as_json: AsJson = False,
) -> None:
    """Hand a job file in, with the local code folder that it names."""
    with session(context, connection, as_json) as here:
        from dropsweep.client.jobfile import JobFile
        from dropsweep.client.overrides import placed, read_assignments

        source = JobFile.from_bytes(Path("stdin.yaml"), sys.stdin.buffer.read()) if file == "-" else file
        overrides = read_assignments(values or ())
        if cluster is not None or priority is not None:
            source = JobFile.of(source)
            overrides |= placed(source.values, cluster, priority)
        key = here.client.submit(
            source,
            workspace=workspace,
            experiment=experiment,
            overrides=overrides,
            submission_id=submission_id,
        ).key
        if as_json:
            (here.write_line if watch else here.write)({"job": key.path})
        else:
            typer.echo(key.path)
        if watch:
            _watch(here, key, _SUBMITTED_APPEARS_S)
        first = f" with {priority} priority" if priority not in (None, Priority.NORMAL) else ""
        here.remark(f"submitted{first}; see how it goes: {here.program} watch {key.path}")


@app.command(
    "list",
    epilog="Examples:\n\n\b\n  dropsweep list -w vision\n  dropsweep list --state running --tag team=vision --since 2d",
)
def list_jobs(
    context: typer.Context,
    workspace: Workspace = None,
    experiment: Experiment = None,
    states: Annotated[
        list[str] | None, typer.Option("--state", metavar="STATE", help="Only jobs in this state; may be repeated.")
    ] = None,
    tags: Annotated[
        list[str] | None,
        typer.Option("--tag", metavar="NAME[=VALUE]", help="Only jobs with this tag; may be repeated."),
    ] = None,
    schedule: Annotated[
        str, typer.Option("--schedule", metavar="NAME", help="Only jobs that this schedule made.")
    ] = "",
    since: Annotated[
        str, typer.Option("--since", metavar="TIME", help="Only jobs of the last 30m, 12h, 2d or 1w, or since a time.")
    ] = "",
    limit: Annotated[int | None, typer.Option("--limit", min=1, metavar="N", help="Only so many, the newest.")] = None,
    connection: Connection = None,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first."""
    with session(context, connection, as_json) as here:
        from dropsweep.client.listing import JobFilter

        where = JobFilter.parse(states=states or (), tags=tags or (), schedule=schedule, since=since, limit=limit)
        unreadable: dict[JobKey, DropsweepError] = {}
        found = here.client.jobs(workspace, experiment, where, on_corrupt=unreadable.__setitem__)
        if as_json:
            from dropsweep import documents

            here.write({"jobs": [documents.of_job(job) for job in found], "errors": here.errors(unreadable)})
        elif found or unreadable:
            from dropsweep.cli import show as tables

            here.out.print(tables.jobs(found, list(unreadable), width=here.out.width))
        else:
            here.remark(_NONE_YET if where == JobFilter() else "no job is as you ask: `dropsweep list` shows all")
        here.end_with(unreadable)


@app.command(epilog="Examples:\n\n\b\n  dropsweep show digits-4k2\n  dropsweep show digits-4k2 7")
def show(
    context: typer.Context,
    job: Job,
    trial: Annotated[int | None, typer.Argument(metavar="TRIAL", min=0, help="One trial's number, from 0.")] = None,
    connection: Connection = None,
    as_json: AsJson = False,
) -> None:
    """Show a job, or one of its trials."""
    with session(context, connection, as_json) as here:
        key = here.find(job)
        if trial is not None:
            _show_trial(here, key, trial)
        elif as_json:
            _write_job(here, key)
        else:
            _show_job(here, key)


@app.command(epilog="Examples:\n\n\b\n  dropsweep watch digits-4k2")
def watch(context: typer.Context, job: Job, connection: Connection = None, as_json: AsJson = False) -> None:
    """Watch a job to its end; the exit code tells how it ended."""
    with session(context, connection, as_json) as here:
        _watch(here, here.find(job), _EXISTING_APPEARS_S)


app.command(epilog=WAIT_EXAMPLES)(wait)


@app.command(epilog="Examples:\n\n\b\n  dropsweep logs digits-4k2 7 -f\n  dropsweep logs nightly --stderr")
def logs(
    context: typer.Context,
    job: Job,
    trial: Annotated[
        int | None, typer.Argument(metavar="TRIAL", min=0, help="The trial's number; a command has only 0.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the trial ends.")] = False,
    stderr: Annotated[bool, typer.Option("--stderr", help="Standard error in place of standard output.")] = False,
    attempt: Annotated[
        int | None, typer.Option("--attempt", min=1, metavar="N", help="An attempt. [default: the latest]")
    ] = None,
    connection: Connection = None,
    as_json: AsJson = False,
) -> None:
    """Show what a trial prints."""
    with session(context, connection, as_json) as here:
        from dropsweep.cli import logs as output

        key = here.find(job)
        number = _only_trial(here, key) if trial is None else trial
        stream = "stderr" if stderr else "stdout"
        pieces = here.client.logs(key, number, stream=stream, attempt=attempt, follow=follow)
        if as_json:
            output.write_lines(here, pieces, {"job": key.path, "trial": number, "stream": stream})
        else:
            output.write(pieces)
        _tell_end(here, key, number)


@app.command(epilog="Examples:\n\n\b\n  dropsweep best digits-4k2 --json")
def best(context: typer.Context, job: Job, connection: Connection = None, as_json: AsJson = False) -> None:
    """Show the best trial, its parameters and where its files lie."""
    with session(context, connection, as_json) as here:
        key = here.find(job)
        found = here.client.best(key)
        if found is None:
            raise no_best(key)
        if as_json:
            from dropsweep import documents

            here.write(documents.of_best_trial(found))
        else:
            from dropsweep import live

            here.out.print(live.best_trial(found), soft_wrap=True)


app.command(epilog=DOWNLOAD_EXAMPLES)(download)
app.command(epilog=UPLOAD_EXAMPLES)(upload)


def _watch(here: Session, key: JobKey, appear_s: float) -> None:
    """Watches to the end and raises typer.Exit with what `BY_STATE` says."""
    try:
        record = _watch_json(here, key, appear_s) if here.as_json else _watch_view(here, key, appear_s)
    except KeyboardInterrupt:
        here.remark(f"the job goes on; to end it: {here.program} cancel {key.path}")
        raise
    raise typer.Exit(BY_STATE[record.state])


def _watch_view(here: Session, key: JobKey, appear_s: float) -> "JobRecord":
    from dropsweep import live

    record = live.watch(here.client, key, here.out, appear_s=appear_s)
    live.summary(here.client, key, here.out)
    return record


def _watch_json(here: Session, key: JobKey, appear_s: float) -> "JobRecord":
    from dropsweep import documents

    before: dict[str, Any] = {}
    record: JobRecord | None = None
    for progress in here.client.updates(key, appear_s=appear_s):
        if progress is None:
            continue
        record = progress.record
        document = documents.of_progress(progress)
        # Time passes and workers beat whether anything happens or not.
        beats = [{**trial, "modified": None, "ran_s": 0} for trial in document["running"]]
        if (now := {**document, "elapsed_s": 0, "running": beats}) != before:
            here.write_line(document)
            before = now
    if record is None:
        raise NotFoundError(f"{key.path}: there is no such job")
    return record


def _write_job(here: Session, key: JobKey) -> None:
    from dropsweep import documents

    progress = here.client.progress(key)
    here.write(
        {
            "job": documents.of_record(progress.record),
            "counts": dict(progress.counts),
            "running": [documents.of_trial(trial) for trial in progress.running],
            "problems": [problem.to_json() for problem in here.client.problems(key)],
        }
    )


def _show_job(here: Session, key: JobKey) -> None:
    from dropsweep import live
    from dropsweep.cli import show as tables

    live.summary(here.client, key, here.out)
    progress = here.client.progress(key)
    here.out.print(tables.job(progress))
    if progress.running:
        shown = progress.running[:20]
        chosen = {trial.trial: live.parameters(here.client.parameters(key, trial.trial)) for trial in shown}
        here.out.print(live.running_trials(progress, chosen, len(shown)))


def _show_trial(here: Session, key: JobKey, trial: int) -> None:
    record = here.client.trial(key, trial)
    if here.as_json:
        from dropsweep import documents

        points = [documents.of_point(point) for point in here.client.metrics(key, trial)]
        kept = [found.to_json() for found in here.client.checkpoints(key, trial)]
        here.write({"trial": documents.of_record(record), "metrics": points, "checkpoints": kept})
    else:
        from dropsweep.cli import show as tables

        here.out.print(tables.trial(record))
        if found := here.client.checkpoints(key, trial):
            here.out.print(tables.checkpoints(found, record, width=here.out.width))


def _tell_end(here: Session, key: JobKey, trial: int) -> None:
    """Says on standard error how a trial ended whose output is all there is, unless it completed."""
    record = here.client.trial(key, trial)
    if record.state.is_final and record.state is not TrialState.COMPLETED:
        why = f": {record.message}" if record.message else ""
        here.remark(f"trial {trial} {record.state} ({record.reason}){why}")


def _only_trial(here: Session, key: JobKey) -> int:
    record = here.client.record(key)
    if record.num_trials == 1:
        return 0
    named = f"; trial {record.best.trial} is the best" if record.best else ""
    raise DropsweepError(
        f"{key.path} has {record.num_trials} trials{named}: logs are one trial's. "
        f"Name it, as in `dropsweep logs {key.job} {record.best.trial if record.best else 0}`"
    )


__all__ = ["ExitCode", "app"]
