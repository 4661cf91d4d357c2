"""Schedule files: each documented key read, and every problem of a file told at once."""

import json
from datetime import UTC, datetime, time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dropsweep.clusters import Cluster
from dropsweep.errors import Problem, Severity
from dropsweep.names import ScheduleKey
from dropsweep.schedules import Calendar, CatchUp, Cron, Every, Overlap, Trigger, Unit
from dropsweep.spec import Document
from dropsweep.spec.schedule import Schedule, ScheduleReading, read_schedule
from dropsweep.spec.time_zones import iana_name
from tests.unit.spec.files import COMMAND, SWEEP, changed
from tests.unit.spec.test_fuzzing import TREES

KEY = ScheduleKey("vision", "nightly")
CRON: dict[str, Any] = {"trigger": {"type": "cron", "expression": "0 3 * * *"}, "create_job": COMMAND}
RECURRENCE: dict[str, Any] = {
    "trigger": {"type": "recurrence", "frequency": "day", "interval": 1, "schedule": {"hours": 4, "minutes": [0, 30]}},
    "create_job": COMMAND,
}


def read(data: Any, *, file_name: str = "vision/nightly.json") -> ScheduleReading:
    body = data if isinstance(data, bytes) else json.dumps(data).encode()
    return read_schedule(body, file_name=file_name, key=KEY, clusters=[Cluster("cpu"), Cluster("gpu")])


def schedule_of(data: Any, *, file_name: str = "vision/nightly.json") -> Schedule:
    reading = read(data, file_name=file_name)
    assert reading.schedule is not None, reading.problems
    return reading.schedule


def told(reading: ScheduleReading, severity: Severity = Severity.ERROR) -> dict[str, str]:
    return {problem.path: str(problem) for problem in reading.problems if problem.severity is severity}


EVERY_KEY = b"""
$schema: https://example.org/schedule.schema.json
name: nightly
version: "7"
display_name: Nightly digits
description: Trains anew on the day's data
tags: {team: vision, cost: 12}
properties: {a: b}
is_enabled: true
catch_up: all
overlap: skip
trigger:
  type: recurrence
  frequency: week
  interval: 2
  start_time: 2026-03-02T07:30:00
  end_time: "2026-12-24T18:00:00+01:00"
  time_zone: W. Europe Standard Time
  schedule:
    hours: [6, 18]
    minutes: [15, 45]
    week_days: [Friday, monday]
create_job:
  type: command
  name: digits
  experiment_name: evenings
  command: python train.py
  code: digits
"""


def test_a_file_with_every_key_is_read_as_it_says() -> None:
    found = schedule_of(EVERY_KEY, file_name="vision/nightly.yaml")
    rhythm = Calendar(Unit.WEEK, 2, "Europe/Berlin", (time(6, 15), time(6, 45), time(18, 15), time(18, 45)), (0, 4), ())
    start, end = datetime(2026, 3, 2, 6, 30, tzinfo=UTC), datetime(2026, 12, 24, 17, 0, tzinfo=UTC)
    assert found.trigger == Trigger(rhythm, start, end)
    assert (found.display_name, found.description) == ("Nightly digits", "Trains anew on the day's data")
    assert found.tags == {"team": "vision", "cost": "12"}
    assert (found.is_enabled, found.catch_up, found.overlap) == (True, CatchUp.ALL, Overlap.SKIP)
    assert found.time_zone == "Europe/Berlin"
    assert found.experiment(found.document()) == "evenings"
    assert found.document().data == {
        "type": "command",
        "name": "digits",
        "experiment_name": "evenings",
        "command": "python train.py",
        "code": "digits",
    }
    warnings = told(read(EVERY_KEY, file_name="vision/nightly.yaml"), Severity.WARNING)
    assert set(warnings) == {"version", "properties"}


def test_what_is_left_out_has_a_default() -> None:
    found = schedule_of(CRON)
    assert found.trigger == Trigger(Cron("0 3 * * *", "UTC"))
    assert (found.display_name, found.is_enabled) == ("nightly", True)
    assert (found.catch_up, found.overlap) == (CatchUp.LATEST, Overlap.ALLOW)
    assert found.experiment(found.document()) == "nightly"


