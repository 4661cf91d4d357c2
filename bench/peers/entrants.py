"""Who takes part, how each is run, and what each guarantees by its own documents."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Kept(StrEnum):
    """How far a guarantee goes."""

    YES = "yes"
    PARTLY = "partly"
    NO = "no"


@dataclass(frozen=True, slots=True)
class Guarantee:
    """One property of a party, as its documents have it.

    Attributes:
        kept: how far.
        why: in a few words.
        source: a page, or a file of this repository.
    """

    kept: Kept
    why: str
    source: str


@dataclass(frozen=True, slots=True)
class Entrant:
    """One party.

    Attributes:
        name: as on the command line and in the results.
        title: for people.
        module: of the package `parties`.
        options: what the module is given besides the race.
        is_peer: it runs in the peers' environment.
        is_floor: it is no tool, but what any tool on top of it can at best reach.
        durable: results of completed trials survive when every process is killed.
        isolated: a trial that crashes, leaks or hangs harms no other and not the tool.
        resumable: after everything was killed the search goes on where it was, and a trial from its checkpoint.
    """

    name: str
    title: str
    module: str
    options: tuple[str, ...]
    is_peer: bool
    is_floor: bool
    durable: Guarantee
    isolated: Guarantee
    resumable: Guarantee

    @property
    def is_ours(self) -> bool:
        """Whether it is this project."""
        return self.name == OURS


OURS: Final = "dropsweep"
LOOP: Final = "loop"
RAY: Final = "ray"
RAY_REUSING: Final = "ray-reuse"

_NOTHING: Final = Guarantee(Kept.NO, "it keeps no result", "")
_RAY_DURABLE: Final = Guarantee(
    Kept.YES,
    "each report is written to a file of the trial",
    "https://docs.ray.io/en/latest/tune/tutorials/tune-output.html",
)
_RAY_SHARED: Final = Guarantee(
    Kept.PARTLY,
    "trials take turns in one process: what one leaves behind, the next one finds",
    "https://docs.ray.io/en/latest/tune/api/doc/ray.tune.TuneConfig.html",
)
_RAY_RESTORE: Final = Guarantee(
    Kept.YES,
    "a person calls `Tuner.restore`; trials go on from their checkpoints",
    "https://docs.ray.io/en/latest/tune/tutorials/tune-fault-tolerance.html",
)
_OPTUNA_ISOLATED: Final = Guarantee(
    Kept.NO,
    "the objective runs within the worker's process, which a crash ends",
    "https://optuna.readthedocs.io/en/stable/tutorial/10_key_features/004_distributed.html",
)
_OPTUNA_RESUMABLE: Final = Guarantee(
    Kept.PARTLY,
    "the study goes on; a trial that was cut starts anew unless the script keeps checkpoints of its own",
    "https://optuna.readthedocs.io/en/stable/faq.html",
)

ENTRANTS: Final = {
    entrant.name: entrant
    for entrant in (
        Entrant(
            OURS,
            "Dropsweep",
            "dropsweep_local",
            (),
            is_peer=False,
            is_floor=False,
            durable=Guarantee(Kept.YES, "a result is a blob before anything else learns of it", "reliability.md"),
            isolated=Guarantee(Kept.YES, "a process and a folder for each trial", "warm-start.md"),
            resumable=Guarantee(Kept.YES, "by itself, from the last whole checkpoint", "reliability.md"),
        ),
        Entrant(
            RAY,
            "Ray Tune",
            "ray_tune",
            (),
            is_peer=True,
            is_floor=False,
            durable=_RAY_DURABLE,
            isolated=Guarantee(
                Kept.YES,
                "an actor, which is a process, for each trial",
                "https://docs.ray.io/en/latest/tune/tutorials/tune-lifecycle.html",
            ),
            resumable=_RAY_RESTORE,
        ),
        Entrant(
            RAY_REUSING,
            "Ray Tune, reuse_actors",
            "ray_tune",
            ("reuse_actors",),
            is_peer=True,
            is_floor=False,
            durable=_RAY_DURABLE,
            isolated=_RAY_SHARED,
            resumable=_RAY_RESTORE,
        ),
        Entrant(
            "ray-fastest",
            "Ray Tune, reuse_actors, no loggers",
            "ray_tune",
            ("reuse_actors", "no_loggers"),
            is_peer=True,
            is_floor=False,
            durable=Guarantee(
                Kept.PARTLY,
                "up to the last snapshot of the experiment, which is taken at intervals",
                "https://docs.ray.io/en/latest/tune/api/env.html",
            ),
            isolated=_RAY_SHARED,
            resumable=_RAY_RESTORE,
        ),
        Entrant(
            "optuna-sqlite",
            "Optuna, SQLite",
            "optuna_study",
            ("sqlite",),
            is_peer=True,
            is_floor=False,
            durable=Guarantee(
                Kept.YES,
                "a transaction of the database; Optuna advises against SQLite for parallel runs",
                "https://optuna.readthedocs.io/en/stable/faq.html",
            ),
            isolated=_OPTUNA_ISOLATED,
            resumable=_OPTUNA_RESUMABLE,
        ),
        Entrant(
            "optuna-journal",
            "Optuna, journal file",
            "optuna_study",
            ("journal",),
            is_peer=True,
            is_floor=False,
            durable=Guarantee(
                Kept.YES,
                "a line in a file that is flushed to disk",
                "https://optuna.readthedocs.io/en/stable/reference/generated/optuna.storages.journal.JournalFileBackend.html",
            ),
            isolated=_OPTUNA_ISOLATED,
            resumable=_OPTUNA_RESUMABLE,
        ),
        Entrant(
            "syne-tune",
            "Syne Tune, local",
            "syne_tune_local",
            (),
            is_peer=True,
            is_floor=False,
            durable=Guarantee(
                Kept.PARTLY,
                "a table of all results each ten seconds; each trial's output at once",
                "https://syne-tune.readthedocs.io/en/latest/faq.html",
            ),
            isolated=Guarantee(
                Kept.YES,
                "a process for each trial; the second one that fails ends the search, unless told otherwise",
                "https://syne-tune.readthedocs.io/en/latest/faq.html",
            ),
            resumable=Guarantee(
                Kept.PARTLY,
                "the tuner is saved each ten seconds, and a person loads it; scripts find their checkpoints",
                "https://syne-tune.readthedocs.io/en/latest/faq.html",
            ),
        ),
        Entrant(
            LOOP,
            "floor: a bare loop per core",
            "loop",
            (),
            is_peer=False,
            is_floor=True,
            durable=_NOTHING,
            isolated=Guarantee(Kept.NO, "all trials share two processes", ""),
            resumable=_NOTHING,
        ),
        Entrant(
            "processes",
            "floor: a Python process per trial",
            "processes",
            (),
            is_peer=False,
            is_floor=True,
            durable=_NOTHING,
            isolated=Guarantee(Kept.YES, "a process for each trial", ""),
            resumable=_NOTHING,
        ),
    )
}
"""By name, in the order of the tables."""
