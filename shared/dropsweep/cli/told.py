"""What became of an action on a job or a trial, in words."""

from typing import assert_never

from rich.text import Text

from dropsweep.client import Action
from dropsweep.client.control import is_asked
from dropsweep.live import headline, literal
from dropsweep.records import JobRecord
from dropsweep.states import JobReason, JobState, Wish


def line(action: Action, record: JobRecord, trial: int | None) -> Text:
    """Returns one line: which job or trial, and how it stands after the action."""
    said = note(action, record, trial)
    if trial is not None:
        name = literal(record.key.path, "bold").append(f"  trial {trial}", "not bold")
        return name.append_text(literal(f": {said or _done(action, record, trial)}"))
    if not said and not record.message:
        said = _done(action, record, trial)
    return headline(record).append_text(literal(f"  {said}" if said else ""))


def note(action: Action, record: JobRecord, trial: int | None) -> str:
    """Returns why nothing was done; empty when it was done as asked."""
    state = record.state
    wish = None if trial is None else record.requests.get(trial)
    is_cancelled = state is JobState.CANCELLING or (wish is Wish.CANCEL and not state.is_final)
    match action:
        case Action.CANCEL:
            return "" if is_cancelled else "it has ended already: there is nothing to cancel"
        case Action.PAUSE if is_cancelled:
            return "it is being cancelled: it cannot be paused"
        case Action.PAUSE:
            is_paused = state is JobState.PAUSED if trial is None else wish is Wish.PAUSE
            return "" if is_paused else "it has ended already: there is nothing to pause"
        case Action.RESUME if is_cancelled:
            return "it is being cancelled: it cannot be resumed"
        case Action.RESUME:
            # A trial that waits for its job goes on when the job does, whether it was paused by itself or not.
            waits = trial is not None and state in (JobState.PAUSED, JobState.QUEUED)
            return "" if waits or record.reason is JobReason.RESUMED else "it is not paused: there is nothing to resume"
        case Action.RETRY:
            return "" if is_asked(record) else "no trial of it has failed: there is nothing to retry"
        case _:
            assert_never(action)


def hint(action: Action, record: JobRecord, trial: int | None) -> tuple[str, str] | None:
    """Returns what a person may want to do next, in words and as a command without the program's name."""
    number = "" if trial is None else f" {trial}"
    match action:
        case Action.CANCEL:
            return None
        case Action.PAUSE:
            return "to let it go on", f"resume {record.key.path}{number}"
        case Action.RESUME | Action.RETRY:
            if record.state is JobState.PAUSED:
                return "to let the job go on", f"resume {record.key.path}"
            return "see how it goes", f"watch {record.key.path}"
        case _:
            assert_never(action)


def _done(action: Action, record: JobRecord, trial: int | None) -> str:
    later = " when its job goes on" if record.state is JobState.PAUSED else ""
    match action:
        case Action.CANCEL:
            return "it is being cancelled"
        case Action.PAUSE:
            return "it is being paused"
        case Action.RESUME:
            return f"it goes on{later}"
        case Action.RETRY if trial is None:
            return "its failed trials are tried again"
        case Action.RETRY:
            return f"it is tried again{later}"
        case _:
            assert_never(action)
