"""How `make image` and `make sbom` choose an engine and call it, with engines that only say how they were called; and
what the Dockerfile says twice.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dropsweep_trainer.processes.users import NEEDED, UID_SETTING

ROOT = Path(__file__).parents[2]
SHELL = shutil.which("sh") or "/bin/sh"


def engine(folder: Path, name: str, *, answers: bool = True, status: int = 0) -> None:
    """Puts a program on the path that answers `info` or not, and otherwise prints its arguments, one a line."""
    folder.mkdir(exist_ok=True)
    program = folder / name
    program.write_text(
        f'#!{SHELL}\nif [ "$1" = info ]; then exit {0 if answers else 1}; fi\necho {name}\nprintf "%s\\n" "$@"\n'
        f"echo what {name} says >&2\nexit {status}\n"
    )
    program.chmod(0o755)


def run(script: str, folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    for tool in ("git", "dirname", "sed", "sh"):
        found = shutil.which(tool)
        if found and not (folder / tool).exists():
            (folder / tool).symlink_to(found)
    return subprocess.run(
        [SHELL, str(ROOT / "trainer_image" / script), *arguments],
        capture_output=True,
        text=True,
        env={"PATH": str(folder), "HOME": os.environ.get("HOME", "/")} | environment,
        timeout=60,
    )


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    (tmp_path / "bin").mkdir()
    return tmp_path / "bin"


def test_the_first_engine_that_answers_is_taken(programs: Path) -> None:
    engine(programs, "docker", answers=False)
    engine(programs, "podman")
    engine(programs, "buildah")
    assert run("engine.sh", programs, "docker", "podman", "buildah").stdout == "podman\n"


def test_the_engine_that_a_person_names_goes_before_the_others(programs: Path) -> None:
    engine(programs, "docker")
    engine(programs, "buildah")
    assert run("engine.sh", programs, "docker", "podman", "buildah", ENGINE="buildah").stdout == "buildah\n"


@pytest.mark.parametrize(("named", "tried"), [("", "docker podman"), ("nerdctl", "nerdctl")])
def test_without_an_engine_a_person_is_told_which_were_tried_and_what_to_do(
    programs: Path, named: str, tried: str
) -> None:
    engine(programs, "docker", answers=False)
    done = run("engine.sh", programs, "docker", "podman", ENGINE=named)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"(tried: {tried})" in done.stderr
    assert "ENGINE=" in done.stderr


def test_a_build_without_settings_leaves_the_dockerfile_s_defaults_alone(programs: Path) -> None:
    engine(programs, "docker")
    done = run("build.sh", programs)
    called = done.stdout.splitlines()
    assert called[:6] == ["docker", "build", "--file", "trainer_image/Dockerfile", "--tag", "dropsweep-trainer"]
    assert called[-1] == "."
    assert {argument.split("=")[1] for argument in called if argument.startswith("--build-arg=")} <= {"REVISION"}
    assert "--layers" not in called


def test_a_build_is_told_what_a_person_asked_for(programs: Path) -> None:
    engine(programs, "podman")
    base = f"python@sha256:{'0' * 64}"
    done = run(
        *("build.sh", programs, "--network=host", "two words"),
        **{"ENGINE": "podman", "BASE_IMAGE": base, "PACKAGES": "torch scikit-learn", "TAG": "r.example/x:1"},
    )
    called = done.stdout.splitlines()
    assert called[called.index("--tag") + 1] == "r.example/x:1"
    assert {f"--build-arg=BASE_IMAGE={base}", "--build-arg=PACKAGES=torch scikit-learn", "--layers"} <= set(called)
    assert called[-3:] == ["--network=host", "two words", "."]


def test_a_build_fails_when_no_engine_is_there(programs: Path) -> None:
    done = run("build.sh", programs)
    assert done.returncode != 0
    assert "(tried: docker podman buildah)" in done.stderr


@pytest.mark.parametrize("base", ["", "registry.example/python:1"])
def test_after_a_build_that_fails_a_person_reads_last_how_to_name_another_base(programs: Path, base: str) -> None:
    engine(programs, "podman", status=125)
    done = run("build.sh", programs, BASE_IMAGE=base)
    *engines, ours = done.stderr.splitlines()
    assert (done.returncode, engines) == (125, ["what podman says"])
    dockerfile = (ROOT / "trainer_image/Dockerfile").read_text(encoding="utf-8")
    default = re.findall(r"^ARG BASE_IMAGE=(.+)$", dockerfile, re.M)
    assert f"the base image {base or default[0]}," in ours
    assert len(default) == 1
    assert "make image BASE_IMAGE=" in ours
    file, heading = re.findall(r'\((docs/[\w.]+), "(.+)"\)', ours)[0]
    assert f"\n## {heading}\n" in (ROOT / file).read_text(encoding="utf-8")


def test_a_build_that_succeeds_says_nothing_of_its_own(programs: Path) -> None:
    engine(programs, "podman")
    assert run("build.sh", programs).stderr == "what podman says\n"


def test_without_the_image_a_person_who_wants_its_list_reads_last_how_to_build_it(programs: Path) -> None:
    engine(programs, "podman", status=125)
    for tool in ("sh", "dirname"):
        (programs / tool).symlink_to(shutil.which(tool) or f"/bin/{tool}")
    done = subprocess.run(
        [sys.executable, "-m", "dropsweep_sbom"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={"PATH": str(programs), "PYTHONPATH": "shared:trainer_image", "TAG": "r.example/x:1"},
        timeout=60,
    )
    *engines, ours = done.stderr.splitlines()
    assert (done.returncode, done.stdout, engines) == (1, "", ["what podman says"])
    assert "Run `make image TAG=r.example/x:1`" in ours


def test_the_dockerfile_gives_the_rights_that_the_worker_asks_for() -> None:
    dockerfile = (ROOT / "trainer_image/Dockerfile").read_text(encoding="utf-8")
    struct = re.search(r'struct\.pack\("<5I", 0x02000000, (0x[0-9A-F]+), 0, 0, 0\)', dockerfile)
    assert struct
    assert int(struct[1], 16) == NEEDED
    helper = (ROOT / "trainer_image/dropsweep_trainer/processes/capabilities.py").read_text(encoding="utf-8")
    assert '"libexec" / "dropsweep-setpriv"' in helper
    assert dockerfile.count("/opt/dropsweep/libexec/dropsweep-setpriv") == 2
    assert re.search(rf"{UID_SETTING}=\d+ ", dockerfile)


@pytest.mark.parametrize("script", ["engine.sh", "build.sh"])
def test_shellcheck_finds_nothing_in_a_script(script: str) -> None:
    shellcheck = Path(sys.executable).with_name("shellcheck")
    done = subprocess.run(
        [shellcheck, "--norc", "--enable=quote-safe-variables", ROOT / "trainer_image" / script],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, "")
