"""Schemathesis asks the running API everything that its OpenAPI document allows, and much that it does not."""

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from dropsweep.names import JobKey
from local.stack import Stack

KEY = "a-function-key"
CONFIG = Path(__file__).with_name("schemathesis.toml")
SCHEDULE = """
trigger: {type: cron, expression: "0 3 1 1 *"}
create_job: {type: command, command: "true"}
"""


@dataclass
class Running:
    """A stack with one finished job and one schedule, whose API asks for a key."""

    url: str
    job: JobKey

    def ask(self, method: str, path: str, **more: object) -> requests.Response:
        with requests.Session() as session:
            session.trust_env = False
            return session.request(
                method,
                f"{self.url}{path}",
                headers={"x-functions-key": KEY},
                timeout=60,
                **more,  # type: ignore[arg-type]
            )


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    settings = {"DROPSWEEP_LOCAL_KEY": KEY}
    with Stack(tmp_path_factory.mktemp("contract"), num_trainers=1, settings=settings) as stack:
        from azure.storage.blob import BlobServiceClient

        with BlobServiceClient.from_connection_string(stack.connection_string) as account:
            account.get_blob_client("schedules", "contract/yearly.yaml").upload_blob(SCHEDULE)
        running = Running(stack.url, JobKey("contract", "e", "j"))
        job = {"type": "command", "command": "echo hello; echo note > outputs/note.txt"}
        answer = running.ask("POST", "/jobs", params={"workspace": "contract", "experiment": "e"}, json=job)
        running.job = JobKey.parse(answer.json()["job"])
        end = time.monotonic() + 120
        while running.ask("GET", f"/jobs/{running.job.path}").json()["state"] != "completed":
            assert time.monotonic() < end, "the job did not complete"
            time.sleep(0.2)
        yield running


def contract(
    running: Running, folder: Path, *, known: bool, num_examples: int, config: Path = CONFIG
) -> tuple[int, str]:
    """Runs schemathesis with all its checks; returns its exit status and what it says.

    Args:
        running: the API.
        folder: for its files.
        known: ask for the job and the schedule that there are, not for any.
        num_examples: of each kind for each operation.
        config: its settings.
    """
    text = config.read_text()
    if known:
        parts = {
            "workspace": running.job.workspace,
            "experiment": running.job.experiment,
            "job": running.job.job,
            "trial": 0,
            "schedule": "yearly",
        }
        lines = "".join(f'"path.{name}" = {value!r}\n'.replace("'", '"') for name, value in parts.items())
        text += f'\n[parameters]\n{lines}"query.path" = "job.json"\n'
    file = folder / "schemathesis.toml"
    file.write_text(text)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(file), "run"),
            *(f"{running.url}/openapi.json", "--url", running.url, "-H", f"x-functions-key: {KEY}"),
            *("--checks", "all", "--seed", "1", "--max-examples", str(num_examples), "--no-color"),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return done.returncode, f"{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("known", [False, True], ids=["of anything", "of what there is"])
def test_whatever_is_asked_the_answer_is_as_the_document_says(running: Running, tmp_path: Path, known: bool) -> None:
    status, said = contract(running, tmp_path, known=known, num_examples=5)
    assert status == 0, said
    assert int(re.findall(r"(\d+) generated", said)[0]) > 500
