"""The file of numbers that a race writes: on what they were measured, every heat, what failed, and the bars."""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from bench.machine import told
from bench.peers.entrants import ENTRANTS
from bench.peers.heat import Heat
from bench.peers.races import RACES
from bench.peers.standings import Failed, Results, bars
from dropsweep.errors import ConfigError, DropsweepError

Facts = dict[str, Any]
"""When and where a run measured, as `bench.machine.facts` has it."""
_FACTS = ("version", "commit", "started", "machine", "tools")
_NO_PART_OF_A_HEAT = ("race", "party", "repetition")


@dataclass(frozen=True, slots=True)
class Failure:
    """A try of a heat that gave no numbers.

    Attributes:
        race, party: their names.
        run: during which run, as a number from 0.
        why: for people.
    """

    race: str
    party: str
    run: int
    why: str


@dataclass(slots=True)
class Document:
    """All that was measured, by one run or by several of which a later one kept heats of an earlier one.

    Attributes:
        runs: the facts of each. All were on one machine.
        heats: by race and party, each in the order of the repetitions.
        failures: in their order.
    """

    runs: list[Facts] = field(default_factory=list)
    heats: dict[str, dict[str, list[Heat]]] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)

    @property
    def num_cores(self) -> int:
        """Of the machine; there must be a run."""
        return int(self.runs[-1]["machine"]["cores"])

    @property
    def results(self) -> Results:
        """The heats, in the order of the races."""
        return {name: self.heats[name] for name in RACES if name in self.heats}

    @property
    def failed(self) -> Failed:
        """How many tries of heats failed, by race and party."""
        return Counter((failure.race, failure.party) for failure in self.failures)

    def add(self, race: str, party: str, heat: Heat) -> None:
        """Adds a heat of the last run."""
        self.heats.setdefault(race, {}).setdefault(party, []).append(replace(heat, run=len(self.runs) - 1))

    def try_once(self, race: str, party: str, run: Callable[[], Heat]) -> Heat:
        """Runs a heat, in the last run, and takes note when it fails.

        Raises:
            DropsweepError: it failed.
        """
        try:
            return run()
        except DropsweepError as error:
            self.failures.append(Failure(race, party, len(self.runs) - 1, str(error)))
            raise

    def drop(self, race: str, party: str) -> None:
        """Forgets a party's heats of one race, those that failed among them."""
        parties = self.heats.get(race, {})
        parties.pop(party, None)
        if not parties:
            self.heats.pop(race, None)
        self.failures = [one for one in self.failures if (one.race, one.party) != (race, party)]

    def refuse_another_machine(self, now: Facts, file: Path) -> None:
        """Compares the machine of a run with that of the last one; its load may be another.

        Args:
            now: the facts of the run.
            file: where this document is from.

        Raises:
            ConfigError: they are two.
        """
        then = self.runs[-1]["machine"]
        for fact, here in now["machine"].items():
            if fact != "load" and then.get(fact) != here:
                raise ConfigError(
                    f"{file} was measured on a machine with {fact} {then.get(fact)}, and here it is {here}: heats of "
                    "two machines cannot be compared. Run the whole race here, without --of and --resume"
                )

    def refuse_other_code(self, now: Facts, file: Path) -> None:
        """Compares version, commit and tools of a run with those of the last one.

        Args:
            now: the facts of the run.
            file: where this document is from.

        Raises:
            ConfigError: they are others.
        """
        then = self.runs[-1]
        known = {"version": then["version"], "commit": then.get("commit")}
        if "tools" in now:  # runs in which no tool took part do not tell of any
            known |= {"tools": next((run["tools"] for run in reversed(self.runs) if "tools" in run), now["tools"])}
        for fact, earlier in known.items():
            if now.get(fact) != earlier:
                raise ConfigError(
                    f"{file} was measured with {fact} {earlier or 'unknown'}, and now there is "
                    f"{now.get(fact) or 'unknown'}: one race has one. Leave out --resume to begin anew, or name the "
                    "file with --of to measure some parties anew"
                )

    def told(self) -> str:
        """Returns on what the heats were measured, for people: a sentence, or one for each run that has heats."""
        parties: dict[int, list[str]] = {}
        for of_race in self.results.values():
            for party, heats in of_race.items():
                for heat in heats:
                    parties.setdefault(heat.run, []).append(party)
        if len(parties) < 2:
            return told(self.runs[next(iter(parties), -1)])
        num_heats = sum(map(len, parties.values()))
        return "\n\n".join(
            f"{told(self.runs[run])} It took {len(of_run)} of the {num_heats} heats: {_titles(of_run)}."
            for run, of_run in sorted(parties.items())
        )

    def to_json(self) -> dict[str, Any]:
        """Returns all of it, and the bars."""
        checked = bars(self.results, self.num_cores, self.failed)
        return {
            "runs": self.runs,
            "heats": [
                {"race": race, "party": party, "repetition": index, **asdict(heat)}
                for race, parties in self.results.items()
                for party, heats in parties.items()
                for index, heat in enumerate(heats, start=1)
            ],
            "failed": [asdict(failure) for failure in self.failures],
            "bars": [{**asdict(bar), "is_kept": bar.is_kept} for bar in checked],
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Returns what `to_json` was of, also where an earlier version wrote it, which knew of one run only.

        Raises:
            KeyError, TypeError, ValueError: it is none.
        """
        heats: dict[str, dict[str, list[Heat]]] = {}
        for row in document["heats"]:
            fields = {name: value for name, value in row.items() if name not in _NO_PART_OF_A_HEAT}
            heats.setdefault(row["race"], {}).setdefault(row["party"], []).append(Heat(**fields))
        runs = document.get("runs") or [{name: document[name] for name in _FACTS if name in document}]
        if not all({"version", "started", "machine"} <= run.keys() for run in runs):
            raise ValueError("it does not tell on what machine they were measured")
        return cls(list(runs), heats, [Failure(**row) for row in document.get("failed", ())])

    @classmethod
    def read(cls, file: Path) -> Self:
        """Reads what `save` wrote.

        Raises:
            ConfigError: there is no such file, or it is another one.
        """
        try:
            return cls.from_json(json.loads(file.read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"{file} has no heats ({error}): there must be some. Leave it out to begin anew"
            ) from None

    def save(self, file: Path) -> None:
        """Writes it whole or not at all."""
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_name(f"{file.name}.part")
        part.write_text(f"{json.dumps(self.to_json(), indent=1)}\n", encoding="utf-8")
        part.replace(file)


def _titles(parties: list[str]) -> str:
    return "; ".join(entrant.title for name, entrant in ENTRANTS.items() if name in parties)
