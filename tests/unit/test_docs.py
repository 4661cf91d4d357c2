"""The documents and the trainer's image agree with the code."""

import ast
import dataclasses
import fnmatch
import inspect
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dropsweep import names, settings
from dropsweep.errors import Problem
from dropsweep.manifests import label_of
from dropsweep.messages import AdvanceMessage, TrialMessage
from dropsweep.names import JobKey
from dropsweep.records import Best, JobRecord, Retried, TrialRecord
from dropsweep.records.buried import BuriedMessage
from dropsweep.records.node import NodeRecord
from dropsweep.spec import JobSpec
from dropsweep.states import (
    JOB_MOVES,
    JOB_STATE,
    TRIAL_MOVES,
    TRIAL_STATE,
    JobReason,
    NodeState,
    TrialReason,
)
from dropsweep.steps.attempt import PROGRESSED
from dropsweep.version import __version__
from local.stack import LOCAL_SETTINGS

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("docs/*.md")), ROOT / "examples/README.md", ROOT / "CHANGELOG.md", ROOT / "README.md"]
ARCHITECTURE = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
STORAGE = (ROOT / "docs/storage.md").read_text(encoding="utf-8")
GLOSSARY = (ROOT / "docs/glossary.md").read_text(encoding="utf-8")
DOCKERFILE = (ROOT / "trainer_image/Dockerfile").read_text(encoding="utf-8")
CODE = [file for folder in ("shared", "functions", "trainer_image", "local") for file in (ROOT / folder).rglob("*.py")]

KEY = JobKey("w", "e", "job-0123456789")
NOW = datetime(2026, 1, 2, tzinfo=UTC)
JOB = JobRecord(KEY, "sweep", JobReason.ACCEPTED, "job", 5, NOW, best=Best(1, 0.5), retried=Retried(1, 1))
TRIAL = TrialRecord(
    *(KEY, 7, 3, TrialReason.SUCCEEDED, {}, "m"),
    **{"metric": 1.0, "metrics": {"a": 1.0}, "round": 1, "ran_s": 2.5, "num_retries": 1, "runs_alone": True},
)
NODE = NodeRecord(cluster="c", month="2026-01", node="n", worker="w", state=NodeState.IDLE, num_slots=1, beat_s=30.0)
SAMPLES: dict[str, int | str] = {"shard": 12, "trial": 12_345, "attempt": 3, "label": "0003-000001-step-000005"}


def section(page: str, heading: str) -> str:
    """The text under a heading, without the headings below it."""
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", page, re.MULTILINE | re.DOTALL)
    assert found, f"there is no heading {heading}"
    return found[1]


def rows(text: str, *, table: int = 0) -> list[list[str]]:
    """The cells of one table of a text, without its head."""
    tables = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    lines = tables[table].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def spans(text: str) -> list[str]:
    """Everything between backticks."""
    return re.findall(r"`([^`]+)`", text)


def named(text: str, *, table: int = 0) -> list[str]:
    """What the first column of a table names."""
    return [span for row in rows(text, table=table) for span in spans(row[0])]


def words(cell: str) -> set[str]:
    return set(filter(None, cell.split(", ")))


def constants() -> Iterator[str]:
    """Every text in the code that is an environment variable of ours, or begins the name of some."""
    for file in CODE:
        yield from re.findall(r'["\'](DROPSWEEP_[A-Z_]+)["\']', file.read_text(encoding="utf-8"))
    yield from (value for value in vars(settings).values() if str(value).startswith("DROPSWEEP_"))


def test_the_tables_name_every_environment_variable_of_the_code_and_no_other() -> None:
    told = named(section(ARCHITECTURE, "Settings")) + named(section(ARCHITECTURE, "What a trial's process is given"))
    assert sorted(told) == sorted(set(constants()))


def test_the_settings_table_gives_the_defaults_of_the_code() -> None:
    told = {spans(row[0])[0]: row[1].strip("`") for row in rows(section(ARCHITECTURE, "Settings"))}
    for field in dataclasses.fields(settings.Settings):
        if field.name != "storage":
            default = f"{field.default:g}" if isinstance(field.default, int | float) else field.default[0].name
            assert told[f"DROPSWEEP_{field.name.upper()}"] == default


@pytest.mark.parametrize(("kind", "table"), [("job", JOB_STATE), ("trial", TRIAL_STATE)])
def test_each_reason_stands_in_its_table_with_its_state(kind: str, table: dict[str, str]) -> None:
    told = {row[0].strip("`"): row[1] for row in rows(section(ARCHITECTURE, f"Reasons of a {kind}"))}
    assert told == {str(reason): str(state) for reason, state in table.items()}


@pytest.mark.parametrize(("kind", "table"), [("job", JOB_MOVES), ("trial", TRIAL_MOVES)])
def test_each_move_stands_in_its_table(kind: str, table: dict[str, frozenset[str]]) -> None:
    told = {row[0]: words(row[1]) for row in rows(section(ARCHITECTURE, f"Moves of a {kind}"))}
    assert told == {str(state): {str(then) for then in moves} for state, moves in table.items()}


