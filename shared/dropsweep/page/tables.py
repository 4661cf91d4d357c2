"""The leaderboard, the table of all trials, and failures by reason."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from dropsweep.page.data import JsonValue, TrialRow, View, utc
from dropsweep.page.markup import Markup, join, shorten, tag
from dropsweep.page.words import aligned, duration, figure, moment, plural, value_text

NUM_LEADERS: Final = 20
MAX_ROWS: Final = 1000
MAX_TABLE_BYTES: Final = 800_000
"""Beyond this the table of all trials ends: long texts in many columns would make a page that no one can open."""
MAX_PARAMETER_COLUMNS: Final = 20
MAX_METRIC_COLUMNS: Final = 8
_MAX_REASONS: Final = 20
_MAX_NAMED_TRIALS: Final = 12
_FINISHED: Final = frozenset({"completed", "failed", "stopped", "cancelled"})


def leaderboard(view: View) -> Markup | None:
    """Returns the best `NUM_LEADERS` trials, best first; None when no trial is ranked."""
    if not view.ranked:
        return None
    names = view.varied[:MAX_PARAMETER_COLUMNS]
    numeric = _numeric_columns(view, names)
    texts = aligned([row.metric for row in view.ranked[:NUM_LEADERS]])
    head = [_head("", "n"), _head("trial"), _head(view.data.primary_metric or "metric", "n")]
    head += [_head(name, "n" if name in numeric else None) for name in names]
    has_again = any(row.attempt > 1 for row in view.ranked[:NUM_LEADERS])
    head += [_head("attempt", "n")] if has_again else []
    head.append(_head("ran for", "n"))
    body = [
        tag(
            "tr",
            tag("td", str(place), class_="n"),
            tag("th", tag("span", class_=f"sw m{view.tone[row.trial]}"), str(row.trial), scope="row"),
            tag("td", texts[place - 1], class_="n"),
            [_parameter(view.flat[row.trial], name, numeric) for name in names],
            _attempt(row) if has_again else None,
            tag("td", duration(row.duration_s), class_="n"),
            class_="best" if row.trial == view.top else None,
            data_t=row.trial,
        )
        for place, row in enumerate(view.ranked[:NUM_LEADERS], start=1)
    ]
    return _scrolling(tag("table", tag("thead", tag("tr", head)), tag("tbody", body)), "Leaderboard")


def all_trials(view: View) -> Markup | None:
    """Returns a folded table of every row handed in, by trial; None without rows, or if the leaderboard says it all."""
    rows = sorted(view.data.rows, key=lambda row: row.trial)
    if not rows:
        return None
    names = view.varied[:MAX_PARAMETER_COLUMNS]
    numeric = _numeric_columns(view, names)
    primary = view.data.primary_metric
    others = sorted({name for row in rows[:MAX_ROWS] for name in row.metrics} - {primary})[:MAX_METRIC_COLUMNS]
    is_known = _is_leaderboard_whole(view)
    if is_known and not others and len({(row.state, row.reason) for row in rows}) == 1:
        return None
    has_metric = primary is not None or any(row.metric is not None for row in rows)
    has_reason = any(row.reason for row in rows)
    head = [_head("trial", "n"), _head("state")]
    head += [_head(primary or "metric", "n")] if has_metric else []
    head += [_head(name, "n" if name in numeric else None) for name in names]
    head += [_head(name, "n") for name in others]
    head += [_head("attempt", "n"), _head("started"), _head("ran for", "n")]
    head += [_head("reason")] if has_reason else []
    lines = (
        tag(
            "tr",
            tag("th", str(row.trial), scope="row", class_="n"),
            tag("td", tag("span", row.state, class_=f"st s-{state_class(row.state)}")),
            tag("td", figure(row.metric), class_="n") if has_metric else None,
            [_parameter(view.flat[row.trial], name, numeric) for name in names],
            [tag("td", figure(row.metrics.get(name)), class_="n") for name in others],
            _attempt(row),
            tag("td", moment(row.started), data_v=f"{utc(row.started).timestamp():.3f}" if row.started else ""),
            tag(
                "td",
                duration(row.duration_s),
                class_="n",
                data_v="" if row.duration_s is None else f"{row.duration_s:.3f}",
            ),
            tag("td", plain(row.reason, 90), class_="wrap") if has_reason else None,
            data_t=row.trial,
        )
        for row in rows[:MAX_ROWS]
    )
    body = list(_within(lines, MAX_TABLE_BYTES))
    table = tag("table", tag("thead", tag("tr", head)), tag("tbody", body), class_="sort")
    title = f"All {plural(len(body), 'trial')}" if len(body) > 1 else "The trial"
    title += " in full" if is_known else ""
    if len(body) < len(rows) + view.data.rows_left_out:
        title = f"{plural(len(body), 'trial')} of {len(rows) + view.data.rows_left_out:,}"
    is_open = not view.ranked and len(body) <= NUM_LEADERS
    return tag("details", tag("summary", title), _scrolling(table, "All trials"), open=is_open)


def failures(view: View) -> Markup | None:
    """Returns failed trials grouped by their reason, the most frequent first; None when none has failed."""
    groups: dict[str, list[TrialRow]] = {}
    for row in view.data.rows:
        if row.state == "failed":
            groups.setdefault(plain(row.reason, 300) or "no reason recorded", []).append(row)
    num_failed = max(view.data.counts.get("failed", 0), sum(len(rows) for rows in groups.values()))
    if not num_failed:
        return None
    ordered = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
    body = [
        tag(
            "tr",
            tag("td", f"{len(rows):,}", class_="n"),
            tag("th", reason, scope="row", class_="wrap"),
            tag("td", _named(rows), class_="wrap"),
        )
        for reason, rows in ordered[:_MAX_REASONS]
    ]
    num_unseen = num_failed - sum(len(rows) for _, rows in ordered[:_MAX_REASONS])
    head = tag("thead", tag("tr", _head("trials", "n"), _head("reason"), _head("which")))
    note = f"{plural(num_unseen, 'more failed trial')} not listed here." if num_unseen else None
    table = _scrolling(tag("table", head, tag("tbody", body)), "Failures") if body else None
    return join(table, tag("p", note, class_="note") if note else None)


def plain(reason: str, length: int) -> str:
    """Returns a reason on one line; a reason that is a bare identifier (`exit_code`) loses its underscores."""
    text = reason.replace("_", " ") if reason.replace("_", "").isalpha() else reason
    return shorten(text, length)


def state_class(state: str) -> str:
    """Returns the style's name for a state; an unknown one gets the colour of `other`."""
    return state if state in _FINISHED | {"running", "queued", "paused", "rejected", "cancelling"} else "other"


