"""A worker from its command line to its end."""

import argparse
import gc
import logging
import math
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
from dataclasses import replace
from pathlib import Path
from typing import Final

from dropsweep.clusters import SETTING, Cluster, parse_size
from dropsweep.errors import ConfigError
from dropsweep.settings import Settings
from dropsweep.signals import set_on
from dropsweep.storage import READ_TIMEOUT_S, Store
from dropsweep_trainer.processes import isolation
from dropsweep_trainer.processes.init import PASSED_ON
from dropsweep_trainer.sharing.cores import find_cores
from dropsweep_trainer.sharing.slots import find_slots
from dropsweep_trainer.worker.registration import NodeTeller
from dropsweep_trainer.worker.worker import Worker

_LEAST_READ_TIMEOUT_S: Final = 2.0
_HEARTBEATS_A_BEAT: Final = 3
"""A node's beat is this many heartbeats of a trial: it is for people, and nobody takes a node over."""


def serve() -> int:
    """Runs a worker until SIGTERM or SIGINT, or until it was idle for as long as asked; returns the exit status.

    It is 0 also after a signal, 2 when the settings or options are wrong, 3 when the cluster's setup command failed.
    """
    options = _parser().parse_args()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    try:
        settings = Settings.from_env(os.environ)
        stopping = threading.Event()
        # So that a request that hangs is sent again while the claim still stands, however short its timeout is.
        read_timeout_s = max(_LEAST_READ_TIMEOUT_S, min(READ_TIMEOUT_S, settings.claim_timeout_s / 4))
        store = Store.connect(settings.storage, stopping=stopping, read_timeout_s=read_timeout_s)
        cluster = _cluster(settings, options.cluster)
        if options.work_size is not None and cluster.cache_size_bytes is None:
            cluster = replace(cluster, cache_size_bytes=options.work_size // 2)
        work = options.work or Path(tempfile.mkdtemp(prefix="dropsweep-work-"))
        slots = find_slots(
            options.slots or cluster.slots_per_node,
            cores=find_cores(options.workers),
            gpu_memory_fraction=cluster.gpu_memory_fraction,
        )
        users = isolation.prepare(os.environ, cluster, len(slots), work.absolute())
        slots = tuple(replace(slot, user=user) for slot, user in zip(slots, users, strict=True))
        name = f"{socket.gethostname()}-{os.getpid()}"
        beat_s = settings.heartbeat_s * _HEARTBEATS_A_BEAT
        node = NodeTeller(store, cluster, name, num_slots=len(slots), beat_s=beat_s)
        idle_s = cluster.idle_time_before_scale_down_s if options.scaled else None
        worker = Worker(
            store,
            settings,
            name=name,
            cluster=cluster,
            slots=slots,
            work=work.absolute(),
            exit_when_idle_s=idle_s if options.exit_when_idle is None else options.exit_when_idle,
            is_scaled=options.scaled,
            may_leave=node.may_leave if options.scaled else lambda: True,
            leave_after_s=options.leave_after,
            stopping=stopping,
        )
    except (ConfigError, OSError) as error:
        sys.stderr.write(f"dropsweep_trainer: {error}\n")
        return 2

    set_on(stopping, PASSED_ON, lambda number: logging.info("%s: giving running trials back", number.name))
    # Below process 1 they were held back until there was somebody to hear them; threads inherit what is held back.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, PASSED_ON)
    logging.info("serving cluster %s with %d slots in %s", cluster.name, len(slots), work)
    # What is loaded stays for as long as this runs: no collection need look at it again.
    gc.freeze()
    # Before anything else that takes time, a setup command above all: the node costs money from now on.
    node.start(worker.standing)
    try:
        end = worker.run()
        node.leave(end.state, end.message)
    finally:
        if options.work is None:
            shutil.rmtree(work, ignore_errors=True)
    return end.exit_status


def _cluster(settings: Settings, name: str | None) -> Cluster:
    found = settings.clusters[0] if name is None else settings.cluster(name)
    if found is None:
        raise ConfigError(
            f"--cluster {name!r} is none of this deployment's clusters: it must be one of "
            f"{', '.join(settings.cluster_names)}. Name one of them, or add it to {SETTING}"
        )
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="dropsweep_trainer", description="Runs the trials of one cluster.")
    parser.add_argument("--cluster", help="whose trials to run (default: the first of DROPSWEEP_CLUSTERS)")
    parser.add_argument(
        "--slots", type=_positive, help="trials at once (default: as the cluster file says; else one a GPU, or one)"
    )
    parser.add_argument(
        "--workers",
        type=_positive,
        default=1,
        help="how many of them share this machine's cores, where there are several (default: 1)",
    )
    parser.add_argument("--work", type=Path, help="folder for caches and running trials (default: a temporary one)")
    parser.add_argument(
        "--work-size",
        type=_size,
        metavar="SIZE",
        help="what that folder may hold, such as 20Gi, where its file system does not tell: unless the cluster file "
        "says otherwise, the cache gets half of it",
    )
    parser.add_argument(
        "--scaled",
        action="store_true",
        help="started by a scaler: end at once when there is nothing to do, else when idle for as long as the cluster "
        "file says",
    )
    parser.add_argument(
        "--exit-when-idle",
        type=float,
        metavar="SECONDS",
        help="end after so long without a trial (default: never, or as the cluster file says with --scaled)",
    )
    parser.add_argument(
        "--leave-after",
        type=_seconds,
        metavar="SECONDS",
        help="take no further trial after so long, and end when those that run have (default: never); for platforms "
        "that end a node after a fixed time",
    )
    return parser


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds above 0")
    return seconds


def _size(text: str) -> int:
    try:
        return parse_size(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not at least 1")
    return number
