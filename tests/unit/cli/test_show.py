"""What `dropsweep list` and `dropsweep show` say, on screens of all widths."""

from datetime import UTC, datetime

import pytest
from rich.console import Console, RenderableType

from dropsweep.cli import show
from dropsweep.client.checkpoints import StoredCheckpoint
from dropsweep.names import JobKey
from dropsweep.records import Best, JobSummary, Retried, TrialRecord
from dropsweep.states import JobReason, JobState, TrialReason

KEY = JobKey("w", "e", "digits-0123456789")
NOW = datetime(2026, 3, 1, 14, 0, 0, tzinfo=UTC)


def lines(told: RenderableType, width: int = 200) -> list[str]:
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(told)
    return capture.get().splitlines()


def shown(record: TrialRecord) -> list[str]:
    return [" ".join(line.split()) for line in lines(show.trial(record))]


def column(told: list[str], heading: str, width: int) -> str:
    """What stands in one column, its folded lines put together."""
    begin = told[0].index(heading)
    return "".join(line[begin : begin + width].strip() for line in told[1:])


def summary(*, is_waiting: bool, retried: Retried) -> JobSummary:
    best = Best(7, 0.97123)
    return JobSummary(
        KEY, JobState.RUNNING, JobReason.DISPATCHING, "command", 1_000, 900, best, NOW, is_waiting, retried
    )


def test_a_trial_says_how_it_was_started_and_why_not_warm() -> None:
    why = "cold: the variable OMP_NUM_THREADS must be there before the interpreter starts"
    assert f"start {why}" in shown(TrialRecord(KEY, 0, 1, TrialReason.SUCCEEDED, {}, start=why))
    assert not [line for line in shown(TrialRecord(KEY, 0, 1, TrialReason.CLAIMED, {})) if line.startswith("start ")]


@pytest.mark.parametrize("width", [200, 100, 80, 60])
@pytest.mark.parametrize("retried", [Retried(), Retried(3, 0), Retried(1_234, 17)])
@pytest.mark.parametrize("is_waiting", [True, False])
def test_a_list_of_jobs_names_each_on_screens_of_all_widths(width: int, retried: Retried, is_waiting: bool) -> None:
    job = summary(is_waiting=is_waiting, retried=retried)
    told = lines(show.jobs([job], [JobKey("w", "e", "broken-0")], width=width), width)
    assert all(len(line) <= width for line in told)
    name_width = told[0].index("state")
    assert name_width >= 12
    assert column(told, "job", name_width) == f"{KEY.path}w/e/broken-0"
    words = " ".join(" ".join(told).split())
    expected = ["running", "900/1,000", "0.97123", "unreadable"]
    expected += ["(waits)"] * is_waiting + ["1,234", "(17 alone)"] * bool(retried.num_alone)
    assert [word for word in expected if word not in words] == []
    assert "…" not in words


def test_a_list_of_jobs_has_everything_on_a_wide_screen_and_on_a_narrow_one_no_times_and_kinds() -> None:
    job = summary(is_waiting=True, retried=Retried(1_234, 17))
    assert lines(show.jobs([job], width=120), 120)[0].split() == [
        *("job", "state", "kind", "trials", "best", "created", "retried"),
    ]
    assert lines(show.jobs([job], width=80), 80)[0].split() == ["job", "state", "kind", "trials", "best", "retried"]
    assert lines(show.jobs([job], width=60), 60)[0].split() == ["job", "state", "trials", "best", "retried"]


@pytest.mark.parametrize("width", [200, 80, 60, 40])
def test_a_trial_s_checkpoints_have_their_labels_on_screens_of_all_widths(width: int) -> None:
    label = "0002-000012-step-000004"
    stored = [
        StoredCheckpoint(label, "step-000004", 2, 4, 12, 5_000, NOW, is_next=True),
        StoredCheckpoint("0002-000013-b", "", 2, None, 0, 0, NOW, problem="it is no manifest"),
    ]
    record = TrialRecord(KEY, 0, 2, TrialReason.CLAIMED, {})
    told = lines(show.checkpoints(stored, record, width=width), width)
    assert all(len(line) <= width for line in told)
    label_width = told[0].index("step")
    assert label_width >= 10
    assert column(told, "checkpoint", label_width) == f"{label}0002-000013-b"
    assert "4.9 KiB" in told[1]
    assert ("made" in told[0], "files" in told[0]) == (width >= 80, width >= 60)
    use = "".join(line[told[0].index("made") + 23 if width >= 80 else 0 :] for line in told[1:])
    assert "resumes" in use
    assert "…" not in use


@pytest.mark.parametrize(
    ("width", "headings"), [(47, "job state trials retried"), (40, "job state trials"), (26, "job state")]
)
def test_on_a_screen_for_which_even_that_is_too_much_the_names_and_states_stay(width: int, headings: str) -> None:
    job = summary(is_waiting=True, retried=Retried(1_234, 17))
    told = lines(show.jobs([job], [JobKey("w", "e", "broken-0")], width=width), width)
    assert told[0].split() == headings.split()
    assert column(told, "job", told[0].index("state")) == f"{KEY.path}w/e/broken-0"
    assert "…" not in "".join(told)