def _is_leaderboard_whole(view: View) -> bool:
    return not view.data.rows_left_out and len(view.data.rows) == len(view.ranked) <= NUM_LEADERS


def _attempt(row: TrialRow) -> Markup:
    return tag("td", str(row.attempt), class_="n again" if row.attempt > 1 else "n")


def _within(lines: Iterable[Markup], num_bytes: int) -> Iterator[Markup]:
    """Yields lines, at least one, for as long as they fit into `num_bytes` together."""
    total = 0
    for index, line in enumerate(lines):
        total += len(line.encode())
        if index and total > num_bytes:
            return
        yield line


def _named(rows: Sequence[TrialRow]) -> str:
    trials = sorted(row.trial for row in rows)
    text = ", ".join(str(trial) for trial in trials[:_MAX_NAMED_TRIALS])
    return text if len(trials) <= _MAX_NAMED_TRIALS else f"{text}, …"


def _head(text: str, css: str | None = None) -> Markup:
    return tag("th", shorten(text, 32), scope="col", class_=css)


def _parameter(leaves: Mapping[str, JsonValue], name: str, numeric: frozenset[str]) -> Markup:
    text = value_text(leaves[name], 36) if name in leaves else "–"
    return tag("td", text, class_="n" if name in numeric else None)


def _numeric_columns(view: View, names: Sequence[str]) -> frozenset[str]:
    def is_numeric(name: str) -> bool:
        values = [leaves[name] for leaves in view.flat.values() if name in leaves]
        return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)

    return frozenset(name for name in names if is_numeric(name))


def _scrolling(table: Markup, label: str) -> Markup:
    return tag("div", table, class_="scroll", tabindex=0, role="group", aria_label=label)
