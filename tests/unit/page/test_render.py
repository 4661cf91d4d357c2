import base64
import hashlib
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dropsweep.page import Curve, ReportData, TrialRow, render
from dropsweep.page.style import CSS, POLICY, SCRIPT

MakeSweep = Callable[..., ReportData]

VOID = {"meta", "br"}
SECTIONS = ["Leaderboard", "Progress", "Parameters", "Timeline", "Failures", "Parameters that did not vary", "Tags"]
HOSTILE = "<script>alert(1)</script>'\"&<img src=x onerror=alert(1)></style></svg>{{x}}\x00\x1b\ud800\u202e"
TIME = datetime(2026, 3, 1, tzinfo=UTC)


class Page(HTMLParser):
    """Reads a page strictly: every element that was opened is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        assert len({name for name, _ in attrs}) == len(attrs), f"<{tag}> has an attribute twice"
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            self.texts.setdefault(self.open[-1], []).append(data)

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)


def drawings(text: str) -> list[ElementTree.Element]:
    return [ElementTree.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL)]


def hostile_job() -> ReportData:
    rows = [
        TrialRow(
            trial=trial,
            state="completed" if trial else "failed",
            reason=HOSTILE * 50,
            parameters={HOSTILE: HOSTILE * trial, "nested": {HOSTILE: [HOSTILE]}},
            metric=float(trial),
            metrics={HOSTILE: 1.0},
            started=TIME,
            finished=TIME + timedelta(seconds=trial),
        )
        for trial in range(4)
    ]
    return ReportData(
        *(HOSTILE * 3, HOSTILE, HOSTILE, HOSTILE, HOSTILE * 90, "minimize", HOSTILE),
        counts={HOSTILE: 4},
        rows=rows,
        best=1,
        curves=[Curve(1, HOSTILE, (1.0, 2.0), (1.0, 2.0))],
        parameter_names=[HOSTILE],
        tags={HOSTILE: HOSTILE},
        files={HOSTILE: HOSTILE},
        warnings=[HOSTILE],
    )


@pytest.mark.parametrize("num_trials", [1, 2, 16, 70])
def test_page_and_its_drawings_are_well_formed(make_sweep: MakeSweep, num_trials: int) -> None:
    text = render(make_sweep(num_trials))
    page = Page(text)
    assert page.count("svg") == len(drawings(text)) > 0
    assert page.count("html") == page.count("main") == page.count("h1") == 1


def test_sections_follow_the_readers_questions(make_sweep: MakeSweep) -> None:
    headings = Page(render(make_sweep(30))).texts["h2"]
    assert [heading for heading in headings if heading in SECTIONS] == SECTIONS


def test_head_line_tells_the_best_value_its_trial_and_parameters(make_sweep: MakeSweep) -> None:
    data = make_sweep(20)
    best = data.rows[data.best or 0]
    header = render(data).split("</header>")[0]
    assert f"{best.metric:.5g}" in header
    assert f"trial {best.trial}<" in header
    assert f"<b>{best.parameters['optimizer']}</b>" in header


def test_leaderboard_is_in_the_order_of_the_goal(make_sweep: MakeSweep) -> None:
    for goal, is_reversed in (("maximize", True), ("minimize", False)):
        data = make_sweep(40, goal=goal, best=None)
        board = render(data).split("<table>")[1].split("</table>")[0]
        shown = [int(trial) for trial in re.findall(r'data-t="(\d+)"', board)]
        scored = [row for row in data.rows if row.metric is not None]
        ranking = sorted(scored, key=lambda row: row.metric or 0.0, reverse=is_reversed)
        assert shown == [row.trial for row in ranking[:20]]


def test_same_data_gives_the_same_page(make_sweep: MakeSweep) -> None:
    assert render(make_sweep(25)) == render(make_sweep(25))


def test_nothing_that_a_user_wrote_becomes_markup() -> None:
    text = render(hostile_job())
    page = Page(text)
    assert page.count("script") == page.count("style") == 1
    assert page.count("img") == page.count("a") == 0
    assert not any(name.startswith("on") or name == "style" for _, attributes in page.tags for name in attributes)
    assert not re.search("[\x00\x1b\ud800\u202e]", text)
    text.encode()
    drawings(text)


def test_page_asks_the_network_for_nothing(make_sweep: MakeSweep) -> None:
    text = render(make_sweep(30))
    page = Page(text)
    assert not {"src", "srcset", "action", "data"} & {name for _, given in page.tags for name in given}
    assert {tag for tag, given in page.tags if "href" in given} == {"a"}
    assert [given["href"] for tag, given in page.tags if tag == "a"] == ["results.csv"]
    assert "url(" not in CSS
    assert "@import" not in CSS
    assert set(re.findall(r"https?://[^\"'\s]+", text)) == {"http://www.w3.org/2000/svg"}


def test_policy_allows_exactly_the_style_and_script_of_the_page(make_sweep: MakeSweep) -> None:
    text = render(make_sweep(3))
    page = Page(text)
    assert page.texts["style"] == [CSS]
    assert page.texts["script"] == [SCRIPT]
    for kind in ("style", "script"):
        (text_of,) = page.texts[kind]
        digest = base64.b64encode(hashlib.sha256(text_of.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}';" in POLICY
    policies = [given["content"] for tag, given in page.tags if given.get("http-equiv") == "Content-Security-Policy"]
    assert policies == [POLICY]
    assert "unsafe" not in POLICY


def test_every_drawing_is_described_and_every_heading_cell_has_a_scope(make_sweep: MakeSweep) -> None:
    text = render(make_sweep(30))
    for svg in drawings(text):
        names = [child.tag.rpartition("}")[2] for child in svg]
        assert names[:2] == ["title", "desc"]
        assert svg.get("role") == "img"
    page = Page(text)
    assert all(given.get("scope") in ("row", "col") for tag, given in page.tags if tag == "th")
    ids = [given["id"] for _, given in page.tags if "id" in given]
    assert len(ids) == len(set(ids))
    labels = [name for _, given in page.tags for name in (given.get("aria-labelledby") or "").split()]
    assert set(labels) <= set(ids)


@pytest.mark.parametrize("state", ["queued", "rejected", "cancelled"])
def test_job_without_trials_says_so(make_sweep: MakeSweep, state: str) -> None:
    text = render(make_sweep(0, state=state, reason="", counts={}))
    Page(text)
    assert "No trial has been dispatched." in text
    assert "No trial has completed." in text
    assert "No trial has completed yet." in render(make_sweep(0, state=state, finished=None))


def test_command_job_needs_no_metric_and_no_parameters() -> None:
    row = TrialRow(0, "completed", started=TIME, finished=TIME + timedelta(seconds=42))
    text = render(ReportData("Once", "a/b/c", "command", "completed", created=TIME, num_trials=1, rows=[row]))
    assert "42 s" in text
    assert not {"Leaderboard", "Progress", "Parameters"} & set(Page(text).texts["h2"])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), None])
def test_trial_without_a_finite_metric_is_listed_but_not_ranked(make_sweep: MakeSweep, value: float | None) -> None:
    data = make_sweep(6)
    rows = [replace(row, metric=value) if row.trial == 3 else row for row in data.rows]
    text = render(replace(data, rows=rows, best=None))
    board, everything = text.split("<details>")
    assert 'data-t="3"' not in board
    assert 'data-t="3"' in everything.split("</details>")[0]
    coordinates = re.findall(r' (?:d|cx|cy|x|y|x1|width)="([^"]*)"', text)
    assert not [at for at in coordinates if "nan" in at or "inf" in at]


def test_curve_is_broken_where_a_value_is_not_finite(make_sweep: MakeSweep) -> None:
    values = (0.1, 0.2, float("nan"), 0.3, 0.4)
    curve = Curve(0, "accuracy", (1.0, 2.0, 3.0, 4.0, 5.0), values)
    chart = next(svg for svg in drawings(render(make_sweep(3, curves=[curve]))) if svg[0].text == "Learning curves")
    paths = [node.get("d") or "" for node in chart.iter() if node.tag.endswith("path")]
    assert [path.count("M") for path in paths] == [2]


def test_curve_without_any_finite_value_is_left_out(make_sweep: MakeSweep) -> None:
    curve = Curve(0, "accuracy", (1.0, 2.0), (float("nan"), float("inf")))
    assert "Learning curves" not in render(make_sweep(3, curves=[curve]))


def test_curve_whose_few_finite_values_are_thinned_out_does_no_harm(make_sweep: MakeSweep) -> None:
    values = tuple(0.5 if step == 1 else float("nan") for step in range(5000))
    Page(render(make_sweep(3, curves=[Curve(0, "accuracy", tuple(map(float, range(5000))), values)])))


def test_metrics_of_a_command_get_a_panel_each() -> None:
    row = TrialRow(0, "completed", started=TIME, finished=TIME + timedelta(seconds=42))
    curves = [Curve(0, name, (1.0, 2.0), (1.0, 0.5)) for name in ("accuracy", "loss", "rate")]
    text = render(ReportData("Once", "a/b/c", "command", "completed", num_trials=1, rows=[row], curves=curves))
    assert {"accuracy", "loss", "rate"} <= set(Page(text).texts["h3"])
    ids = re.findall(r' id="([^"]+)"', text)
    assert len(ids) == len(set(ids))


def test_curve_of_a_trial_that_never_completed_stands_beside_the_word_that_none_has(make_sweep: MakeSweep) -> None:
    row = TrialRow(0, "cancelled", "cancelled", started=TIME, finished=TIME + timedelta(seconds=4))
    curve = Curve(0, "accuracy", tuple(map(float, range(20))), (90.0, 80.0, *(1 / step for step in range(1, 19))))
    text = render(make_sweep(1, state="cancelled", counts={"cancelled": 1}, rows=[row], best=None, curves=[curve]))
    assert "No trial has completed." in text
    assert "No trial has reported" not in text
    assert "<figcaption>accuracy of trial 0.</figcaption>" in text


def test_completed_trials_without_a_usable_metric_are_not_denied(make_sweep: MakeSweep) -> None:
    rows = [replace(row, state="completed", metric=float("nan")) for row in make_sweep(3).rows]
    assert "No completed trial has a finite accuracy." in render(make_sweep(3, rows=rows, best=None, curves=[]))


@pytest.mark.parametrize("goal", ["minimize", "maximize"])
def test_lone_curve_is_not_cut_off(make_sweep: MakeSweep, goal: str) -> None:
    values = (900.0, -900.0, *(1 + step / 100 for step in range(18)))
    curves = [Curve(trial, "accuracy", tuple(map(float, range(20))), values) for trial in (0, 1)]
    assert "lie beyond the axis" not in render(make_sweep(1, goal=goal, curves=curves[:1]))
    caption = "accuracy of the 2 best trials; the best is the thick line. Values at the edge lie beyond the axis."
    assert caption in render(make_sweep(2, goal=goal, curves=curves))


def test_failures_are_grouped_by_reason(make_sweep: MakeSweep) -> None:
    data = make_sweep(40)
    section = render(data).split("<h2>Failures</h2>")[1].split("</section>")[0]
    failed = [row.trial for row in data.rows if row.state == "failed"]
    assert section.count("<tr>") == 2
    assert f'<td class="n">{len(failed)}</td>' in section
    assert ", ".join(map(str, failed)) in section


def test_failures_that_are_not_among_the_rows_are_counted(make_sweep: MakeSweep) -> None:
    text = render(make_sweep(5, counts={"completed": 5, "failed": 7}, rows_left_out=7))
    assert "7 more failed trials not listed here." in text
    assert "7 more stand in the results file" in text


def test_page_stays_below_two_megabytes_whatever_the_job(make_sweep: MakeSweep) -> None:
    assert len(render(make_sweep(1000)).encode()) < 1_000_000
    wide = [
        replace(row, reason=HOSTILE * 9, parameters={f"{HOSTILE}{n}": f"{row.trial}{'long ' * 99}" for n in range(60)})
        for row in make_sweep(1500).rows
    ]
    text = render(make_sweep(1500, rows=wide, parameter_names=[], tags={str(n): "x" * 9999 for n in range(999)}))
    assert 500_000 < len(text.encode()) < 2_000_000


def test_times_may_come_without_a_zone(make_sweep: MakeSweep) -> None:
    naive = TIME.replace(tzinfo=None)
    row = TrialRow(0, "completed", metric=1.0, started=naive, finished=TIME + timedelta(seconds=1))
    Page(render(make_sweep(1, rows=[row], created=naive, finished=TIME + timedelta(seconds=2))))


leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
parameters = st.dictionaries(
    st.text(), leaves | st.lists(leaves, max_size=2) | st.dictionaries(st.text(), leaves), max_size=4
)
trials = st.builds(
    TrialRow,
    trial=st.integers(0, 9),
    state=st.sampled_from(["completed", "failed", "running", "stopped", "what"]),
    reason=st.text(),
    parameters=parameters,
    metric=st.none() | st.floats(),
    metrics=st.dictionaries(st.text(), st.floats(), max_size=2),
    started=st.none() | st.datetimes(timezones=st.just(UTC)),
    finished=st.none() | st.datetimes(timezones=st.just(UTC)),
)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(trials, max_size=8, unique_by=lambda row: row.trial),
    values=st.lists(st.floats(), min_size=1, max_size=5),
    goal=st.sampled_from(["minimize", "maximize", None]),
    best=st.none() | st.integers(0, 9),
    text=st.text(),
)
def test_any_job_gives_a_well_formed_page(rows, values, goal, best, text) -> None:  # type: ignore[no-untyped-def]
    curve = Curve(0, text, tuple(float(step) for step in range(len(values))), tuple(values))
    page = render(
        ReportData(text, text, "sweep", text, goal=goal, primary_metric=text, rows=rows, best=best, curves=[curve])
    )
    Page(page)
    drawings(page)
    page.encode()
