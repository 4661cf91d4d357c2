"""Each key that Azure ML documents for schedules stands in a file here and is read as expected."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Any

import pytest
import yaml

from dropsweep.clusters import Cluster
from dropsweep.errors import Severity
from dropsweep.names import ScheduleKey
from dropsweep.schedules import Calendar, Cron, Every, Trigger, Unit
from dropsweep.spec.schedule import ScheduleReading, read_schedule
from tests.unit.spec.azure_ml.documented import SCHEDULE_KEYS, keys_in

FOLDER = Path(__file__).parent / "schedule"
NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
CODE_FILE = ("code", "a.yaml")
UPLOAD = "Upload the job file into the container `code`, and write code/{path}; or write the job here."


@dataclass(frozen=True)
class Expected:
    """What is read: the trigger, where the job file lies, and the job or what replaces its keys."""

    trigger: Trigger | None = None
    lies_at: tuple[str, str] | None = CODE_FILE
    job: dict[str, Any] = field(default_factory=dict)
    experiment: str = ""
    told: list[str] = field(default_factory=list)


FILES = {
    "nightly": Expected(
        # Pacific Standard Time is eight hours behind UTC on the first of March.
        Trigger(
            Cron("30 2 * * *", "America/Los_Angeles"),
            start=datetime(2026, 3, 1, 8, tzinfo=UTC),
            end=datetime(2027, 3, 1, 8, tzinfo=UTC),
        ),
        lies_at=("code", "nightly/job.yaml"),
    ),
    "weekly": Expected(
        Trigger(
            Calendar(
                Unit.WEEK,
                2,
                "Europe/Berlin",
                times=(time(6, 0), time(6, 30), time(18, 0), time(18, 30)),
                weekdays=(0, 4),
            ),
            start=datetime(2026, 1, 5, 7, tzinfo=UTC),
            end=datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC),
        ),
        lies_at=None,
        job={
            "type": "command",
            "command": "python train.py ${{inputs.data}} ${{outputs.model}}",
            "experiment_name": "weekly-digits",
            "inputs": {"data": {"type": "uri_folder", "path": "data/digits", "mode": "ro_mount"}},
            "outputs": {"model": {"type": "uri_folder", "mode": "rw_mount"}},
        },
        experiment="weekly-digits",
    ),
    "each_15_minutes": Expected(Trigger(Every(15 * 60), start=NEW_YEAR)),
    "each_15_hours": Expected(Trigger(Every(15 * 3600), start=NEW_YEAR)),
    "daily": Expected(Trigger(Calendar(Unit.DAY, 1, times=(time(4, 15),))), lies_at=("code", "daily/job.yml")),
    "monthly": Expected(
        Trigger(Calendar(Unit.MONTH, 3, times=(time(4),), month_days=(1, 31)), start=NEW_YEAR),
        lies_at=("code", "monthly.yaml"),
        job={"experiment_name": "monthly", "display_name": "Each quarter"},
        experiment="monthly",
    ),
    "one_weekday": Expected(Trigger(Calendar(Unit.WEEK, 1, times=(time(0),), weekdays=(6,)))),
    "as_the_page_spells": Expected(Trigger(Calendar(Unit.DAY, 1, times=(time(4, 15),)))),
    "without_effect": Expected(
        Trigger(Cron("0 * * * *")),
        told=[
            'name is "another": the schedule is `without_effect`, as its file is named. '
            "Rename the file, or remove the key.",
            "version is 3: has no effect: a file's latest content counts. Remove the key.",
            "properties is a mapping of 1: has no effect: properties are not kept. Remove the key.",
        ],
    ),
    "earlier_job": Expected(
        told=[f'create_job is "azureml:simple-pipeline-job": a job that ran before is no job file. {UPLOAD}']
    ),
    "pipeline": Expected(
        told=[f'create_job.job is "./simple-pipeline-job.yml": a file on your own machine cannot be read. {UPLOAD}']
    ),
}


def read(name: str) -> ScheduleReading:
    file = FOLDER / f"{name}.yaml"
    return read_schedule(
        file.read_bytes(),
        file_name=file.name,
        key=ScheduleKey("vision", name),
        clusters=[Cluster("cpu"), Cluster("gpu")],
    )


def keys_of_files() -> set[str]:
    return {key for file in FOLDER.iterdir() for key in keys_in(yaml.safe_load(file.read_text(encoding="utf-8")))}


def test_every_documented_key_stands_in_a_file() -> None:
    assert SCHEDULE_KEYS - keys_of_files() == set()


def test_the_files_hold_no_key_that_is_not_documented() -> None:
    assert keys_of_files() - SCHEDULE_KEYS == set()


def test_every_file_has_an_expectation() -> None:
    assert {file.stem for file in FOLDER.iterdir()} == {*FILES, "inline_pipeline"}


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_read_as_the_reference_says(name: str) -> None:
    expected, reading = FILES[name], read(name)
    assert [str(problem) for problem in reading.problems] == expected.told
    if expected.trigger is None:
        assert reading.schedule is None
        return
    assert reading.schedule is not None
    schedule = reading.schedule
    reference = schedule.reference
    assert schedule.trigger == expected.trigger
    assert (None if reference is None else (reference.container, reference.blob)) == expected.lies_at
    assert schedule.job == expected.job
    assert schedule.experiment(schedule.document()) == (expected.experiment or name)


def test_what_is_for_people_is_kept() -> None:
    schedule = read("nightly").schedule
    assert schedule is not None
    assert (schedule.display_name, schedule.description) == (
        "Each night",
        "Trains on what came in during the day.",
    )
    assert schedule.tags == {"team": "vision", "level": "2"}


def test_a_pipeline_is_refused_by_its_type() -> None:
    told = [problem for problem in read("inline_pipeline").problems if problem.severity is Severity.ERROR]
    assert str(told[0]) == (
        'create_job.type is "pipeline": is a job type that is not run here. Write `command` or `sweep`.'
    )
