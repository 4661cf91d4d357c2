"""What every trigger needs: the settings and the storage account, opened once a process."""

import os
from functools import cache

from dropsweep.settings import Settings
from dropsweep.steps.advance import LastLooks
from dropsweep.storage import Store


@cache
def settings() -> Settings:
    """Returns the deployment's settings.

    Raises:
        ConfigError: naming what is missing or wrong.
    """
    return Settings.from_env(os.environ)


@cache
def store() -> Store:
    """Returns the deployment's storage account.

    Raises:
        ConfigError: as `settings` does.
    """
    return Store.connect(settings().storage)


@cache
def looks() -> LastLooks:
    """Returns this process's memory of its passes over jobs."""
    return LastLooks()
