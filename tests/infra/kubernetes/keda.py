"""KEDA's opinion of its objects: npm's compiled schemas, and the type declarations beside them for keys that are none.

The schemas accept unknown keys, as the API server does not: KEDA's own definitions drop or refuse them.
"""

import functools
import json
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from local.azurite import node

ROOT = Path(__file__).parents[3]
MODULES = ROOT / "node_modules"
_IMPORT = re.compile(r'^import \{ ([\w, ]+) \} from "([^"]+)";$', re.MULTILINE)
_INTERFACE = re.compile(r"^export interface (\w+)(?: extends [\w, ]+)? \{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
_MEMBER = re.compile(r'^    "([^"]+)"(\?)?: (.*?);$', re.MULTILINE | re.DOTALL)


def schema_errors(objects: Sequence[Mapping[str, Any]]) -> list[str]:
    """What is wrong with each object by KEDA's schemas; empty texts where nothing is."""
    program = Path(__file__).with_name("keda.mjs")
    done = subprocess.run(
        [node(), program], input=json.dumps(list(objects)), capture_output=True, text=True, check=True, timeout=60
    )
    return list(json.loads(done.stdout))


def unknown_keys(document: Mapping[str, Any]) -> list[str]:
    """The paths of all keys of a KEDA object, its pod template included, that its type does not declare."""
    return list(_unknown(document, _model(f"@kubernetes-models/keda/keda.sh/v1alpha1/{document['kind']}"), ""))


def _unknown(value: Any, declared: Path, where: str) -> Iterator[str]:
    members, imports = _declaration(declared)
    for key, below in value.items():
        if key not in members:
            yield f"{where}{key}"
            continue
        listed = re.fullmatch(r"Array<(\w+)>", members[key])
        reference = listed[1] if listed else members[key]
        if reference not in imports:
            continue  # text, a number, or a map of them
        if listed and isinstance(below, list):
            for index, each in enumerate(below):
                yield from _unknown(each, imports[reference], f"{where}{key}[{index}].")
        elif isinstance(below, dict):
            yield from _unknown(below, imports[reference], f"{where}{key}.")


@functools.cache
def _declaration(file: Path) -> tuple[dict[str, str], dict[str, Path]]:
    """The members of the interface that a declaration file exports, and where the types that it imports are."""
    text = re.sub(r"^\s*/\*\*.*?\*/\n", "", file.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    found = _INTERFACE.search(text)
    assert found, f"{file} declares no interface"
    imports = {
        name.strip(): _model(source, beside=file)
        for names, source in _IMPORT.findall(text)
        for name in names.split(",")
    }
    return {name: kind for name, _, kind in _MEMBER.findall(found[2])}, imports


def _model(source: str, beside: Path | None = None) -> Path:
    """The declaration file of an imported module."""
    if source.startswith(".") and beside is not None:
        return (beside.parent / source.removesuffix(".js")).with_suffix(".d.ts").resolve()
    return MODULES / f"{source}.d.ts"