@pytest.mark.parametrize(
    ("trigger", "rhythm"),
    [
        ({"frequency": "minute", "interval": 15}, Every(900)),
        ({"frequency": "Hour", "interval": 6, "time_zone": "Europe/Berlin"}, Every(21600)),
        ({"frequency": "day", "interval": 3}, Calendar(Unit.DAY, 3)),
        ({"frequency": "week", "interval": 1, "time_zone": "UTC"}, Calendar(Unit.WEEK, 1)),
        (
            {"frequency": "month", "interval": 1, "schedule": {"hours": [4], "minutes": 0, "month_days": [31, 1]}},
            Calendar(Unit.MONTH, 1, "UTC", (time(4),), (), (1, 31)),
        ),
        (
            {"frequency": "month", "interval": 1, "pattern": {"hours": 4, "minutes": 0, "weekdays": "Sunday"}},
            Calendar(Unit.MONTH, 1, "UTC", (time(4),), (6,)),
        ),
        (
            {"frequency": "day", "interval": 1, "timezone": "Tokyo Standard Time"},
            Calendar(Unit.DAY, 1, "Asia/Tokyo"),
        ),
    ],
)
def test_each_frequency_and_each_spelling_of_a_recurrence_is_read(
    trigger: dict[str, Any], rhythm: Every | Calendar
) -> None:
    found = schedule_of({**RECURRENCE, "trigger": {"type": "recurrence", **trigger}})
    assert found.trigger.rhythm == rhythm


BAD = [
    ("trigger", ..., "is required"),
    ("trigger", "nightly", "must be a mapping"),
    ("trigger__type", ..., "is required"),
    ("trigger__type", "chron", "Did you mean `cron`?"),
    ("trigger__expression", ..., "is required"),
    ("trigger__expression", "0 3 * *", "has five fields"),
    ("trigger__expression", "0 0 3 * * *", "has five fields"),
    ("trigger__expression", "@daily", "has five fields"),
    ("trigger__expression", "61 3 * * *", "Bad minute"),
    ("trigger__expression", "0 0 30 2 *", "has a due time"),
    ("trigger__expression", "0,1" * 90 + " * * * *", "at most 200 characters"),
    ("trigger__expression", "9" * 5000 + " * * * *", "at most 200 characters"),
    ("trigger__start_time", "tomorrow", "must be a time such as"),
    ("trigger__start_time", "0001-01-01", "years 1970 to 9000"),
    ("trigger__start_time", "9999-12-31T23:59:59-14:00", "years 1970 to 9000"),
    ("trigger__end_time", 20260301, "must be text"),
    ("trigger__time_zone", "Middle Earth Standard Time", "IANA or Windows"),
    ("trigger__time_zone", "europe/berlin", "Did you mean `Europe/Berlin`?"),
    ("trigger__time_zone", "localtime", "IANA or Windows"),
    ("trigger__time_zone", "../../etc/passwd", "IANA or Windows"),
    ("trigger__interval", 3, "is not a key that is known here"),
    ("catch_up", "everything", "must be one of"),
    ("overlap", "skipp", "Did you mean `skip`?"),
    ("is_enabled", "yes", "must be true or false"),
    ("schedule", {}, "is not a key that is known here"),
    ("create_job", ..., "is required"),
    ("create_job", 3, "must be a job"),
    ("create_job", "azureml:old_job", "no job file"),
    ("create_job", "azureml://jobs/old", "is not read"),
    ("create_job", "./job.yml", "your own machine"),
    ("create_job", "C:\\job.yml", "your own machine"),
    ("create_job", "code/train.py", "ends in"),
    ("create_job", "code", "a container or a file"),
]


@pytest.mark.parametrize(("key", "value", "words"), BAD)
def test_a_wrong_value_is_told_at_its_place(key: str, value: Any, words: str) -> None:
    problems = told(read(changed(CRON, **{key: value})))
    assert list(problems) == [key.replace("__", ".")]
    assert words in problems[key.replace("__", ".")]


