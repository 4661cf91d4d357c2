"""The page on schedules and the published schema agree with the code."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from dropsweep.clusters import Cluster
from dropsweep.names import ScheduleKey
from dropsweep.records.schedule import ScheduleRecord, TickOutcome, TickRecord
from dropsweep.schedules import LATE_S, MAX_CATCH_UP, MAX_COUNTED, CatchUp, Overlap
from dropsweep.spec.models import keys_of
from dropsweep.spec.schedule import read_schedule
from dropsweep.spec.schedule_models import (
    MAX_INTERVAL,
    CronTrigger,
    PatternLists,
    RecurrencePattern,
    RecurrenceTrigger,
    ScheduleFile,
)
from dropsweep.spec.schema import schemas, to_text

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "schedules.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


def test_the_published_schema_is_the_one_the_models_give() -> None:
    published = (DOCS / "schema" / "schedule.schema.json").read_text(encoding="utf-8")
    assert published == to_text(schemas()["schedule.schema.json"]), "run: python -m dropsweep.spec.schema docs/schema"


def test_the_schema_allows_one_value_in_place_of_a_list_and_the_reader_knows_the_same_keys() -> None:
    schema: dict[str, Any] = schemas()["schedule.schema.json"]
    assert set(schema["properties"]) == set(keys_of(ScheduleFile))
    hours = schema["$defs"]["RecurrencePattern"]["properties"]["hours"]["anyOf"]
    assert [kind["type"] for kind in hours] == ["integer", "array"]
    assert keys_of(PatternLists) == keys_of(RecurrencePattern)


@pytest.mark.parametrize("text", BLOCKS)
def test_each_example_of_the_page_is_a_schedule_without_a_warning(text: str) -> None:
    key = ScheduleKey("vision", "nightly")
    reading = read_schedule(text.encode(), file_name="vision/nightly.yaml", key=key, clusters=[Cluster("gpu")])
    assert reading.schedule is not None, reading.problems
    assert not reading.problems


def test_the_page_names_every_key_policy_and_bound() -> None:
    models = (ScheduleFile, CronTrigger, RecurrenceTrigger, RecurrencePattern)
    words = {key for model in models for key in keys_of(model)} | set(CatchUp) | set(Overlap)
    assert {word for word in words if f"`{word}`" not in PAGE and f"`{word}:" not in PAGE} == set()
    assert f"1 to {MAX_INTERVAL:,}" in PAGE
    assert f"the latest {MAX_CATCH_UP} at most" in PAGE
    assert f"at most {MAX_COUNTED:,} are counted" in PAGE
    assert LATE_S == 300
    assert "for five minutes" in PAGE


def test_the_page_names_every_field_of_the_records() -> None:
    now, key = datetime(2026, 1, 1, tzinfo=UTC), ScheduleKey("w", "s")
    rows = {line.split("`")[1].split("/")[0]: line for line in PAGE.splitlines() if line.startswith("| `.")}
    record = json.loads(ScheduleRecord(key, "", now, now).to_json())
    tick = json.loads(TickRecord(key, now, TickOutcome.SUBMITTED, now).to_json())
    assert {field for field in record if f"`{field}`" not in rows[".schedules"]} == {"version"}
    assert {field for field in tick if f"`{field}`" not in rows[".ticks"]} == {"version"}
    assert {outcome for outcome in TickOutcome if f"`{outcome}`" not in rows[".ticks"]} == set()
