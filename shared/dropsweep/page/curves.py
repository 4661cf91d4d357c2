"""Learning curves: what the best trials reported, step by step."""

from collections.abc import Sequence
from typing import Final

from dropsweep.page.axes import CURVES, Frame, axes, beyond, drawing, panel, spread
from dropsweep.page.data import Curve, View, finite, tones
from dropsweep.page.markup import Markup, join, points, shorten, tag
from dropsweep.page.scales import Scale, numeric
from dropsweep.page.words import plural

MAX_CURVES: Final = 12
MAX_CURVE_POINTS: Final = 240
MAX_METRICS: Final = 12
_NUM_NAMED: Final = 5
_LABEL_HEIGHT: Final = 17.0


def learning_curves(view: View) -> list[Markup]:
    """Draws a panel a metric, the primary one first, of the best trials; a curve without a finite value is left out."""
    metrics = dict.fromkeys(
        curve.metric for curve in view.data.curves if any(_is_drawn(*pair) for pair in _pairs(curve))
    )
    ordered = sorted(metrics, key=lambda metric: metric != view.data.primary_metric)[:MAX_METRICS]
    return [_panel(view, metric, index, len(ordered)) for index, metric in enumerate(ordered)]


def _panel(view: View, metric: str, index: int, num_panels: int) -> Markup:
    order = {row.trial: place for place, row in enumerate(view.ranked)}
    known = [c for c in view.data.curves if c.metric == metric and any(_is_drawn(*pair) for pair in _pairs(c))]
    curves = sorted(known, key=lambda curve: (order.get(curve.trial, len(order)), curve.trial))[:MAX_CURVES]
    values = [value for curve in curves for value in curve.values]
    across = numeric([step for curve in curves for step in curve.steps], pad=0)
    # Which side of another metric is bad is not known, and a lone curve hides no other: nothing of them is cut off.
    is_cut = metric == view.data.primary_metric and len(curves) > 1
    up = numeric(values, view.data.goal if is_cut else None)
    tone = tones([curve.trial for curve in curves])
    lines: list[Markup] = []
    ends: list[tuple[float, int]] = []
    for place, curve in reversed(list(enumerate(curves))):
        is_top = curve.trial == view.top or len(curves) == 1
        parts = _segments(CURVES, curve, across, up)
        title = tag("title", f"trial {curve.trial}")
        css = f"m{tone[curve.trial]} top" if is_top else f"m{tone[curve.trial]}"
        lines.append(tag("path", title, d="".join(points(part) for part in parts), class_=css, data_t=curve.trial))
        if place < _NUM_NAMED and parts:
            ends.append((parts[-1][-1][1], curve.trial))
    name = shorten(metric, 60)
    heading = "Learning curves" if num_panels == 1 else name
    said = _whose(view, curves) + beyond([up.place(value) for value in values], "Values")
    text = f"{name} {said}"
    body = join(
        axes(CURVES, across.ticks(6), up.ticks(5), "step"),
        tag("g", lines, class_="lines"),
        _end_labels(CURVES, ends, view.top),
    )
    chart = drawing(CURVES, f"{view.data.anchor}curves{index}", heading, text, body)
    return panel(heading, said if heading == name else text, chart)


def _whose(view: View, curves: Sequence[Curve]) -> str:
    """Returns what follows a metric's name in the caption, to a full stop."""
    if len(curves) == 1:
        return "over its steps." if view.data.kind == "command" else f"of trial {curves[0].trial}."
    if view.ranked:
        return f"of the {plural(len(curves), 'best trial')}; the best is the thick line."
    return f"of {plural(len(curves), 'trial')}."


def _end_labels(frame: Frame, ends: Sequence[tuple[float, int]], top: int | None) -> Markup:
    """Names the best lines where they end, pushed apart so that no two names overlap."""
    labels: list[Markup] = []
    floor = frame.top - _LABEL_HEIGHT
    excess = frame.bottom - _LABEL_HEIGHT * len(ends)
    for index, (y, trial) in enumerate(sorted(ends)):
        floor = min(max(y, floor + _LABEL_HEIGHT), excess + _LABEL_HEIGHT * (index + 1))
        css = "strong" if trial == top else None
        labels.append(tag("text", f"trial {trial}", x=frame.right + 8, y=floor + 4, class_=css, data_t=trial))
    return tag("g", labels)


def _pairs(curve: Curve) -> list[tuple[float, float]]:
    return list(zip(curve.steps, curve.values, strict=False))


def _is_drawn(step: float, value: float) -> bool:
    return finite(step) is not None and finite(value) is not None


def _segments(frame: Frame, curve: Curve, across: Scale, up: Scale) -> list[list[tuple[float, float]]]:
    """Whole stretches of the line; a value that is not finite ends one."""
    pairs = _pairs(curve)
    segments: list[list[tuple[float, float]]] = [[]]
    for index in spread(range(len(pairs)), MAX_CURVE_POINTS):
        x, y = across.place(pairs[index][0]), up.place(pairs[index][1])
        if x is not None and y is not None:
            segments[-1].append((frame.x(x), frame.y(y)))
        elif segments[-1]:
            segments.append([])
    # A lone point is a line of no length: a stroke's round end would not show it, a short dash does.
    return [part if len(part) > 1 else [part[0], (part[0][0] + 2, part[0][1])] for part in segments if part]
