"""The blobs in memory, with which orders and clocks of nodes are tried, do as real ones do."""

import uuid
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dropsweep.names import RUNS
from dropsweep.storage import Store
from tests.unit.nodes.memory import Service

NAMES = st.sampled_from(["a.json", "a/b.json", "a/c.json", "b/d.json"])
WRITERS = st.sampled_from(["", "one", "two"])
ACTS = st.one_of(
    st.tuples(st.just("create"), NAMES, WRITERS),
    st.tuples(st.sampled_from(["replace", "touch"]), NAMES, WRITERS, st.booleans()),
    st.tuples(st.sampled_from(["head", "read"]), NAMES),
    st.tuples(st.just("delete"), NAMES, st.sampled_from(["", "fresh", "stale"])),
    st.tuples(st.just("delete_all"), st.lists(NAMES, unique=True, max_size=3)),
    st.tuples(st.sampled_from(["folders", "list"]), st.sampled_from(["", "a/", "a"])),
    st.tuples(st.just("page"), st.sampled_from(["", "a"]), st.integers(1, 3)),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(ACTS, max_size=12))
def test_the_same_calls_have_the_same_outcomes(store: Store, acts: list[tuple[Any, ...]]) -> None:
    outcomes = []
    for one in (store, Service().store()):
        prefix = f".nodes/{uuid.uuid4().hex}/"
        etags: dict[str, list[str]] = {}
        outcomes.append([act_on(one, prefix, etags, number, *act) for number, act in enumerate(acts)])
    assert outcomes[0] == outcomes[1]


def act_on(store: Store, prefix: str, etags: dict[str, list[str]], number: int, what: str, *given: Any) -> Any:
    """Does one thing and returns what came of it, without what differs from account to account."""
    blobs = store.blobs
    metadata = {"number": str(number)}

    def own(found: Any) -> dict[str, str]:
        return {"number": found.metadata.get("number", "")}

    def paths() -> Callable[[str], str]:
        return lambda name: name.removeprefix(prefix)

    if what in ("create", "replace", "touch"):
        name, owner, *rest = given
        known = etags.setdefault(name, [])
        etag = known[-1 if rest and rest[0] else 0] if known else '"0x8000000"'
        path = prefix + name
        if what == "create":
            written = blobs.create(RUNS, path, b"%d" % number, metadata, owner=owner)
        elif what == "replace":
            written = blobs.replace(RUNS, path, b"%d" % number, etag, metadata, owner=owner)
        else:
            written = blobs.touch(RUNS, path, etag, metadata, owner=owner)
        if written is not None:
            assert written.etag not in known
            known.append(written.etag)
        return written is not None
    if what == "head":
        head = blobs.head(RUNS, prefix + given[0])
        return head and (own(head), head.size_bytes, head.modified <= head.served)
    if what == "read":
        blob = blobs.read(RUNS, prefix + given[0])
        return blob and (own(blob), blob.body)
    if what == "delete":
        known = etags.get(given[0], [])
        etag = {"": "", "fresh": known[-1] if known else "", "stale": known[0] if known else ""}[given[1]]
        return blobs.delete(RUNS, prefix + given[0], etag=etag)
    if what == "delete_all":
        return blobs.delete_all(RUNS, [prefix + name for name in given[0]])
    if what == "folders":
        return [*map(paths(), blobs.folders(RUNS, prefix + given[0]))]
    if what == "list":
        return [(paths()(one.name), own(one)) for one in blobs.list(RUNS, prefix + given[0], metadata=True)]
    found, cursor = [], ""
    while True:
        page = blobs.page(RUNS, prefix + given[0], limit=given[1], cursor=cursor, metadata=True)
        assert page is not None
        assert all(one.modified <= page.served for one in page.items)
        found += [(paths()(one.name), own(one)) for one in page.items]
        cursor = page.next
        if not cursor:
            return found
