"""A worker's slots: places for one trial each, and what a trial in one of them sees of the node."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from dropsweep_trainer.processes.users import User
from dropsweep_trainer.sharing.cores import Cores, find_cores, thread_variables, without_overruled
from dropsweep_trainer.sharing.gpus import capped, find_gpus, fraction_variables


@dataclass(frozen=True, slots=True)
class Slot:
    """A place for one trial.

    Attributes:
        environment: what its trials see beside their own variables, such as their GPU.
        user: whom its trials run as; None: the worker's own user.
        cores: the logical CPUs that its trials run on; empty: all that the worker may use.
        shared: further variables, for trials that others may run beside; one that is alone on its node is without.
    """

    environment: Mapping[str, str] = field(default_factory=dict)
    user: User | None = None
    cores: tuple[int, ...] = ()
    shared: Mapping[str, str] = field(default_factory=dict)

    def variables(self, worker: Mapping[str, str], job: Mapping[str, str], *, is_alone: bool) -> dict[str, str]:
        """Returns what a trial sees in this slot: what its job sets, else what the slot has, else what the worker has.

        How many threads to compute with the slot says only where neither job nor worker does.

        Args:
            worker: what trials may know of the worker's environment.
            job: what the trial's job sets.
            is_alone: no other trial runs on the node meanwhile.
        """
        own = {**self.environment, **({} if is_alone else self.shared)}
        own = without_overruled(own, {**worker, **job})
        return capped({**worker, **own, **job}, {**worker, **self.environment})


def find_slots(
    num_slots: int | None, *, cores: Cores | None = None, gpu_memory_fraction: float | None = None
) -> tuple[Slot, ...]:
    """Returns a worker's slots: one GPU each, in turn, so that several share one when there are more slots.

    Args:
        num_slots: how many; None: one for each GPU that this process may use, or one.
        cores: what they share; None: all cores that this process may use.
        gpu_memory_fraction: of a GPU's memory, what one trial may use; None: equal parts for all slots on that GPU.
    """
    cores = cores or find_cores()
    gpus = find_gpus()
    count = num_slots or max(1, len(gpus))
    threads = thread_variables(cores.num_threads(count))
    shares = cores.shares(count)
    slots = []
    for slot in range(count):
        environment, shared = dict(threads), {}
        if gpus:
            gpu = slot % len(gpus)
            environment["CUDA_VISIBLE_DEVICES"] = gpus[gpu]
            num_on_gpu = len(range(gpu, count, len(gpus)))
            shared = fraction_variables(1 / num_on_gpu if gpu_memory_fraction is None else gpu_memory_fraction)
        slots.append(Slot(environment, cores=shares[slot], shared=shared))
    return tuple(slots)
