"""What a newcomer meets: the README's own files and commands, run as they stand."""

import contextlib
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from dropsweep.client import Client
from dropsweep.errors import NotFoundError
from dropsweep.spec.envelope import read_envelope
from local.paths import ROOT
from local.stack import Stack
from tests.emulator.deployment import until

README = (ROOT / "README.md").read_text()
SECTION = README.split("## Write your own job")[1].split("\n## ")[0]


def files() -> dict[str, str]:
    """The files that the README shows, each after a line with its path."""
    return dict(re.findall(r"^`([\w./-]+)`\n\n```\w+\n(.*?)^```$", SECTION, re.M | re.S))


def commands() -> list[str]:
    [block] = re.findall(r"^```bash\n(.*?)^```$", SECTION, re.M | re.S)
    return str(block).splitlines()


def test_the_job_that_the_readme_shows_runs_by_the_commands_that_it_shows(stack: Stack, tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    assert set(files()) == {"my-job/train.py", "my-job/sweep.yaml"}
    for name, text in files().items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    bin_folder = tmp_path / ".venv"
    bin_folder.mkdir()
    (bin_folder / "bin").symlink_to(Path(sys.executable).parent)
    printed = {}
    for command in commands():
        done = subprocess.run(
            shlex.split(command),
            cwd=tmp_path,
            env={**os.environ, "DROPSWEEP_STORAGE": stack.connection_string},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        printed[command.split()[1]] = done.stdout
    assert "6 completed" in printed["submit"]
    assert "accuracy" in printed["best"]
    assert list((tmp_path / "results").rglob("report.html"))


def blocks(language: str) -> list[str]:
    """The blocks of one language in the section on the ways in."""
    section = README.split("## Every way in")[1].split("\n## ")[0]
    return re.findall(rf"^```{language}\n(.*?)^```$", section, re.M | re.S)


def test_the_sender_that_the_readme_shows_gets_its_answers(stack: Stack) -> None:
    environment = {**os.environ, "DROPSWEEP_STORAGE": stack.connection_string}
    subprocess.run([sys.executable, "-c", blocks("python")[0]], env=environment, check=True, timeout=120)
    store = Client.from_connection_string(stack.connection_string).store
    told: list[str] = []

    def has_completed() -> bool:
        with contextlib.suppress(NotFoundError):  # the queue is made by the first answer
            for message in store.queues.receive("my-answers", visibility_s=60, max_messages=32):
                told.append(json.loads(message.text)["data"]["state"])
        return "completed" in told

    until(has_completed, 120)
    assert told == ["queued", "running", "completed"]


def test_the_message_and_the_schedule_that_the_readme_shows_are_read() -> None:
    content = re.search(r"--content '(.*)'", blocks("sh")[0])
    assert content
    envelope = read_envelope(content[1].encode())
    assert (envelope.problems, envelope.blob) == ((), ("job-files", "sweep.yaml"))


def test_continuous_integration_runs_the_commands_of_the_readme_and_no_other() -> None:
    development = README.split("## Development")[1]
    [block] = re.findall(r"^```bash\n(.*?)^```$", development, re.M | re.S)
    script = (ROOT / ".ci/run").read_text()
    ran = [line.removesuffix(" </dev/null") for line in script.splitlines() if line.startswith("make ")]
    assert ran == block.splitlines()


def test_every_target_that_the_readme_names_is_in_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    named = set(re.findall(r"(?:`|\$ |^)make ([a-z]+)", README, re.M))
    assert named
    assert named <= targets


def test_the_readme_leads_only_to_what_exists() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_readme_shows_six_files_to_read() -> None:
    section = README.split("## Where to read the code")[1].split("\n## ")[0]
    assert len(re.findall(r"^\d\. \[", section, re.M)) == 6
