"""What `dropsweep show` says of one trial."""

from rich.console import Console

from dropsweep.cli import show
from dropsweep.names import JobKey
from dropsweep.records import TrialRecord
from dropsweep.states import TrialReason

KEY = JobKey("w", "e", "digits-0123456789")


def shown(record: TrialRecord) -> list[str]:
    console = Console(width=200, color_system=None)
    with console.capture() as capture:
        console.print(show.trial(record))
    return [" ".join(line.split()) for line in capture.get().splitlines()]


def test_a_trial_says_how_it_was_started_and_why_not_warm() -> None:
    why = "cold: the variable OMP_NUM_THREADS must be there before the interpreter starts"
    assert f"start {why}" in shown(TrialRecord(KEY, 0, 1, TrialReason.SUCCEEDED, {}, start=why))
    assert not [line for line in shown(TrialRecord(KEY, 0, 1, TrialReason.CLAIMED, {})) if line.startswith("start ")]
