"""What the shape of a cluster file cannot say: names, places of mounts, and whether its numbers agree.

Each check reads the file's own tree and passes over what has the wrong shape, so that one mistake hides no other.
"""

import posixpath
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from dropsweep.clusters import (
    DEFAULT_MAX_INSTANCES,
    DEFAULT_MEMORY_BYTES,
    MODULE_RULE,
    Mount,
    format_size,
    is_module,
    parse_size,
)
from dropsweep.errors import Problem
from dropsweep.names import CLUSTER_RULE, is_cluster
from dropsweep.spec.cluster_models import NO_EFFECT
from dropsweep.spec.images import IMAGE_RULE, canonical
from dropsweep.spec.problems import error, join, listed, missing, warning

WORK_FOLDER: Final = "/var/lib/dropsweep"
"""Where the trainer's image has its caches and running trials."""
_OWN_FOLDERS: Final = (
    *("/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/opt/dropsweep", "/proc", "/run", "/sbin", "/sys", "/usr"),
    WORK_FOLDER,
)
"""What a node's own programs lie in or need."""
_PLATFORM_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_PLATFORM_RULE: Final = "has 1 to 63 letters, digits, `-`, `_` and `.`, and begins and ends with a letter or digit"
_MOUNT_NAME: Final = re.compile(r"[a-z](?:-?[a-z0-9]){0,39}")
_MOUNT_RULE: Final = "a mount's name has 1 to 40 lower-case letters, digits and single -, starting with a letter"
_SHARE: Final = re.compile(r"(?=.{3,63}\Z)[a-z0-9](?:-?[a-z0-9])*")
_SHARE_RULE: Final = "a share's name has 3 to 63 lower-case letters, digits and single -"
_MAX_PATH: Final = 255


def check_cluster(raw: Mapping[str, Any], name: str) -> Iterator[Problem]:
    """Yields what is wrong with a cluster file beside its shape; never raises.

    Args:
        raw: the file.
        name: what the file is called, without its ending.
    """
    if not is_cluster(name):
        rule = f"the file's name, `{name[:80]}`, is the cluster's, and a cluster is {CLUSTER_RULE}"
        yield missing("", rule, "Rename the file")
    if isinstance(given := raw.get("name"), str) and given and given != name:
        yield error("name", given, f"the file's name is the cluster's: `{name[:80]}`", "Remove the key, or rename one")
    for key, reason in NO_EFFECT.items():
        if raw.get(key) is not None:
            yield warning(key, raw[key], f"has no effect: {reason}", "Remove the key")
    for key in ("size", "workload_profile"):
        if isinstance(given := raw.get(key), str) and given and not _PLATFORM_NAME.fullmatch(given):
            yield error(key, given, _PLATFORM_RULE, "Correct it")
    yield from _check_images(raw)
    yield from _check_instances(raw)
    yield from _check_memory(raw)
    yield from _check_mounts(raw.get("mounts"))
    yield from _check_sharing(raw)
    for path, module in _entries("preload", raw.get("preload")).items():
        if isinstance(module, str) and not is_module(module):
            yield error(path, module, f"must be {MODULE_RULE}", "Correct it")
    if raw.get("preload") and raw.get("warm_start") is False:
        yield warning("preload", raw["preload"], "has no effect: warm_start is false", "Remove one of the two")
    if isinstance(command := raw.get("setup_command"), str) and command and not command.strip():
        yield error("setup_command", command, "must not be blank", "Write a command, or remove the key")


def _check_images(raw: Mapping[str, Any]) -> Iterator[Problem]:
    seen: dict[str, str] = {}
    serves = raw.get("serves")
    places = {"image": raw.get("image"), **_entries("serves", serves)}
    for path, image in places.items():
        if not isinstance(image, str) or (not image and path == "image"):
            continue
        same = canonical(image)
        if same is None:
            yield error(path, image, IMAGE_RULE, "Correct it")
        elif same in seen:
            yield warning(path, image, f"stands under `{seen[same]}` already", "Remove it")
        else:
            seen[same] = path


def _entries(path: str, values: Any) -> dict[str, Any]:
    return {join(path, index): value for index, value in enumerate(values)} if isinstance(values, list) else {}


