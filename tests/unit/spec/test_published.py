"""The published schemas and the reference page agree with the code."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from dropsweep.clusters import Cluster
from dropsweep.search.space import PARAMETER_MODELS
from dropsweep.spec import read_job
from dropsweep.spec.models import CommandJob, SweepJob, SweepLimits, Trial, keys_of
from dropsweep.spec.schema import schemas, to_text

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "job-file.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(yaml|json)\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("name", ["command.schema.json", "sweep.schema.json"])
def test_the_published_schema_is_the_one_the_models_give(name: str) -> None:
    published = (DOCS / "schema" / name).read_text(encoding="utf-8")
    assert published == to_text(schemas()[name]), "run: python -m dropsweep.spec.schema docs/schema"


def test_a_schema_knows_every_key_and_no_other() -> None:
    schema: dict[str, Any] = schemas()["sweep.schema.json"]
    assert set(schema["properties"]) == set(keys_of(SweepJob))
    assert schema["additionalProperties"] is False
    assert json.loads(to_text(schema)) == schema


def test_the_page_has_examples() -> None:
    assert len(BLOCKS) >= 3


@pytest.mark.parametrize(("language", "text"), BLOCKS)
def test_each_example_of_the_page_is_a_job_without_errors(language: str, text: str) -> None:
    reading = read_job(text.encode(), file_name=f"a.{language}", clusters=[Cluster("gpu")], seed=0, experiment="digits")
    assert reading.is_ok, reading.problems
    assert not reading.problems


def test_the_page_names_every_key_and_every_parameter_type() -> None:
    names = {*keys_of(SweepJob), *keys_of(CommandJob), *keys_of(Trial), *keys_of(SweepLimits), *PARAMETER_MODELS}
    assert {name for name in names if f"`{name}`" not in PAGE and f".{name}`" not in PAGE} == set()