BAD_RECURRENCES = [
    ({"interval": 0}, "trigger.interval", "at least 1"),
    ({"interval": 10**12}, "trigger.interval", "at most 1000000"),
    ({"frequency": "fortnight"}, "trigger.frequency", "must be one of"),
    ({"frequency": "hour"}, "trigger.schedule", "has times of day"),
    ({"schedule": {"hours": 4}}, "trigger.schedule.minutes", "is required"),
    ({"schedule": {"hours": 24, "minutes": 0}}, "trigger.schedule.hours", "at most 23"),
    ({"schedule": {"hours": [4, 24], "minutes": 0}}, "trigger.schedule.hours[1]", "at most 23"),
    ({"schedule": {"hours": [], "minutes": 0}}, "trigger.schedule.hours", "must not be empty"),
    ({"schedule": {"hours": 4, "minutes": 0, "week_days": "monday"}}, "trigger.schedule.week_days", "frequency: week"),
    ({"schedule": {"hours": 4, "minutes": 0, "month_days": 3}}, "trigger.schedule.month_days", "frequency: month"),
    (
        {"frequency": "month", "schedule": {"hours": 4, "minutes": 0, "month_days": 3, "week_days": "monday"}},
        "trigger.schedule.month_days",
        "two schedules",
    ),
    ({"start_time": "2026-03-01", "end_time": "2026-02-01"}, "trigger.end_time", "before start_time"),
    (
        {"start_time": "2026-02-01", "frequency": "month", "interval": 12,
         "schedule": {"hours": 4, "minutes": 0, "month_days": 30}},
        "trigger.interval",
        "no due time comes",
    ),
    ({"start_time": "2026-02-01T05:00", "end_time": "2026-02-02T03:00"}, "trigger.interval", "no due time comes"),
    ({"time_zone": "UTC", "timezone": "UTC"}, "trigger.timezone", "says the same"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "path", "words"), BAD_RECURRENCES)
def test_a_wrong_recurrence_is_told_at_its_place(changes: dict[str, Any], path: str, words: str) -> None:
    problems = told(read({**RECURRENCE, "trigger": {**RECURRENCE["trigger"], **changes}}))
    assert list(problems) == [path]
    assert words in problems[path]


def test_every_problem_of_a_file_is_told_in_one_read() -> None:
    problems = told(
        read(
            {
                "trigger": {"type": "cron", "expression": "* *", "time_zone": "Mars", "start_time": "soon", "x": 1},
                "overlap": "never",
                "tags": [1],
                "nmae": "x",
                "create_job": {"type": "sweep", "trial": {"comand": "x"}},
            }
        )
    )
    assert {
        "trigger.expression",
        "trigger.time_zone",
        "trigger.start_time",
        "trigger.x",
        "overlap",
        "tags",
        "nmae",
        "create_job.trial.comand",
        "create_job.trial.command",
        "create_job.search_space",
        "create_job.objective",
    } <= set(problems)


def test_a_job_in_the_file_is_checked_as_one_that_is_dropped() -> None:
    job = changed(SWEEP, compute="azureml:tpu", search_space__lr__min_value="low")
    problems = told(read({**CRON, "create_job": job}))
    assert {"create_job.compute", "create_job.search_space.lr.min_value"} <= set(problems)
    assert read_schedule(json.dumps({**CRON, "create_job": job}).encode(), file_name="a.json", key=KEY).schedule


def test_keys_beside_a_reference_replace_those_of_the_file_each_as_a_whole() -> None:
    job = {"job": "code/digits/job.yaml", "tags": {"by": "night"}, "experiment_name": "nights"}
    found = schedule_of({**CRON, "create_job": job})
    assert found.reference is not None
    assert (found.reference.container, found.reference.blob) == ("code", "digits/job.yaml")
    document = found.document(Document({**COMMAND, "tags": {"a": "b"}, "experiment_name": "days"}, ()))
    assert document.data == {**COMMAND, "tags": {"by": "night"}, "experiment_name": "nights"}
    assert found.experiment(document) == "nights"


@pytest.mark.parametrize(
    ("keys", "paths"),
    [
        ({"type": "pipeline"}, ["type"]),
        ({"type": ["sweep"]}, ["type"]),
        ({"comand": "x"}, ["comand"]),
        ({"tags": [1], "compute": "azureml:tpu"}, ["compute", "tags"]),
        ({"name": "a b", "inputs": {"x": {"mode": "none"}}}, ["inputs.x.mode", "inputs.x.path", "name"]),
        ({"trial": {"comand": "x"}}, ["trial.comand", "trial.command"]),
        ({"limits": {"timeout": "long"}}, ["limits.timeout"]),
        ({"type": "command", "limits": {"max_total_trials": 3}}, ["limits.max_total_trials"]),
        ({"environment_variables": {"DROPSWEEP_X": "1"}}, ["environment_variables.DROPSWEEP_X"]),
        ({"experiment_name": "a b"}, ["experiment_name"]),
    ],
)
def test_what_is_wrong_with_keys_beside_a_reference_is_told_before_a_job_is_due(
    keys: dict[str, Any], paths: list[str]
) -> None:
    problems = told(read({**CRON, "create_job": {"job": "code/a.yaml", **keys}}))
    assert sorted(problems) == [f"create_job.{path}" for path in paths]


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"type": "sweep"},
        {"limits": {"max_total_trials": 3}},
        {"command": "python train.py --lr ${{search_space.lr}} --data ${{inputs.data}}"},
        {"trial": {"command": "python train.py --lr ${{search_space.lr}}"}},
        {"inputs": {"data": {"path": "data/digits"}}, "compute": "azureml:gpu"},
        {"search_space": {"lr": {"type": "uniform", "min_value": 0, "max_value": 1}}},
        {"sampling_algorithm": "grid", "objective": {"goal": "minimize", "primary_metric": "loss"}},
        {"retry_settings": {"max_retries": 2}, "experiment_name": "nights", "display_name": "x", "tags": {"a": 1}},
    ],
)
def test_keys_beside_a_reference_that_may_be_right_with_the_file_are_let_pass(keys: dict[str, Any]) -> None:
    assert told(read({**CRON, "create_job": {"job": "code/a.yaml", **keys}})) == {}


