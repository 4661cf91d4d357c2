"""Dropsweep: drop a job file into a storage container, get a trained hyper-parameter sweep back.

A training script imports this package for `report`, `checkpoint` and their like, and pays for the standard library
only. What people call from outside, `Client`, is loaded on first use, with the storage SDK behind it.
"""

from dropsweep.script import checkpoint, outputs, params, report, resume_from
from dropsweep.version import __version__

TYPE_CHECKING = False  # mypy takes this for true; `typing`'s own costs an import
if TYPE_CHECKING:
    from dropsweep.client import Client, Job
    from dropsweep.client.http import HttpClient
    from dropsweep.errors import DropsweepError

__all__ = [
    "Client",
    "DropsweepError",
    "HttpClient",
    "Job",
    "__version__",
    "checkpoint",
    "outputs",
    "params",
    "report",
    "resume_from",
]

_LOADED_ON_FIRST_USE = {
    "Client": "dropsweep.client",
    "DropsweepError": "dropsweep.errors",
    "HttpClient": "dropsweep.client.http",
    "Job": "dropsweep.client",
}


def __getattr__(name: str) -> object:
    """Loads what the package exports but a training script never asks for.

    Raises:
        AttributeError: the package exports no such name.
    """
    module = _LOADED_ON_FIRST_USE.get(name)
    if module is None:
        raise AttributeError(f"module 'dropsweep' has no attribute {name!r}")
    import importlib

    value: object = getattr(importlib.import_module(module), name)
    globals()[name] = value  # the next look-up does not come here
    return value
