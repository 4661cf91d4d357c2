"""What `doctor` sees of clusters: nodes that failed or went silent, hours that are used up, clusters that are full."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Final

from dropsweep.client.clusters import nodes_by_state
from dropsweep.client.doctor.account import Examined, work_of
from dropsweep.client.doctor.findings import Finding, Status
from dropsweep.client.nodes import hours_text
from dropsweep.clusters import Cluster
from dropsweep.errors import NotFoundError
from dropsweep.nodes import NodeList, budget_of, clusters_with_nodes
from dropsweep.page.words import duration, moment, plural
from dropsweep.records.node import NodeSummary
from dropsweep.states import NodeState

_CHECK: Final = "clusters"
_LOOKERS: Final = 8
_MAX_TOLD: Final = 300
_AT_WORK: Final = frozenset({NodeState.IDLE, NodeState.RUNNING, NodeState.LEAVING})


def clusters(of: Examined) -> Iterator[Finding]:
    """Looks at the nodes of every cluster, and at the hours that they used; one storage operation for each."""
    served = of.served_clusters or {}
    names = list(dict.fromkeys([*of.clusters, *clusters_with_nodes(of.store)]))
    if of.told is not None:
        told = f"{', '.join(served)}: as the functions' timer pass at {moment(of.told)} told"
        yield Finding(_CHECK, Status.OK, told)
    with ThreadPoolExecutor(_LOOKERS, thread_name_prefix="doctor") as pool:
        for name, nodes in zip(names, pool.map(of.nodes_of, names), strict=True):
            config = served.get(name)
            found = [finding for look in _LOOKS for finding in look(of, config, nodes)]
            yield from found
            if not found and (name in of.clusters or nodes.living):
                yield Finding(_CHECK, Status.OK, f"{name}: {_stands(config, nodes)}")


def _unusable(of: Examined, _config: Cluster | None, nodes: NodeList) -> Iterator[Finding]:
    found = unusable(of, nodes)
    if not found:
        return
    said = found[-1].message.strip().splitlines()[-1:] or ["it did not say why"]
    told = (
        f"{nodes.cluster}: {plural(len(found), 'node')} unusable in the last {duration(of.bounds.node_s)}, the latest "
        f"{duration(found[-1].age_s(nodes.now))} ago: {said[0][:_MAX_TOLD]}"
    )
    yield Finding(_CHECK, Status.WARNING if is_at_work(nodes) else Status.ERROR, told, mend(nodes.cluster))


def _lost(of: Examined, _config: Cluster | None, nodes: NodeList) -> Iterator[Finding]:
    found = _lately(of, nodes, lambda node: node.is_lost(nodes.now))
    if not found:
        return
    told = (
        f"{nodes.cluster}: {plural(len(found), 'node')} went silent in the last {duration(of.bounds.node_s)}, the "
        f"latest ({found[-1].node}) {duration(found[-1].age_s(nodes.now))} ago"
    )
    remedy = "Other nodes take their trials over by themselves. See whether they are ended from outside or lack memory"
    yield Finding(_CHECK, Status.WARNING, told, remedy)


def _spent(_of: Examined, config: Cluster | None, nodes: NodeList) -> Iterator[Finding]:
    spent = None if config is None else budget_of(config, nodes)
    if spent is not None:
        told = spent.why().partition(": ")[2]
        first = "Wait, or raise" if spent.cap_hours else "Raise"
        remedy = f"{first} monthly_node_hours in its cluster file and deploy again"
        yield Finding(_CHECK, Status.WARNING, f"{told} ({hours_text(spent.hours, spent.cap_hours)})", remedy)


def _full(of: Examined, config: Cluster | None, nodes: NodeList) -> Iterator[Finding]:
    if config is None or len(nodes.living) < config.max_instances:
        return
    try:
        work = work_of(of.store, nodes.cluster)
    except NotFoundError:
        return  # `queues` tells
    age_s = of.age_s(work.oldest) if work.oldest else 0.0
    if age_s > of.bounds.full_s:
        told = (
            f"{nodes.cluster}: {work.in_words()} to be taken, the oldest for {duration(age_s)}, more than "
            f"{duration(of.bounds.full_s)}, and there are {len(nodes.living)} of at most "
            f"{plural(config.max_instances, 'node')}"
        )
        yield Finding(_CHECK, Status.WARNING, told, "If that is too long, raise max_instances in its cluster file")


def unusable(of: Examined, nodes: NodeList) -> list[NodeSummary]:
    """Returns the nodes that were unusable lately, the latest last; none when a later one could be used."""
    found = _lately(of, nodes, lambda node: node.state is NodeState.UNUSABLE)
    last = max((_came(node) for node in found), default=nodes.now)
    was_usable = _AT_WORK | {NodeState.LEFT}
    return [] if any(node.state in was_usable and _came(node) > last for node in nodes.nodes) else found


def is_at_work(nodes: NodeList) -> bool:
    """True when a node takes trials, or took some and is about to leave."""
    return any(node.state in _AT_WORK for node in nodes.living)


def mend(cluster: str) -> str:
    """Returns what to do about nodes of a cluster that cannot be used."""
    return f"`dropsweep cluster show {cluster}` has what they said. Mend its setup_command or its image"


def _came(node: NodeSummary) -> datetime:
    return node.started or node.seen


_LOOKS: Final[tuple[Callable[[Examined, Cluster | None, NodeList], Iterator[Finding]], ...]] = (
    _unusable,
    _lost,
    _spent,
    _full,
)


def _lately(of: Examined, nodes: NodeList, is_meant: Callable[[NodeSummary], bool]) -> list[NodeSummary]:
    """Returns such nodes that were seen not too long ago, the latest last."""
    found = [node for node in nodes.nodes if is_meant(node) and node.age_s(nodes.now) <= of.bounds.node_s]
    return sorted(found, key=lambda node: node.seen)


def _stands(config: Cluster | None, nodes: NodeList) -> str:
    states = ", ".join(f"{number} {state}" for state, number in nodes_by_state(nodes).items())
    used = hours_text(nodes.hours, config.monthly_node_hours if config else None)
    return f"{states or 'no node'}; {used} node-hours in {nodes.month}"
