"""A worker from its command line to its end."""

import argparse
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from types import FrameType
from typing import Final

from dropsweep.errors import ConfigError
from dropsweep.names import is_cluster
from dropsweep.settings import Settings
from dropsweep.storage import READ_TIMEOUT_S, Store
from dropsweep_trainer.init import PASSED_ON
from dropsweep_trainer.worker import Worker

_LEAST_READ_TIMEOUT_S: Final = 2.0


def serve() -> int:
    """Runs a worker until SIGTERM or SIGINT, or until it was idle for as long as asked; returns the exit status."""
    options = _parser().parse_args()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    try:
        settings = Settings.from_env(os.environ)
        stopping = threading.Event()
        # So that a request that hangs is sent again while the claim still stands, however short its timeout is.
        read_timeout_s = max(_LEAST_READ_TIMEOUT_S, min(READ_TIMEOUT_S, settings.claim_timeout_s / 4))
        store = Store.connect(settings.storage, stopping=stopping, read_timeout_s=read_timeout_s)
        cluster = options.cluster or settings.clusters[0].name
        if not is_cluster(cluster):
            raise ConfigError(
                f"--cluster {cluster!r} is no cluster name. Name one of {', '.join(settings.cluster_names)}"
            )
        work = options.work or Path(tempfile.mkdtemp(prefix="dropsweep-work-"))
        slots = _slots(options.slots)
        worker = Worker(
            store,
            settings,
            name=f"{socket.gethostname()}-{os.getpid()}",
            cluster=cluster,
            slot_environments=slots,
            work=work.absolute(),
            exit_when_idle_s=options.exit_when_idle,
            stopping=stopping,
        )
    except (ConfigError, OSError) as error:
        sys.stderr.write(f"dropsweep_trainer: {error}\n")
        return 2

    def stop(number: int, _frame: FrameType | None) -> None:
        logging.info("%s: giving running trials back", signal.Signals(number).name)
        stopping.set()

    for number in PASSED_ON:
        signal.signal(number, stop)
    # Below process 1 they were held back until there was somebody to hear them; threads inherit what is held back.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, PASSED_ON)
    logging.info("serving cluster %s with %d slots in %s", cluster, len(slots), work)
    try:
        worker.run()
    finally:
        if options.work is None:
            shutil.rmtree(work, ignore_errors=True)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="dropsweep_trainer", description="Runs the trials of one cluster.")
    parser.add_argument("--cluster", help="whose trials to run (default: the first of DROPSWEEP_CLUSTERS)")
    parser.add_argument("--slots", type=_positive, help="trials at once (default: one a GPU, or one)")
    parser.add_argument("--work", type=Path, help="folder for caches and running trials (default: a temporary one)")
    parser.add_argument(
        "--exit-when-idle", type=float, metavar="SECONDS", help="end after so long without a message (default: never)"
    )
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not at least 1")
    return number


def _slots(num_slots: int | None) -> list[dict[str, str]]:
    """Returns what each slot's trials see of the GPUs: one GPU each, in turn."""
    gpus = _gpus()
    count = num_slots or max(1, len(gpus))
    return [{"CUDA_VISIBLE_DEVICES": gpus[slot % len(gpus)]} if gpus else {} for slot in range(count)]


def _gpus() -> list[str]:
    """The GPUs that this process may use: those that CUDA_VISIBLE_DEVICES names, else those that nvidia-smi lists."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [part.strip() for part in visible.split(",") if part.strip() and part.strip() != "-1"]
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    listed = subprocess.run([tool, "-L"], capture_output=True, text=True, timeout=30, check=False)
    return [str(index) for index, line in enumerate(listed.stdout.splitlines()) if line.startswith("GPU ")]
