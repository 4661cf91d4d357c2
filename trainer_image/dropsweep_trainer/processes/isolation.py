"""What is done once, when a worker starts, so that its trials get no further than they should."""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from dropsweep.clusters import Cluster, format_size
from dropsweep.errors import ConfigError
from dropsweep_trainer.processes import capabilities, init
from dropsweep_trainer.processes.command import check_passed
from dropsweep_trainer.processes.users import UID_SETTING, User, acting_as, may_switch, trial_users

_log = logging.getLogger(__name__)
_SHM: Final = Path("/dev/shm")
_PASSABLE: Final = 0o711


def prepare(environment: Mapping[str, str], cluster: Cluster, num_slots: int, work: Path) -> list[User | None]:
    """Returns whom the trials of each slot run as; None: as the worker's own user.

    From then on no process that the worker starts gains rights. Must be called before a thread is started.

    Args:
        environment: the worker's.
        cluster: whose trials it runs.
        num_slots: how many it runs at once.
        work: where they will run; made if it is not there.

    Raises:
        ConfigError: trials were to see a credential, their user ids are none, or they cannot reach `work`.
        OSError: `work` cannot be made.
    """
    check_passed(environment)
    users = trial_users(environment, num_slots, is_alone=init.is_below_process_1())
    capabilities.seal()
    _check_shm(cluster)
    work.mkdir(parents=True, exist_ok=True)
    if users is None:
        return [None] * num_slots
    if not may_switch():
        _log.warning(
            "trials run as the worker's own user %d: to run them as others (%s=%s) it needs the capabilities CHOWN, "
            "KILL, SETGID and SETUID, which it does not have here",
            os.getuid(),
            UID_SETTING,
            environment[UID_SETTING],
        )
        return [None] * num_slots
    if work.stat().st_uid == os.geteuid():
        # A temporary one is nobody else's to pass, at first; one that is open to all would keep what trials put there.
        work.chmod(_PASSABLE)
    _check_reach(users[0], work)
    if not users[0].is_alone:
        _log.warning(
            "processes that leave their trial's group outlive it, and what trials put into folders open to all stays: "
            "the worker is not below process 1 of a container of its own, so others' might be among them. Start the "
            "image without another init, and let it share its process namespace with nobody"
        )
    _log.info("trials run as users %d to %d", users[0].uid, users[-1].uid)
    return list(users)


def _check_shm(cluster: Cluster) -> None:
    asked = cluster.shm_size_bytes
    if asked is None or not _SHM.is_dir():
        return
    stat = os.statvfs(_SHM)
    if (there := stat.f_blocks * stat.f_frsize) < asked:
        _log.warning(
            "%s has %.0f MiB and cluster %s promises %s: data loaders may fail. Start the container with as much, or "
            "change shm_size in the cluster's file",
            _SHM,
            there / 2**20,
            cluster.name,
            format_size(asked),
        )


def _check_reach(user: User, work: Path) -> None:
    """Looks whether a user can pass all folders down to `work`.

    Raises:
        ConfigError: it cannot.
    """
    try:
        with acting_as(user):
            os.lstat(work / ".")
    except PermissionError:
        raise ConfigError(
            f"--work {work} cannot be reached by user {user.uid}, whom trials run as ({UID_SETTING}): every folder on "
            "the way must let others pass. chmod o+x them, or take another folder"
        ) from None
