"""Finds clusters with their nodes, their queues and the hours that they used."""

from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from dropsweep.client.doctor.account import functions_record
from dropsweep.client.nodes import ClusterSummary, ClusterView, ShownNode, config_in
from dropsweep.clusters import Cluster
from dropsweep.errors import NotFoundError, StorageCorrupt, StorageDenied
from dropsweep.names import Priority, is_cluster, trials_queue
from dropsweep.nodes import NodeList, budget_of, clusters_with_nodes, list_nodes, read_node
from dropsweep.records.codec import time_of
from dropsweep.states import NodeState
from dropsweep.storage import Store, probe

RECENT_S: Final = 24 * 3600.0
"""How long a list counts nodes that were lost or unusable."""
MAX_GONE: Final = 100
_MAX_MESSAGES: Final = 5
_LOOKERS: Final = 8
_TRIALS_QUEUES: Final = trials_queue("")


@dataclass(frozen=True, slots=True)
class Known:
    """A cluster of which something was found.

    Attributes:
        name: which.
        is_served: as in `ClusterSummary`.
        config: what its cluster file says, if that is known.
        told: as in `ClusterSummary`.
    """

    name: str
    is_served: bool | None
    config: Cluster | None = None
    told: datetime | None = None


def list_clusters(store: Store, served: Iterable[Cluster] | None = None) -> list[ClusterSummary]:
    """Returns the clusters that the functions serve, in their order, then others that have nodes or queues, by name.

    Two storage operations (three without `served`), and four for each cluster, one more for each queue with 32 messages
    or more; eight clusters at a time.

    Args:
        store: the storage account.
        served: the clusters that jobs may name; None: those that the functions' last timer pass told.

    Raises:
        StorageError: as the storage does. NotFoundError: the account has not been prepared for Dropsweep.
    """
    found = known_clusters(store, served)
    with ThreadPoolExecutor(_LOOKERS, thread_name_prefix="clusters") as pool:
        return [summary for summary, _ in pool.map(lambda known: _look(store, known), found)]


def show_cluster(store: Store, cluster: str, served: Iterable[Cluster] | None = None) -> ClusterView:
    """Returns one cluster with its nodes; seven storage operations, and up to five more for long messages of nodes.

    Args:
        store: the storage account.
        cluster: its name.
        served: as in `list_clusters`.

    Raises:
        NotFoundError: nobody serves it, and it has neither nodes nor a queue. StorageError: as the storage does.
    """
    found = known_clusters(store, served)
    known = next((one for one in found if one.name == cluster), None)
    if known is None:
        raise _no_cluster(cluster, found)
    summary, nodes = _look(store, known)
    shown = [ShownNode.of(node, nodes.now) for node in nodes.nodes]
    gone = sorted((node for node in shown if not node.is_living), key=lambda node: node.seen, reverse=True)
    living = [node for node in shown if node.is_living]
    listed = tuple(living + _told_whole(store, nodes, gone[:MAX_GONE]))
    return ClusterView(summary, listed, len(gone[MAX_GONE:]) + nodes.num_folded)


def known_clusters(store: Store, served: Iterable[Cluster] | None = None) -> list[Known]:
    """Returns all clusters that there are, as `list_clusters` has them; three storage operations at most."""
    record = functions_record(store) if served is None else None
    told = served_by(record) if served is None else [Known(one.name, True, one) for one in served]
    when = time_of(record["at"]) if record else None
    names = {one.name for one in told or ()}
    others = {name for name in (*clusters_with_nodes(store), *_clusters_with_queues(store)) if is_cluster(name)}
    rest = [Known(name, None if told is None else False) for name in sorted(others - names)]
    return [replace(one, told=when) for one in (*(told or ()), *rest)]


def served_by(record: Mapping[str, Any] | None) -> list[Known] | None:
    """Returns the clusters that the functions serve, by what their last timer pass wrote.

    Functions of a version before cluster files name them only.

    Returns:
        None: there is no record, or it does not say.
    """
    listed = (record or {}).get("clusters")
    if not isinstance(listed, list):
        return None
    found: dict[str, Known] = {}
    for each in listed:
        name = each.get("name") if isinstance(each, dict) else each
        if isinstance(name, str) and is_cluster(name):
            found[name] = Known(name, True, config_in(each) if isinstance(each, dict) else None)
    return list(found.values())


def clusters_of_queues(queues: Iterable[str]) -> list[str]:
    """Returns the names of the clusters that have a queue among these."""
    names = [queue.removeprefix(_TRIALS_QUEUES) for queue in queues if queue.startswith(_TRIALS_QUEUES)]
    # The queues of another priority, and poison queues, end as no cluster's name does.
    return [name for name in names if is_cluster(name)]


def nodes_by_state(nodes: NodeList) -> dict[str, int]:
    """Returns how many nodes are in which state, as `ClusterSummary.counts` has it."""
    told = [node.shown(nodes.now) for node in nodes.living]
    told += [
        node.shown(nodes.now)
        for node in nodes.nodes
        if not node.is_living(nodes.now) and node.state is not NodeState.LEFT and node.age_s(nodes.now) <= RECENT_S
    ]
    return dict(Counter(told))


def _clusters_with_queues(store: Store) -> list[str]:
    try:
        return clusters_of_queues(probe.queue_names(store)[0])
    except StorageDenied:
        return []  # a role on single queues does not let them be listed


def _look(store: Store, known: Known) -> tuple[ClusterSummary, NodeList]:
    nodes = list_nodes(store, known.name)
    summary = ClusterSummary(
        known.name,
        known.is_served,
        known.config,
        nodes_by_state(nodes),
        sum(node.num_slots for node in nodes.living),
        sum(node.num_busy for node in nodes.living),
        {priority: _num_visible(store, trials_queue(known.name, priority)) for priority in Priority},
        nodes.month,
        nodes.seconds,
        None if known.config is None else budget_of(known.config, nodes),
        known.told,
    )
    return summary, nodes


def _num_visible(store: Store, queue: str) -> int | None:
    try:
        return store.queues.num_visible(queue)
    except NotFoundError:
        return None


def _told_whole(store: Store, nodes: NodeList, gone: list[ShownNode]) -> list[ShownNode]:
    """Reads what the latest unusable nodes said: a list has only the beginning of it, and errors stand at the end."""
    months = {node.node: node.month for node in nodes.nodes}
    told, num_read = [], 0
    for node in gone:
        if node.state == NodeState.UNUSABLE and num_read < _MAX_MESSAGES:
            num_read += 1
            node = _whole(store, nodes.cluster, months[node.node], node)
        told.append(node)
    return told


def _whole(store: Store, cluster: str, month: str, node: ShownNode) -> ShownNode:
    try:
        record = read_node(store, cluster, month, node.node)
    except StorageCorrupt:
        return node
    return replace(node, message=record.message) if record is not None else node


def _no_cluster(cluster: str, found: Iterable[Known]) -> NotFoundError:
    names = ", ".join(one.name for one in found)
    there = f"there are {names}" if names else "there is none yet"
    return NotFoundError(f"{cluster}: there is no such cluster; {there}. Name one of those, or deploy its cluster file")