def test_the_step_table_has_the_steps_in_the_order_of_the_package() -> None:
    folder = ROOT / "shared/dropsweep/steps"
    in_package = re.findall(
        r"^    (\w+) ", ast.get_docstring(ast.parse((folder / "__init__.py").read_text())) or "", re.M
    )
    in_table = [re.findall(r"\[(\w+)\]", row[0])[0] for row in rows(section(ARCHITECTURE, "The steps"))]
    assert sorted(in_table) == sorted(file.stem for file in folder.glob("[a-z]*.py"))
    assert in_table == in_package


def test_each_step_s_docstring_has_five_lines_and_names_the_blobs_of_the_table() -> None:
    for row in rows(section(ARCHITECTURE, "The steps")):
        step = re.findall(r"\[(\w+)\]", row[0])[0]
        told = ast.get_docstring(ast.parse((ROOT / f"shared/dropsweep/steps/{step}.py").read_text())) or ""
        lines = re.findall(r"^(Reads|Writes \(in order\)|Idempotent by|If it dies|Next):", told, re.MULTILINE)
        assert lines == ["Reads", "Writes (in order)", "Idempotent by", "If it dies", "Next"]
        assert [span for cell in row[1:] for span in spans(cell) if span not in told] == [], step


def built() -> dict[str, str]:
    """Every path that a job's key can build, by the name of what builds it."""
    paths = {}
    for name, member in vars(JobKey).items():
        if isinstance(member, property):
            paths[name] = getattr(KEY, name)
        elif inspect.isfunction(member) and not name.startswith("_"):
            given = [parameter for parameter in inspect.signature(member).parameters if parameter != "self"]
            paths[name] = member(KEY, *(SAMPLES[parameter] for parameter in given))
    return paths


def test_the_layout_shows_every_path_that_the_code_builds_and_no_other() -> None:
    paths = built()
    assert paths.pop("path") == KEY.path
    for beside, folder in (("marker", names.LIVE), ("deletion", names.DELETING), ("tombstone", names.DELETED)):
        assert paths.pop(beside) == f"{folder}{KEY.path}"
    shown = named(section(STORAGE, "A job's blobs"))
    samples = {**SAMPLES, "shard": SAMPLES["trial"] // names.SHARD_SIZE}  # type: ignore[operator]
    assert samples["shard"] == SAMPLES["shard"]
    assert sorted(path.format(job=KEY.path, **samples) for path in shown) == sorted(paths.values())


def test_a_checkpoint_s_label_is_written_as_the_layout_says() -> None:
    template = re.search(r"A `\{label\}` is `([^`]+)`: `([^`]+)`", STORAGE)
    assert template
    assert template[1].format(attempt=1, number=3, name="step-000005") == template[2]
    assert label_of(1, 3, "step-000005") == template[2]


def test_the_layout_shows_every_container_and_every_queue() -> None:
    assert named(section(STORAGE, "Containers")) == list(names.CONTAINERS)
    own = (names.SUBMISSIONS_QUEUE, names.ADVANCE_QUEUE)
    queues = {*own, names.trials_queue("{cluster}")}
    poison = {*map(names.poison_queue, own), names.DROP_POISON_QUEUE}
    assert set(named(section(STORAGE, "Queues"))) == queues | poison


def test_the_layout_shows_what_belongs_to_no_job() -> None:
    told = named(section(STORAGE, "Beside the jobs"), table=0)
    schedule = names.ScheduleKey("{workspace}", "{schedule}")
    submission = f"{names.SUBMISSIONS}{{workspace}}/{{digest}}.json"
    assert len(names.submission_record("w", "s-1")) == len(submission.format(workspace="w", digest="0" * 32))
    assert told == [
        f"{names.LIVE}{{job}}",
        submission,
        f"{names.DELETING}{{job}}",
        f"{names.DELETED}{{job}}",
        schedule.state,
        f"{schedule.ticks}{{due}}.json",
        names.quota_ledger("{workspace}"),
        names.node_record("{cluster}", "{month}", "{node}"),
        names.node_hours("{cluster}", "{month}"),
        names.buried("{queue}", "{id}"),
        names.REPAIR_RECORD,
        names.RETENTION_RECORD,
        names.FUNCTIONS_RECORD,
    ]


def test_the_field_tables_name_every_field_of_the_records() -> None:
    for heading, record in (("`job.json`", JOB), ("A trial's record", TRIAL)):
        text = section(STORAGE, heading)
        assert sorted(named(text)) == sorted(json.loads(record.to_json()))
    assert sorted(named(section(STORAGE, "`spec.json`"))) == sorted(JobSpec.model_fields)
    buried = BuriedMessage("advance", "1", b"x", "why", 5, 0)
    assert sorted(named(section(STORAGE, "Beside the jobs"), table=1)) == sorted(json.loads(buried.to_json()))
    assert sorted(named(section(STORAGE, "Beside the jobs"), table=2)) == sorted(json.loads(NODE.to_json()))
    problem = Problem("path", "value", "rule", "remedy")
    assert sorted(named(section(STORAGE, "`error.json`"), table=1)) == sorted(problem.to_json())


def test_the_metadata_tables_name_every_key() -> None:
    job = {*JOB.to_metadata(), "write"}
    assert sorted(named(section(STORAGE, "`job.json`"), table=1)) == sorted(job)
    node = [span for row in rows(section(STORAGE, "Beside the jobs"), table=2) for span in spans(row[1])]
    assert sorted(node) == sorted(NODE.to_metadata())
    trial = {*TRIAL.to_metadata(step=1), PROGRESSED, "write"}
    assert sorted(named(section(STORAGE, "A trial's record"), table=1)) == sorted(trial)


def literal_keys(file: str, function: str) -> list[set[str]]:
    """The keys of every dictionary that is written out in one function."""
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    found = next(n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name == function)
    dictionaries = [node for node in ast.walk(found) if isinstance(node, ast.Dict)]
    return [{key.value for key in node.keys if isinstance(key, ast.Constant)} for node in dictionaries]


@pytest.mark.parametrize(
    ("heading", "file", "function"),
    [
        ("A manifest", "shared/dropsweep/manifests/manifest.py", "to_json"),
        ("`best.json`", "shared/dropsweep/steps/report.py", "_best_document"),
        ("`error.json`", "shared/dropsweep/steps/pick_up.py", "_reject"),
    ],
)
def test_the_tables_of_files_without_a_class_name_what_is_written(heading: str, file: str, function: str) -> None:
    assert set(named(section(STORAGE, heading))) in literal_keys(file, function)


def test_the_columns_of_the_results_are_those_that_are_written() -> None:
    told = [name for name in named(section(STORAGE, "`results.csv`")) if "{" not in name]
    assert set(told) in literal_keys("shared/dropsweep/steps/report.py", "_write_lines")


def test_the_messages_shown_are_those_that_are_sent() -> None:
    hint, trial = re.findall(r"```json\n(.*?)\n```", section(STORAGE, "Queues"))
    assert AdvanceMessage.from_text(hint).to_text() == hint
    assert TrialMessage.from_text(trial).to_text() == trial


def test_the_glossary_is_in_the_order_of_the_alphabet() -> None:
    terms = re.findall(r"^\*\*(.+?)\*\*: ", GLOSSARY, re.MULTILINE)
    assert terms == sorted(set(terms))


def slugs(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.exists()], ids=lambda page: str(page.relative_to(ROOT))
)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    lost = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if "://" not in link and (not target.exists() or (anchor and anchor not in slugs(target))):
            lost.append(link)
    assert lost == []


