"""The Python client: hand a job in, look at it, bring its results home.

    from dropsweep import Client

    client = Client.from_env()                      # DROPSWEEP_STORAGE, as the command line does
    job = client.submit("sweep.yaml")
    client.wait(job)
    print(client.best(job))

It talks to the storage account alone: there is no service to reach, so it works while nothing else runs.
"""

from dropsweep.client.client import Client
from dropsweep.client.control import Action, Experiment, Outcome
from dropsweep.client.lookup import JobRef, Match
from dropsweep.client.progress import Progress
from dropsweep.client.results import BestTrial
from dropsweep.client.transfer import Download

__all__ = ["Action", "BestTrial", "Client", "Download", "Experiment", "JobRef", "Match", "Outcome", "Progress"]