@pytest.mark.parametrize("path", ["jobs/v/e/a.yaml", "code/a.json", "azureml://datastores/code/paths/x/a.yml"])
def test_a_job_file_may_lie_in_any_container(path: str) -> None:
    found = schedule_of({**CRON, "create_job": path})
    assert found.reference is not None
    assert found.job == {}


def test_a_broken_referred_file_gives_its_own_problems() -> None:
    found = schedule_of({**CRON, "create_job": "code/a.yaml"})
    broken = Document(None, (Problem("", "", "the file is empty", "Write a job"),))
    assert found.document(broken) is broken


def test_another_name_in_the_file_is_warned_about() -> None:
    assert "the schedule is `nightly`" in told(read({**CRON, "name": "daily"}), Severity.WARNING)["name"]


@pytest.mark.parametrize("body", [b"", b"\xff", b"- 1", b"a: [", b"&a [*a]", b"x" * 2_000_000])
def test_bytes_that_are_no_schedule_are_told_as_such(body: bytes) -> None:
    reading = read(body, file_name="vision/nightly.yaml")
    assert reading.schedule is None
    assert len(reading.problems) == 1
    assert "type: sweep" not in str(reading.problems[0])
    assert "a job file" not in str(reading.problems[0])


AZURE_ML_ZONES = [
    "Dateline Standard Time", "UTC-11", "Aleutian Standard Time", "Hawaiian Standard Time", "Marquesas Standard Time",
    "Alaskan Standard Time", "UTC-09", "Pacific Standard Time (Mexico)", "UTC-08", "Pacific Standard Time",
    "US Mountain Standard Time", "Mountain Standard Time (Mexico)", "Mountain Standard Time",
    "Central America Standard Time", "Central Standard Time", "Easter Island Standard Time",
    "Central Standard Time (Mexico)", "Canada Central Standard Time", "SA Pacific Standard Time",
    "Eastern Standard Time (Mexico)", "Eastern Standard Time", "Haiti Standard Time", "Cuba Standard Time",
    "US Eastern Standard Time", "Paraguay Standard Time", "Atlantic Standard Time", "Venezuela Standard Time",
    "Central Brazilian Standard Time", "SA Western Standard Time", "Pacific SA Standard Time",
    "Turks And Caicos Standard Time", "Newfoundland Standard Time", "Tocantins Standard Time",
    "E. South America Standard Time", "SA Eastern Standard Time", "Argentina Standard Time", "Greenland Standard Time",
    "Montevideo Standard Time", "Saint Pierre Standard Time", "Bahia Standard Time", "UTC-02",
    "Mid-Atlantic Standard Time", "Azores Standard Time", "Cape Verde Standard Time", "UTC", "Morocco Standard Time",
    "GMT Standard Time", "Greenwich Standard Time", "W. Europe Standard Time", "Central Europe Standard Time",
    "Romance Standard Time", "Central European Standard Time", "W. Central Africa Standard Time",
    "Namibia Standard Time", "Jordan Standard Time", "GTB Standard Time", "Middle East Standard Time",
    "Egypt Standard Time", "E. Europe Standard Time", "Syria Standard Time", "West Bank Standard Time",
    "South Africa Standard Time", "FLE Standard Time", "Turkey Standard Time", "Israel Standard Time",
    "Kaliningrad Standard Time", "Libya Standard Time", "Arabic Standard Time", "Arab Standard Time",
    "Belarus Standard Time", "Russian Standard Time", "E. Africa Standard Time", "Iran Standard Time",
    "Arabian Standard Time", "Astrakhan Standard Time", "Azerbaijan Standard Time", "Russia Time Zone 3",
    "Mauritius Standard Time", "Georgian Standard Time", "Caucasus Standard Time", "Afghanistan Standard Time",
    "West Asia Standard Time", "Ekaterinburg Standard Time", "Pakistan Standard Time", "India Standard Time",
    "Sri Lanka Standard Time", "Nepal Standard Time", "Central Asia Standard Time", "Bangladesh Standard Time",
    "N. Central Asia Standard Time", "Myanmar Standard Time", "SE Asia Standard Time", "Altai Standard Time",
    "W. Mongolia Standard Time", "North Asia Standard Time", "Tomsk Standard Time", "China Standard Time",
    "North Asia East Standard Time", "Singapore Standard Time", "W. Australia Standard Time", "Taipei Standard Time",
    "Ulaanbaatar Standard Time", "North Korea Standard Time", "Aus Central W. Standard Time",
    "Transbaikal Standard Time", "Tokyo Standard Time", "Korea Standard Time", "Yakutsk Standard Time",
    "Cen. Australia Standard Time", "AUS Central Standard Time", "E. Australia Standard Time",
    "AUS Eastern Standard Time", "West Pacific Standard Time", "Tasmania Standard Time", "Vladivostok Standard Time",
    "Lord Howe Standard Time", "Bougainville Standard Time", "Russia Time Zone 10", "Magadan Standard Time",
    "Norfolk Standard Time", "Sakhalin Standard Time", "Central Pacific Standard Time", "Russia Time Zone 11",
    "New Zealand Standard Time", "UTC+12", "Fiji Standard Time", "Kamchatka Standard Time",
    "Chatham Islands Standard Time", "Tonga Standard Time", "Samoa Standard Time", "Line Islands Standard Time",
]  # fmt: skip


