"""Files made to hurt whoever reads them: each is small, or as large as a reader takes, and must cost little."""

import base64
import json
from collections.abc import Iterator
from typing import Final

_LARGE: Final = 1_000_000
_SWEEP: Final = """type: sweep
trial: {command: "true"}
sampling_algorithm: grid
objective: {goal: maximize, primary_metric: score}
"""
_WORD: Final = "x" * 4000


def _doubling(levels: int) -> str:
    """A mapping whose value doubles at each level through aliases: 2^levels words in all."""
    lines = ["a0: &a0 [lol, lol]", *(f"a{k}: &a{k} [*a{k - 1}, *a{k - 1}]" for k in range(1, levels))]
    return "\n".join(lines)


YAML: Final[dict[str, str]] = {
    "nothing": "",
    "blanks": " " * _LARGE,
    "line ends": "\n" * _LARGE,
    "comments": "#" * _LARGE,
    "open lists": "[" * _LARGE,
    "open mappings": "{" * _LARGE,
    "open pairs": "a: {" * 250_000,
    "nested blocks": "".join(f"{' ' * depth}a:\n" for depth in range(1300)),
    "dashes": "- " * 500_000,
    "questions": "? " * 500_000,
    "colons": ": " * 500_000,
    "quotes": '"' * _LARGE,
    "half a text": 'a: "' + "x" * _LARGE,
    "escapes": 'a: "' + "\\u0041" * 160_000 + '"',
    "escaped half pair": 'command: "\\ud800"',
    "a long key": "? " + "k" * 900_000 + "\n: 1",
    "a long tag": "a: !" + "t" * 900_000 + " 1",
    "a long anchor": "a: &" + "t" * 900_000 + " 1",
    "tags": "a: !!python/object/apply:os.system [true]",
    "a binary tag": "a: !!binary aGVsbG8=",
    "a directive": "%YAML 9.9\n%TAG ! tag:example.com,2026:\n---\na: !x 1",
    "documents": "---\n" * 200_000,
    "doubling aliases": _doubling(60),
    "an alias in itself": "a: &a {b: *a}",
    "an unknown alias": "a: *nowhere",
    "anchors": "a:\n" + "".join(f"- &a{k} 1\n" for k in range(70_000)),
    "a long text, many aliases": f"description: &x {_WORD}\n{_SWEEP}"
    + "search_space: {a: {type: choice, values: ["
    + "*x," * 60_000
    + "]}}",
    "a long key, many aliases": f"b: &b {{{_WORD}: 1}}\nc: [" + "*b," * 60_000 + "]",
    "merges": "a: &a {" + ",".join(f"k{k}: 1" for k in range(1000)) + "}\nb:\n" + "- <<: *a\n" * 95,
    "a merge of many": "a: &a {" + ",".join(f"k{k}: 1" for k in range(1000)) + "}\nb: {<<: [" + "*a," * 95 + "]}",
    "a merge of itself": "a: &a {<<: *a}",
    "a merge of a number": "a: {<<: 1}\n<<: [1, {a: 2}]",
    "many digits": "command: x\nlimits: {timeout: " + "9" * 900_000 + "}",
    "many hexadecimal digits": "command: x\nlimits: {timeout: 0x" + "f" * 390 + "}",
    "a great exponent": "command: x\nlimits: {timeout: 1e999999999}",
    "NaN": "command: x\nlimits: {timeout: .nan}\ntags: {a: .inf, b: -.INF}",
    "timestamps": "command: x\ntags: {a: 2026-11-22, b: 2026-11-22T03:04:05Z, c: 9999999-99-99, d: 12:30:45}",
    "sexagesimals": "command: x\ntags: {a: 190:20:30.15, b: 1_000_000, c: 0b1010, d: 0o777, e: 0777}",
    "keys of all types": "1: a\n1.5: b\nnull: c\ntrue: d\n? [1]\n: e",
    "keys twice": "command: x\n" * 30_000,
    "unknown keys": "command: x\n" + "".join(f"limitz{k}: 1\n" for k in range(45_000)),
    "unknown inputs": "command: x\ninputs:\n" + "".join(f"  {k}$: {{type: foo}}\n" for k in range(30_000)),
    "many parameters": _SWEEP
    + "search_space:\n"
    + "".join(f"  p{k}: {{type: uniform, min_value: 1, max_value: 0}}\n" for k in range(20_000)),
    "many values": f"{_SWEEP}search_space:\n  a:\n    type: choice\n    values: [{','.join(map(str, range(90_000)))}]",
    "nested choices": f"{_SWEEP}search_space: {{a: "
    + "{type: choice, values: [{b: " * 9
    + "{type: choice, values: [1, 2]}"
    + "}]}" * 9
    + "}",
    "a huge range": f"{_SWEEP}search_space: {{a: {{type: randint, upper: 9007199254740992}}}}",
    "unicode line ends": "command: x\u0085tags: {a: 1}\u2028description: y\u2029name: z",
    "right to left": "command: \u202eecho\u202c\nname: \u0430dmin\n\u00e9: 1\ne\u0301: 2",
    "a null character": "command: x\0y",
    "a bell": "command: \x07",
    "a byte order mark inside": "command: \ufeffx",
    "beyond the basic plane": "name: \U0001f600\ncommand: echo \U0001f600",
}
"""By what is hurtful in it; each may also be handed to a reader of JSON."""

