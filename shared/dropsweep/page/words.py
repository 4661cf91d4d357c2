"""Numbers, times and values as a reader wants them."""

import json
import math
from collections.abc import Sequence
from datetime import datetime

from dropsweep.page.data import JsonValue, utc
from dropsweep.page.markup import shorten

_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB")
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def figure(value: float | None, digits: int = 5) -> str:
    """Returns a number with `digits` significant digits; `–` for None; NaN and infinities by name."""
    if value is None:
        return "–"
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return f"{value:.{digits}g}".replace("-", "−", 1) if value < 0 else f"{value:.{digits}g}"


def aligned(values: Sequence[float | None]) -> list[str]:
    """Returns the numbers of a column with the same decimals, five significant digits in the smallest shown plainly."""
    sizes = [abs(value) for value in values if value is not None and math.isfinite(value) and value]
    if not sizes or min(sizes) < 1e-3 or max(sizes) >= 1e6 or all(size.is_integer() for size in sizes):
        return [figure(value) for value in values]
    decimals = max(0, 4 - math.floor(math.log10(min(sizes))))
    return [
        f"{value:.{decimals}f}".replace("-", "−") if value is not None and math.isfinite(value) else figure(value)
        for value in values
    ]


def value_text(value: JsonValue, length: int = 60) -> str:
    """Returns a parameter's value: texts as they are, numbers in five digits, the rest as JSON."""
    if isinstance(value, str):
        return shorten(value, length) if value.strip() else f'"{value[:length]}"'
    if isinstance(value, float):
        return figure(value)
    if isinstance(value, int) and not isinstance(value, bool):
        # Turning an integer of very many digits into text is refused by Python, and no one would read it.
        return shorten(str(value), length) if abs(value) < 10**30 else f"about 2^{value.bit_length() - 1}"
    return shorten(json.dumps(value, default=str), length)


def duration(seconds: float | None) -> str:
    """Returns seconds as `0.004 s`, `0.42 s`, `8.1 s`, `34 s`, `2 min 05 s`, `3 h 12 min`, `4 d 02 h`; `–` for None."""
    if seconds is None:
        return "–"
    if seconds < 0.0005:
        return "0 s"
    if seconds < 9.95:
        return f"{seconds:.3f} s" if seconds < 0.0095 else f"{seconds:.2f} s" if seconds < 0.995 else f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02} min"
    return f"{whole // 86400} d {whole % 86400 // 3600:02} h"


def moment(time: datetime | None) -> str:
    """Returns a time as `2026-03-01 14:05:09 UTC`; `–` for None; a time without a zone is taken as UTC."""
    return "–" if time is None else f"{utc(time):%Y-%m-%d %H:%M:%S} UTC"


def power_of_ten(exponent: int) -> str:
    """Returns a tick's label: plain from 0.001 to 10000, else `10⁻⁵`."""
    if -3 <= exponent <= 4:
        return f"{10.0**exponent:.{max(0, -exponent)}f}"
    return "10" + str(exponent).translate(_SUPERSCRIPTS)


def size_text(size_bytes: int) -> str:
    """Returns a size as `0 bytes`, `1 byte`, `713 bytes`, `1.5 KiB`, `512 MiB` or `2.0 GiB`."""
    if size_bytes < 1024:
        return plural(size_bytes, "byte")
    size, unit = size_bytes / 1024, 0
    # What would be rounded to 1024 is told in the next unit.
    while size >= 1023.5 and unit < len(_UNITS) - 1:
        size, unit = size / 1024, unit + 1
    return f"{size:.1f} {_UNITS[unit]}" if size < 9.95 else f"{size:.0f} {_UNITS[unit]}"


def plural(count: int, noun: str) -> str:
    """Returns `1 trial`, `2 trials`, `1,024 trials`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
