"""A filled-in value reaches the program exactly, and never runs; checked with real shells."""

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from dropsweep.spec.expressions import Context, fill, look_up, scan, to_text

SHELLS = [shell for shell in ("bash", "dash") if shutil.which(shell)]
VALUES = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=30) | st.text(
    st.sampled_from("'\"\\$`!(){}[]<>|;&*?~# \t\na=2"), max_size=30
)
PIECES = ["'", '"', "\\", "$", "(", ")", "{", "}", "#", "<", ">", ";", "&", "|", " ", "\n", "a", "`", "[", "]", "="]
PIECES += ["$(", "((", "))", '"$(', "\\\n", "case", " in ", "esac", "<<", "<<<", "~", "!", "echo ", "${x}", "${x:-"]
PIECES += [
    "$((",
    "[[ ",
    " ]]",
    " # ",
    "$'",
    "x=(",
    "$$",
    '$"',
    "f()",
    ">&",
    "<(",
    "a[",
    "a[ ",
    "]=",
    "case\\\n",
    "RANDOM=",
]
ATTACKS = [
    "$(: > RAN)",
    "`: > RAN`",
    "'; : > RAN; '",
    '"; : > RAN; "',
    "\n: > RAN\n",
    "')\n: > RAN; (",
    '")\n: > RAN\n',
    "))\n: > RAN\n",
    "a[$(: > RAN)]",
    "}\n: > RAN\n",
    "(: > RAN)",
]


def run(shell: str, command: str, cwd: Path | None = None) -> bytes:
    done = subprocess.run(
        [shell, "-c", command], capture_output=True, stdin=subprocess.DEVNULL, cwd=cwd, check=False, timeout=20
    )
    return done.stdout


@pytest.mark.parametrize("shell", SHELLS)
@settings(max_examples=60, deadline=None)
@given(value=VALUES)
def test_the_program_receives_exactly_the_value_in_every_context(shell: str, value: str) -> None:
    place = "${{inputs.v}}"
    template = (
        f"printf '%s\\0' {place} --x={place}y \"a {place} b\" 'a {place} b' {place}{place} # in a comment {place}\n"
        f"printf '%s\\0' \"$(printf '%s.' {place})\" ${{HOME:+z}}{place} # don't\n"
        f"printf '%s\\0' \\\n # it's\nprintf '%s\\0' {place}"
    )
    expected = [
        value,
        f"--x={value}y",
        f"a {value} b",
        f"a {value} b",
        value + value,
        f"{value}.",
        f"z{value}",
        "",
        value,
    ]
    received = run(shell, fill(template, lambda _: value))
    assert received.decode().split("\0")[:-1] == expected


@pytest.mark.parametrize("shell", SHELLS)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    before=st.lists(st.sampled_from(PIECES), max_size=8),
    after=st.lists(st.sampled_from(PIECES), max_size=5),
    value=st.sampled_from(ATTACKS),
)
def test_no_value_runs_in_any_command_that_is_accepted(
    shell: str, before: list[str], after: list[str], value: str, tmp_path: Path
) -> None:
    try:
        command = fill("".join([*before, "${{inputs.v}}", *after]), lambda _: value)
    except ValueError:
        return  # refused, which is always safe
    run(shell, command, cwd=tmp_path)
    assert not (tmp_path / "RAN").exists(), command


@pytest.mark.parametrize(
    "command",
    [
        "echo `cat ${{inputs.v}}`",
        "echo $'${{inputs.v}}'",
        "cat <<END\n${{inputs.v}}\nEND",
        "echo $${{inputs.v}}",
        'echo "$${{inputs.v}}"',
        "echo \\${{inputs.v}}",
        'echo "\\${{inputs.v}}"',
        "echo ${HOME:-${{inputs.v}}}",
        "echo $((1 + ${{inputs.v}}))",
        "(( i = ${{inputs.v}} ))",
        "[[ 1 -eq ${{inputs.v}} ]]",
        "a[${{inputs.v}}]=1",
        "a=(${{inputs.v}})",
        'echo "$(case a in a) echo ${{inputs.v}};; esac)"',
        "echo >& ${{inputs.v}}",
        'echo >& "${{inputs.v}}"',
        "echo 1>&log${{inputs.v}}",
        'echo >& "$(echo ${{inputs.v}})"',
        'echo "$(case\\\n a in a) echo ${{inputs.v}};; esac)"',
        "[[\\\n 1 -eq ${{inputs.v}} ]]",
        '[[ "$(echo ${{inputs.v}})" -eq 1 ]]',
        "a[ ${{inputs.v}}]=3",
        "a[1 + ${{inputs.v}}]=3",
        "x[a b${{inputs.v}}]+=1",
        'a["${{inputs.v}}"]=3',
        "a['${{inputs.v}}']=3",
        "a[$(echo 1) + ${{inputs.v}}]=3",
        "a[$(echo ${{inputs.v}})]=3",
        "RANDOM=${{inputs.v}}",
        "export 'PS4=${{inputs.v}}'",
        "for ${{inputs.v}} in a; do echo; done",
        "function ${{inputs.v}} { echo; }",
        "${{inputs.v}}() { echo; }",
        "${{inputs.v}} ( ) { echo; }",
        "echo ) ${{inputs.v}}",
        "echo >\n${{inputs.v}}",
    ],
)
def test_places_without_a_safe_way_to_write_a_value_are_refused(command: str) -> None:
    (expression,) = scan(command).expressions
    assert expression.context is None
    assert expression.reason


