"""Trials' processes without a job: the same script, started the ordinary way and as a copy of a template."""

import contextlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dropsweep_trainer.processes.command import clean_environment
from dropsweep_trainer.processes.running import Running
from dropsweep_trainer.processes.users import User
from dropsweep_trainer.warm.copy import Copy
from dropsweep_trainer.warm.starter import Start, Starter
from dropsweep_trainer.warm.template import Options, Template
from tests.emulator.deployment import until

WAIT_S = 120.0
EVERYBODY_S = {"PATH": "/usr/bin:/bin"}
"""Variables by which trials of any user find a Python; this one may lie in a folder that is shut for others."""


@dataclass(frozen=True, slots=True)
class Ended:
    """What came of a script."""

    exit_code: int
    stdout: str
    stderr: str
    is_warm: bool
    start: str = field(default="", compare=False)

    @property
    def told(self) -> Any:
        return json.loads(self.stdout)


class Bench:
    """A node's starter, and a folder with the script of a trial.

    Attributes:
        starter: what starts them.
        folder: the trials' working directory.
        given: the variables that the node gives them.
    """

    def __init__(
        self,
        root: Path,
        preload: tuple[str, ...] = (),
        user: User | None = None,
        options: Options | None = None,
        **given: str,
    ) -> None:
        self.starter = Starter(root / "warm", options=options or Options(preload))
        self.folder = root / "work"
        self.given = clean_environment(os.environ) | given
        self._root = root
        self._user = user
        self._started: list[Running] = []
        self.folder.mkdir()
        self._own(self.folder)

    def close(self) -> None:
        for running in self._started:
            with contextlib.suppress(OSError):
                if running.wait(0) is None:
                    running.kill()
        self.starter.close()

    def write(self, script: str, name: str = "script.py") -> None:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(script, encoding="utf-8", errors="surrogateescape")
        self._own(path)

    def start(
        self,
        command: str = "python3 script.py",
        *,
        is_warm: bool = True,
        user: User | None = None,
        cores: Sequence[int] = (),
        **environment: str,
    ) -> Running:
        """Starts a command; what it prints is in `printed`."""
        outputs = [self._root / f"{name}-{self.num_started + 1}" for name in ("out", "err")]
        for output in outputs:
            output.touch()
            self._own(output, user)
        running = self.starter.start(
            Start(
                command,
                folder=self.folder,
                environment={**self.given, "HOME": str(self.folder), **environment},
                given=self.given,
                stdout=outputs[0],
                stderr=outputs[1],
                user=user or self._user,
                cores=cores,
                may_be_warm=is_warm,
            )
        )
        self._started.append(running)
        return running

    @property
    def num_started(self) -> int:
        return len(self._started)

    def printed(self, number: int | None = None) -> tuple[str, str]:
        """Standard output and error of the `number`th start, or of the last one."""
        names = (f"{name}-{number or self.num_started}" for name in ("out", "err"))
        out, err = ((self._root / name).read_text(errors="replace") for name in names)
        return out, err

    def run(self, command: str = "python3 script.py", *, is_warm: bool = True, **environment: str) -> Ended:
        running = self.start(command, is_warm=is_warm, **environment)
        exit_code = running.wait(WAIT_S)
        assert exit_code is not None
        running.sweep_up()
        return Ended(exit_code, *self.printed(), isinstance(running, Copy), running.start)

    def both(self, script: str, command: str = "python3 script.py", **environment: str) -> tuple[Ended, Ended]:
        """Runs a script cold and warm."""
        self.write(script)
        self.template()
        cold = self.run(command, is_warm=False, **environment)
        warm = self.run(command, **environment)
        assert (cold.is_warm, warm.is_warm) == (False, True)
        return cold, warm

    def template(self) -> Template:
        """The template, once it is ready."""
        (self.folder / "nothing.py").touch()

        def is_ready() -> bool:
            return self.run("python3 nothing.py").is_warm

        until(is_ready, WAIT_S)
        template = self.starter.template
        assert template is not None
        return template

    def _own(self, path: Path, user: User | None = None) -> None:
        user = user or self._user
        if user is not None:
            os.chown(path, user.uid, user.gid)


def lines(values: Mapping[str, Any]) -> list[str]:
    """A mapping as sorted lines, so that a difference is one line."""
    return sorted(f"{name}: {value}" for name, value in values.items())


MakeBench = Callable[..., Bench]
"""Makes one from what its template is to preload, and its further options; each in a folder of its own."""
