"""Clusters: which there are, and one with its nodes."""

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from dropsweep.api import answers, cluster_models
from dropsweep.api.parameters import Account, Deployment, responses
from dropsweep.client.clusters import list_clusters, show_cluster
from dropsweep.names import CLUSTER_RULE

router = APIRouter(tags=["clusters"])
# Wider than names.is_cluster by some ends of names, of which there is no cluster.
_Name = Annotated[
    str, Path(pattern="^[a-z0-9](-?[a-z0-9])*$", max_length=40, description=f"name of the cluster: {CLUSTER_RULE}")
]


@router.get(
    "/clusters",
    operation_id="list_clusters",
    summary="List clusters",
    response_class=Response,
    responses=responses(cluster_models.Clusters),
)
def list_them(request: Request, store: Account, settings: Deployment) -> Response:
    """Those that jobs may name, the default one first, then others that left nodes or queues; some operations each."""
    items = [one.to_json() for one in list_clusters(store, settings.clusters)]
    return answers.representation(request, {"items": items})


@router.get(
    "/clusters/{cluster}",
    operation_id="get_cluster",
    summary="One cluster with its nodes",
    response_class=Response,
    responses=responses(cluster_models.ClusterView, 404),
)
def show(request: Request, store: Account, settings: Deployment, cluster: _Name) -> Response:
    """What its file says, its nodes of this month, what waits for it, and the hours that it used."""
    return answers.representation(request, show_cluster(store, cluster, settings.clusters).to_json())
