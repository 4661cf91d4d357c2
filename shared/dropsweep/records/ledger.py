"""The ledger of a workspace with quotas: which of its live jobs may have how many trials out."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from dropsweep.errors import DropsweepError, StorageCorrupt
from dropsweep.names import JobKey
from dropsweep.records.codec import VERSION, dump, load, time_of, time_out


@dataclass(frozen=True, slots=True)
class QuotaLimits:
    """How much may run at once in a workspace; None: no bound; 0: nothing new begins.

    Attributes:
        max_concurrent_jobs: jobs that may have trials out.
        max_concurrent_trials: trials of all jobs together that may be out: dispatched, and neither final nor paused.
    """

    max_concurrent_jobs: int | None = None
    max_concurrent_trials: int | None = None

    @property
    def is_bounded(self) -> bool:
        """True when there is a limit."""
        return self.max_concurrent_jobs is not None or self.max_concurrent_trials is not None


@dataclass(frozen=True, slots=True)
class Entry:
    """What one live job has of its workspace's quota.

    Attributes:
        granted: trials that it may have out; never fewer than it has.
        wanted: trials that it would have out without a quota.
        created: when it was accepted, by the storage service's clock; the oldest comes first.
    """

    granted: int
    wanted: int
    created: datetime


@dataclass(frozen=True, slots=True)
class Ledger:
    """What the live jobs of one workspace have of its quota.

    Attributes:
        workspace: whose it is; `_default` for the limits of all workspaces without a policy file, without entries.
        limits: the last ones that could be read in its policy file.
        entries: by job.
    """

    workspace: str
    limits: QuotaLimits = field(default_factory=QuotaLimits)
    entries: Mapping[JobKey, Entry] = field(default_factory=dict)

    def having(self, key: JobKey, entry: Entry) -> "Ledger":
        """Returns the ledger with an entry set."""
        return replace(self, entries={**self.entries, key: entry})

    def lacking(self, *keys: JobKey) -> "Ledger":
        """Returns the ledger without the entries of these jobs."""
        gone = set(keys)
        return replace(self, entries={key: entry for key, entry in self.entries.items() if key not in gone})

    def to_json(self) -> bytes:
        """Returns the ledger as JSON for people and programs, its jobs in the order in which they come."""
        order = sorted(self.entries.items(), key=lambda item: (item[1].created, item[0]))
        return dump(
            {
                "version": VERSION,
                "workspace": self.workspace,
                "max_concurrent_jobs": self.limits.max_concurrent_jobs,
                "max_concurrent_trials": self.limits.max_concurrent_trials,
                "jobs": {
                    key.path: {"granted": entry.granted, "wanted": entry.wanted, "created": time_out(entry.created)}
                    for key, entry in order
                },
            }
        )

    @classmethod
    def from_json(cls, body: bytes) -> "Ledger":
        """Reads what `to_json` wrote.

        Raises:
            StorageCorrupt: when it is not that.
        """
        document = load(body)
        try:
            return cls(
                document["workspace"],
                QuotaLimits(document["max_concurrent_jobs"], document["max_concurrent_trials"]),
                {
                    JobKey.parse(path): Entry(entry["granted"], entry["wanted"], time_of(entry["created"]))
                    for path, entry in document["jobs"].items()
                },
            )
        except (KeyError, TypeError, ValueError, AttributeError, DropsweepError) as error:
            raise StorageCorrupt(f"a ledger of quotas cannot be read: {error!r}") from error
