"""Standard output and standard error that are closed, from the start or after a while."""

import contextlib
import os
import sys


def open_streams() -> None:
    """Makes both streams usable, whatever the process was started with.

    Python has None for a stream that was closed before. Standard output is then a pipe that nobody reads, so that what
    writes to it ends as it does when its reader goes away; what would be told on standard error is lost.
    """
    if sys.stdout is None:
        reader, writer = os.pipe()
        os.close(reader)
        sys.stdout = os.fdopen(writer, "w", encoding="utf-8")
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  # it lives as long as the process
    for stream in (sys.stdout, sys.stderr):
        # A character that the terminal's encoding lacks is spelled out rather than raised over.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def discard_output() -> None:
    """Lets go of what standard output still holds: it would be written, and fail again, when the interpreter ends."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
