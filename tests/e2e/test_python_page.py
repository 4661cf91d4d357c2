"""The page on Python: its code runs from top to bottom as it stands, and what it names exists."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dropsweep.client import Job
from dropsweep.client.http import HttpClient
from local.paths import ROOT
from local.stack import Stack

PAGE = (ROOT / "docs/python.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_the_code_of_the_page_runs_as_one_script(stack: Stack, tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    script = tmp_path / "page.py"
    script.write_text("\n".join(block for block in BLOCKS if "HttpClient" not in block), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script)],
        cwd=ROOT,
        env={**os.environ, "DROPSWEEP_STORAGE": stack.connection_string},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("docs/pi/sweep-")
    assert lines[1] == "completed"
    assert sum(line.split()[1:2] == ["completed"] for line in lines) == 9  # a line a trial
    assert "param.num_rounds" in done.stdout


def test_the_page_names_methods_that_there_are() -> None:
    named = set(re.findall(r"\bjob\.(\w+)", PAGE)) | set(re.findall(r"`\.(\w+)\(\)`", PAGE))
    assert named
    assert {name for name in named if not hasattr(Job, name)} == set()


def test_a_client_over_http_is_opened_as_the_page_says() -> None:
    [block] = [block for block in BLOCKS if "HttpClient" in block]
    names: dict[str, object] = {}
    exec(block, names)
    assert isinstance(names["remote"], HttpClient)
