"""The race as a picture: one row for each party, one column of bars for each race, as SVG for light and dark pages."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from bench.peers.entrants import ENTRANTS
from bench.peers.races import NUM_WORKERS
from bench.peers.standings import CNN, MLP, NO_OP, Counted, Results, Spread, number
from dropsweep.page.markup import Markup, raw, tag

_COLUMNS: Final = ((NO_OP, "does nothing", True), (MLP, "digits MLP", False), (CNN, "digits CNN, checkpoints", False))
_NAMES_PX: Final = 256
_COLUMN_PX: Final = 208
_BAR_PX: Final = 132
"""What is left of a column carries the number."""
_ROW_PX: Final = 30
_THICK_PX: Final = 14
_HEAD_PX: Final = 84
_FOOT_PX: Final = 30
_STYLE: Final = """
svg { font: 13px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #1f2328; }
.title { font-size: 15px; font-weight: 600; }
.soft { fill: #59636e; }
.paper { fill: #ffffff; }
.bar { fill: #8c959f; }
.floor { fill: #d1d9e0; }
.ours { fill: #0969da; }
.name-ours { font-weight: 600; }
.spread { stroke: #1f2328; stroke-width: 1.2; }
.axis { stroke: #d1d9e0; }
@media (prefers-color-scheme: dark) {
  svg { fill: #f0f6fc; }
  .soft { fill: #9198a1; }
  .paper { fill: #0d1117; }
  .bar { fill: #656c76; }
  .floor { fill: #3d444d; }
  .ours { fill: #4493f8; }
  .spread { stroke: #f0f6fc; }
  .axis { stroke: #3d444d; }
}
"""


def draw(results: Results, num_cores: int) -> str:
    """Returns the picture: medians of trials a second as bars, least and most as whiskers, of the heats that count.

    The column of trials that do nothing has a logarithmic scale from 1 a second, because its parties are orders of
    magnitude apart; the others begin at 0. A party that did not run a race has no bar there.
    """
    columns = [(name, title, is_log) for name, title, is_log in _COLUMNS if name in results]
    parties = [name for name in ENTRANTS if any(name in results[column] for column, _, _ in columns)]
    rates = {
        column: {
            party: Spread.of(heat.rate for heat in Counted.of(heats, num_cores).heats)
            for party, heats in results[column].items()
        }
        for column, _, _ in columns
    }
    width = _NAMES_PX + _COLUMN_PX * len(columns)
    height = _HEAD_PX + _ROW_PX * len(parties) + _FOOT_PX
    foot = "Bars: median trials a second; lines: slowest to fastest repetition. The first scale is logarithmic."
    return str(
        tag(
            "svg",
            tag("title", "Trials a second, by tool and kind of trial"),
            tag("style", raw(_STYLE)),
            tag("rect", class_="paper", width=width, height=height, rx=6),
            _text(f"Trials a second, {NUM_WORKERS} at a time", 16, 28, "title"),
            _text("higher is better; start-up of each system not counted", 16, 48, "soft"),
            [_name(party, _HEAD_PX + _ROW_PX * row) for row, party in enumerate(parties)],
            [
                _column(title, rates[name], parties, _NAMES_PX + _COLUMN_PX * place, is_log=is_log)
                for place, (name, title, is_log) in enumerate(columns)
            ],
            _text(foot, 16, height - 12, "soft"),
            xmlns="http://www.w3.org/2000/svg",
            viewBox=f"0 0 {width} {height}",
            width=width,
            height=height,
            role="img",
        )
    )


def _name(party: str, top: float) -> Markup:
    entrant = ENTRANTS[party]
    kind = "name-ours" if entrant.is_ours else "soft" if entrant.is_floor else None
    return _text(entrant.title, 16, top + _ROW_PX / 2 + 4, kind)


def _column(title: str, rates: Mapping[str, Spread], parties: Sequence[str], left: float, *, is_log: bool) -> Markup:
    most = max(spread.most for spread in rates.values())
    place = _log_scale(most) if is_log else _linear_scale(most)
    foot = _HEAD_PX + _ROW_PX * len(parties)
    return tag(
        "g",
        _text(title, left, _HEAD_PX - 12, None),
        tag("line", class_="axis", x1=left, x2=left, y1=_HEAD_PX - 4, y2=foot),
        [
            _bar(party, rates[party], left, _HEAD_PX + _ROW_PX * row, place)
            for row, party in enumerate(parties)
            if party in rates
        ],
    )


def _bar(party: str, rate: Spread, left: float, top: float, place: Callable[[float], float]) -> Markup:
    entrant = ENTRANTS[party]
    kind = "ours" if entrant.is_ours else "floor" if entrant.is_floor else "bar"
    middle = top + _ROW_PX / 2
    return tag(
        "g",
        tag("rect", class_=kind, x=left, y=middle - _THICK_PX / 2, width=place(rate.median), height=_THICK_PX, rx=2),
        tag(
            "line",
            class_="spread",
            x1=left + place(rate.least),
            x2=left + place(rate.most),
            y1=middle,
            y2=middle,
        ),
        _text(number(rate.median), left + place(rate.most) + 6, middle + 4, "name-ours" if entrant.is_ours else None),
    )


def _linear_scale(most: float) -> Callable[[float], float]:
    return lambda value: _BAR_PX * value / most


def _log_scale(most: float) -> Callable[[float], float]:
    """From 1 a second; less is drawn as a thin bar."""
    decades = max(math.log10(most), 1.0)
    return lambda value: max(2.0, _BAR_PX * math.log10(max(value, 1.0)) / decades)


def _text(text: str, x: float, y: float, kind: str | None) -> Markup:
    return tag("text", text, class_=kind, x=x, y=y)
