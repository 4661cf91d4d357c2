"""A local job file on its way into the container `jobs`: its code folder is replaced by the uploaded one.

Of a YAML file only the value of `code` is exchanged, and what the caller sets over it, character for character;
comments and everything else stay. A JSON file is written anew with the same content. A file that cannot be read is
dropped as it is, because what accepts it tells its author everything that is wrong with it at once.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from dropsweep.errors import Problem, Severity, SpecError

_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_CODE_KEYS: Final = (("code",), ("trial", "code"))
_MAX_DEPTH: Final = 2
_MAX_BYTES: Final = 1024 * 1024
_NULLS: Final = ("~", "null", "Null", "NULL")
_TOO_DEEP: Final = 100
"""Such a file is refused by its reader; libyaml's time grows with the square of the depth."""

Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Value:
    """A text value of the file: what it says, and from where to where it stands (None: an alias repeats it)."""

    text: str
    span: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class JobFile:
    """A job file as its author wrote it.

    Attributes:
        path: where it lies.
        body: its bytes.
        values: text values of its first two levels; empty when the file cannot be read.
    """

    path: Path
    body: bytes
    values: Mapping[Key, _Value]

    @classmethod
    def of(cls, source: "JobSource") -> "JobFile":
        """Returns a job file from where it lies, or from what would stand in it.

        A mapping becomes `job.json` in the working directory, which `code` is seen from.

        Raises:
            OSError: it cannot be read.
            SpecError: the mapping holds what no job file can hold.
        """
        if isinstance(source, JobFile):
            return source
        if not isinstance(source, Mapping):
            return cls.read(Path(source))
        # Imported here: it brings pydantic with it.
        from dropsweep.client.overrides import check_value

        check_value("", dict(source))
        return cls.from_bytes(Path("job.json"), _json_text(dict(source)).encode())

    @classmethod
    def from_bytes(cls, path: Path, body: bytes) -> "JobFile":
        """Returns a job file with these bytes as if it lay at `path`, whatever is in it."""
        return cls(path, body, _values(body, path.name))

    @classmethod
    def read(cls, path: Path) -> "JobFile":
        """Reads a job file, whatever is in it.

        Raises:
            OSError: it cannot be read.
        """
        return cls.from_bytes(path, path.read_bytes())

    def with_overrides(self, overrides: Mapping[str, Any]) -> "JobFile":
        """Returns the file with values set over its own; without any, as it is.

        Args:
            overrides: a value by its path in the file, as `limits.max_total_trials` or `search_space.lr.values[0]`;
                keys that are not there are added. Whether a job may have them is seen when the job is accepted.

        Raises:
            SpecError: the file cannot be read, a path leads nowhere, or a job file can hold no such value.
        """
        if not overrides:
            return self
        # Imported here: they bring pydantic with them.
        from dropsweep.client.overrides import check_value, edited, literal, path_of, with_value
        from dropsweep.spec import read_document

        document = read_document(self.body, file_name=self.path.name)
        errors = tuple(problem for problem in document.problems if problem.severity is Severity.ERROR)
        if document.data is None or errors:
            raise SpecError(errors or document.problems)
        data: Any = document.data
        text: str | None = None if _is_json(self.path.name) else self.body.decode("utf-8-sig")
        for name, value in overrides.items():
            check_value(name, value)
            path = path_of(name)
            data = with_value(data, path, value)
            text = None if text is None else edited(text, path, value)
            if text is not None and read_document(text.encode(), file_name=self.path.name).data != data:
                text = None
        if text is None:
            text = _json_text(data) if _is_json(self.path.name) else literal(data) + "\n"
        body = text.encode()
        return JobFile.from_bytes(self.path, body)

    @property
    def experiment(self) -> str | None:
        """What `experiment_name` says, if anything."""
        value = self.values.get(("experiment_name",))
        return value.text if value else None

    def local_code(self) -> dict[Key, Path]:
        """Returns the local folders that the file names as `code`, by the key that does.

        A name without a local folder is taken for one that lies in the container already.

        Raises:
            SpecError: the value can only mean a local folder, and there is none.
        """
        folders: dict[Key, Path] = {}
        for key in _CODE_KEYS:
            value = self.values.get(key)
            if value is None or not value.text:
                continue
            folder = self.path.parent / value.text
            if folder.is_dir():
                folders[key] = folder
            elif folder.exists() or value.text.startswith((".", "/", "~")):
                what = "is a file" if folder.exists() else "does not exist"
                rule = f"code names a folder, seen from the job file, and {folder} {what}"
                raise SpecError((Problem(".".join(key), value.text[:80], rule, "Correct the path"),))
        return folders

    def with_code(self, uploaded: Mapping[Key, str]) -> bytes:
        """Returns the file's bytes with other values of `code`, and nothing else changed.

        Raises:
            SpecError: the value is shared with another place by an anchor, so it cannot be exchanged alone.
        """
        if not uploaded:
            return self.body
        body = self._json_with(uploaded) if _is_json(self.path.name) else self._yaml_with(uploaded)
        expected = {key: value.text for key, value in self.values.items()} | dict(uploaded)
        if {key: value.text for key, value in _values(body, self.path.name).items()} != expected:
            raise _shared(next(iter(uploaded)))
        return body

    def _yaml_with(self, uploaded: Mapping[Key, str]) -> bytes:
        text = self.body.decode("utf-8-sig")
        spans = []
        for key, path in uploaded.items():
            span = self.values[key].span
            if span is None:
                raise _shared(key)
            spans.append((*span, path))
        for start, end, path in sorted(spans, reverse=True):
            # A value in block style (`>-`) includes the end of its last line.
            line_end = "\n" if text[start:end].endswith("\n") else ""
            text = f"{text[:start]}{json.dumps(path)}{line_end}{text[end:]}"
        return text.encode()

    def _json_with(self, uploaded: Mapping[Key, str]) -> bytes:
        document = json.loads(self.body.decode("utf-8-sig"))
        for key, path in uploaded.items():
            holder = document
            for part in key[:-1]:
                holder = holder[part]
            holder[key[-1]] = path
        return _json_text(document).encode()


