"""What became of an action on a job or a trial, in words."""

from typing import Final, assert_never

from rich.text import Text

from dropsweep.client import Action
from dropsweep.documents import note_of
from dropsweep.live import headline, literal
from dropsweep.records import JobRecord
from dropsweep.states import JobState, Wish
from dropsweep.steps._change import Left

_MAX_NAMED: Final = 10


def line(action: Action, record: JobRecord, left: Left | None, trial: int | None) -> Text:
    """Returns one line: which job or trial, and how it stands after the action."""
    said = note_of(action, left)
    if trial is not None:
        name = literal(record.key.path, "bold").append(f"  trial {trial}", "not bold")
        return name.append_text(literal(f": {said or _done(action, record, trial)}"))
    # Of a pause and a cancellation the record's own message tells.
    if not said and (not record.message or action is Action.RETRY):
        said = _done(action, record, trial)
    if action is Action.RESUME and (paused := sorted(_paused_alone(record))):
        # A person who resumes the job most likely means these too.
        named = ", ".join(str(number) for number in paused[:_MAX_NAMED]) + (", …" if paused[_MAX_NAMED:] else "")
        said += f"; paused by itself, and so to be resumed by its number: trial {named}"
    return headline(record).append_text(literal(f"  {said}" if said else ""))


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


def _paused_alone(record: JobRecord) -> list[int]:
    """The trials that a person paused one by one."""
    return [trial for trial, wish in record.requests.items() if wish is Wish.PAUSE]


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
            return "its failed trials are tried again" + (" when it goes on" if later else "")
        case Action.RETRY:
            return f"it is tried again{later}"
        case _:
            assert_never(action)
