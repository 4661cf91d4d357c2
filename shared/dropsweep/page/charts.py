"""Best so far, and one scatter a parameter."""

from collections.abc import Sequence
from itertools import groupby
from typing import Final

from dropsweep.page.axes import HALF, SMALL, Frame, axes, beyond, drawing, panel, spread
from dropsweep.page.data import TrialRow, View, finite, utc
from dropsweep.page.markup import Markup, join, points, shorten, tag
from dropsweep.page.scales import Scale, numeric, of_parameter
from dropsweep.page.words import figure, plural

MAX_DOTS: Final = 1000
MAX_PANEL_DOTS: Final = 300
MAX_PANELS: Final = 12
_MIN_FOR_CORRELATION: Final = 8


def best_so_far(view: View) -> Markup | None:
    """Draws every ranked trial in the order of finishing and the best value until then; None without two of them."""
    done = [row for row in view.ranked if row.finished is not None]
    done.sort(key=lambda row: (utc(row.finished) if row.finished else None, row.trial))
    if len(done) < 2:
        return None
    across = Scale("linear", low=0.0, high=float(len(done) + 1))
    up = numeric([row.value for row in done], view.data.goal)
    steps: list[tuple[float, float]] = []
    best: float | None = None
    better = min if view.data.goal == "minimize" else max
    for index, row in enumerate(done, start=1):
        value = row.value if row.value is not None else 0.0
        best = value if best is None else better(best, value)
        height = HALF.y(up.place(best) or 0.0)
        if steps and steps[-1][1] != height:
            steps.append((HALF.x(across.place(index) or 0.0), steps[-1][1]))
        steps.append((HALF.x(across.place(index) or 0.0), height))
    places = dict(enumerate(done, start=1))
    chosen = spread(list(places), MAX_DOTS)
    radius = 4.0 if len(done) <= 150 else 2.6
    dots = [_dot(HALF, view, places[index], across.place(index), up, radius) for index in chosen]
    text = f"Best value after {plural(len(done), 'finished trial')}: {figure(best)}."
    text += beyond([up.place(row.value) for row in done], "Hollow dots")
    body = join(
        axes(HALF, across.ticks(6), up.ticks(5), "trials finished"),
        tag("g", dots, class_="dots"),
        tag("path", d=points(steps), class_="frontier"),
    )
    return panel("Best so far", text, drawing(HALF, f"{view.data.anchor}best", "Best so far", text, body))


def scatters(view: View) -> list[Markup]:
    """Draws the metric over each varied parameter, a panel each; empty without two ranked trials."""
    if len(view.ranked) < 2:
        return []
    up = numeric([row.value for row in view.ranked], view.data.goal)
    return [_scatter(view, name, index, up) for index, name in enumerate(view.varied[:MAX_PANELS])]


def _scatter(view: View, name: str, index: int, up: Scale) -> Markup:
    values = [view.flat[row.trial].get(name) for row in view.ranked]
    across = of_parameter(values)
    top = next(i for i, row in enumerate(view.ranked) if row.trial == view.top)
    chosen = sorted({top, *spread(range(len(view.ranked)), MAX_PANEL_DOTS)}, reverse=True)
    dots = [_dot(SMALL, view, view.ranked[i], across.place(values[i]), up, 3.6) for i in chosen]
    x, y = across.place(values[top]), up.place(view.ranked[top].value)
    ring = None if x is None or y is None else tag("circle", cx=SMALL.x(x), cy=SMALL.y(y), r=7, class_="ring")
    link = _correlation_text(view.ranked, [finite(value) for value in values])
    text = f"{view.data.primary_metric or 'metric'} over {name}. {link}"
    body = join(axes(SMALL, across.ticks(4), up.ticks(4), ""), tag("g", dots, class_="dots"), ring)
    caption = link or ("log scale" if across.kind == "log" else "\u00a0")
    if link and across.kind == "log":
        caption = f"{link}, log scale"
    return panel(shorten(name, 40), caption, drawing(SMALL, f"{view.data.anchor}scatter{index}", name, text, body))


def _correlation_text(rows: Sequence[TrialRow], values: Sequence[float | None]) -> str:
    pairs = [(x, row.value) for x, row in zip(values, rows, strict=True) if x is not None and row.value is not None]
    if len(pairs) < _MIN_FOR_CORRELATION or len({x for x, _ in pairs}) < 2 or len({y for _, y in pairs}) < 2:
        return ""
    return f"rank correlation {figure(round(spearman([x for x, _ in pairs], [y for _, y in pairs]), 2))}"


def spearman(xs: Sequence[float], ys: Sequence[float]) -> float:
    """Returns Spearman's rank correlation, -1 to 1, with average ranks for ties.

    Args:
        xs: at least two distinct values.
        ys: as many, at least two distinct.

    Source:
        C. Spearman, The Proof and Measurement of Association between Two Things (1904): Pearson's coefficient of ranks.
    """
    a, b = _ranks(xs), _ranks(ys)
    mean = (len(a) + 1) / 2
    covariance = sum((x - mean) * (y - mean) for x, y in zip(a, b, strict=True))
    spread = sum((x - mean) ** 2 for x in a) * sum((y - mean) ** 2 for y in b)
    return float(covariance / spread**0.5)


def _ranks(values: Sequence[float]) -> list[float]:
    ranks = [0.0] * len(values)
    below = 0
    for _, tied in groupby(sorted(range(len(values)), key=values.__getitem__), key=values.__getitem__):
        members = list(tied)
        for member in members:
            ranks[member] = below + (len(members) + 1) / 2
        below += len(members)
    return ranks


def _dot(frame: Frame, view: View, row: TrialRow, at: float | None, up: Scale, radius: float) -> Markup | None:
    height = up.place(row.value)
    if at is None or height is None:
        return None
    is_beyond = height in (0.0, 1.0)
    css = f"m{view.tone[row.trial]} edge" if is_beyond else f"m{view.tone[row.trial]}"
    return tag("circle", cx=frame.x(at), cy=frame.y(height), r=radius, class_=css, data_t=row.trial)
