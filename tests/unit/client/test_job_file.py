"""A job file keeps everything but the value of `code` on its way into the storage."""

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from dropsweep.client.jobfile import JobFile
from dropsweep.errors import SpecError

DIGEST = "sha256/abc123"


def read(tmp_path: Path, text: str | bytes, name: str = "job.yaml") -> JobFile:
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return JobFile.read(tmp_path / name)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("code: .\n# kept\ncommand: x\n", f'code: "{DIGEST}"\n# kept\ncommand: x\n'),
        ("# é 🙂\ncode: ./src   # why\non: 010\n", f'# é 🙂\ncode: "{DIGEST}"   # why\non: 010\n'),
        ("code: 'src'\r\ncommand: |\r\n  a\r\n", f'code: "{DIGEST}"\r\ncommand: |\r\n  a\r\n'),
        ("code: >-\n  ./src\ncommand: x\n", f'code: "{DIGEST}"\ncommand: x\n'),
        ("{code: src, command: x}", f'{{code: "{DIGEST}", command: x}}'),
        ("\ufeffcode: src", f'code: "{DIGEST}"'),
    ],
)
def test_only_the_value_of_code_is_exchanged(tmp_path: Path, before: str, after: str) -> None:
    (tmp_path / "src").mkdir()
    file = read(tmp_path, before)
    assert set(file.local_code()) == {("code",)}
    assert file.with_code({("code",): DIGEST}).decode() == after


def test_a_sweep_names_its_code_under_trial(tmp_path: Path) -> None:
    file = read(tmp_path, "type: sweep\ntrial:\n  command: x\n  code: .\nsearch_space: {code: {type: choice}}\n")
    assert file.local_code() == {("trial", "code"): tmp_path / "."}
    rewritten = yaml.safe_load(file.with_code({("trial", "code"): DIGEST}))
    assert rewritten["trial"] == {"command": "x", "code": DIGEST}


def test_a_json_file_keeps_its_content(tmp_path: Path) -> None:
    document = {"type": "command", "code": ".", "inputs": {"x": [1, 2.50, None, "ü"]}, "trial": {"note": "n"}}
    file = read(tmp_path, json.dumps(document), "job.json")
    assert json.loads(file.with_code({("code",): DIGEST})) == {**document, "code": DIGEST}


def test_code_that_is_no_local_folder_names_one_in_the_container(tmp_path: Path) -> None:
    file = read(tmp_path, "code: team/digits\ncommand: x\n")
    assert file.local_code() == {}
    assert file.with_code({}) == file.body


@pytest.mark.parametrize("value", ["./absent", "../absent", "/absent/folder", "job.yaml"])
def test_code_that_can_only_be_local_must_be_a_folder(tmp_path: Path, value: str) -> None:
    with pytest.raises(SpecError, match="code names a folder"):
        read(tmp_path, f"code: {value}\n").local_code()


@pytest.mark.parametrize("text", ["code: &here .\nother: *here\n", "other: &here .\ncode: *here\n"])
def test_code_that_shares_its_value_is_refused_rather_than_changed_elsewhere(tmp_path: Path, text: str) -> None:
    file = read(tmp_path, text)
    with pytest.raises(SpecError, match="without an anchor"):
        file.with_code(dict.fromkeys(file.local_code(), DIGEST))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe",
        b"code: [",
        b"- code: .",
        b"? [a]\n: b\ncode: .\n",
        b"[" * 100_000,
        b"a: &a [x]\n" + b"\n".join(b"a%d: &a%d [*a, *a]" % (i, i) for i in range(2000)),
        b"code: {a: 1}",
        b"code: null",
    ],
)
def test_a_file_that_cannot_be_used_is_left_to_whoever_accepts_it(tmp_path: Path, body: bytes) -> None:
    file = read(tmp_path, body)
    assert file.local_code() == {}
    assert file.with_code({}) == body


@pytest.mark.parametrize("null", ["~", "null", "", "&here ~"])
def test_code_that_is_null_names_no_folder_even_if_one_is_called_so(tmp_path: Path, null: str) -> None:
    (tmp_path / "null").mkdir()
    file = read(tmp_path, f"code: {null}\nexperiment_name: {null.replace('here', 'there')}\n")
    assert file.local_code() == {}
    assert not file.experiment
    assert set(read(tmp_path, "code: 'null'\n").local_code()) == {("code",)}


def test_a_json_file_with_a_key_twice_is_left_as_it_is(tmp_path: Path) -> None:
    assert read(tmp_path, '{"code": ".", "code": "."}', "job.json").local_code() == {}


def test_the_experiment_is_read_from_the_file(tmp_path: Path) -> None:
    assert read(tmp_path, "experiment_name: digits\n").experiment == "digits"
    assert read(tmp_path, "name: digits\n").experiment is None


@given(st.binary(max_size=200))
def test_any_bytes_can_be_read(tmp_path_factory: pytest.TempPathFactory, body: bytes) -> None:
    folder = tmp_path_factory.getbasetemp()
    for name in ("any.yaml", "any.json"):
        read(folder, body, name)


@given(st.dictionaries(st.text(max_size=5), st.text(max_size=20) | st.integers() | st.booleans(), max_size=4))
def test_every_other_key_survives_the_exchange(
    tmp_path_factory: pytest.TempPathFactory, rest: dict[str, object]
) -> None:
    folder = tmp_path_factory.getbasetemp()
    document = {**rest, "code": ".", "after": "ü"}
    file = read(folder, yaml.safe_dump(document, allow_unicode=True), "any.yaml")
    assert yaml.safe_load(file.with_code({("code",): DIGEST})) == {**yaml.safe_load(file.body), "code": DIGEST}
