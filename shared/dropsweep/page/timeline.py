"""When each trial ran, side by side: idle time is what stays empty."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from dropsweep.page.axes import Frame, axes, drawing, panel
from dropsweep.page.data import ReportData, TrialRow, utc
from dropsweep.page.markup import Markup, join, tag
from dropsweep.page.scales import Tick
from dropsweep.page.words import duration, plural

MAX_BARS: Final = 1000
_STATES: Final = ("completed", "stopped", "failed", "cancelled", "running", "queued", "paused")
_STEPS_S: Final = (
    *(0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200),
    *(14400, 21600, 43200, 86400, 172800, 432000, 864000),
)


@dataclass(frozen=True, slots=True)
class Stay:
    """A trial, all its attempts together, in seconds since the chart's left edge, and the lane it was given."""

    row: TrialRow
    start_s: float
    end_s: float
    lane: int


def timeline(data: ReportData) -> Markup | None:
    """Draws a bar a trial on as few lanes as trials ran at once; None when no trial has started."""
    started = [row for row in data.rows if row.started is not None][:MAX_BARS]
    if not started:
        return None
    times = [utc(time) for row in started for time in (row.started, row.finished) if time is not None]
    ends = [*times, *(utc(time) for time in (data.finished,) if time is not None)]
    origin = min([*times, *(utc(time) for time in (data.created or data.started,) if time is not None)])
    last = max(ends)
    stays = lanes(started, origin, last)
    span_s = max((last - origin).total_seconds(), 1e-3)
    num_lanes = 1 + max(stay.lane for stay in stays)
    lane_height = 24.0 if num_lanes <= 12 else max(3.0, 320.0 / num_lanes)
    frame = Frame(1120, 12 + num_lanes * lane_height + 44, 8, 1112, 12, 12 + num_lanes * lane_height)
    bars = [_bar(frame, stay, span_s, lane_height) for stay in stays]
    beds = [
        tag(
            "rect", x=frame.left, y=frame.top + lane * lane_height + 1, width=frame.right - frame.left,
            height=max(lane_height - 2, 1.0), class_="lane",
        )
        for lane in range(num_lanes)
    ]  # fmt: skip
    text = _caption(stays, num_lanes, len(data.rows) + data.rows_left_out - len(started))
    body = join(tag("g", beds), axes(frame, time_ticks(span_s), (), ""), tag("g", bars, class_="bars"))
    body = join(body, _end_word(frame, span_s))
    states = {stay.row.state for stay in stays}
    key = [join(tag("span", class_=f"sw s-{state}"), state, "\u2003") for state in _STATES if state in states]
    chart = drawing(frame, f"{data.anchor}timeline", "Timeline", text, body, css="wide")
    return panel("When each trial ran", join(text, tag("br"), key), chart, scrolls=True)


def lanes(rows: Sequence[TrialRow], origin: datetime, last: datetime) -> list[Stay]:
    """Gives each started trial the lowest lane that is free when it starts.

    Args:
        rows: trials with a start; one without an end is taken to run until `last`.
        origin: the time of 0 s.
        last: the right end of the chart.

    Returns:
        One stay a row, by start. There are exactly as many lanes as trials that ran at once.

    Source:
        Interval partitioning, J. Kleinberg and É. Tardos, Algorithm Design (2005), section 4.1.
    """

    def seconds(time: datetime | None, otherwise: datetime) -> float:
        return (utc(time or otherwise) - origin) / timedelta(seconds=1)

    free: list[int] = []
    busy: list[tuple[float, int]] = []
    stays: list[Stay] = []
    for row in sorted(rows, key=lambda row: (seconds(row.started, last), row.trial)):
        start = seconds(row.started, last)
        end = max(start, seconds(row.finished, last))
        while busy and busy[0][0] <= start:
            heapq.heappush(free, heapq.heappop(busy)[1])
        lane = heapq.heappop(free) if free else len(busy)
        heapq.heappush(busy, (end, lane))
        stays.append(Stay(row, start, end, lane))
    return stays


