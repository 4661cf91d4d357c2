import pytest

from dropsweep.page.data import flatten
from dropsweep.page.markup import Markup, escape, join, shorten, tag
from dropsweep.page.words import aligned, duration, figure, size_text, value_text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (0.0, "0 s"),
        (0.0004, "0 s"),
        (0.001, "0.001 s"),
        (0.0042, "0.004 s"),
        (0.0096, "0.01 s"),
        (0.42, "0.42 s"),
        (0.3, "0.30 s"),
        (0.996, "1.0 s"),
        (8.14, "8.1 s"),
        (9.96, "10 s"),
        (59.6, "1 min 00 s"),
        (125, "2 min 05 s"),
        (3600, "1 h 00 min"),
        (11520, "3 h 12 min"),
        (4 * 86400 + 7200, "4 d 02 h"),
    ],
)
def test_duration_reads_as_a_person_says_it(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (float("nan"), "NaN"),
        (float("-inf"), "−∞"),
        (-0.5, "−0.5"),
        (0.123456789, "0.12346"),
        (1e-9, "1e-09"),
    ],
)
def test_figure_has_five_digits(value: float | None, text: str) -> None:
    assert figure(value) == text


def test_column_of_numbers_shares_its_decimals() -> None:
    assert aligned([0.98, 0.9692, None]) == ["0.98000", "0.96920", "–"]
    assert aligned([1.0, 20.0]) == ["1", "20"]
    assert aligned([1e-9, 0.5]) == ["1e-09", "0.5"]
    assert aligned([float("nan")]) == ["NaN"]


def test_values_of_parameters_read_as_their_author_wrote_them() -> None:
    assert [value_text(value) for value in ("adam", 16, 0.1, True, None, "")] == [
        "adam",
        "16",
        "0.1",
        "true",
        "null",
        '""',
    ]
    assert value_text(16**9000) == "about 2^36000"


def test_long_text_is_cut_to_its_length_on_one_line() -> None:
    assert shorten("a\n b", 10) == "a b"
    assert shorten("abcdef", 4) == "abc…"
    assert len(shorten("x" * 10**6, 60)) == 60
    assert shorten(" " * 500 + "x", 10).endswith("…")


def test_nested_parameters_become_dotted_names() -> None:
    nested = {"head": {"kind": "mlp", "sizes": [1, 2]}, "lr": 0.1, "none": {}}
    assert flatten(nested) == {"head.kind": "mlp", "head.sizes": "[1, 2]", "lr": 0.1}


def test_only_markup_passes_unescaped() -> None:
    inner = tag("b", "<&>\"'")
    assert inner == "<b>&lt;&amp;&gt;&quot;&#x27;</b>"
    assert tag("p", inner, None, ["x<", inner]) == f"<p>{inner}x&lt;{inner}</p>"
    assert isinstance(join("a", "b"), Markup)
    assert escape("\x00\ud800\u202e\u2066") == "\ufffd" * 4


def test_attributes_are_escaped_and_numbers_are_short() -> None:
    assert tag("rect", x=1.0, y=2.345, width=-0.001, data_t=3, class_='"<') == (
        '<rect x="1" y="2.35" width="0" data-t="3" class="&quot;&lt;"/>'
    )
    assert tag("details", open=True, hidden=False, id=None) == '<details open=""></details>'


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (1023, "1,023 bytes"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (10 * 1024, "10 KiB"),
        (1024**2 - 1, "1.0 MiB"),
        (512 * 1024**2, "512 MiB"),
        (2 * 1024**3, "2.0 GiB"),
        (3000 * 1024**5, "3000 PiB"),
    ],
)
def test_a_size_is_told_in_the_unit_in_which_it_is_short(size_bytes: int, text: str) -> None:
    assert size_text(size_bytes) == text
