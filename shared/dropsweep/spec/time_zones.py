"""Time zones by their IANA names, or by those of Windows, which Azure ML uses."""

from functools import cache
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from tzlocal.windows_tz import win_tz

_OLD: Final = {
    "Kamchatka Standard Time": "Asia/Kamchatka",
    "Mid-Atlantic Standard Time": "Etc/GMT+2",
}
"""Names that Azure ML lists and Unicode's table has dropped, as that table had them last."""
_NOT_FIXED: Final = frozenset({"localtime", "posixrules", "Factory"})
"""Files beside the time zones that mean another one on each machine, or none."""


def iana_name(name: str) -> str | None:
    """Returns the IANA name of a time zone that Windows or IANA names so; None when neither does.

    Source:
        Unicode CLDR, windowsZones.xml (territory 001), as `tzlocal` carries it.
    """
    if name in ("UTC", "utc"):
        return "UTC"
    found = win_tz.get(name) or _OLD.get(name) or name
    if found in _NOT_FIXED or len(found) > 100 or not found.isascii() or not found.isprintable():
        return None
    try:
        return ZoneInfo(found).key
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


@cache
def known_names() -> tuple[str, ...]:
    """Returns every name of a time zone, to tell which one was meant."""
    return (*sorted(available_timezones() - _NOT_FIXED), *win_tz, *_OLD)
