"""What a training script imports: a light import, metrics that are never torn, parameters."""

import json
import math
import re
import subprocess
import sys
import time
import tomllib
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import dropsweep
from dropsweep import metrics, names, script

LIBRARY = Path(dropsweep.__file__).parents[1]
VARIABLES = (script.METRICS_VARIABLE, script.PARAMS_VARIABLE, script.CHECKPOINTS_VARIABLE, script.RESUME_VARIABLE)


@pytest.fixture(autouse=True)
def by_hand(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each test starts outside Dropsweep, in an empty folder."""
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.chdir(tmp_path)


def run_python(code: str, folder: Path) -> tuple[int, str]:
    """Runs the code in a fresh interpreter with this library; returns the exit code and what was printed."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={"PYTHONPATH": str(LIBRARY)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


class ZeroDimensional:
    """A number as tensors and arrays hold it."""

    def __init__(self, value: object) -> None:
        self.value = value

    def item(self) -> object:
        if isinstance(self.value, list):
            raise RuntimeError(f"a Tensor with {len(self.value)} elements cannot be converted to Scalar")
        return self.value


# --- import


def test_import_loads_only_light_modules_of_the_standard_library(tmp_path: Path) -> None:
    code = (
        "import sys; before = set(sys.modules); import dropsweep; print('\\n'.join(sorted(set(sys.modules) - before)))"
    )
    exit_code, printed = run_python(code, tmp_path)
    assert exit_code == 0, printed
    loaded = set(printed.split())
    assert {name for name in loaded if name.split(".")[0] not in sys.stdlib_module_names} == {
        "dropsweep",
        "dropsweep.script",
        "dropsweep.version",
    }
    heavy = {"asyncio", "dataclasses", "importlib.metadata", "inspect", "logging", "pathlib", "shutil", "tempfile"}
    assert not loaded & (heavy | {"typing", "uuid", "socket", "subprocess"})


def test_what_only_callers_from_outside_need_is_loaded_on_first_use(tmp_path: Path) -> None:
    code = """
import sys, dropsweep
assert "dropsweep.errors" not in sys.modules
from dropsweep.errors import DropsweepError
assert dropsweep.DropsweepError is DropsweepError
"""
    assert run_python(code, tmp_path) == (0, "")


def test_a_name_that_the_package_does_not_export_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'reprot'"):
        _ = dropsweep.reprot


def test_the_distribution_takes_its_version_from_the_package() -> None:
    pyproject = tomllib.loads((LIBRARY.parent / "pyproject.toml").read_text())
    file = LIBRARY.parent / pyproject["tool"]["hatch"]["version"]["path"]
    assert f'__version__ = "{dropsweep.__version__}"' in file.read_text()


def test_checkpoint_names_follow_the_rule_for_all_names() -> None:
    assert script.CHECKPOINT_RULE == names.NAME_RULE
    assert script._CHECKPOINT.pattern == names._NAME.pattern


# --- report


@given(
    values=st.dictionaries(
        st.from_regex(script._METRIC, fullmatch=True).filter(lambda name: name not in ("step", "time")),
        st.floats() | st.integers(-(2**53), 2**53) | st.booleans(),
        min_size=1,
        max_size=5,
    ),
    step=st.none() | st.integers(0, 2**53),
)
def test_what_is_reported_is_what_the_reader_of_metrics_reads(
    tmp_path_factory: pytest.TempPathFactory, values: dict[str, float], step: int | None
) -> None:
    path = tmp_path_factory.getbasetemp() / "round-trip.jsonl"
    path.unlink(missing_ok=True)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv(script.METRICS_VARIABLE, str(path))
        dropsweep.report(step, **values)
    [line] = path.read_bytes().splitlines()
    point = metrics.parse_line(line)
    assert point is not None
    assert point.step == step
    assert point.values.keys() == values.keys()
    for name, value in values.items():
        assert point.values[name] == value or (math.isnan(point.values[name]) and math.isnan(value))


def test_a_line_is_flat_strict_json_with_the_time_in_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(script.METRICS_VARIABLE, str(tmp_path / "metrics.jsonl"))
    before_s = time.time()
    dropsweep.report(step=3, accuracy=0.97, loss=math.nan, low=-math.inf, high=math.inf, **{"val/top 1": True})
    text = (tmp_path / "metrics.jsonl").read_text()
    assert text.endswith("}\n")
    line = json.loads(text, parse_constant=lambda constant: pytest.fail(f"{constant} is no JSON"))
    assert before_s - 0.001 <= line.pop("time") <= time.time() + 0.001
    assert line == {
        "step": 3,
        "accuracy": 0.97,
        "loss": "NaN",
        "low": "-Infinity",
        "high": "Infinity",
        "val/top 1": 1.0,
    }


def test_by_hand_a_report_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    dropsweep.report(accuracy=0.5)
    line = json.loads(capsys.readouterr().out)
    assert line["accuracy"] == 0.5
    assert "step" not in line


def test_anything_with_one_number_in_it_is_a_value(capsys: pytest.CaptureFixture[str]) -> None:
    dropsweep.report(step=0, tensor=ZeroDimensional(0.25), integer=ZeroDimensional(2), fraction=Fraction(1, 8))
    line = json.loads(capsys.readouterr().out)
    assert (line["step"], line["tensor"], line["integer"], line["fraction"]) == (0, 0.25, 2, 0.125)


@pytest.mark.parametrize(
    "value", ["0.97", b"1", None, [1.0], {"a": 1}, 1j, ZeroDimensional([1, 2]), ZeroDimensional("1")]
)
def test_a_value_that_is_not_one_number_is_refused_with_its_name(
    value: object, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(TypeError, match=r"metric 'accuracy' is .*: it must be one number\. Reduce it"):
        dropsweep.report(step=1, loss=0.5, accuracy=value)  # type: ignore[arg-type]
    assert capsys.readouterr().out == ""


def test_a_number_beyond_a_float_is_refused() -> None:
    with pytest.raises(ValueError, match="must fit into a float"):
        dropsweep.report(count=10**400)


@pytest.mark.parametrize("name", ["time", "", " a", "a ", "-a", "a\nb", "a" * 201, "ä"])
def test_a_metric_name_outside_the_rule_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"metric name .*: it must be 1 to 200 letters"):
        dropsweep.report(**{name: 1.0})


def test_a_report_without_a_metric_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        dropsweep.report(step=1)


@pytest.mark.parametrize("step", [1.0, "1", True])
def test_a_step_that_is_no_whole_number_is_refused(step: object) -> None:
    with pytest.raises(TypeError, match=r"step .*: it must be a whole number"):
        dropsweep.report(step, loss=1.0)  # type: ignore[arg-type]


def test_a_negative_step_is_refused() -> None:
    with pytest.raises(ValueError, match="step -1: it must be 0 or more"):
        dropsweep.report(-1, loss=1.0)


def test_eight_processes_that_report_at_once_tear_no_line(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    code = """
import sys, dropsweep
sys.stdin.read()  # all start at once, when their standard input is closed
who = int(sys.argv[1])
for step in range(100):
    dropsweep.report(step, who=who, **{f"padding_{i:03}": who for i in range(300)})  # longer than a page of memory
"""
    environment = {"PYTHONPATH": str(LIBRARY), script.METRICS_VARIABLE: str(path)}
    processes = [
        subprocess.Popen([sys.executable, "-c", code, str(who)], env=environment, stdin=subprocess.PIPE)
        for who in range(8)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.close()
    assert [process.wait(timeout=60) for process in processes] == [0] * 8
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    for who in range(8):
        assert [line["step"] for line in lines if line["who"] == who] == list(range(100))
    assert all(set(line.values()) <= {line["step"], line["time"], line["who"]} for line in lines)


# --- params and resume


def test_params_are_those_of_the_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    assert dropsweep.params() == {}
    monkeypatch.setenv(script.PARAMS_VARIABLE, '{"lr": 0.1, "optimizer": {"kind": "sgd"}}')
    assert dropsweep.params() == {"lr": 0.1, "optimizer": {"kind": "sgd"}}


@pytest.mark.parametrize("text", ["lr=0.1", "[1]", "{"])
def test_params_that_are_no_json_object_are_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(script.PARAMS_VARIABLE, text)
    with pytest.raises(ValueError, match=re.escape(f"DROPSWEEP_PARAMS is {text!r}: it must hold a JSON object")):
        dropsweep.params()


def test_a_first_attempt_has_nothing_to_resume_from() -> None:
    assert dropsweep.resume_from() is None


def test_a_later_attempt_resumes_from_the_folder_it_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(script.RESUME_VARIABLE, str(tmp_path))
    assert dropsweep.resume_from() == tmp_path


def test_a_resume_folder_that_does_not_exist_is_no_fresh_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(script.RESUME_VARIABLE, str(tmp_path / "gone"))
    with pytest.raises(FileNotFoundError, match="must be the folder of a checkpoint"):
        dropsweep.resume_from()


def test_outputs_exists_whenever_it_is_asked_for(tmp_path: Path) -> None:
    for _ in range(2):
        assert dropsweep.outputs().resolve() == (tmp_path / "outputs").resolve()
    assert (tmp_path / "outputs").is_dir()
