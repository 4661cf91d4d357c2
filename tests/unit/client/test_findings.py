"""What findings say together, and that the page about them says what the code does."""

import re
from pathlib import Path

import pytest

from dropsweep.client.doctor.examination import Bounds
from dropsweep.client.doctor.files import MAX_FILES
from dropsweep.client.doctor.findings import CONNECTION, Finding, Health, Status, health_of, to_document
from dropsweep.client.doctor.here import here
from dropsweep.client.doctor.jobs import MAX_JOBS

PAGE = (Path(__file__).parents[3] / "docs/cli.md").read_text(encoding="utf-8")
SECTION = PAGE.partition("### `dropsweep doctor`")[2].partition("\n## ")[0].partition("\n### ")[0]
WELL = Finding("jobs", Status.OK, "m")
WARNED = Finding("clock", Status.WARNING, "m", "r")
BROKEN = Finding("queues", Status.ERROR, "m", "r")
AWAY = Finding(CONNECTION, Status.ERROR, "m", "r")


@pytest.mark.parametrize(
    ("findings", "health"),
    [
        ([], Health.OK),
        ([WELL, WARNED], Health.OK),
        ([WELL, BROKEN], Health.DEGRADED),
        ([BROKEN, AWAY], Health.DOWN),
        ([Finding(CONNECTION, Status.OK, "m"), BROKEN], Health.DEGRADED),
    ],
)
def test_the_worst_finding_decides_and_without_the_account_everything_is_down(
    findings: list[Finding], health: Health
) -> None:
    assert health_of(findings) is health
    assert to_document(findings)["status"] == health


def test_a_finding_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="bad"):
        Finding.from_json({"check": "jobs", "status": "bad", "message": "m"})
    with pytest.raises(KeyError):
        Finding.from_json({"status": "ok"})


def test_this_side_names_its_versions_once_each() -> None:
    told = here()
    assert (told.check, told.status) == ("versions", Status.OK)
    assert re.fullmatch(r"here: dropsweep [\d.]+, Python [\d.]+(, azure-[\w-]+ [\d.]+){3}", told.message)


def test_the_page_tells_the_bounds_of_the_code() -> None:
    rows = {row.split("|")[1].strip(): row for row in SECTION.splitlines() if row.startswith("| `")}
    bounds = Bounds()

    def has(check: str, text: str) -> bool:
        return text in rows[check]

    assert has("`clock`", f"more than {bounds.skew_s:g} s apart")
    assert has("`functions`", f"none for {bounds.timer_s / 60:g} min, or never since the account was prepared")
    assert has(
        "`functions`", f"prepared {bounds.message_s / 60:g} min ago; a message waits for {bounds.message_s / 60:g}"
    )
    assert has("`trainers`", f"waits for {bounds.trainer_s / 60:g} min and nothing runs")
    assert has("`jobs`", f"no pass for {bounds.queued_s / 60:g} min; no move for {bounds.trainer_s / 60:g} min")
    assert has("`jobs`", f"cancelling for {bounds.cancelling_s / 60:g} min")
    assert has("`jobs`", f"no heartbeat for {bounds.heartbeat_s / 60:g} min")
    assert has("`jobs`", f"not sent for {bounds.message_s / 60:g} min")
    assert has("`quotas`", f"has not asked for {bounds.queued_s / 60:g} min")
    assert has("`poison`", f"a message waits there for {bounds.message_s / 60:g} min")
    assert f"first {MAX_FILES:,};" in SECTION
    assert MAX_JOBS == 100, "the page says a hundred"
