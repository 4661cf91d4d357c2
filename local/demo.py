"""The main job on real data, from drop to leaderboard, on a system that is started for it and stopped after it."""

from pathlib import Path
from typing import Final

from rich.console import Console

from dropsweep.client import Client
from dropsweep.live import literal, summary, watch
from dropsweep.names import JobKey
from dropsweep.states import JobState
from local.guard import Guard
from local.paths import ROOT, STATE, shown
from local.stack import Stack

DATA: Final = STATE / "demo"
EXAMPLE: Final = ROOT / "examples" / "digits" / "sweep.yaml"
WORKSPACE: Final = "demo"


def demo(num_trainers: int, data: Path = DATA, job_file: Path = EXAMPLE) -> int:
    """Runs one job to its end and shows it.

    Storage is empty at the start: what a demo that was stopped left behind must not run on beside this one. Results of
    earlier demos stay in `results/`.

    Args:
        num_trainers: trainer processes.
        data: the folder that holds all that the demo leaves.
        job_file: what to drop.

    Returns:
        The exit status: 0 when the job completed, 1 when it ended otherwise, or the storage or the host died.

    Raises:
        DropsweepError: the system cannot start, or storage does not do what was asked.
    """
    console = Console()
    console.print("Starting storage, the function host and the trainers …")
    with Stack(data, num_trainers=num_trainers, is_fresh=True) as stack:
        client = Client.from_connection_string(stack.connection_string)
        key = client.submit(job_file, workspace=WORKSPACE).key
        console.print(f"Dropped {shown(job_file)} into the container jobs.\n", highlight=False)
        with Guard(stack, lambda line: console.print(literal(line), soft_wrap=True)) as guard:
            record = watch(client, key, console)
        if guard.verdict:
            console.print(literal(guard.verdict), soft_wrap=True)
            return 1
        _bring_home(client, key, data / "results", console)
    return 0 if record.state is JobState.COMPLETED else 1


def _bring_home(client: Client, key: JobKey, results: Path, console: Console) -> None:
    """Copies what can be looked at once the storage has stopped, and says where each thing lies."""
    best = client.best(key)
    download = client.download(key, results / key.job, trial=best.trial if best else None)
    summary(client, key, console, copy=Path(shown(download.folder)))
    console.print("\nStorage stops now. All files named above are copies; open the report in a browser.")
