"""How values stand in records: strict JSON, times in UTC, NaN and the infinities as strings."""

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from dropsweep.errors import StorageCorrupt

VERSION: Final = 1

Json = dict[str, Any]


def dump(document: Mapping[str, Any]) -> bytes:
    """Returns strict JSON, indented for people, with a newline at the end."""
    return (json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def load(body: bytes, *, newest: int = VERSION) -> Json:
    """Reads a JSON object of a version this code knows.

    Args:
        body: as it stands in the storage.
        newest: the newest version of its kind that this code can read; it can read all older ones.

    Raises:
        StorageCorrupt: when it is not that.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise StorageCorrupt(f"a record is not JSON: {error}") from error
    if not isinstance(document, dict) or document.get("version") not in range(VERSION, newest + 1):
        known = f"{VERSION}" if newest == VERSION else f"{VERSION} to {newest}"
        raise StorageCorrupt(f"a record is not of version {known}: upgrade this program, or mend the blob by hand")
    return document


def number_out(value: float | None) -> float | str | None:
    """Returns a number as strict JSON can hold it: NaN and the infinities as strings."""
    if value is None or math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def number_in(value: float | str | None) -> float | None:
    """Reads what `number_out` gave."""
    return None if value is None else float(value)


def seconds_in(value: float | str) -> float:
    """Reads how long something took, from JSON or a blob's metadata.

    Raises:
        ValueError: it is no number, not finite or less than 0, and so none that anything of ours wrote.
    """
    seconds = float(value)
    if not (math.isfinite(seconds) and seconds >= 0):
        raise ValueError(f"{value!r} is no number of seconds")
    return seconds


def metrics_in(document: Mapping[str, float | str]) -> dict[str, float]:
    """Reads metrics whose values `number_out` gave."""
    return {name: float(value) for name, value in document.items()}


def time_out(value: datetime | None) -> str | None:
    """Returns a time in UTC with whole seconds, `2026-01-02T03:04:05Z`: the storage service's clock has no more."""
    return None if value is None else value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def time_in(text: str | None) -> datetime | None:
    """Reads what `time_out` gave."""
    return datetime.fromisoformat(text) if text else None


def time_of(text: str) -> datetime:
    """Reads a time that must be there."""
    return datetime.fromisoformat(text)