def time_ticks(span_s: float) -> list[Tick]:
    """Returns about eight ticks at round times since the start of a chart `span_s` seconds long."""
    step = next((step for step in _STEPS_S if span_s / step <= 9), span_s / 8)
    return [Tick(index * step / span_s, _clock(index * step, span_s)) for index in range(int(span_s / step) + 1)]


def time_unit(span_s: float) -> str:
    """Returns how the ticks of a chart `span_s` seconds long are to be read."""
    return "seconds" if span_s < 120 else "min:s" if span_s < 7200 else "h:min" if span_s < 172800 else "days"


def _clock(seconds: float, span_s: float) -> str:
    match time_unit(span_s):
        case "seconds":
            return f"{seconds:.3g}"
        case "min:s":
            return f"{int(seconds // 60)}:{int(seconds % 60):02}"
        case "h:min":
            return f"{int(seconds // 3600)}:{int(seconds % 3600 // 60):02}"
        case _:
            return f"{seconds / 86400:.3g}"


def _bar(frame: Frame, stay: Stay, span_s: float, lane_height: float) -> Markup:
    left, right = frame.x(stay.start_s / span_s), frame.x(stay.end_s / span_s)
    width, top = max(right - left, 1.0), frame.top + stay.lane * lane_height + 1
    state = stay.row.state if stay.row.state in _STATES else "other"
    again = f", {stay.row.attempt} attempts" if stay.row.attempt > 1 else ""
    took_s = stay.end_s - stay.start_s if stay.row.duration_s is None else stay.row.duration_s
    text = f"trial {stay.row.trial}: {stay.row.state}{again}, {duration(took_s)}"
    bar = tag(
        "rect", tag("title", text), x=left, y=top, width=width, height=max(lane_height - 2, 1.0),
        rx=min(3.0, lane_height / 6), class_=f"s-{state}", data_t=stay.row.trial,
    )  # fmt: skip
    word = str(stay.row.trial)
    if lane_height < 16 or width < 8 * len(word) + 6:
        return bar
    return join(bar, tag("text", word, x=(left + right) / 2, y=top + lane_height / 2 + 3, class_="c"))


def _caption(stays: Sequence[Stay], num_lanes: int, num_missing: int) -> str:
    return _usage(stays, num_lanes, num_missing) + _again(stays)


def _again(stays: Sequence[Stay]) -> str:
    num_again = sum(stay.row.attempt > 1 for stay in stays)
    if not num_again:
        return ""
    bars = "its bar begins" if num_again == 1 else "their bars begin"
    return f" {plural(num_again, 'trial')} needed more than one attempt; {bars} with the first."


def _usage(stays: Sequence[Stay], num_lanes: int, num_missing: int) -> str:
    first = min(stay.start_s for stay in stays)
    span_s = max(stay.end_s for stay in stays) - first
    busy_s = sum(stay.end_s - stay.start_s for stay in stays)
    if len(stays) == 1 and not num_missing:
        return f"It started {duration(first)} after the job was accepted."
    text = f"At most {plural(num_lanes, 'trial')} ran at once."
    if num_missing > 0:
        return f"{text} {plural(num_missing, 'trial')} not drawn, so a gap need not be idle time."
    if span_s > 0 and num_lanes:
        share = f"{100 * min(1.0, busy_s / (span_s * num_lanes)):.0f}"
        text += f" From the first start to the last end the lanes were busy {share} % of the time."
    if first > 0:
        text += f" The first trial started {duration(first)} after the job was accepted."
    return text


def _end_word(frame: Frame, span_s: float) -> Markup:
    text = f"time since the job was accepted, {time_unit(span_s)}"
    return tag("text", text, x=(frame.left + frame.right) / 2, y=frame.view_height - 4, class_="c")
