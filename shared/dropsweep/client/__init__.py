"""The Python client: hand a job in, look at it, bring its results home.

from dropsweep import Client

client = Client.from_env()                      # DROPSWEEP_STORAGE, as the command line does
job = client.submit("sweep.yaml")
job.wait()
print(job.best())
"""

from dropsweep.client.base import BaseClient
from dropsweep.client.client import Client
from dropsweep.client.control import Action, Experiment, Outcome
from dropsweep.client.job import Job
from dropsweep.client.lookup import JobList, JobRef, Match
from dropsweep.client.progress import Progress
from dropsweep.client.results import BestTrial
from dropsweep.client.table import Trial
from dropsweep.client.transfer import Download

__all__ = [
    "Action",
    "BaseClient",
    "BestTrial",
    "Client",
    "Download",
    "Experiment",
    "Job",
    "JobList",
    "JobRef",
    "Match",
    "Outcome",
    "Progress",
    "Trial",
]
