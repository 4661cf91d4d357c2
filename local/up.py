"""Keeps the system running for one's own files, and shows what happens."""

import shlex
import sys
import time
from pathlib import Path
from typing import Final

from dropsweep.client.program import program
from dropsweep.clusters import Cluster, dump_clusters
from dropsweep.errors import ConfigError
from dropsweep.page.words import plural
from dropsweep.settings import emulator_connection_string
from dropsweep.spec.cluster_folder import read_cluster_folder
from local.guard import Guard
from local.paths import STATE, shown
from local.stack import Stack
from local.tail import Tail

DATA: Final = STATE / "up"
_LOOK_EACH_S: Final = 0.2
_NOISE: Final = ("Executing 'Functions.", "(Succeeded, Id=")
"""What the host logs at each call, beside what the function itself says; host.log has it."""

_WELCOME: Final = """
Dropsweep is up. Its data lies in {data} and is there again next time. Ctrl-C stops it.

In another terminal, name the storage account:

  {export}

(the same line stands in {env}; `source` it). Then drop a job, in one of three ways:

  1. {dropsweep} submit examples/digits/sweep.yaml

  2. In Python, with the storage SDK:
       import os
       from azure.storage.blob import BlobServiceClient
       account = BlobServiceClient.from_connection_string(os.environ["DROPSWEEP_STORAGE"])
       account.get_blob_client("jobs", "me/trial-run/sweep.yaml").upload_blob(open("sweep.yaml", "rb"))

  3. az storage blob upload --connection-string "$DROPSWEEP_STORAGE" \\
       --container-name jobs --name me/trial-run/sweep.yaml --file sweep.yaml

A file that is uploaded by 2 or 3 finds its `code:` in the container `code`; `{dropsweep} submit` uploads it too.
"""

_HTTP: Final = """
Over HTTP, knowing nothing of the storage account:

  {dropsweep} --url {url} list          (docs/http-api.md has the API)
"""

_CLUSTER: Final = (
    "Cluster {cluster.name}: {cluster.min_instances} to {most}, as its queues are long; "
    "one that is idle for {cluster.idle_time_before_scale_down_s:g} s leaves."
)

_NO_HOST: Final = """
Nothing here runs the functions. Start them yourself, for example with Azure Functions Core Tools:

  source {bin}/activate && func start

local.settings.json must name this storage as AzureWebJobsStorage and as DROPSWEEP_STORAGE; {fits}.{clusters}
`func start` does not see a drop by itself: docs/architecture.md, "On one machine", has the request that announces one.
"""

_KNOWN: Final = """
Its DROPSWEEP_CLUSTERS must be, as one text: {bundle}
"""


def up(num_trainers: int, data: Path = DATA, *, clusters: Path | None = None, with_host: bool = True) -> int:
    """Runs a stack until Ctrl-C (KeyboardInterrupt), or until its storage or host dies; trainers are started again.

    Ctrl-C is how one ends it: the command's exit status is then 0.

    Args:
        num_trainers: trainer processes that stay.
        data: the folder that holds its data.
        clusters: a folder of cluster files; trainers of these come and go instead.
        with_host: run the functions too.

    Returns:
        The exit status 1: the storage or the host ended, which was told.

    Raises:
        ConfigError: when it cannot start.
        DropsweepError: a cluster file cannot be read, or there is none; what is wrong has been told.
    """
    served = _read(clusters) if clusters else ()
    parts = "storage, the function host and the trainers" if with_host else "storage and the trainers"
    print(f"Starting {parts} ...", flush=True)
    with Stack(data, num_trainers=num_trainers, clusters=served, with_host=with_host, usual_ports=True) as stack:
        export = f"export DROPSWEEP_STORAGE={shlex.quote(stack.connection_string)}"
        env = data / "connection.env"
        env.write_text(export + "\n", encoding="utf-8")
        print(_WELCOME.format(data=shown(data), export=export, env=shown(env), dropsweep=program()), flush=True)
        for cluster in served:
            print(_CLUSTER.format(cluster=cluster, most=plural(cluster.max_instances, "trainer")), flush=True)
        if not with_host:
            is_usual = stack.connection_string == emulator_connection_string()
            fits = "local.settings.template.json does" if is_usual else "the template does not: its ports are in use"
            known = _KNOWN.format(bundle=dump_clusters(stack.clusters)) if served else ""
            print(_NO_HOST.format(bin=shown(Path(sys.executable).parent), fits=fits, clusters=known), flush=True)
        else:
            print(_HTTP.format(url=stack.url, dropsweep=program()), flush=True)
        with Guard(stack, _say) as guard:
            follow(stack)
        print(f"\n{guard.verdict}", file=sys.stderr, flush=True)
    return 1


def follow(stack: Stack) -> None:
    """Prints what the stack's processes log, until the block's thread is interrupted."""
    tail = Tail(stack.logs.glob("*.log"))
    while True:
        # Trainers of a cluster that is scaled come later.
        for log in stack.logs.glob("trainer-*.log"):
            tail.follow(log)
        for name, line in tail.read():
            if not any(said in line for said in _NOISE):
                print(f"{name:>10} | {line}", flush=True)
        time.sleep(_LOOK_EACH_S)


def _read(folder: Path) -> tuple[Cluster, ...]:
    """Reads cluster files, and tells what is odd about them."""
    try:
        found = read_cluster_folder(folder)
    except OSError as error:
        raise ConfigError(
            f"{shown(folder)} cannot be read ({error.strerror}): it must be a folder of cluster files. Name one"
        ) from error
    for problem in found.warnings:
        print(f"{problem}", file=sys.stderr, flush=True)
    return found.clusters


def _say(line: str) -> None:
    print(f"{'':>10} | {line}", flush=True)
