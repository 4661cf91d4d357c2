"""Whatever file and settings a person hands in, `dropsweep submit` tells what is wrong and never shows a traceback."""

import json
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from dropsweep.cli.exits import ExitCode
from dropsweep.client.jobfile import JobFile
from dropsweep.errors import SpecError
from tests.emulator.client.conftest import Run, World
from tests.unit.fuzz.attacks import bodies
from tests.unit.fuzz.mutations import JOB_FILES, ODD_TEXTS, bounded, inputs_like

SHARED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
"""The folder and the account are the same for all examples; each writes its file anew."""
ENDS = {ExitCode.OK, ExitCode.FAILED, ExitCode.USAGE, ExitCode.REJECTED}
PATHS = st.sampled_from(
    [
        *("limits.max_total_trials", "limits", "search_space.lr.values[0]", "search_space", "trial.command", "tags.a"),
        *(
            "name",
            "type",
            "a.b.c.d",
            "a[0]",
            "a[999999]",
            "[0]",
            "",
            ".",
            "a.",
            "..",
            'tags."a.b"',
            "tags.",
            '"',
            "a b",
        ),
        *("tags." + "x" * 3000, ".".join("a" * 50), "a" + "[0]" * 60, "\ud800", "é", "a\0b", "<<", "*x", "? a", "- a"),
    ]
) | st.text('ab.[]0"= \n', max_size=12)
VALUES = (
    ODD_TEXTS
    | st.text(max_size=20)
    | st.text("{}[]:,-?&*!|>'\"%@`#\n\t ab1.~<", max_size=40)
    | st.sampled_from(
        ["[" * 3000, "{a: " * 3000, "&a [*a]", "1" * 5000, "!!python/object:x []", "\udcff", "a: b: c", "- - -"]
    )
)
SETTINGS = st.builds("{}={}".format, PATHS, VALUES) | st.text(max_size=10)


def submit(run: Run, world: World, file: Path, *more: str) -> int:
    done = run("submit", file, "-w", world.workspace, *more)
    assert done.exit_code in ENDS
    assert "Traceback" not in done.output
    if done.exit_code != ExitCode.OK:
        assert done.stderr.strip()
    return done.exit_code


def stays_inside(file: Path, folder: Path) -> bool:
    """False when the file names a code folder elsewhere on this machine, all of which would be uploaded."""
    try:
        found = JobFile.read(file).local_code().values()
    except (SpecError, OSError):
        return True
    return all(code.resolve().is_relative_to(folder) for code in found)


def test_no_file_makes_submit_show_a_traceback(run: Run, world: World, tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)

    @settings(parent=SHARED, max_examples=bounded(40).max_examples, deadline=None)
    @given(inputs_like(JOB_FILES), st.sampled_from(["job.yaml", "job.yml", "job.json", "job"]))
    def holds(body: bytes, name: str) -> None:
        file = folder / name
        file.write_bytes(body)
        assume(stays_inside(file, tmp_path))
        submit(run, world, file)

    holds()


def test_no_setting_makes_submit_show_a_traceback(run: Run, world: World, tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    plain = [body for body in JOB_FILES if b"code:" not in body]

    @settings(parent=SHARED, max_examples=bounded(60).max_examples, deadline=None)
    @given(
        st.sampled_from(plain), st.sampled_from(["job.yaml", "job.json"]), st.lists(SETTINGS, min_size=1, max_size=3)
    )
    def holds(body: bytes, name: str, given: list[str]) -> None:
        assume(not any(text.partition("=")[0].strip().endswith("code") for text in given))
        file = folder / name
        file.write_bytes(body)
        submit(run, world, file, *(f"--set={text}" for text in given))

    holds()


def test_no_attack_makes_submit_show_a_traceback(run: Run, world: World, tmp_path: Path) -> None:
    for number, (name, body) in enumerate(bodies().items()):
        if name.startswith("command"):
            continue
        file = tmp_path / f"{number}.{'json' if name.startswith('JSON') else 'yaml'}"
        file.write_bytes(body)
        submit(run, world, file, *(["--set", "limits.timeout=600"] if number % 2 else []))


def test_a_reader_of_json_gets_json_whatever_the_file(run: Run, world: World, tmp_path: Path) -> None:

    file = tmp_path / "job.yaml"
    for body in (b"", b"a: [", b"\xff", b"code: ./nowhere", b'command: "\\ud800"'):
        file.write_bytes(body)
        done = run("submit", file, "-w", world.workspace, "--json", "--set", "limits.timeout=600")
        told: Any = json.loads(done.stdout or done.stderr)
        assert ("job" in told) == (done.exit_code == ExitCode.OK)
