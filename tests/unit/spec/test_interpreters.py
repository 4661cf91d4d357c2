"""A value that goes to a command which may run it is warned about, and no usual command is."""

import sys

import pytest

from dropsweep.errors import Problem, Severity
from dropsweep.spec.command_checks import Names, check_command
from dropsweep.spec.models import MAX_COMMAND_LENGTH
from dropsweep.spec.scanner import scan


def warnings(command: str) -> list[Problem]:
    problems = [*check_command(command, "command", Names(None, ["v"], ["out"]))]
    assert [problem for problem in problems if problem.severity is Severity.ERROR] == []
    return problems


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("bash -c 'echo ${{inputs.v}}'", "bash -c"),
        ('/bin/bash -c "echo ${{inputs.v}}"', "bash -c"),
        ("bash -o pipefail -c ${{inputs.v}}", "bash -c"),
        ("bash -euo pipefail -c ${{inputs.v}}", "bash -c"),
        ("exec /bin/sh -c ${{inputs.v}}", "sh -c"),
        ("timeout 5 nohup sh -ec ${{inputs.v}}", "sh -ec"),
        ("if true; then A=1 bash -c ${{inputs.v}}; fi", "bash -c"),
        ('x=$(sh -c "${{inputs.v}}")', "sh -c"),
        ('bash -c "$(echo ${{inputs.v}})"', "bash -c"),
        ("echo ${{inputs.v}} | bash", "bash"),
        ("echo ${{inputs.v}} | tee log | /bin/sh -s", "sh"),
        ("(echo ${{inputs.v}}) | sh", "sh"),
        ("{ echo ${{inputs.v}}; } | sh", "sh"),
        ("echo ${{inputs.v}} |& xargs echo", "xargs"),
        ("bash <<< ${{inputs.v}}", "bash"),
        ("bash <(echo ${{inputs.v}})", "bash"),
        ("source ${{inputs.v}}", "source"),
        (". <(echo ${{inputs.v}})", "."),
        ("trap ${{inputs.v}} EXIT", "trap"),
        ("eval ${{inputs.v}}", "eval"),
        ("command eval ${{inputs.v}}", "eval"),
        ("alias a=${{inputs.v}}", "alias"),
        ("su -c ${{inputs.v}}", "su -c"),
        ("su user -c ${{inputs.v}}", "su -c"),
        ("env -S ${{inputs.v}}", "env -S"),
        ("ssh host ${{inputs.v}}", "ssh"),
        ("python -c ${{inputs.v}}", "python -c"),
        ("/usr/bin/python3.11 -u -c 'print(${{inputs.v}})'", "python -c"),
        ("python -c'print(${{inputs.v}})'", "python -c"),
        ('node -e "${{inputs.v}}"', "node -e"),
        ("node --eval ${{inputs.v}}", "node --eval"),
        ("ruby -e ${{inputs.v}}", "ruby -e"),
        ("perl -ne ${{inputs.v}}", "perl -ne"),
        ("awk 'BEGIN {print ${{inputs.v}}}'", "awk"),
        ('sed -i "s/a/${{inputs.v}}/" file', "sed"),
        ("let x=${{inputs.v}}", "let"),
        ("declare -i x=${{inputs.v}}", "declare"),
        ("f() { local -i x=${{inputs.v}}; }; f", "local"),
        ("readonly x=${{inputs.v}}", "readonly"),
        ("printf -v ${{inputs.v}} x", "printf -v"),
        ("read ${{inputs.v}}", "read"),
        ("test -v ${{inputs.v}}", "test -v"),
        ("if [ -v ${{inputs.v}} ]; then echo; fi", "[ -v"),
    ],
)
def test_a_value_handed_to_what_may_run_it_is_a_warning(command: str, name: str) -> None:
    (problem,) = warnings(command)
    assert f"`{name}" in problem.rule
    assert "may run" in problem.rule
    assert problem.remedy


@pytest.mark.parametrize(
    "command",
    [
        "python train.py -c ${{inputs.v}}",
        "python -m train -c ${{inputs.v}}",
        "python -W ignore train.py -c ${{inputs.v}}",
        "/usr/bin/env python train.py ${{inputs.v}}",
        "source venv/bin/activate && python train.py ${{inputs.v}}",
        ". ./env.sh; python train.py ${{inputs.v}}",
        "bash run.sh -c ${{inputs.v}}",
        "bash -e run.sh ${{inputs.v}}",
        "bash setup.sh; python train.py ${{inputs.v}}",
        "cp -r . ${{outputs.out}}",
        "python train.py local ${{inputs.v}}",
        "python train.py ${{inputs.v}} | tee log",
        "python train.py ${{inputs.v}} | python plot.py",
        "python train.py ${{inputs.v}} || bash rescue.sh",
        "python train.py ${{inputs.v}}; echo ls | bash",
        "read line < ${{inputs.v}}",
        "printf '%s' ${{inputs.v}}",
        "[ ${{inputs.v}} -gt 1 ] && echo",
        "export LR=${{inputs.v}}",
        "python train.py # bash -c ${{inputs.v}}",
    ],
)
def test_a_usual_command_is_not_warned_about(command: str) -> None:
    assert warnings(command) == []


@pytest.mark.parametrize("danger", ["unset", "mapfile", "getopts x"])
def test_the_remedy_for_names_is_no_variable_since_that_would_be_no_safer(danger: str) -> None:
    (problem,) = warnings(f"{danger} ${{{{inputs.v}}}}")
    assert "DROPSWEEP_PARAM" not in problem.remedy


@pytest.mark.parametrize("command", ["echo $((${{inputs.v}}))", "[[ ${{inputs.v}} -eq 1 ]]", "a[${{inputs.v}}]=1"])
def test_the_remedy_where_the_shell_computes_is_not_to_compute_there(command: str) -> None:
    (problem,) = check_command(command, "command", Names(None, ["v"], []))
    assert '[ "$X" -eq 1 ]' in problem.remedy
    assert "would run what a variable holds" in problem.remedy


def test_the_remedy_for_both_streams_is_two_redirections() -> None:
    (problem,) = check_command("echo >& ${{inputs.v}}", "command", Names(None, ["v"], []))
    assert problem.remedy == "Write `> file 2>&1`"


@pytest.mark.parametrize(
    "piece",
    ["${{inputs.v}}", "$(${{inputs.v}}", "${{inputs.v}}|sh", "{|sh|", "a[${{inputs.v}}", '"$(', "[[ $a ", "\\\n"],
)
def test_reading_a_command_takes_work_that_follows_its_length(piece: str) -> None:
    num_calls = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal num_calls
        num_calls += event in ("call", "c_call")

    command = (piece * MAX_COMMAND_LENGTH)[:MAX_COMMAND_LENGTH]
    before = sys.getprofile()
    sys.setprofile(count)
    try:
        scan(command)
    finally:
        sys.setprofile(before)
    assert num_calls < 20 * len(command)
