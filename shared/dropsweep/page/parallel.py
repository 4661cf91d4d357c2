"""Parallel coordinates: one axis a varied parameter and one for the metric, one line a trial.

Source: A. Inselberg, The Plane with Parallel Coordinates, The Visual Computer 1 (1985).
"""

from collections.abc import Sequence
from typing import Final

from dropsweep.page.axes import Frame, drawing, panel
from dropsweep.page.data import JsonValue, View, tones
from dropsweep.page.markup import Markup, join, points, shorten, tag
from dropsweep.page.scales import Scale, numeric, of_parameter
from dropsweep.page.style import NUM_TONES
from dropsweep.page.words import plural

MAX_AXES: Final = 11
MAX_LINES: Final = 500
_FRAME: Final = Frame(1120, 380, left=64, right=1030, top=48, bottom=336)
_CHARACTER: Final = 8.2


def parallel_coordinates(view: View) -> Markup | None:
    """Draws the chart for the best `MAX_LINES` trials; None without two ranked trials or a varied parameter."""
    names = view.varied[:MAX_AXES]
    rows = view.ranked[:MAX_LINES]
    if len(rows) < 2 or not names:
        return None
    metric = view.data.primary_metric or "metric"
    columns: list[list[JsonValue]] = [[view.flat[row.trial].get(name) for row in rows] for name in names]
    scales = [of_parameter(column) for column in columns]
    columns.append([row.value for row in rows])
    scales.append(numeric([row.value for row in rows], view.data.goal))
    xs = [_FRAME.x(index / len(names)) for index in range(len(scales))]
    tone = tones([row.trial for row in rows])
    lines = [
        tag(
            "path",
            tag("title", f"trial {row.trial}") if len(rows) <= 100 else None,
            d="".join(points(part) for part in _stretches(xs, [column[i] for column in columns], scales)),
            class_=f"m{tone[row.trial]} top" if row.trial == view.top else f"m{tone[row.trial]}",
            data_t=row.trial,
        )
        for i, row in reversed(list(enumerate(rows)))
    ]
    gap = xs[1] - xs[0]
    # The outermost names are pushed inwards, so they and a neighbour's half share a gap and the margin of 60.
    room = int(min(gap / _CHARACTER - 1, (gap + 60) / (1.5 * _CHARACTER)))
    heads = [
        _axis(x, scale, name, room, is_metric=name is metric)
        for x, scale, name in zip(xs, scales, [*names, metric], strict=True)
    ]
    text = f"One line a trial, {plural(len(rows), 'trial')}; the best is the thick line. Colour goes by rank."
    if len(view.ranked) > len(rows):
        text = f"The best {len(rows):,} of {plural(len(view.ranked), 'trial')}, one line each. Colour goes by rank."
    if len(view.varied) > len(names):
        text += f" {plural(len(view.varied) - len(names), 'more parameter')} in the table below."
    css = "lines many" if len(rows) > 60 else "lines"
    body = join(tag("g", lines, class_=css), heads, _key())
    chart = drawing(_FRAME, f"{view.data.anchor}parallel", "Parallel coordinates", text, body, css="wide")
    return panel("Parallel coordinates", text, chart, scrolls=True)


def _stretches(
    xs: Sequence[float], values: Sequence[JsonValue], scales: Sequence[Scale]
) -> list[list[tuple[float, float]]]:
    parts: list[list[tuple[float, float]]] = [[]]
    for x, value, scale in zip(xs, values, scales, strict=True):
        at = scale.place(value)
        if at is not None:
            parts[-1].append((x, _FRAME.y(at)))
        elif parts[-1]:
            parts.append([])
    return [part for part in parts if len(part) > 1]


def _axis(x: float, scale: Scale, name: str, room: int, *, is_metric: bool) -> Markup:
    parts = [tag("line", x1=x, x2=x, y1=_FRAME.top, y2=_FRAME.bottom, class_="axis")]
    for tick in scale.ticks(5):
        y = _FRAME.y(tick.at)
        # Labels lie on top of the lines: a halo in the colour of the paper keeps them readable.
        text = shorten(tick.label, max(5, min(14, room - 2)))
        parts.append(tag("line", x1=x - 3, x2=x + 3, y1=y, y2=y, class_="axis"))
        parts.append(tag("text", text, x=x + 7, y=y + 4, class_="halo"))
    css = "strong e" if is_metric and x > _FRAME.right - 1 else "strong c" if x > _FRAME.left else "strong"
    at = x + 86 if css == "strong e" else x if css == "strong c" else x - 60
    parts.append(tag("text", shorten(name, max(5, room)), x=at, y=20, class_=css))
    if scale.kind == "log":
        parts.append(tag("text", "log", x=x, y=36, class_="c"))
    return tag("g", parts)


def _key() -> Markup:
    """The colours from the worst to the best, beneath the chart."""
    y, width = _FRAME.view_height - 18, 12
    left = _FRAME.left
    boxes = [
        tag("rect", x=left + 44 + tone * width, y=y, width=width + 0.5, height=10, class_=f"m{tone}")
        for tone in range(NUM_TONES)
    ]
    end = left + 52 + NUM_TONES * width
    words = [tag("text", "worst", x=left, y=y + 9), tag("text", "best", x=end, y=y + 9)]
    return tag("g", boxes, words, class_="keys")
