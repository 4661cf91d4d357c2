import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dropsweep.errors import ConfigError
from dropsweep_trainer.processes.command import Process, check_passed, clean_environment, hide_from_trials, signal_name


def start(command: str, folder: Path, **environment: str) -> Process:
    return Process(
        command,
        folder=folder,
        environment=clean_environment({"PATH": "/usr/bin:/bin"}) | environment,
        stdout=folder / "out",
        stderr=folder / "err",
    )


@pytest.mark.parametrize(
    "name",
    [
        "DROPSWEEP_STORAGE",
        "DROPSWEEP_STORAGE__blobServiceUri",
        "AZURE_CLIENT_SECRET",
        "AzureWebJobsStorage",
        "IDENTITY_HEADER",
        "MSI_SECRET",
        "HOME",
        "NVIDIA_API_KEY",
        "LC_MINE",
        "TORCH_HUB_TOKEN",
        "SOMETHING_NOBODY_THOUGHT_OF",
    ],
)
def test_a_trial_is_not_told_what_was_not_meant_for_it(name: str) -> None:
    assert name not in clean_environment({name: "secret"})


def test_a_trial_is_told_what_it_needs_and_what_was_asked_for() -> None:
    seen = clean_environment(
        {"LANG": "C.UTF-8", "CUDA_HOME": "/c", "HF_HOME": "/h", "DROPSWEEP_PASS_ENV": "HF_HOME, ABSENT"}
    )
    assert (seen["LANG"], seen["CUDA_HOME"], seen["HF_HOME"]) == ("C.UTF-8", "/c", "/h")
    assert "ABSENT" not in seen
    known = {"NVIDIA_VISIBLE_DEVICES": "all", "NVIDIA_REQUIRE_CUDA": "cuda>=12", "NCCL_IB_PKEY": "1", "LC_ALL": "C"}
    assert clean_environment(known).items() >= known.items()


@pytest.mark.parametrize(
    "name",
    [
        "IDENTITY_ENDPOINT",
        "IDENTITY_HEADER",
        "MSI_ENDPOINT",
        "MSI_SECRET",
        "AZURE_CLIENT_SECRET",
        "AZURE_CLIENT_CERTIFICATE_PATH",
        "AZURE_FEDERATED_TOKEN_FILE",
        "AZURE_STORAGE_CONNECTION_STRING",
        "AZURE_STORAGE_KEY",
        "AzureWebJobsStorage",
        "DROPSWEEP_STORAGE",
        "DROPSWEEP_STORAGE__clientId",
        "DROPSWEEP_KEY",
    ],
)
def test_what_gives_the_worker_s_rights_may_not_be_passed_on(name: str) -> None:
    with pytest.raises(ConfigError, match=f"DROPSWEEP_PASS_ENV names {name}"):
        check_passed({"DROPSWEEP_PASS_ENV": f"HF_HOME, {name}"})
    check_passed({"DROPSWEEP_PASS_ENV": "HF_HOME,WANDB_API_KEY, AZURE_REGION,,", name: "x"})


def test_a_trial_s_first_process_is_the_command_and_it_dumps_no_core(tmp_path: Path) -> None:
    process = start('ulimit -c; pwd; echo "[$OLDPWD]"; echo $0', tmp_path)
    assert process.wait(60) == 0
    limit, folder, old, shell = (tmp_path / "out").read_text().splitlines()
    assert (limit, folder, old) == ("0", str(tmp_path), "[]")
    assert shell.endswith("sh")
    assert (tmp_path / "err").read_text() == ""


