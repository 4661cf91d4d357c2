"""An app that the host cannot give what it asks for is refused at start, with a remedy."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from local.paths import ROOT

_HEAD = "import azure.functions as func\napp = func.FunctionApp()\n"


@pytest.mark.parametrize(
    ("code", "complaint"),
    [
        ("", "declares no function"),
        (
            "@app.cosmos_db_trigger('d', 'c', 'db', 'S')\ndef f(d: func.DocumentList) -> None: ...\n",
            "this host gives one trigger",
        ),
        ("@app.queue_trigger('m', 'q', 'NOWHERE')\ndef f(m: func.QueueMessage) -> None: ...\n", "NOWHERE"),
        ("@app.blob_trigger('b', 'jobs', 'S')\ndef f(b: func.InputStream) -> None: ...\n", "container/pattern"),
        ("@app.timer_trigger('t', '* * *')\ndef f(t: func.TimerRequest) -> None: ...\n", "six, second first"),
        ("@app.route('a/{b:colour}')\ndef f(req: func.HttpRequest) -> str: ...\n", "'colour' must be one of"),
    ],
)
def test_the_host_ends_at_once_with_status_2_and_says_why(tmp_path: Path, code: str, complaint: str) -> None:
    (tmp_path / "host.json").write_text('{"version": "2.0"}')
    (tmp_path / "function_app.py").write_text(_HEAD + code)
    storage = "UseDevelopmentStorage=true"
    # In a process of its own: an app can be loaded once a process.
    result = subprocess.run(
        [sys.executable, "-m", "local.host", "--app", str(tmp_path), "--port", "0"],
        cwd=ROOT,
        env={**os.environ, "AzureWebJobsStorage": storage, "S": storage},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 2
    assert complaint in result.stderr
