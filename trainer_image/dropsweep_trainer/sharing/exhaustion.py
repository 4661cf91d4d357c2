"""What programs print when memory runs out: the machine's, or a GPU's."""

import re
from collections.abc import Sequence
from typing import Final

_OUT_OF_MEMORY: Final = re.compile(
    r"""^\s*(?:[\w.]+\.)?(?:OutOfMemoryError|MemoryError|_ArrayMemoryError)\b   # Python's own, PyTorch's, NumPy's
    | CUDA\ out\ of\ memory | CUDA\ error:\ out\ of\ memory | cudaErrorMemoryAllocation
    | CUBLAS_STATUS_ALLOC_FAILED | RESOURCE_EXHAUSTED:\ Out\ of\ memory          # JAX, TensorFlow
    | std::bad_alloc
    | [Cc]annot\ allocate\ memory | can't\ allocate\ memory                      # ENOMEM; PyTorch on the CPU
    | not\ enough\ memory:\ you\ tried\ to\ allocate""",
    re.VERBOSE,
)
_OTHER_ERROR: Final = re.compile(r"^[A-Za-z_][\w.]*(?:Error|Exception|Interrupt|Exit)\b(?::|$)")
"""The line with which a traceback of Python ends."""
_SIGKILL: Final = 9
_SIGNALLED: Final = 128
"""What shells add to a signal's number to tell of a death by it."""


def is_told(lines: Sequence[str]) -> bool:
    """True when the last error among the last lines of a program's standard error is that memory ran out.

    Lines that tell of no error, such as those which libraries print at the end, do not count.
    """
    for line in reversed(lines):
        if _OUT_OF_MEMORY.search(line):
            return True
        if _OTHER_ERROR.match(line):
            return False
    return False


def is_suspected(exit_code: int) -> bool:
    """True for an exit code that a program has which the kernel ended for want of memory.

    The kernel uses SIGKILL, as others may do: nothing tells for certain who sent it.
    """
    return exit_code in (-_SIGKILL, _SIGNALLED + _SIGKILL)
