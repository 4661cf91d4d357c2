"""Values set over those of a job file: what is meant is what the new file says, and comments stay."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import assume, given, reject
from hypothesis import strategies as st

from dropsweep.client.jobfile import JobFile
from dropsweep.client.overrides import path_of, read_assignments
from dropsweep.errors import DropsweepError, SpecError
from dropsweep.spec import read_document

SWEEP = """\
# A sweep.
type: sweep
trial:
  command: >-
    python train.py
    --lr ${{search_space.lr}}
  code: team/digits # kept
search_space:
  lr: {type: uniform, min_value: 0.1, max_value: 1}
  # The widths.
  width:
    type: choice
    values: [4, 8] # two of them
tags: &tags
  owner: mira
limits:
  max_total_trials: 16 # many
  timeout:
# The end.
"""


def changed(text: str, overrides: dict[str, Any], name: str = "sweep.yaml") -> str:
    return JobFile.from_bytes(Path(name), text.encode()).with_overrides(overrides).body.decode()


def data_of(text: str, name: str = "sweep.yaml") -> Any:
    return read_document(text.encode(), file_name=name).data


@pytest.mark.parametrize(
    ("path", "value", "before", "after"),
    [
        ("limits.max_total_trials", 4, "max_total_trials: 16 # many", "max_total_trials: 4 # many"),
        ("search_space.lr.max_value", -1, "max_value: 1}", "max_value: -1}"),
        ("search_space.width.values[1]", 16, "[4, 8] # two", "[4, 16] # two"),
        ("search_space.width.values", [1], "[4, 8] # two", "[1] # two"),
        ("trial.code", "./x", "team/digits # kept", '"./x" # kept'),
        ("limits.timeout", 600, "timeout:\n", "timeout: 600\n"),
        ("trial.command", "sh x.sh", ">-\n    python train.py\n    --lr ${{search_space.lr}}\n", '"sh x.sh"\n'),
        ("search_space.lr.rule", "x", "max_value: 1}", 'max_value: 1, rule: "x"}'),
        ("limits.trial_timeout", 60, "timeout:\n", "timeout:\n  trial_timeout: 60\n"),
        ("tags.true", "a", "owner: mira\n", 'owner: mira\n  "true": "a"\n'),
        ("limits.timeout.soft", 1, "timeout:\n", 'timeout: {"soft": 1}\n'),
        ("inputs.data.path", "p", "# The end.\n", 'inputs: {"data": {"path": "p"}}\n# The end.\n'),
        ('tags."a.b"', None, "owner: mira\n", 'owner: mira\n  "a.b": null\n'),
    ],
)
def test_one_value_is_set_in_its_place_and_all_else_stays(path: str, value: Any, before: str, after: str) -> None:
    assert SWEEP.count(before) == 1
    assert changed(SWEEP, {path: value}) == SWEEP.replace(before, after)


def test_several_values_are_set_one_after_another() -> None:
    text = changed(SWEEP, {"limits.timeout": 5, "limits.extra": {"a": [1]}, "limits.extra.a[0]": 2})
    assert data_of(text)["limits"] == {"max_total_trials": 16, "timeout": 5, "extra": {"a": [2]}}
    assert "# many" in text


@pytest.mark.parametrize(
    ("text", "overrides"),
    [
        ("a: &x {k: 1}\nb: *x\n", {"b.k": 2}),
        ("a: &x {k: 1}\nb: *x\n", {"a.k": 2}),
        ("base: &x {k: 1}\nb:\n  <<: *x\n", {"b.k": 2}),
        ("a: &x 1\nb: *x\n", {"a": 2}),
        ("a: 1\n...\n", {"b": 2}),
        ("{a: 1, b: {}}", {"b.c": 2}),
        ("a:\n- b: 1\n- c: 2\n", {"a[1].d": 3}),
        ("a: |+\n  text\n\n", {"b": 1}),
        ("a: 1", {"b": '\u2028 \x85 \x7f 🙂 \\ " é'}),
        ("? a\n: 1\n", {"a": 2}),
    ],
)
def test_what_anchors_or_odd_forms_make_hard_still_says_what_is_meant(text: str, overrides: dict[str, Any]) -> None:
    expected = data_of(text)
    for path, value in overrides.items():
        holder = expected = json.loads(json.dumps(expected))
        *way, last = path_of(path)
        for part in way:
            holder = holder[part]
        holder[last] = value
    assert data_of(changed(text, overrides)) == expected


def test_a_json_file_is_written_anew_with_the_value() -> None:
    document = {"type": "command", "limits": {"timeout": 1}, "note": "é"}
    text = changed(json.dumps(document), {"limits.timeout": 2, "tags.x": "y"}, "job.json")
    assert json.loads(text) == {**document, "limits": {"timeout": 2}, "tags": {"x": "y"}}


def test_a_file_without_overrides_stays_as_it_is_whatever_is_in_it() -> None:
    assert changed("type: [", {}) == "type: ["


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        ({"type.x": 1}, 'type: `x` names a key of a mapping, and here is "sweep"'),
        ({"search_space.width.values[2]": 1}, "a list of 2, counted from 0"),
        ({"limits[0]": 1}, "limits: .0. names an entry of a list, and here is a mapping"),
        ({"search_space.width.values.x": 1}, "here is a list"),
        ({"limits.timeout": float("nan")}, "limits.timeout is nan: a value is text, a finite number"),
        ({"limits.timeout": object()}, "a value is text"),
        ({"": 1}, "a path is keys joined by dots"),
        ({"a..b": 1}, "a path is keys joined by dots"),
        ({"a.[0]": 1}, "a path is keys joined by dots"),
        ({"[0]": 1}, "a path is keys joined by dots"),
        ({"a[x]": 1}, "a path is keys joined by dots"),
    ],
)
def test_a_path_that_leads_nowhere_and_a_value_that_is_none_are_told(overrides: dict[str, Any], told: str) -> None:
    with pytest.raises(SpecError, match=told):
        changed(SWEEP, overrides)


def test_a_file_that_cannot_be_read_takes_no_overrides_and_says_why() -> None:
    with pytest.raises(SpecError, match="not YAML"):
        changed("type: [", {"a": 1})
    with pytest.raises(SpecError, match="stands once"):
        changed("a: 1\na: 2\n", {"b": 1})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a=1", 1),
        ("a=-0.5", -0.5),
        ("a=1e3", 1000.0),
        ("a=true", True),
        ("a=", None),
        ("a='1'", "1"),
        ("a=[1, x]", [1, "x"]),
        ("a={type: choice, values: [1]}", {"type": "choice", "values": [1]}),
        ("a=python train.py --lr ${{search_space.lr}}", "python train.py --lr ${{search_space.lr}}"),
        ("a=b=c", "b=c"),
        ("a=no", "no"),
    ],
)
def test_a_value_is_read_as_yaml(text: str, value: Any) -> None:
    assert read_assignments([text]) == {"a": value}


def test_of_a_path_that_is_set_twice_the_last_value_counts() -> None:
    assert read_assignments(["a=1", "b=2", "a=3"]) == {"a": 3, "b": 2}


def test_what_is_no_assignment_is_told_with_an_example() -> None:
    with pytest.raises(DropsweepError, match="must be path=value"):
        read_assignments(["limits.timeout"])
    for text in ("a=[1", "a=@x", "a=!!python/object x", "a=*x", "a={b: 1, b: 2}"):
        with pytest.raises(SpecError):
            read_assignments([text])


@pytest.mark.parametrize(
    ("value", "comment"),
    [
        ("echo 'x'; # y", "# y"),
        ("#hash", "#hash"),
        ("'quoted' # told", "# told"),
        ("[1, # first\n 2]", "# first"),
        ("| # a block\n  text\n", "# a block"),
        ("é # z", "# z"),
    ],
)
def test_a_value_of_which_yaml_would_drop_a_part_is_refused(value: str, comment: str) -> None:
    with pytest.raises(SpecError, match=r"is a comment and would be left out\. Put the value in quotes") as told:
        read_assignments([f"a={value}"])
    assert f"where {comment} is a comment" in str(told.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a=echo#1", "echo#1"),
        ("a=https://example.com/#top", "https://example.com/#top"),
        ("a='echo 1; # one'", "echo 1; # one"),
        ('a="#hash"', "#hash"),
        ("a=|\n  echo # one", "echo # one"),
    ],
)
def test_a_number_sign_that_begins_no_comment_is_kept(text: str, value: str) -> None:
    assert read_assignments([text]) == {"a": value}


def test_a_path_keeps_quoted_keys_whole() -> None:
    assert path_of('a."b.c"[2].d') == ("a", "b.c", 2, "d")


KEYS = st.sampled_from(["a", "b", "c d", "no", "x-1", "é", "1"])
SCALARS = st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=6) | st.floats(-2, 2)
TREES = st.dictionaries(
    KEYS,
    st.recursive(
        SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=8
    ),
    min_size=1,
    max_size=4,
)


def is_readable(value: Any) -> bool:
    text = json.dumps(value, ensure_ascii=False)
    return "\\u0000" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


@given(TREES.filter(is_readable), st.lists(KEYS, min_size=1, max_size=3), SCALARS.filter(is_readable), st.booleans())
def test_the_changed_file_says_what_the_changed_document_says(
    tree: dict[str, Any], way: list[str], value: Any, is_flow: bool
) -> None:
    text = yaml.safe_dump(tree, default_flow_style=is_flow, allow_unicode=True)
    before = data_of(text)
    assume(before is not None)
    path = ".".join(f'"{key}"' for key in way)
    try:
        after = changed(text, {path: value})
    except SpecError:  # the path leads through a text, a number or a list
        reject()
    expected = before
    for key in way[:-1]:
        if expected.get(key) is None:
            expected[key] = {}
        expected = expected[key]
    expected[way[-1]] = value
    assert data_of(after) == before