_SHELL_PIECES: Final = (
    *("${{inputs.a}}", "${{", "}}", "$((", "))", "`", "'", '"', "\\", "$'", "((", "[[ ", "{", "}", "$(", ")", "${"),
    *(
        "case x in a) ",
        "<<A ",
        "a=",
        "a[",
        "for x in ",
        "if ",
        "; ",
        "|",
        "&",
        "#",
        "\n",
        "function f ",
        "$[[",
        "eval ",
    ),
    *("\\\n", ">&", "<<<", "~", "!", "*", "\t", "select x in ", "time ", "coproc ", "x() ", "esac "),
)


def commands() -> Iterator[str]:
    """Yields commands as long as a job's may be: a piece repeated, and the same with an expression after it."""
    for piece in _SHELL_PIECES:
        yield piece * (32_700 // len(piece))
        yield piece * (32_600 // len(piece)) + "${{inputs.a}}"
    yield "${{inputs.a}}" + "".join(_SHELL_PIECES) * 150


JSON: Final[dict[str, bytes]] = {
    "nested lists": b'{"a":' + b"[" * 500_000,
    "nested objects": b'{"a":' * 150_000 + b"1" + b"}" * 150_000,
    "keys twice": b'{"command": "a", "command": "b"}',
    "keys twice inside": b'{"command": "a", "tags": {"x": 1, "x": {"y": 1, "y": 2}}}',
    "many keys twice": b'{"command": "a", "tags": {' + b'"x": 1,' * 60_000 + b'"x": 1}}',
    "many digits": b'{"command": "a", "limits": {"timeout": ' + b"9" * 900_000 + b"}}",
    "a great exponent": b'{"command": "a", "limits": {"timeout": 1e99999}}',
    "not numbers": b'{"command": "a", "tags": {"a": NaN, "b": Infinity, "c": -Infinity}}',
    "half pairs": b'{"command": "\\ud800", "\\udc00": 1}',
    "null characters": b'{"command": "\\u0000", "\\u0000": 1}',
    "a second value": b'{"command": "a"} {"command": "b"}',
    "a list": b"[1, 2, 3]",
    "a text": b'"command"',
    "null": b"null",
    "numbers": b"1" * 900_000,
    "minus": b"-" * 900_000,
    "half an escape": b'{"a": "\\u00',
    "many escapes": b'{"command": "' + b"\\u0041" * 160_000 + b'"}',
}

BYTES: Final[dict[str, bytes]] = {
    "UTF-16": "command: x".encode("utf-16"),
    "UTF-16 without a mark": "command: x".encode("utf-16-le"),
    "UTF-32": "command: x".encode("utf-32"),
    "UTF-8 with two marks": b"\xef\xbb\xbf\xef\xbb\xbfcommand: x",
    "a mark alone": b"\xef\xbb\xbf",
    "Latin-1": "command: caf\u00e9".encode("latin-1"),
    "overlong": b"command: \xc0\xaf",
    "a surrogate in UTF-8": b"command: \xed\xa0\x80",
    "cut in a character": b"command: \xf0\x9f\x98",
    "null bytes": b"\0" * 100_000,
    "all bytes": bytes(range(256)) * 4,
    "gzip": b"\x1f\x8b\x08" + bytes(1000),
    "too large": b"#" * 3_000_000,
    "blanks with an end": b"A" + b" " * 60_000 + b"!",
    "line ends with an end": b"A" + b"\r\n" * 30_000 + b"!",
    "almost base64": b"QUJD" * 15_000 + b"=A",
    "base64 of base64": base64.b64encode(base64.b64encode(b'{"command": "x"}')),
    "base64 of nothing that is text": base64.b64encode(bytes(range(256))),
    "base64 of an attack": base64.b64encode(b"a: " + b"[" * 30_000),
}


def bodies() -> dict[str, bytes]:
    """Returns every attack by its name."""
    found = {f"YAML: {name}": text.encode(errors="surrogatepass") for name, text in YAML.items()}
    found |= {f"JSON: {name}": body for name, body in JSON.items()}
    found |= {f"bytes: {name}": body for name, body in BYTES.items()}
    for number, text in enumerate(commands()):
        found[f"command {number}"] = json.dumps({"command": text, "inputs": {"a": 1}}).encode()
    return found
