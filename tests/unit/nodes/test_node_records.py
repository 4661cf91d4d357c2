"""What records of nodes and ledgers of their hours say, and how states and hours follow from it."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropsweep.errors import StorageCorrupt
from dropsweep.records.node import HoursLedger, LedgerSummary, NodeRecord, NodeSummary
from dropsweep.states import NodeState

NOW = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)
TIMES = st.integers(0, 2**32).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
RECORDS = st.builds(
    NodeRecord,
    cluster=st.just("gpu"),
    month=st.just("2031-05"),
    node=st.just("host-1-0a1b2c3d"),
    worker=st.text(min_size=1, max_size=80),
    state=st.sampled_from(NodeState),
    num_slots=st.integers(1, 64),
    beat_s=st.floats(0.001, 1e6),
    num_busy=st.integers(0, 64),
    seconds=st.integers(0, 10**8),
    started=TIMES,
    message=st.text(max_size=200),
    image=st.text(max_size=80),
    version=st.just("1.0"),
)


def node(state: NodeState = NodeState.RUNNING, *, seconds: int = 100, beat_s: float = 30.0) -> NodeSummary:
    return NodeSummary(
        cluster="gpu",
        month="2031-05",
        node="n",
        worker="w",
        state=state,
        num_slots=1,
        beat_s=beat_s,
        seconds=seconds,
        seen=NOW,
    )


@given(RECORDS)
def test_a_record_survives_being_written_and_read(record: NodeRecord) -> None:
    assert NodeRecord.from_json(record.to_json()) == record


@given(RECORDS)
def test_a_list_sees_all_of_a_record_that_people_and_sums_need(record: NodeRecord) -> None:
    seen = NodeSummary.from_metadata(record.cluster, record.month, record.node, record.to_metadata(), NOW)
    same = [name for name in NodeRecord.__dataclass_fields__ if getattr(seen, name) != getattr(record, name)]
    assert same == []
    assert seen.seen == NOW


@given(st.text(min_size=1000, max_size=5000), st.text(max_size=5000))
def test_metadata_stays_ascii_and_below_what_the_service_holds(message: str, image: str) -> None:
    record = NodeRecord(
        cluster="gpu", month="2031-05", node="n", worker=image, state=NodeState.UNUSABLE, num_slots=1, beat_s=30.0,
        message=message, image=image,
    )  # fmt: skip
    metadata = record.to_metadata()
    assert sum(len(name) + len(value) for name, value in metadata.items()) < 8 * 1024 - 100
    assert all(value.isascii() and value.isprintable() for value in metadata.values())
    assert message.startswith(NodeSummary.from_metadata("gpu", "2031-05", "n", metadata, NOW).message)


@pytest.mark.parametrize(
    "spoilt", [{"state": "dancing"}, {"seconds": "many"}, {"beat": "0"}, {"beat": "inf"}, {"worker": "{"}]
)
def test_metadata_that_is_none_of_ours_is_refused(spoilt: dict[str, str]) -> None:
    with pytest.raises(StorageCorrupt, match="node n of cluster gpu"):
        NodeSummary.from_metadata("gpu", "2031-05", "n", node().to_metadata() | spoilt, NOW)


def test_metadata_of_an_older_version_needs_no_more_than_states_and_hours_do() -> None:
    least = {"state": "idle", "beat": "30.0", "seconds": "7"}
    found = NodeSummary.from_metadata("gpu", "2031-05", "n", least, NOW)
    assert (found.worker, found.num_slots, found.started, found.message) == ("n", 1, NOW, "")


def test_a_silent_node_is_lost_after_three_beats_by_its_own_measure() -> None:
    for beat_s in (1.0, 30.0):
        late = NOW + timedelta(seconds=3 * beat_s + 3)
        assert node(beat_s=beat_s).is_living(NOW + timedelta(seconds=3 * beat_s))
        assert node(beat_s=beat_s).is_lost(late)
        assert node(beat_s=beat_s).shown(late) == "lost"
    assert node().shown(NOW) == "running"


def test_a_node_that_said_it_leaves_is_never_lost() -> None:
    later = NOW + timedelta(days=9)
    for state in (NodeState.LEFT, NodeState.UNUSABLE):
        assert not node(state).is_lost(later)
        assert not node(state).is_living(NOW)
        assert node(state).counted_s(later) == 100


def test_what_a_node_used_since_it_spoke_counts_but_one_beat_at_most() -> None:
    assert [node().counted_s(NOW + timedelta(seconds=age)) for age in (-5, 0, 10, 30, 10_000)] == [
        100, 100, 110, 130, 130,
    ]  # fmt: skip


def test_closing_a_lost_node_changes_nothing_that_counts() -> None:
    later = NOW + timedelta(hours=2)
    gone = node().gone(later)
    assert (gone.seconds, gone.state) == (node().counted_s(later), NodeState.LEFT)
    assert gone.message == "lost: it was last seen at 2031-05-06T07:08:09Z"


def test_a_ledger_survives_being_written_and_read_and_a_list_sees_its_sums() -> None:
    ledger = HoursLedger("gpu", "2031-05").taking([node(), node(seconds=7)]).done().taking([node()])
    assert ledger == HoursLedger("gpu", "2031-05", 207, 3, ("n",), 3)
    assert HoursLedger.from_json(ledger.to_json()) == ledger
    assert LedgerSummary.from_metadata("l", ledger.to_metadata()) == LedgerSummary(207, 3, 1, 3)


@pytest.mark.parametrize("body", [b"", b"{}", b'{"version": 1, "cluster": "gpu"}', b'{"version": 2}'])
def test_what_is_no_record_is_refused(body: bytes) -> None:
    for read in (NodeRecord.from_json, HoursLedger.from_json):
        with pytest.raises(StorageCorrupt):
            read(body)