def test_variables_arrive_as_they_are_and_bring_no_others(tmp_path: Path) -> None:
    values = {
        **{"IFS": "x", "POSIXLY_CORRECT": "1", "_carried_0": "mine", "UID": "7", "CDPATH": "/", "LC_ALL": "C.UTF-8"},
        **{"ODD": " $HOME `x` \\ ' \" *\n\nä", "EMPTY": "", "not-a-name": "kept", "LAST": "1"},
    }
    process = start("env -0", tmp_path, **values)
    assert process.wait(60) == 0
    seen = dict(pair.split("=", 1) for pair in (tmp_path / "out").read_text().split("\0") if pair)
    del values["UID"], values["IFS"]  # a shell's own
    assert seen.items() >= values.items()
    assert set(seen) - set(values) <= {"PATH", "PWD", "SHLVL", "_", "PYTHONUNBUFFERED", "UID", "IFS"}
    assert (tmp_path / "err").read_text() == ""


@pytest.mark.parametrize("name", ["BASH_ENV", "BASH_FUNC_ulimit%%", "BASH_FUNC_exec%%"])
def test_what_a_variable_runs_is_run_after_the_prelude(tmp_path: Path, name: str) -> None:
    file = tmp_path / "file"
    file.write_text("ulimit -c")
    process = start("true", tmp_path, **{name: str(file) if name == "BASH_ENV" else "() {  echo got in; }"})
    assert process.wait(60) == 0
    assert (tmp_path / "out").read_text() == ("0\n" if name == "BASH_ENV" else "")


def test_no_value_stands_on_a_command_line(tmp_path: Path) -> None:
    process = start("tr '\\0' '\\n' < /proc/$$/cmdline; ps -o args= -p $$", tmp_path, PLANTED="planted-value")
    assert process.wait(60) == 0
    assert "planted" not in (tmp_path / "out").read_text()


def test_a_folder_that_cannot_be_entered_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        start("true", tmp_path / "none")


def test_python_is_the_one_that_runs_the_worker(tmp_path: Path) -> None:
    process = start("python -c 'import sys; print(sys.prefix)'", tmp_path)
    assert process.wait(60) == 0
    assert (tmp_path / "out").read_text().strip() == sys.prefix


def test_output_is_kept_apart_and_exit_codes_come_back(tmp_path: Path) -> None:
    process = start("echo out; echo err >&2; exit 7", tmp_path)
    assert process.wait(60) == 7
    assert ((tmp_path / "out").read_text(), (tmp_path / "err").read_text()) == ("out\n", "err\n")


def test_the_whole_group_gets_the_signal(tmp_path: Path) -> None:
    child = "(trap 'echo told; exit' TERM; echo up; while :; do sleep 0.05; done)"
    process = start(f"trap 'wait; exit 3' TERM; {child} & wait", tmp_path)
    while "up" not in (tmp_path / "out").read_text():
        assert process.wait(0.05) is None
    assert process.stop(20.0) == 3
    assert (tmp_path / "out").read_text() == "up\ntold\n"


def test_signals_have_names() -> None:
    assert signal_name(9) == "SIGKILL"
    assert signal_name(9_999) == "signal 9999"


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="needs Linux, and root to become another user")
@pytest.mark.parametrize(("hides", "expected"), [(True, "denied"), (False, "secret")])
def test_the_worker_s_environment_can_be_hidden_from_its_own_user(hides: bool, expected: str) -> None:
    source = inspect.getsource(hide_from_trials).replace("_PR_SET_DUMPABLE", "4")
    reader = (
        "import os\n"
        "try: print('secret' if b'TOKEN' in open(f'/proc/{os.getppid()}/environ', 'rb').read() else 'gone')\n"
        "except PermissionError: print('denied')"
    )
    program = f"import ctypes, subprocess, sys\n{source}\n{'hide_from_trials()' if hides else ''}\n"
    program += f"subprocess.run([sys.executable, '-c', {reader!r}])"
    python = next((path for path in ("/usr/bin/python3", "/usr/local/bin/python3") if os.path.exists(path)), None)
    if python is None:
        pytest.skip("needs a Python that every user may run")
    done = subprocess.run(
        [python, "-c", program],
        env={"TOKEN": "x", "PATH": "/usr/bin:/bin"},
        user=65534,
        group=65534,
        cwd="/",
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == expected
