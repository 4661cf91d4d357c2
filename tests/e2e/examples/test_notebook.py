"""The example notebook runs from its first cell to its last and shows what it says."""

import html
import json
import re
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest

from local.stack import Stack

NOTEBOOK = Path(__file__).parents[3] / "examples" / "notebook" / "sweep.ipynb"


@pytest.fixture(scope="module")
def outputs(stack: Stack) -> dict[str, list[Any]]:
    """What each cell showed, by its id."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DROPSWEEP_STORAGE", stack.connection_string)
        runner = nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(NOTEBOOK.parent)}})
        runner.execute()
    return {cell.id: cell.outputs for cell in notebook.cells if cell.cell_type == "code"}


def shown(outputs: list[Any], kind: str = "text/html") -> str:
    """The last thing that a cell showed of this kind."""
    return str([output.data[kind] for output in outputs if "data" in output and kind in output.data][-1])


def cells_of(table: str) -> list[list[str]]:
    """The rows of an HTML table, the head too."""
    rows = re.findall(r"<tr.*?</tr>", table, re.DOTALL)
    parts = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in rows]
    return [[html.unescape(re.sub(r"<[^>]+>", "", cell)).strip() for cell in row] for row in parts]


def test_the_notebook_lies_in_the_repository_without_outputs_and_without_paths_of_a_machine() -> None:
    text = NOTEBOOK.read_text(encoding="utf-8")
    code = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    assert re.findall(r"/(?:home|root|Users|work|tmp)/", text) == []


def test_its_table_has_all_nine_trials_with_parameters_and_metrics(outputs: dict[str, list[Any]]) -> None:
    head, _, *rows = cells_of(shown(outputs["table"]))
    assert head[1:] == ["param.rule", "param.num_rounds", "metric.error", "metric.estimate", "duration_s"]
    assert sorted((row[1], int(row[2])) for row in rows) == [
        (rule, num) for rule in ("midpoint", "simpson", "trapezoid") for num in (2, 3, 5)
    ]
    assert rows[0][1:3] == ["simpson", "5"]  # the best first: it comes nearest
    assert all(abs(float(row[4]) - 3.14159) < 0.05 for row in rows)


def test_its_curves_fall_round_by_round(outputs: dict[str, list[Any]]) -> None:
    rows = cells_of(shown(outputs["curves"]))[2:]
    assert [float(row[0]) for row in rows] == [1, 2, 3, 4, 5]
    for column in (1, 2, 3):
        errors = [float(row[column]) for row in rows]
        assert errors == sorted(errors, reverse=True)


def test_its_pictures_show_the_job_its_best_trial_and_the_list(outputs: dict[str, list[Any]]) -> None:
    for cell in ("watch", "job"):
        picture = shown(outputs[cell])
        assert "Pi by three rules" in picture
        assert "9 completed" in picture
        assert picture.count("<svg") == 3  # the bar of states, the curves, the best so far
    assert "lowest error" in shown(outputs["best"])
    assert "notebooks/pi/sweep-" in shown(outputs["jobs"])


def test_it_prints_each_trial_and_what_the_best_one_wrote(outputs: dict[str, list[Any]]) -> None:
    [printed] = outputs["trials"]
    assert len(printed.text.splitlines()) == 9
    assert "pi is about 3.14159265" in outputs["logs"][0].text
    assert "3.14159265" in outputs["download"][0].text
