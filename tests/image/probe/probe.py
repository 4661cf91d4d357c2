"""A trial that looks for what it should not see, and tries to write where it should not; says what it found.

Values to look for start with a mark that is put together here, so that neither this file nor its copies hold it.
"""

import json
import os
import re
import sys
import tempfile
from pathlib import Path

# The second is how the key of the emulator's well-known account begins.
MARK = re.compile(b"planted" + rb"-[a-z_0-9]+|" + b"Eby8vdM02xNO" + b"cqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6")
PLACES = [
    "/",
    "/etc",
    "/opt",
    "/opt/dropsweep/bin",
    "/usr/bin",
    "/tmp",
    "/var/tmp",
    "/run",
    "/home",
    "/root",
    "/var/lib",
]
SKIPPED = ("/proc", "/sys", *sys.argv[1:])
MAX_BYTES = 4 << 20


def marks(data: bytes) -> list[str]:
    return sorted({found.decode() for found in MARK.findall(data)})


def in_files(top: str) -> dict[str, list[str]]:
    found = {}
    for folder, names, files in os.walk(top):
        names[:] = [name for name in names if os.path.join(folder, name) not in SKIPPED]
        for name in files:
            path = os.path.join(folder, name)
            try:
                if os.path.isfile(path) and os.path.getsize(path) <= MAX_BYTES:
                    seen = marks(Path(path).read_bytes())
                    if seen:
                        found[path] = seen
            except OSError:
                continue
    return found


def in_proc() -> tuple[dict[str, list[str]], list[str]]:
    """What the files of other processes hold, and which of them could be read that should not."""
    found, open_to_us = {}, []
    for process in Path("/proc").glob("[0-9]*"):
        if is_mine(int(process.name)):
            continue
        for file in ("environ", "cmdline", "status", "stat", "comm"):
            try:
                data = (process / file).read_bytes()
            except OSError:
                continue
            if file == "environ" and data:
                open_to_us.append(str(process / file))
            if seen := marks(data):
                found[str(process / file)] = seen
        try:
            with (process / "mem").open("rb"):
                open_to_us.append(str(process / "mem"))
        except OSError:
            pass
        for folder in ("fd", "cwd", "root"):
            try:
                os.listdir(process / folder)
                open_to_us.append(str(process / folder))
            except OSError:
                continue
    return found, open_to_us


def is_mine(process: int) -> bool:
    """True for this process and those between it and the worker: the shell that the trial's command runs in."""
    return process == os.getpid() or os.getsid(process) == os.getsid(0)


def can_write(folder: str) -> bool:
    try:
        with tempfile.NamedTemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def can_kill() -> list[int]:
    """Other processes that take a signal from this one; the signal 0 does nothing to them."""
    killable = []
    for process in Path("/proc").glob("[0-9]*"):
        if not is_mine(int(process.name)):
            try:
                os.kill(int(process.name), 0)
            except OSError:
                continue
            killable.append(int(process.name))
    return killable


files, (processes, open_to_us) = in_files("/"), in_proc()
shm = os.statvfs("/dev/shm")
told = {
    "user": os.getuid(),
    "group": os.getgid(),
    "groups": os.getgroups(),
    "environment": {name: value for name, value in os.environ.items() if marks(value.encode())},
    "names": sorted(os.environ),
    "files": files,
    "processes": processes,
    "open": open_to_us,
    "killable": can_kill(),
    "writable": [place for place in [*PLACES, *sys.path[1:]] if can_write(place)],
    "own": [
        can_write("."),
        can_write(tempfile.gettempdir()),
        can_write(os.path.expanduser("~")),
        can_write("/dev/shm"),
    ],
    "shm_bytes": shm.f_frsize * shm.f_blocks,
    "status": dict(
        line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line
    ),
}
Path("outputs").mkdir(exist_ok=True)
Path("outputs/told.json").write_text(json.dumps(told, indent=2))
print("looked")
