"""The main job on real data, from drop to leaderboard, on a system that is started for it and stopped after it."""

import signal
import threading
from pathlib import Path
from typing import Final

from rich.console import Console

from dropsweep.client import Client
from dropsweep.live import summary, watch
from dropsweep.names import JobKey
from dropsweep.states import JobState
from local.paths import ROOT, STATE, shown
from local.stack import Stack

DATA: Final = STATE / "demo"
EXAMPLE: Final = ROOT / "examples" / "digits" / "sweep.yaml"
WORKSPACE: Final = "demo"
_LOOK_EACH_S: Final = 0.5


def demo(num_trainers: int, data: Path = DATA, job_file: Path = EXAMPLE) -> int:
    """Runs one job to its end and shows it.

    Storage is empty at the start: what a demo that was stopped left behind must not run on beside this one. Results of
    earlier demos stay in `results/`.

    Args:
        num_trainers: trainer processes.
        data: the folder that holds all that the demo leaves.
        job_file: what to drop.

    Returns:
        The exit status: 0 when the job completed, 1 when it ended otherwise or a part of the system died.

    Raises:
        DropsweepError: the system cannot start, or storage does not do what was asked.
    """
    console = Console()
    console.print("Starting storage, the function host and the trainers …")
    with Stack(data, num_trainers=num_trainers, is_fresh=True) as stack:
        client = Client.from_connection_string(stack.connection_string)
        key = client.submit(job_file, workspace=WORKSPACE)
        console.print(f"Dropped {shown(job_file)} into the container jobs.\n", highlight=False)
        with Guard(stack) as guard:
            record = watch(client, key, console)
        if guard.verdict:
            console.print(guard.verdict, markup=False, highlight=False)
            return 1
        summary(client, key, console)
        _bring_home(client, key, data / "results", console)
    return 0 if record.state is JobState.COMPLETED else 1


class Guard:
    """Interrupts the block when a part without which nothing goes on has died; the block then ends without an error.

    Attributes:
        verdict: what died and the end of its log; empty as long as nothing did.
    """

    def __init__(self, stack: Stack) -> None:
        """Watches the processes of a running stack."""
        self.verdict = ""
        self._stack = stack
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Guard":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_exception: object) -> bool:
        self._done.set()
        self._thread.join()
        return bool(self.verdict) and kind is not None

    def _watch(self) -> None:
        main = threading.main_thread().ident
        assert main is not None
        while not self._done.wait(_LOOK_EACH_S):
            if self._stack.can_go_on():
                continue
            self.verdict = "\n".join(child.obituary for child in self._stack.dead())
            # The block may be asleep between two looks, or wait for an answer that will not come.
            signal.pthread_kill(main, signal.SIGINT)
            return


def _bring_home(client: Client, key: JobKey, results: Path, console: Console) -> None:
    best = client.best(key)
    download = client.download(key, results / key.job, trial=best.trial if best else None)
    console.print(
        f"\nStorage is stopped now; the results and the best trial's files are copied to {shown(download.folder)}/",
        highlight=False,
        soft_wrap=True,
    )
    for report in download.folder.rglob("report.html"):
        console.print(f"Open the report in a browser: {shown(report)}", highlight=False, soft_wrap=True)
