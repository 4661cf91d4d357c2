"""The rule by which KEDA's ScaledJob decides how many jobs to start; a job is here a trainer's process, a node.

KEDA scales the trainers on Kubernetes, by the strategy that the Helm chart names. The rule is written down here so that
the stack on one machine comes and goes as they do. Azure Container Apps has KEDA inside, without a setting for the
strategy; which one it takes is not documented, and docs/deploy.md says what follows from that.
"""

from collections.abc import Iterable
from typing import Final

POLLING_INTERVAL_S: Final = 1.0
"""Seconds between two looks at the queues on one machine, where a look costs nothing; KEDA's own default is 30."""


def num_to_start(
    lengths: Iterable[int], *, target: int, num_unfinished: int, num_pending: int, min_replicas: int, max_replicas: int
) -> int:
    """Returns how many jobs are started at one look at the queues: the strategy `accurate` over several triggers.

    `accurate` suits workers that hide a message while they work on it, for then the queue's length is that of the work
    that nobody has taken. A job that was started and has not yet looked into the queue is pending: one message is meant
    for it already. Nothing is ever stopped: a job ends by itself.

    Args:
        lengths: of the queues of one cluster, as `Queues.num_visible` has them; the longest counts alone
            (`multipleScalersCalculation: max`).
        target: messages for which one job is started, at least 1 (`queueLength`): the slots of a node.
        num_unfinished: jobs that were started and have not ended.
        num_pending: those of them that do not run yet.
        min_replicas: jobs that there always are (`minReplicaCount`); they are kept apart from those that come and go.
        max_replicas: jobs that there are at most, the former among them (`maxReplicaCount`).

    Source:
        KEDA 2.19 to 2.20. https://keda.sh/docs/2.19/reference/scaledjob-spec/ and, with the names of KEDA's code,
        pkg/scaling/executor/scale_jobs.go (getScalingDecision, accurateScalingStrategy, createJobs) and
        pkg/scaling/scaledjob/metrics.go: runningJobCount is `num_unfinished`, pendingJobCount `num_pending`,
        targetAverageValue `target`, scaleTo the longest queue, maxScale the jobs that it is worth, rounded up.
        KEDA 2.15 to 2.18 differ where jobs are pending and the cluster is nearly full: they do not take
        pendingJobCount off before they compare, and start up to that many more. Both keep to `max_replicas`.
    """
    min_replicas = min(min_replicas, max_replicas)
    max_extra = max_replicas - min_replicas
    if num_unfinished < min_replicas:
        return min_replicas - num_unfinished
    longest = max(lengths, default=0)
    max_scale = min(-(-longest // target), max_extra)
    num_extra = num_unfinished - min_replicas
    is_full = max_scale + num_extra - num_pending > max_extra
    return max(0, min(longest, max_extra - num_extra if is_full else max_scale - num_pending))