@pytest.mark.parametrize(
    ("command", "context"),
    [
        ("python train.py --lr ${{ search_space.lr }}", Context.BARE),
        ("python train.py \\\n  --lr ${{search_space.lr}}", Context.BARE),
        ("python train.py\\\n  --lr ${{search_space.lr}}", Context.BARE),
        ('echo "lr ${{search_space.lr}}"', Context.DOUBLE),
        ("echo 'lr ${{search_space.lr}}'", Context.SINGLE),
        ("echo # ${{search_space.lr}}", Context.COMMENT),
        ("x=$((1+2)); echo ${x} ${{search_space.lr}}", Context.BARE),
        ('echo "$(basename ${{search_space.lr}})"', Context.BARE),
        ("f() { echo ${{search_space.lr}}; }; f", Context.BARE),
        ("cat <<< ${{search_space.lr}}", Context.BARE),
        ("if [ ${{search_space.lr}} = 1 ]; then echo; fi", Context.BARE),
        ("lrs=[${{search_space.lr}}]", Context.BARE),
        ("a[1]=${{search_space.lr}}", Context.BARE),
        ("ls data[0-9].csv; echo ${{search_space.lr}}", Context.BARE),
        ('if [[ -f "$x" && ${y} = 1 ]]; then echo ${{search_space.lr}}; fi', Context.BARE),
        ("case ${{search_space.lr}} in a) echo;; esac", Context.BARE),
        ("for lr in ${{search_space.lr}}; do echo; done", Context.BARE),
        ("python train.py > ${{search_space.lr}}.log 2>&1", Context.BARE),
        ("python train.py > log 2>&1 --lr ${{search_space.lr}}", Context.BARE),
        ("python train.py > >(tee log) --lr ${{search_space.lr}}", Context.BARE),
        ("LR=${{search_space.lr}} python train.py", Context.BARE),
        ("export LR=${{search_space.lr}}", Context.BARE),
        ("(cd a && python train.py ${{search_space.lr}})", Context.BARE),
        ("python train.py |& tee ${{search_space.lr}}", Context.BARE),
        ("echo training for ${{search_space.lr}}", Context.BARE),
    ],
)
def test_usual_commands_are_accepted(command: str, context: Context) -> None:
    (expression,) = scan(command).expressions
    assert (expression.context, expression.root, expression.parts) == (context, "search_space", ("lr",))


@pytest.mark.parametrize(("command", "mark"), [("echo 'a", "'"), ('echo "a', '"'), ("echo $(a", "$("), ("(a", "(")])
def test_a_command_that_ends_inside_a_quotation_is_noticed(command: str, mark: str) -> None:
    assert scan(command).unclosed == mark


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1e-05, "1e-05"),
        (0.1, "0.1"),
        (16, "16"),
        (True, "true"),
        (None, ""),
        ("a b", "a b"),
        ({"a": [1, None]}, '{"a":[1,null]}'),
    ],
)
def test_values_are_written_as_documented(value: JsonValue, text: str) -> None:
    assert to_text(value) == text


def test_a_part_that_the_chosen_value_lacks_is_nothing() -> None:
    assert look_up({"a": {"b": 1}}, ["a", "b"]) == 1
    assert look_up({"a": {"b": 1}}, ["a", "c"]) is None
    assert look_up("text", ["a"]) is None


def test_nul_is_refused() -> None:
    with pytest.raises(ValueError, match="NUL"):
        fill("echo ${{inputs.v}}", lambda _: "a\0b")
