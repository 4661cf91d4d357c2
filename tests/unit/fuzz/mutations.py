"""Files to try readers with: any bytes, odd trees, and real files with a few things exchanged."""

import json
import os
from pathlib import Path
from typing import Any, Final

import yaml
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from dropsweep.spec import read_document

ROOT: Final = Path(__file__).parents[3]
IS_FULL: Final = os.environ.get("DROPSWEEP_CHAOS") == "full"


def bounded(num_examples: int) -> settings:
    """Returns how many examples a test tries; forty times as many with `DROPSWEEP_CHAOS=full`."""
    return settings(
        max_examples=num_examples * (40 if IS_FULL else 1),
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


def files(*patterns: str) -> list[bytes]:
    """Returns the content of the project's files that match, in one order on every machine."""
    return [path.read_bytes() for pattern in patterns for path in sorted(ROOT.glob(pattern))]


JOB_FILES: Final = files(
    "examples/**/*.yaml", *(f"tests/unit/spec/azure_ml/{kind}/*.yaml" for kind in ("command", "sweep"))
)

ODD_TEXTS: Final = st.sampled_from(
    [
        *(
            "",
            " ",
            "\n",
            "\t",
            "\0",
            "~",
            "null",
            "yes",
            "NO",
            "0x1F",
            "0o17",
            "012",
            "1_000",
            "1e999",
            ".nan",
            "-.inf",
        ),
        *(
            "12:30:45",
            "2026-02-30",
            "<<",
            "*x",
            "&x",
            "!x",
            "| ",
            ">-",
            "---",
            "...",
            "%YAML",
            "#",
            "- a",
            "? a",
            "${{",
        ),
        *("${{inputs.a}}", "${{ search_space.lr }}", "}}", "$[[x]]", "`id`", "$(id)", "../..", "/etc/passwd", "C:\\x"),
        *("azureml:gpu", "azureml:x:1", "azureml://datastores/a/paths/b", "https://a.blob.core.windows.net/b/c?sig=x"),
        *("\u202e", "\ufeff", "\u2028", "\u0085", "\U0001f600", "e\u0301", "\u0430", "\ud800", "ß" * 300, "x" * 5000),
        *(
            "a" * 64,
            "a" * 65,
            "-",
            "_",
            "a--b",
            ".",
            "..",
            "a/b",
            "a b",
            "DROPSWEEP_X",
            "step",
            "time",
            "type",
            "command",
        ),
    ]
)
ODD_NUMBERS: Final = st.sampled_from(
    [0, -1, 1, 2**31 - 1, 2**31, 2**53, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), 10**18, 10**400]
) | st.sampled_from([0.0, -0.0, 0.5, 1e-320, 1e308, float("inf"), float("-inf"), float("nan")])
SCALARS: Final = (
    st.none() | st.booleans() | st.integers() | ODD_NUMBERS | ODD_TEXTS | st.floats() | st.text(max_size=20)
)
TREES: Final = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8) | ODD_TEXTS, inner, max_size=3),
    max_leaves=12,
)


def places_of(data: Any, above: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Returns where in a tree something stands, the tree itself first."""
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [above, *(place for key, value in items for place in places_of(value, (*above, key)))]


def exchanged(data: Any, place: tuple[str | int, ...], value: Any) -> Any:
    """Returns a tree with another value at one place."""
    if not place:
        return value
    key, *rest = place
    copy: Any = dict(data) if isinstance(data, dict) else list(data)
    copy[key] = exchanged(copy[key], tuple(rest), value)
    return copy


@st.composite
def changed_trees(draw: st.DrawFn, trees: list[Any]) -> Any:
    """A real file's tree in which one to three values are exchanged for odd ones or for other parts of real files."""
    data = draw(st.sampled_from(trees))
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.sampled_from(places_of(data)))
        other = draw(st.sampled_from(trees))
        for key in draw(st.sampled_from(places_of(other))):
            other = other[key]
        data = exchanged(data, place, draw(TREES | st.just(other)))
        if isinstance(data, dict) and draw(st.booleans()):
            data = {**data, draw(ODD_TEXTS): draw(TREES)}
    return data


@st.composite
def damaged_bodies(draw: st.DrawFn, bodies: list[bytes]) -> bytes:
    """A real file's bytes with pieces cut out, doubled, moved or written over."""
    body = draw(st.sampled_from(bodies))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(body)))
        end = draw(st.integers(start, min(len(body), start + 60)))
        odd = ODD_TEXTS.map(lambda text: text.encode(errors="surrogatepass"))
        piece = draw(st.binary(max_size=4) | odd | st.just(body[start:end] * 2) | st.just(b""))
        body = body[:start] + piece + body[end:]
    return body


def encodings_of(text: str) -> st.SearchStrategy[bytes]:
    """The text in the encodings and with the line ends that editors write."""
    plain = text.encode(errors="surrogatepass")
    odd = [text.encode(name, errors="replace") for name in ("utf-16", "utf-32", "latin-1")]
    return st.sampled_from([plain, plain, plain, b"\xef\xbb\xbf" + plain, plain.replace(b"\n", b"\r\n"), *odd])


def as_yaml(data: Any) -> bytes:
    """Returns a tree as YAML, its shared parts as aliases."""
    return bytes(yaml.safe_dump(data, allow_unicode=True, sort_keys=False).encode(errors="surrogatepass"))


def as_json(data: Any) -> bytes:
    """Returns a tree as JSON, with NaN and infinities as Python writes them."""
    return json.dumps(data).encode()


def inputs_like(bodies: list[bytes]) -> st.SearchStrategy[bytes]:
    """What to try a reader with whose real files these are (YAML or JSON, of which JSON is a part)."""
    trees = [read_document(body, file_name="x.yaml").data for body in bodies]
    changed = changed_trees(trees)
    texts = st.sampled_from(bodies).map(lambda body: body.decode())
    return (
        st.binary(max_size=200)
        | st.text("{}[]:,-?&*!|>'\"%@`#\n\t ab1.~<", max_size=80).map(str.encode)
        | texts.flatmap(encodings_of)
        | damaged_bodies(bodies)
        | changed.map(as_json)
        | changed.map(as_yaml)
    )
