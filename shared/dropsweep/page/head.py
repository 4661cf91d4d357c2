"""What stands above everything else of a job: its best trial, its times, its trials by state."""

from typing import Final

from dropsweep.page.data import ReportData, View, utc
from dropsweep.page.markup import Markup, shorten, tag
from dropsweep.page.tables import state_class
from dropsweep.page.words import duration, figure, moment, value_text

_STATE_ORDER: Final = ("completed", "stopped", "failed", "cancelled", "running", "paused", "queued")
_BAR_WIDTH: Final = 1120.0


def hero(view: View) -> Markup | None:
    """Returns the answer: the best value, whose it is, and with which parameters; None for a command without any."""
    data, best = view.data, view.best_row
    if data.primary_metric is None and data.kind == "command":
        return None
    metric = shorten(data.primary_metric or "metric", 60)
    if best is None:
        known = f"Trial {data.best} is the best." if data.best is not None else _no_best(data, metric)
        return tag("div", tag("p", known, class_="label"), class_="hero")
    direction = {"minimize": "lowest", "maximize": "highest"}.get(data.goal or "", "best")
    names = [*view.varied, *view.fixed]
    leaves = view.flat[best.trial]
    chips = [
        tag("li", tag("span", shorten(name, 40)), tag("b", value_text(leaves[name], 60)))
        for name in names[:24]
        if name in leaves
    ]
    return tag(
        "div",
        tag(
            "div",
            tag("p", f"{direction} {metric}", class_="label"),
            tag("p", figure(best.metric), class_="big"),
            tag("p", f"trial {best.trial}", class_="label"),
        ),
        tag("div", tag("p", "with", class_="label"), tag("ul", chips, class_="chips")) if chips else None,
        class_="hero",
    )


def facts(view: View) -> Markup:
    """Returns how many trials there are, when the job was accepted and finished, and how long it all took."""
    data = view.data
    ran = [row.duration_s for row in data.rows if row.duration_s is not None]
    begin = data.created or data.started
    total_s = (utc(data.finished) - utc(begin)).total_seconds() if data.finished and begin else None
    # The trials' states are in the bar beneath; here stands how many there are in all.
    shown: dict[str, str] = {"trials": f"{data.num_trials:,}", "accepted": moment(data.created)}
    if data.finished:
        shown["finished"] = moment(data.finished)
    if total_s is not None:
        shown["took"] = duration(max(0.0, total_s))
    if ran:
        shown["a trial ran for"] = (
            f"{duration(sorted(ran)[len(ran) // 2])} (median)" if len(ran) > 1 else duration(ran[0])
        )
        shown |= {"all trials together": duration(sum(ran))} if len(ran) > 1 else {}
    return tag("dl", [tag("div", tag("dt", key), tag("dd", value)) for key, value in shown.items()], class_="facts")


def state_bar(data: ReportData) -> Markup | None:
    """Returns the trials by state as a bar with its key; None for fewer than two trials."""
    known = {state: data.counts[state] for state in _STATE_ORDER if data.counts.get(state, 0) > 0}
    known |= {state: num for state, num in sorted(data.counts.items()) if num > 0 and state not in known}
    total = sum(known.values())
    if total < 2:
        return None
    parts: list[Markup] = []
    left = 0.0
    for state, num in known.items():
        width = _BAR_WIDTH * num / total
        css = f"s-{state_class(state)}"
        parts.append(tag("rect", x=left, y=0, width=max(width - 1.5, 1.0), height=8, rx=2, class_=css))
        left += width
    text = ", ".join(f"{num:,} {state}" for state, num in known.items())
    bar = tag(
        "svg", tag("title", "Trials by state"), tag("desc", text), parts, xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {_BAR_WIDTH:g} 8", preserveAspectRatio="none", height=8, role="img", class_="states",
    )  # fmt: skip
    key = [
        tag("span", tag("span", class_=f"sw s-{state_class(state)}"), f"{num:,} {shorten(state, 30)}", class_="key")
        for state, num in known.items()
    ]
    return tag("div", bar, tag("p", key, class_="note keys"), class_="states")


def _no_best(data: ReportData, metric: str) -> str:
    # What other trials reported before they ended stands in their curves, but makes none of them the best.
    if data.counts.get("completed") or any(row.state == "completed" for row in data.rows):
        return f"No completed trial has a finite {metric}."
    return "No trial has completed." if data.finished else "No trial has completed yet."