def test_every_proof_is_a_test() -> None:
    told = re.findall(r"`(test_\w+)`", (ROOT / "docs/reliability.md").read_text(encoding="utf-8"))
    code = "\n".join(file.read_text(encoding="utf-8") for file in (ROOT / "tests").rglob("test_*.py"))
    assert told
    assert [name for name in told if f"def {name}(" not in code] == []


def test_the_changelog_s_newest_version_is_the_distribution_s_and_the_image_s() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^## \[(.+?)\]", changelog, re.MULTILINE)[0] == __version__
    assert f"\nARG VERSION={__version__}\n" in DOCKERFILE


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions with their arguments, each in one line."""
    lines = [line for line in DOCKERFILE.splitlines() if line.strip() and not line.startswith("#")]
    whole = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in whole.splitlines()]


def last(name: str) -> str:
    return [argument for instruction, argument in instructions() if instruction == name][-1]


def test_the_image_runs_the_trainer_as_a_user_that_is_not_root_and_stops_on_sigterm() -> None:
    user, _, group = last("USER").partition(":")
    assert int(user) > 0
    assert int(group) > 0
    assert last("STOPSIGNAL") == "SIGTERM"
    entry = json.loads(last("ENTRYPOINT"))  # JSON: the exec form, with no shell between the signal and the worker
    assert entry[entry.index("-m") + 1] == "dropsweep_trainer"
    assert entry[entry.index("--work") + 1] == last("WORKDIR")


def copied() -> list[str]:
    """The paths that the image takes from the repository."""
    taken = [argument.split() for name, argument in instructions() if name == "COPY" and "--from" not in argument]
    return [source for parts in taken for source in parts[:-1]]


def test_the_image_copies_only_what_is_there_and_not_ignored() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert copied()
    assert {path for path in copied() if not (ROOT / path).exists()} == set()
    assert sorted(line[1:] for line in lines if line.startswith("!")) == sorted(copied())
    assert "*" in lines
    assert any(fnmatch.fnmatch("shared/__pycache__", line) for line in lines if line != "*")


def test_the_times_of_one_machine_are_those_that_the_stack_sets() -> None:
    told = re.findall(r"heartbeat \((\d+) s\), claim timeout \((\d+) s\) and grace \((\d+) s\)", ARCHITECTURE)
    names = ("DROPSWEEP_HEARTBEAT_S", "DROPSWEEP_CLAIM_TIMEOUT_S", "DROPSWEEP_GRACE_S")
    assert told == [tuple(LOCAL_SETTINGS[name] for name in names)]
