"""JSON schemas of job, schedule, policy and cluster files; `python -m dropsweep.spec.schema FOLDER` writes them."""

import json
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from dropsweep.spec.cluster_models import ClusterFile
from dropsweep.spec.models import CommandJob, SweepJob
from dropsweep.spec.schedule_models import ScheduleFile
from dropsweep.spec.workspace import WorkspaceFile


def schemas() -> dict[str, dict[str, Any]]:
    """Returns the JSON schema (draft 2020-12) of each type of file, by the name of the file that publishes it."""
    return {
        "command.schema.json": _schema(CommandJob, "Dropsweep command job"),
        "sweep.schema.json": _schema(SweepJob, "Dropsweep sweep job"),
        "schedule.schema.json": _schema(ScheduleFile, "Dropsweep schedule"),
        "workspace.schema.json": _schema(WorkspaceFile, "Dropsweep workspace policy"),
        "cluster.schema.json": _schema(ClusterFile, "Dropsweep cluster"),
    }


def to_text(schema: dict[str, Any]) -> str:
    """Returns a schema as the published file holds it."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def write(folder: Path) -> None:
    """Writes the schemas into a folder, over what is there."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, schema in schemas().items():
        (folder / name).write_text(to_text(schema), encoding="utf-8")


def _schema(model: type[BaseModel], title: str) -> dict[str, Any]:
    schema = model.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": title}


if __name__ == "__main__":
    write(Path(sys.argv[1]))
