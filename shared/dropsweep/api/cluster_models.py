"""The documents of clusters and nodes as models, beside those in `models`."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import Field

from dropsweep.api.models import Count, Document


class Node(Document):
    """A node as it stands."""

    node: Annotated[str, Field(description="name of its record, `runs/.nodes/{cluster}/{month}/{node}.json`")]
    worker: Annotated[str, Field(description="what the records of trials call it")]
    state: Annotated[
        str,
        Field(description="`preparing`, `idle`, `running`, `leaving`, `left`, `unusable`, or `lost`: it went silent"),
    ]
    num_slots: Annotated[int, Field(ge=0, description="trials that it can run at once")]
    num_busy: Count
    started: datetime
    seen: Annotated[datetime, Field(description="when it last spoke")]
    seconds: Annotated[int, Field(ge=0, description="how much of its life counts in this month")]
    message: str
    image: str
    dropsweep: Annotated[str, Field(description="its version")]


class Spent(Document):
    """A cluster has used its hours of the month, and begins nothing new until the next."""

    hours: float
    cap_hours: float
    goes_on: datetime
    message: str


class Cluster(Document):
    """A cluster as a list shows it."""

    cluster: str
    is_served: Annotated[bool | None, Field(description="jobs may name it; null: that is not known")]
    config: Annotated[
        dict[str, Any] | None,
        Field(description="what its cluster file says, every key filled in; null: it is not served"),
    ]
    counts: Annotated[
        dict[str, int], Field(description="nodes by state: the living, and those lost or unusable in the last day")
    ]
    num_slots: Annotated[int, Field(ge=0, description="trials that the living nodes can run at once")]
    num_busy: Count
    waiting: Annotated[
        dict[str, int | None],
        Field(description="messages to be taken by priority, from 32 on about how many; null: there is no such queue"),
    ]
    month: Annotated[str, Field(description="which month (UTC) it is, such as 2026-01")]
    seconds: Annotated[int, Field(ge=0, description="what all its nodes have used of the month")]
    spent: Spent | None
    told: Annotated[
        datetime | None,
        Field(description="when the functions' timer told what is served; null: the functions answer for themselves"),
    ]


class Clusters(Document):
    """All clusters, the default one first, those that are not served last."""

    items: list[Cluster]


class ClusterView(Cluster):
    """A cluster with its nodes: the living ones, the oldest first, then the latest hundred that are gone."""

    nodes: list[Node]
    num_gone: Annotated[int, Field(ge=0, description="further nodes that it had this month")]
