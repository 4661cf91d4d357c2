"""Bytes become a tree or a reason, whatever the bytes."""

import json
import tracemalloc
from typing import Any

import pytest

from dropsweep.spec.document import MAX_JOB_FILE_BYTES, read_document
from dropsweep.spec.yaml_tree import Refused, compose


def tree(text: str, file_name: str = "job.yaml") -> Any:
    document = read_document(text.encode(), file_name=file_name)
    assert document.problems == ()
    return document.data


def complaint(body: bytes, file_name: str = "job.yaml") -> str:
    document = read_document(body, file_name=file_name)
    assert document.problems
    return "\n".join(str(problem) for problem in document.problems)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1.5", 1.5),
        (".5", 0.5),
        ("-7", -7),
        ("0x1F", 31),
        ("0o17", 15),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("'1'", "1"),
        ('"true"', "true"),
        ("!!str 1", "1"),
        ("python train.py", "python train.py"),
        ("[1, [2]]", [1, [2]]),
        ("{b: 1}", {"b": 1}),
    ],
)
def test_plain_values_mean_what_yaml_1_2_says(text: str, value: Any) -> None:
    data = tree(f"a: {text}")
    assert data == {"a": value}
    assert type(data["a"]) is type(value)


@pytest.mark.parametrize("text", ["yes", "off", "1:30", "2024-01-02", "1_000", "010"])
def test_values_with_another_meaning_in_yaml_1_1_are_warned_about(text: str) -> None:
    document = read_document(f"a: {text}".encode(), file_name="job.yaml")
    assert document.data == {"a": 10 if text == "010" else text}
    assert [problem.severity for problem in document.problems] == ["warning"]


def test_on_as_a_key_is_text() -> None:
    assert tree("on: 1\nyes: 2") == {"on": 1, "yes": 2}


def test_aliases_and_merges_are_expanded() -> None:
    text = "base: &base {q: 1, r: 2}\na: {<<: *base, q: 3}\nb: {<<: [*base, {q: 9, s: 4}]}\nc: *base"
    data = tree(text)
    assert data["a"] == {"q": 3, "r": 2}
    assert data["b"] == {"q": 1, "r": 2, "s": 4}
    assert data["c"] == {"q": 1, "r": 2}


BOMB = b"a: &a [x,x,x,x,x,x,x,x,x,x]\n" + b"".join(
    b"%c: &%c [%s]\n" % (98 + level, 98 + level, b",".join([b"*%c" % (97 + level)] * 10)) for level in range(9)
)
LONG = b"a: &x " + b"x" * 10_000 + b"\n"


@pytest.mark.parametrize(
    ("body", "rule"),
    [
        (b"", "empty"),
        (b"# nothing\n", "empty"),
        (b"[1]", "a mapping of keys"),
        (b"text", "a mapping of keys"),
        (b"\xff\xfea", "UTF-8"),
        (b"a: [", "not YAML"),
        (b"\ta: 1", "not YAML"),
        (b"a: \x00", "not YAML"),
        (b"a: 1\n---\nb: 2", "one document"),
        (b"[" * 100_000, "nested"),
        (b"{" * 100_000, "keys are text"),
        (b"- " * 100_000, "nested"),
        (b"a: &x [*x]", "stands inside"),
        (b"a: *x", "no anchor"),
        (BOMB, "at most 100000 values"),
        (LONG + b"b: [" + b"*x," * 200 + b"]", "at most 1048576 characters"),
        (LONG + b"b: &b [" + b"*x," * 50 + b"]\nc: [*b, *b]", "at most 1048576 characters"),
        (b"b: &b {? " + b"x" * 1000 + b" : 1}\nc: [" + b"*b," * 1100 + b"]", "at most 1048576 characters"),
        (b"a: [" + b"1," * 150_000 + b"]", "at most 100000 values"),
        (b"a: !!python/object/apply:os.system [ls]", "the tag"),
        (b"? [a]\n: b", "keys are text"),
        (b"a: 1\na: 2", "stands once"),
        (b"1: a", "a key is text"),
        (b"a: .nan", "finite"),
        (b"a: -.inf", "finite"),
        (b"a: 1e999", "finite"),
        (b"a: 99999999999999999999", "whole number must lie"),
        (b"a: " + b" " * MAX_JOB_FILE_BYTES, "at most 1048576 bytes"),
    ],
)
def test_what_is_no_job_file_in_yaml_is_refused_with_the_reason(body: bytes, rule: str) -> None:
    assert rule in complaint(body)


@pytest.mark.parametrize(
    ("body", "rule"),
    [
        (b"", "not JSON"),
        (b"{'a': 1}", "not JSON"),
        (b'{"a": 1, "b": {"c": 1, "c": 2}}', "b.c: a key stands once"),
        (b'{"a": NaN}', "finite"),
        (b'{"a": Infinity}', "finite"),
        (b'{"a": ' + b"9" * 5000 + b"}", "thousands of digits"),
        (b'{"a": "\\ud800"}', "surrogate"),
        (b'{"a": "\\u0000"}', "NUL"),
        (b"[" * 100_000, "nested"),
        (b'{"a":' * 100 + b"1" + b"}" * 100, "nested"),
    ],
)
def test_what_is_no_job_file_in_json_is_refused_with_the_reason(body: bytes, rule: str) -> None:
    assert rule in complaint(body, "job.json")


def test_a_byte_order_mark_is_passed_over() -> None:
    assert read_document(b"\xef\xbb\xbfa: 1", file_name="a.yml").data == {"a": 1}


def test_an_alias_bomb_costs_no_memory() -> None:
    tracemalloc.start()
    try:
        complaint(BOMB)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 1_000_000


def test_json_and_yaml_give_the_same_tree() -> None:
    data = {"a": [1, 0.5, True, None, "x"], "b": {"c": "é"}}
    text = json.dumps(data)
    assert tree(text) == tree(text, "job.json") == data


def test_half_a_character_of_a_command_line_is_refused() -> None:
    with pytest.raises(Refused, match="surrogate"):
        compose("a: \udcff", max_num_nodes=10, max_depth=10)


def test_a_tab_is_called_a_tab() -> None:
    [problem] = read_document(b"a:\n\tb: 1", file_name="job.yaml").problems
    assert "line 2, column 1" in problem.rule
    assert "no tabs" in problem.remedy