def _check_instances(raw: Mapping[str, Any]) -> Iterator[Problem]:
    least, most = _whole(raw, "min_instances", 0), _whole(raw, "max_instances", DEFAULT_MAX_INSTANCES)
    if least is not None and most is not None and least > most >= 1:
        rule = f"must be at most max_instances ({most})"
        yield error("min_instances", least, rule, "Lower it, or raise max_instances")
    if least is not None and least > 0 and isinstance(cap := raw.get("monthly_node_hours"), int | float):
        rule = f"this many nodes stay, and are paid for, beyond monthly_node_hours ({cap:g}) too"
        yield warning("min_instances", least, rule, "Write 0 where the cap is to bound what is paid for")
    gpus, slots = _whole(raw, "gpus_per_node", 0), _whole(raw, "slots_per_node", 0)
    if gpus is not None and slots is not None and gpus > 0 and slots > 0 and slots != gpus:
        if slots < gpus:
            rule = f"less than gpus_per_node ({gpus}), and a trial gets one GPU, so {gpus - slots} of them stay idle"
            yield warning("slots_per_node", slots, rule, "Remove the key for one trial a GPU")
        elif not raw.get("cuda_mps") and raw.get("gpu_memory_fraction") is None:
            rule = f"more than gpus_per_node ({gpus}), and a trial gets one GPU, which others then share"
            remedy = "Say how with gpu_memory_fraction or cuda_mps, or remove the key for one trial a GPU"
            yield warning("slots_per_node", slots, rule, remedy)


def _check_sharing(raw: Mapping[str, Any]) -> Iterator[Problem]:
    gpus, slots = _whole(raw, "gpus_per_node", 0), _whole(raw, "slots_per_node", 0)
    fraction = raw.get("gpu_memory_fraction")
    if not gpus or slots is None or not isinstance(fraction, int | float):
        return
    sharing = -(-(slots or gpus) // gpus)
    if fraction <= 1 < fraction * sharing and fraction != 1:
        rule = f"times {sharing} slots on one GPU is more than all of its memory"
        yield warning("gpu_memory_fraction", fraction, rule, f"Write at most {1 / sharing:.2g}, or remove the key")


def _whole(raw: Mapping[str, Any], key: str, default: int) -> int | None:
    value = raw.get(key)
    if value is None:
        return default
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _check_memory(raw: Mapping[str, Any]) -> Iterator[Problem]:
    limits = raw["limits"] if isinstance(raw.get("limits"), Mapping) else {}
    memory = _size(raw.get("memory_per_node"), DEFAULT_MEMORY_BYTES)
    of_trial = _size(limits.get("memory"), 0)
    shm = _size(raw.get("shm_size"), 0)
    if memory is None:
        return
    has = f"memory_per_node ({format_size(memory)})"
    slots = _whole(raw, "slots_per_node", max(1, _whole(raw, "gpus_per_node", 0) or 0)) or 1
    if of_trial and of_trial > memory:
        rule = f"more than {has}, so it bounds nothing"
        yield warning("limits.memory", limits["memory"], rule, "Write at most what a node has")
    elif of_trial and of_trial * slots > memory:
        rule = f"times {slots} slots is more than {has}: a trial may be killed for what its neighbours use"
        fitting = format_size(max(memory // slots // 2**20, 1) * 2**20)
        yield warning("limits.memory", limits["memory"], rule, f"Write at most {fitting}")
    if shm and shm > memory:
        rule = f"more than {has}, from which it is taken"
        yield warning("shm_size", raw["shm_size"], rule, "Write less than a node has")


def _size(value: Any, default: int) -> int | None:
    if value is None:
        return default
    try:
        return parse_size(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _check_mounts(mounts: Any) -> Iterator[Problem]:
    names: dict[str, str] = {}
    folders: dict[str, str] = {}
    for place, mount in _entries("mounts", mounts).items():
        if not isinstance(mount, Mapping):
            continue
        name, share, path = mount.get("name"), mount.get("share"), mount.get("path")
        if isinstance(name, str):
            variable = Mount(name, "", "").variable
            if not _MOUNT_NAME.fullmatch(name):
                yield error(f"{place}.name", name, _MOUNT_RULE, "Rename it")
            elif variable in names:
                yield error(f"{place}.name", name, f"{names[variable]} has the name already", "Rename one of them")
            names.setdefault(variable, place)
        if isinstance(share, str) and not _SHARE.fullmatch(share):
            yield error(f"{place}.share", share, _SHARE_RULE, "Name a share, not its address")
        if isinstance(path, str):
            yield from _check_folder(f"{place}.path", path, folders)
            folders.setdefault(path, place)


def _check_folder(place: str, path: str, others: Mapping[str, str]) -> Iterator[Problem]:
    is_plain = path.isprintable() and not set(path) & set(":,\\\"'") and len(path) <= _MAX_PATH
    if not path.startswith("/") or path.startswith("//") or posixpath.normpath(path) != path or not is_plain:
        rule = f"must be a whole path of at most {_MAX_PATH} characters, without `..`, doubled slashes, quotes, : and ,"
        yield error(place, path, rule, "Write one such as /mnt/datasets")
        return
    hidden = [folder for folder in _OWN_FOLDERS if _lies_in(path, folder) or _lies_in(folder, path)]
    if hidden:
        rule = f"would lie in or over {listed(hidden)}, which a node needs"
        yield error(place, path, rule, "Write a path under /mnt")
    for other, mount in others.items():
        if _lies_in(path, other) or _lies_in(other, path):
            yield error(place, path, f"and the path of {mount} lie in one another", "Mount each beside the others")


def _lies_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")
