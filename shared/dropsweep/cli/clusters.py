"""Tables of clusters and their nodes, for people."""

from collections.abc import Iterator, Sequence
from typing import Final

from rich.table import Table
from rich.text import Text

from dropsweep.cli.layout import grid, plain_table
from dropsweep.client.nodes import ClusterSummary, ClusterView, ShownNode, hours_text
from dropsweep.clusters import Cluster, Tier, format_size
from dropsweep.live import literal
from dropsweep.names import Priority
from dropsweep.page.words import duration, moment, plural
from dropsweep.states import NodeState

_MAX_GONE: Final = 20
_MAX_MESSAGE: Final = 80
_MAX_COUNTED: Final = 31
"""The most messages that the storage service shows at once, less one: from there on it tells about how many."""


def clusters(found: Sequence[ClusterSummary]) -> Table:
    """Returns the table of `dropsweep cluster list`."""
    table = plain_table()
    table.add_column("cluster", overflow="fold")
    for name in ("machine", "nodes", "min–max"):
        table.add_column(name, overflow="fold")
    for name in ("busy", "waiting", "node-hours"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in found:
        bounds = f"{one.config.min_instances}–{one.config.max_instances}" if one.config else ""
        table.add_row(
            literal(one.name),
            literal(_machine(one)),
            literal(states(one)),
            bounds,
            f"{one.num_busy}/{one.num_slots}" if one.num_slots else "",
            waiting(one),
            hours(one),
        )
    return table


def cluster(view: ClusterView) -> Table:
    """Returns what `dropsweep cluster show` says of a cluster beside its nodes."""
    one = view.summary
    busy = f"; {one.num_busy} of {plural(one.num_slots, 'slot')} busy" if one.num_slots else ""
    rows = {
        "cluster": one.name,
        "served": "no: jobs cannot name it any more" if one.is_served is False else "",
        **(_of_file(one.config) if one.config else {}),
        "now": f"{states(one)}{busy}",
        "waiting": waiting(one),
        "node-hours": f"{hours(one)} in {one.month}",
    }
    return grid(rows)


def nodes(view: ClusterView) -> Table:
    """Returns the nodes: those that live, and the latest that are gone."""
    table = plain_table()
    table.add_column("node", overflow="fold")
    table.add_column("state", no_wrap=True)
    table.add_column("busy", justify="right", no_wrap=True)
    for name in ("started", "last seen"):
        table.add_column(name, no_wrap=True)
    table.add_column("hours", justify="right", no_wrap=True)
    table.add_column("", overflow="fold")
    for node in _listed(view):
        busy = f"{node.num_busy}/{node.num_slots}" if node.is_living else ""
        said = "" if node.state == NodeState.UNUSABLE else _in_short(node.message)
        table.add_row(
            literal(node.node),
            literal(node.state),
            busy,
            moment(node.started),
            moment(node.seen),
            f"{node.hours:,.2f}",
            literal(said),
        )
    return table


def messages(view: ClusterView) -> Iterator[Text]:
    """Yields what the listed unusable nodes said, each once: of many of one kind the latest."""
    seen: set[str] = set()
    for node in _listed(view):
        if node.state == NodeState.UNUSABLE and node.message not in seen:
            seen.add(node.message)
            yield literal(f"{node.node}: {node.message.strip() or 'it did not say why it is unusable'}")


def remarks(found: Sequence[ClusterSummary]) -> Iterator[str]:
    """Yields as of when it is known what clusters are, and what is out of the ordinary with some."""
    if told := next((one.told for one in found if one.told is not None), None):
        yield f"which clusters there are and what their files say is as of the functions' timer pass at {moment(told)}"
    for one in found:
        if one.spent is not None:
            yield one.spent.why().partition(": ")[2]
        missing = [str(priority) for priority, number in one.waiting.items() if number is None]
        if missing and one.is_served:
            yield f"{one.name} has no queue for {' and '.join(missing)} priority: `dropsweep doctor` tells what to do"


def states(one: ClusterSummary) -> str:
    """Returns a cluster's nodes by state in words."""
    return ", ".join(f"{number:,} {state}" for state, number in one.counts.items()) or "none"


def waiting(one: ClusterSummary) -> str:
    """Returns how many messages wait in words, and which of them are of another priority than the normal one."""
    special = [
        f"{_about(number)}{number:,} {priority}"
        for priority, number in one.waiting.items()
        if number and priority is not Priority.NORMAL
    ]
    is_rough = any((number or 0) > _MAX_COUNTED for number in one.waiting.values())
    total = f"{'about ' if is_rough else ''}{one.num_waiting:,}"
    return f"{total} ({', '.join(special)})" if special else total


def hours(one: ClusterSummary) -> str:
    """Returns the month's node-hours, and of how many."""
    return hours_text(one.hours, one.config.monthly_node_hours if one.config else None)


def _about(number: int) -> str:
    return "about " if number > _MAX_COUNTED else ""


def _machine(one: ClusterSummary) -> str:
    """Returns what a cluster's nodes are, in a word or two."""
    if one.is_served is False:
        return "(not served)"
    if one.config is None:
        return ""
    return one.config.workload_profile or one.config.size or _node(one.config)


def _node(config: Cluster) -> str:
    gpus = f", {plural(config.gpus_per_node, 'GPU')}" if config.gpus_per_node else ""
    cores = "1 core" if config.cpus_per_node == 1 else f"{config.cpus_per_node:g} cores"
    return f"{cores}, {format_size(config.memory_per_node_bytes)}{gpus}"


def _of_file(config: Cluster) -> dict[str, str]:
    slots = f", {plural(config.slots_per_node, 'trial')} at once" if config.slots_per_node else ""
    kind = ", of low priority" if config.tier is Tier.LOW_PRIORITY else ""
    idle = duration(config.idle_time_before_scale_down_s)
    limits = [format_size(config.trial_memory_bytes)] if config.trial_memory_bytes is not None else []
    limits += [f"{config.trial_processes:,} processes"] if config.trial_processes is not None else []
    mounts = [f"{mount.share} at {mount.path}{' (read only)' if mount.read_only else ''}" for mount in config.mounts]
    return {
        "description": config.description,
        "tags": ", ".join(f"{name}={value}" for name, value in config.tags.items()),
        "workload profile": config.workload_profile,
        "VM size": config.size,
        "image": config.image,
        "serves": ", ".join(config.serves),
        "node": f"{_node(config)}{slots}",
        "nodes": f"{config.min_instances} to {config.max_instances}{kind}, each gone after {idle} without work",
        "mounts": ", ".join(mounts),
        "setup command": config.setup_command,
        "limits of a trial": ", ".join(limits),
        "/dev/shm": format_size(config.shm_size_bytes) if config.shm_size_bytes is not None else "",
        "warm start": (", ".join(config.preload) or "what most scripts import") if config.warm_start else "off",
        "sharing a GPU": ", ".join(_sharing(config)),
        "cache": format_size(config.cache_size_bytes) if config.cache_size_bytes is not None else "",
        "checkpoints": f"at most {format_size(rate)}/s" if (rate := config.checkpoint_rate_bytes_s) else "",
    }


def _sharing(config: Cluster) -> list[str]:
    fraction = config.gpu_memory_fraction
    return [
        *(["by MPS"] if config.cuda_mps else []),
        *([f"{fraction:.0%} of its memory for a trial"] if fraction is not None else []),
    ]


def _listed(view: ClusterView) -> list[ShownNode]:
    gone = [node for node in view.nodes if not node.is_living]
    return [node for node in view.nodes if node.is_living] + gone[:_MAX_GONE]


def _in_short(message: str) -> str:
    line = " ".join(message.split())
    return line if len(line) <= _MAX_MESSAGE else f"{line[: _MAX_MESSAGE - 1]}…"
