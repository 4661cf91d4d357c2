"""Hadolint, which knows what goes wrong in Dockerfiles and has ShellCheck in it, finds nothing in ours."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HADOLINT = Path(sys.executable).with_name("hadolint")
FOLDERS = ("trainer_image", "infra", "local")
DOCKERFILES = sorted(file for folder in FOLDERS for file in (ROOT / folder).rglob("*Dockerfile*"))


def findings(text: str) -> list[str]:
    done = subprocess.run(
        [HADOLINT, "--no-color", "-"], input=text, capture_output=True, text=True, check=False, timeout=60
    )
    assert not done.stderr
    assert (done.returncode == 0) == (not done.stdout)
    return done.stdout.splitlines()


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_hadolint_finds_nothing(file: Path) -> None:
    assert findings(file.read_text(encoding="utf-8")) == []


def test_the_trainer_s_dockerfile_is_looked_at() -> None:
    assert ROOT / "trainer_image/Dockerfile" in DOCKERFILES


@pytest.mark.parametrize(
    ("planted", "rule"),
    [
        ("RUN cd /tmp", "DL3003"),
        ("RUN for f in $(ls); do rm $f; done", "SC2086"),
        ("ENTRYPOINT python -m dropsweep_trainer", "DL3025"),
        ("RUN apt-get install bash", "DL3008"),
        ("FROM scratch\nCOPY --from=nowhere /x /x", "DL3022"),
        ("ENTRPOINT []", "unexpected"),
    ],
)
def test_a_mistake_that_is_planted_in_the_trainer_s_dockerfile_is_found(planted: str, rule: str) -> None:
    text = (ROOT / "trainer_image/Dockerfile").read_text(encoding="utf-8")
    assert rule in "\n".join(findings(f"{text}\n{planted}\n"))
