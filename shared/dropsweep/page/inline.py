"""Pictures for a notebook: a job, a list of jobs or a best trial as a piece of HTML within somebody else's page.

As in the report nothing is fetched, everything that a user wrote is escaped, and no script runs.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from dropsweep.page.charts import best_so_far
from dropsweep.page.curves import learning_curves
from dropsweep.page.data import ReportData, view_of
from dropsweep.page.head import facts, hero, state_bar
from dropsweep.page.markup import Child, Markup, join, raw, shorten, tag
from dropsweep.page.scope import SCOPE, SCOPED_CSS
from dropsweep.page.tables import failures, leaderboard, plain, state_class
from dropsweep.page.words import duration, figure, moment, value_text

_MAX_WARNINGS: Final = 50
_COLUMNS: Final = (("job", None), ("state", None), ("trials", "n"), ("best", "n"), ("trial", "n"), ("accepted", None))


@dataclass(frozen=True, slots=True)
class JobLine:
    """One job of a list.

    Attributes:
        path: `workspace/experiment/job`.
        state: its state.
        kind: `sweep` or `command`.
        num_final, num_trials: trials that have ended, and in all.
        best: the best metric and the trial that has it; None without one.
        created: when it was accepted, UTC.
    """

    path: str
    state: str
    kind: str
    num_final: int
    num_trials: int
    best: tuple[float, int] | None
    created: datetime


def inline_job(data: ReportData) -> str:
    """Returns a job as a piece of HTML: its state, its best trial, trials by state, leaderboard, curves and failures.

    Args:
        data: the job. Rows without parameters are drawn, but stand on no leaderboard. Its warnings are shown, which for
            a rejected job are its problems, and all that there is.
    """
    anchor = hashlib.sha256(data.path.encode()).hexdigest()[:12]
    view = view_of(replace(data, anchor=f"ds{anchor}-"))
    known = view_of(replace(view.data, rows=[row for row in data.rows if row.parameters or data.kind == "command"]))
    best = best_so_far(view)
    charts = [*learning_curves(known), *([best] if best else [])]
    warnings = [tag("li", shorten(warning, 400)) for warning in list(data.warnings)[:_MAX_WARNINGS]]
    notice = tag("div", tag("ul", warnings), class_="notice") if warnings else None
    if data.state == "rejected":  # it never had a trial
        return _piece(_title(data), notice)
    return _piece(
        _title(data),
        notice,
        hero(known),
        facts(view),
        state_bar(data),
        tag("div", charts, class_="pair") if charts else None,
        _titled("Leaderboard", leaderboard(known)),
        _titled("Failures", failures(view)),
    )


def inline_jobs(jobs: Sequence[JobLine], *, num_left_out: int = 0) -> str:
    """Returns a list of jobs as a table in a piece of HTML, in the order in which they are given."""
    if not jobs:
        return _piece(tag("p", "There is no job.", class_="note"))
    head = [tag("th", text, scope="col", class_=css) for text, css in _COLUMNS]
    body = [
        tag(
            "tr",
            tag("th", shorten(job.path, 260), scope="row"),
            tag("td", tag("span", shorten(job.state, 24), class_=f"st s-{state_class(job.state)}")),
            tag("td", f"{job.num_final:,} of {job.num_trials:,}", class_="n"),
            tag("td", figure(job.best[0] if job.best else None), class_="n"),
            tag("td", str(job.best[1]) if job.best else "–", class_="n"),
            tag("td", moment(job.created)),
        )
        for job in jobs
    ]
    table = tag("table", tag("thead", tag("tr", head)), tag("tbody", body))
    more = tag("p", f"{num_left_out:,} more.", class_="note") if num_left_out else None
    return _piece(tag("div", table, class_="scroll"), more)


def inline_best(data: ReportData) -> str:
    """Returns the best trial alone as a piece of HTML: its metric and parameters, all its metrics, where its files lie.

    Args:
        data: the job, with the best trial as its one row.
    """
    view = view_of(data)
    row = view.best_row
    metrics = {name: figure(value) for name, value in row.metrics.items()} if row else {}
    took = {"ran for": duration(row.duration_s)} if row and row.duration_s is not None else {}
    entries = {**metrics, **took, **{name: shorten(path, 400) for name, path in data.files.items()}}
    if data.kind == "command" and row:
        entries = {**{name: value_text(value) for name, value in view.flat[row.trial].items()}, **entries}
    body = [join(tag("dt", shorten(name, 80)), tag("dd", value)) for name, value in entries.items()]
    return _piece(tag("p", shorten(data.path, 260), class_="path"), hero(view), tag("dl", body, class_="files"))


def inline_note(text: str) -> str:
    """Returns a sentence, such as why there is nothing to draw, as a piece of HTML."""
    return _piece(tag("p", shorten(text, 2000), class_="note"))


def _piece(*children: Child) -> str:
    return str(tag("div", tag("style", raw(SCOPED_CSS)), *children, class_=SCOPE))


def _title(data: ReportData) -> Markup:
    pill = tag("span", shorten(data.state, 24), class_=f"pill s-{state_class(data.state)}")
    return join(
        tag("h3", shorten(data.title, 120) or data.path, pill, class_="job"),
        tag("p", f"{data.kind} · {shorten(data.path, 260)}", class_="path"),
        tag("p", plain(data.reason, 300), class_="note") if data.reason else None,
    )


def _titled(heading: str, table: Markup | None) -> Markup | None:
    return None if table is None else tag("section", tag("h4", heading), table)
