import shutil
import string
import subprocess

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dropsweep_trainer.warm.plain import script_words, words

needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash, whose reading is the measure")
PIECES = st.sampled_from(
    [
        *"abz09 \t'\"\\\n$`~!#&|;<>(){}[]*?=+@%^,./:-_",
        "\\\n",
        "''",
        '""',
        " -",
        "a=b",
        "{a,b}",
        "~/x",
        "$HOME",
        "é",
        "\x01",
    ]
)
HARMLESS = st.sampled_from(
    ["a", "B9", " ", "-", "=", "%1", "a,b:c", "./x", "'a b'", "' $x `y` \\ '", '"c\td"', '"\'#~*"', '"\n"', "''"]
)


def as_bash_reads(text: str) -> tuple[str, ...] | None:
    """The words that bash makes of a text after a command's name; None when it does not take it."""
    done = subprocess.run(
        ["bash", "-c", f"printf '%s\\0' x {text}"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env={"HOME": "/home", "LC_ALL": "C.UTF-8"},
        cwd="/usr",
        check=False,
    )
    return tuple(done.stdout.decode().split("\0")[1:-1]) if done.returncode == 0 and not done.stderr else None


@needs_bash
@settings(max_examples=120, deadline=None)
@given(st.lists(st.one_of(HARMLESS, HARMLESS, HARMLESS, PIECES), max_size=10).map("".join))
@example("a \\\n b")
@example("'a b' \"c'd\" e'f'g")
@example("a=b %1 +x @y ,z :w")
@example("''")
@example("\na\n")
def test_what_is_plain_is_read_by_bash_in_the_same_words(text: str) -> None:
    found = words(text)
    if found is not None:
        # Lines that are empty, before and after it, are none of a command's; here something stands before.
        assert as_bash_reads(text.strip(" \t\n")) == found


@pytest.mark.parametrize("character", string.printable + "é\x01\x7f\u3000")
def test_outside_of_quotes_only_letters_digits_and_marks_without_a_meaning_are_plain(character: str) -> None:
    is_mark = character.isascii() and (character.isalnum() or character in "_-./,:=+@%")
    assert (words(f"x{character}y") == (f"x{character}y",)) is is_mark


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("python train.py", ("python", "train.py")),
        ("python3 a/train.py --lr 0.1 --name=x", ("python3", "a/train.py", "--lr", "0.1", "--name=x")),
        ("  python train.py\n", ("python", "train.py")),
        ("python train.py \\\n  --lr 0.1 \\\n  --n 2\n", ("python", "train.py", "--lr", "0.1", "--n", "2")),
        ("python train.py '$HOME' \"two words\" ''", ("python", "train.py", "$HOME", "two words", "")),
        ("python 'a script.py'", ("python", "a script.py")),
    ],
)
def test_a_script_with_arguments_is_taken(command: str, expected: tuple[str, ...]) -> None:
    assert script_words(command) == expected


@pytest.mark.parametrize(
    "command",
    [
        *("", "python", "python -m train", "python -u train.py", "python ''", "python -", "bash train.sh"),
        *("/usr/bin/python train.py", "python2 train.py", "LR=1 python train.py", "exec python train.py"),
        *("python train.py && echo x", "python train.py; true", "python train.py > out", "python train.py &"),
        *("python train.py $X", "python train.py `x`", 'python train.py "$X"', "python train.py *.txt"),
        *(
            "python train.py ~",
            "python train.py {a,b}",
            "python train.py # why",
            "python train.py 'open",
            "cd x\npython y.py",
        ),
        *(
            "python train.py \\",
            "python train.py a\\ b",
            "python train.py é",
            "python train.py [a]",
            "python train.py !x",
        ),
    ],
)
def test_everything_else_is_left_to_the_shell(command: str) -> None:
    assert script_words(command) is None