def test_every_time_zone_that_azure_ml_names_is_known() -> None:
    assert [name for name in AZURE_ML_ZONES if iana_name(name) is None] == []
    assert iana_name("Pacific Standard Time") == "America/Los_Angeles"
    assert iana_name("UTC-11") == "Etc/GMT+11"
    assert iana_name("Asia/Kathmandu") == "Asia/Kathmandu"


KEYS = st.sampled_from(
    [
        "name", "tags", "is_enabled", "catch_up", "overlap", "trigger", "create_job", "trigger__type",
        "trigger__expression", "trigger__frequency", "trigger__interval", "trigger__start_time", "trigger__end_time",
        "trigger__time_zone", "trigger__timezone", "trigger__schedule", "trigger__schedule__hours",
        "trigger__schedule__week_days", "trigger__schedule__month_days", "trigger__pattern", "create_job__job",
        "create_job__experiment_name", "create_job__command",
    ]
)  # fmt: skip
CRON_LIKE = st.text("0123456789*/,-LW#MONJAN ?@²", max_size=30)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([CRON, RECURRENCE]),
    st.dictionaries(KEYS, TREES | CRON_LIKE | st.datetimes().map(str), max_size=4),
)
def test_whatever_a_schedule_file_holds_it_gives_a_schedule_or_problems(
    base: dict[str, Any], changes: dict[str, Any]
) -> None:
    data = json.loads(json.dumps(base))
    for key, value in changes.items():
        *parents, last = key.split("__")
        place = data
        for parent in parents:
            place = place.setdefault(parent, {}) if isinstance(place, dict) else {}
        if isinstance(place, dict):
            place[last] = value
    reading = read(data)
    errors = [problem for problem in reading.problems if problem.severity is Severity.ERROR]
    assert (reading.schedule is None) == bool(errors)
    for problem in reading.problems:
        assert problem.rule
        assert problem.remedy


@settings(max_examples=300, deadline=None)
@given(CRON_LIKE | st.lists(st.text("0123456789*/,-LW#", min_size=1, max_size=6), min_size=5, max_size=5).map(" ".join))
def test_whatever_stands_as_a_cron_expression_it_is_read_or_refused(expression: str) -> None:
    read({**CRON, "trigger": {"type": "cron", "expression": expression, "time_zone": "Europe/Berlin"}})


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode(errors="replace")))
def test_no_bytes_make_the_reader_raise(body: bytes) -> None:
    read(body, file_name="a.yaml")
    read(body, file_name="a.json")