JobSource = JobFile | str | Path | Mapping[str, Any]
"""Where a job to submit comes from: a file, or what would stand in one."""


def _json_text(document: Any) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _shared(key: Key) -> SpecError:
    rule = "the value of code stands in its place, without an anchor or alias"
    return SpecError((Problem(".".join(key), "", rule, "Write the folder's path out there"),))


def _is_json(file_name: str) -> bool:
    return file_name.lower().endswith(".json")


def _values(body: bytes, file_name: str) -> dict[Key, _Value]:
    if len(body) > _MAX_BYTES:
        return {}
    try:
        text = body.decode("utf-8-sig")
        return _json_values(text) if _is_json(file_name) else _yaml_values(text)
    except (ValueError, RecursionError, yaml.YAMLError):
        return {}


def _json_values(text: str) -> dict[Key, _Value]:
    document = json.loads(text, object_pairs_hook=_without_doubles)
    found: dict[Key, _Value] = {}
    for name, value in document.items() if isinstance(document, dict) else ():
        if isinstance(value, str):
            found[(name,)] = _Value(value, None)
        elif isinstance(value, dict):
            found |= {(name, inner): _Value(text, None) for inner, text in value.items() if isinstance(text, str)}
    return found


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) < len(pairs):
        raise ValueError("a key stands twice")  # writing the file anew would lose one of them
    return dict(pairs)


def _yaml_values(text: str) -> dict[Key, _Value]:
    """Walks the file's events, so that neither depth nor aliases cost anything."""
    found: dict[Key, _Value] = {}
    anchors: dict[str, str] = {}
    # One entry for each open mapping or list: the key whose value comes next, None before a key and in a list.
    stack: list[str | None] = []
    is_mapping: list[bool] = []
    for event in yaml.parse(text, Loader=_LOADER):
        if isinstance(event, yaml.ScalarEvent | yaml.AliasEvent):
            if isinstance(event, yaml.AliasEvent):
                value, span = anchors.get(event.anchor or "", ""), None
            else:
                value, span = _text(event), None if event.anchor else _span(event)
                anchors[event.anchor or ""] = value
            if stack and is_mapping[-1] and stack[-1] is None:
                stack[-1] = value
                continue
            if len(stack) <= _MAX_DEPTH and all(is_mapping) and stack:
                key = tuple(part or "" for part in stack)
                found.setdefault(key, _Value(value, span))
            _close_value(stack, is_mapping)
        elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            if stack and is_mapping[-1] and stack[-1] is None:
                raise yaml.YAMLError("a mapping or list as a key")  # which the reader of job files refuses
            is_mapping.append(isinstance(event, yaml.MappingStartEvent))
            stack.append(None)
            if len(stack) > _TOO_DEEP:
                raise yaml.YAMLError("too deep")
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            stack.pop()
            is_mapping.pop()
            _close_value(stack, is_mapping)
    return found


def _text(event: yaml.ScalarEvent) -> str:
    """What a value says; empty for null, which names nothing (in quotes or a block it is text like any other)."""
    is_plain = event.implicit[0]
    return "" if is_plain and event.value in _NULLS else str(event.value)


def _span(event: yaml.ScalarEvent) -> tuple[int, int] | None:
    start, end = event.start_mark, event.end_mark
    return (start.index, end.index) if start and end else None


def _close_value(stack: list[str | None], is_mapping: list[bool]) -> None:
    if stack and is_mapping[-1]:
        stack[-1] = None
