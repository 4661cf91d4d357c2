"""The page itself: its head, its parts in the order in which a reader asks, and nothing from outside."""

from collections.abc import Mapping
from typing import Final

from dropsweep.page.charts import best_so_far, scatters
from dropsweep.page.curves import learning_curves
from dropsweep.page.data import ReportData, View, view_of
from dropsweep.page.head import facts, hero, state_bar
from dropsweep.page.markup import Child, Markup, href_beside, join, raw, shorten, tag
from dropsweep.page.parallel import parallel_coordinates
from dropsweep.page.style import CSS, POLICY, SCRIPT
from dropsweep.page.tables import all_trials, failures, leaderboard, plain, state_class
from dropsweep.page.timeline import timeline
from dropsweep.page.words import plural, value_text

_MAX_LISTED: Final = 50


def render(data: ReportData) -> str:
    """Returns the job's report as one HTML file.

    The same data always gives the same text. Everything that a user wrote is escaped. The page fetches nothing, its
    policy forbids it to, and without scripts it lacks only sorting and the marking of a trial under the pointer. Very
    large jobs are shown in part, and the page says where; it stays below 2 MB.

    Args:
        data: the job as its records tell it; nothing else is read, no clock either.
    """
    view = view_of(data)
    title = shorten(data.title, 120) or data.path
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"{title} · {data.state}"),
        tag("style", raw(CSS)),
    )
    body = tag(
        "body",
        _header(view, title),
        tag("main", _results(view), _charts(view), _troubles(view), _about(view)),
        tag("footer", f"Written by Dropsweep from the records of {shorten(data.path, 260)}. Times are UTC."),
        tag("script", raw(SCRIPT)),
    )
    return raw("<!doctype html>\n") + tag("html", head, body, lang="en") + "\n"


def _header(view: View, title: str) -> Markup:
    data = view.data
    pill = tag("span", shorten(data.state, 24), class_=f"pill s-{state_class(data.state)}")
    reason = tag("p", plain(data.reason, 300), class_="note") if data.reason else None
    warnings = [tag("li", shorten(warning, 400)) for warning in list(data.warnings)[:_MAX_LISTED]]
    return tag(
        "header",
        tag("h1", title, pill),
        tag("p", f"{data.kind} · {shorten(data.path, 260)}", class_="path"),
        reason,
        tag("div", tag("ul", warnings), class_="notice", role="note", aria_label="Warnings") if warnings else None,
        hero(view),
        facts(view),
        state_bar(data),
    )


def _section(heading: str, *parts: Child) -> Markup:
    return tag("section", tag("h2", heading), *parts)


def _results(view: View) -> Markup | None:
    table, everything = leaderboard(view), all_trials(view)
    if table is None and everything is None:
        return _section("Trials", tag("p", "No trial has been dispatched.", class_="note"))
    return _section("Leaderboard" if table else "Trials", _left_out(view), table, everything)


def _left_out(view: View) -> Markup | None:
    if not view.data.rows_left_out:
        return None
    drawn = plural(len(view.data.rows), "trial")
    text = f"This page draws {drawn}; {view.data.rows_left_out:,} more stand in the results file."
    return tag("p", text, class_="note")


def _charts(view: View) -> Markup:
    best = best_so_far(view)
    pair = learning_curves(view) + ([best] if best else [])
    wide, small, times = parallel_coordinates(view), scatters(view), timeline(view.data)
    return join(
        _section("Progress", tag("div", pair, class_="pair")) if pair else None,
        _section("Parameters", wide, tag("div", small, class_="small")) if wide or small else None,
        _section("Timeline", times) if times else None,
    )


def _troubles(view: View) -> Markup | None:
    table = failures(view)
    return _section("Failures", table) if table else None


def _about(view: View) -> Markup:
    data = view.data
    fixed = {name: value_text(value, 200) for name, value in view.fixed.items()} if len(data.rows) > 1 else {}
    return join(
        _section("Parameters that did not vary", _list(fixed)) if fixed else None,
        _section("Tags", _list(data.tags)) if data.tags else None,
        _section("Files", _list(data.files, folder=data.path)) if data.files else None,
    )


def _list(entries: Mapping[str, str], *, folder: str | None = None) -> Markup:
    """Returns names with their texts; with the `folder` that the page lies in, the texts are paths and become links."""
    shown = list(entries.items())[:_MAX_LISTED]
    more = len(entries) - len(shown)
    body = [
        join(
            tag("dt", shorten(key, 80)),
            tag("dd", shorten(str(value), 400) if folder is None else _path(folder, str(value))),
        )
        for key, value in shown
    ]
    return join(tag("dl", body, class_="files"), tag("p", f"{more:,} more.", class_="note") if more > 0 else None)


def _path(folder: str, path: str) -> Markup:
    href = href_beside(folder, path)
    text = tag("code", shorten(path, 400))
    return text if href is None else tag("a", text, href=href)
