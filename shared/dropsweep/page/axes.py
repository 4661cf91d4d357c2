"""What every chart has: a figure with its title and text, a frame, and axes with ticks."""

from collections.abc import Sequence
from dataclasses import dataclass

from dropsweep.page.markup import Child, Markup, shorten, tag
from dropsweep.page.scales import Tick


@dataclass(frozen=True, slots=True)
class Frame:
    """The rectangle that data is drawn in, within a drawing of `view_width` by `view_height` units."""

    view_width: float
    view_height: float
    left: float
    right: float
    top: float
    bottom: float

    def x(self, at: float) -> float:
        """Returns the abscissa of position `at` (0 left to 1 right)."""
        return self.left + at * (self.right - self.left)

    def y(self, at: float) -> float:
        """Returns the ordinate of position `at` (0 bottom to 1 top)."""
        return self.bottom - at * (self.bottom - self.top)


HALF = Frame(560, 330, left=62, right=548, top=14, bottom=290)
CURVES = Frame(560, 330, left=62, right=476, top=14, bottom=290)
SMALL = Frame(300, 210, left=54, right=292, top=10, bottom=176)


def drawing(frame: Frame, name: str, title: str, description: str, *parts: Child, css: str | None = None) -> Markup:
    """Returns an SVG that a screen reader announces by title and description.

    Args:
        frame: gives the size.
        name: unique on the page; the ids of title and description come from it.
        title: what the chart shows, in a few words.
        description: what can be read off it, in a sentence.
        parts: what is drawn.
        css: a class for the drawing.
    """
    return tag(
        "svg",
        tag("title", title, id=f"{name}-title"),
        tag("desc", description, id=f"{name}-desc"),
        *parts,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {frame.view_width:g} {frame.view_height:g}",
        role="img",
        aria_labelledby=f"{name}-title {name}-desc",
        class_=css,
    )


def panel(title: str, caption: Child, chart: Markup, *, scrolls: bool = False) -> Markup:
    """Returns a chart under its heading and a line that says how to read it; a wide one scrolls on a narrow screen."""
    body = tag("div", chart, class_="scroll", tabindex=0, role="group", aria_label=title) if scrolls else chart
    return tag("figure", tag("h3", title), tag("figcaption", caption), body)


def axes(frame: Frame, across: Sequence[Tick], up: Sequence[Tick], label: str) -> Markup:
    """Returns grid lines, tick labels and the name of the horizontal axis.

    Args:
        frame: where.
        across: ticks of the horizontal axis; labels that would overlap are thinned out.
        up: ticks of the vertical axis.
        label: the horizontal axis's name, drawn beneath it.
    """
    parts: list[Markup] = []
    for tick in up:
        y = frame.y(tick.at)
        parts.append(tag("line", x1=frame.left, x2=frame.right, y1=y, y2=y, class_="grid"))
        parts.append(tag("text", shorten(tick.label, 9), x=frame.left - 8, y=y + 4, class_="e"))
    for tick in thinned(across, frame.right - frame.left):
        x = frame.x(tick.at)
        parts.append(tag("line", x1=x, x2=x, y1=frame.bottom, y2=frame.bottom + 4, class_="axis"))
        anchor = "e" if tick.at > 0.97 else None if tick.at < 0.03 else "c"
        parts.append(tag("text", tick.label, x=x, y=frame.bottom + 19, class_=anchor))
    parts.append(tag("line", x1=frame.left, x2=frame.right, y1=frame.bottom, y2=frame.bottom, class_="axis"))
    if label:
        middle = (frame.left + frame.right) / 2
        parts.append(tag("text", shorten(label, 48), x=middle, y=frame.view_height - 2, class_="c"))
    return tag("g", parts)


def thinned(ticks: Sequence[Tick], width: float, unit: float = 9.0) -> list[Tick]:
    """Returns ticks whose labels fit beside each other, shortened first and left out where that is not enough.

    Args:
        ticks: in order.
        width: the axis's length.
        unit: room for one character, wide enough for the larger letters of a narrow screen.
    """
    if not ticks:
        return []
    room = max(3, int(width / len(ticks) / unit))
    longest = max(3, min(room, 14)) if len(ticks) <= 6 else 8
    kept: list[Tick] = []
    free_from = 0.0
    for tick in ticks:
        text = shorten(tick.label, max(longest, 7))
        half = (len(text) + 1) * unit / 2
        centre = tick.at * width
        if centre - half >= free_from - unit or not kept:
            kept.append(Tick(tick.at, text))
            free_from = centre + half
    return kept


def beyond(heights: Sequence[float | None], what: str) -> str:
    """Returns a sentence for the caption when a value lies at the edge because it is beyond the axis, else nothing."""
    return f" {what} at the edge lie beyond the axis." if any(height in (0.0, 1.0) for height in heights) else ""


def spread(items: Sequence[int], most: int) -> list[int]:
    """Returns at most `most` items (two or more), evenly apart, always with the first and the last."""
    if len(items) <= most:
        return list(items)
    last = len(items) - 1
    return [items[round(index * last / (most - 1))] for index in range(most)]
