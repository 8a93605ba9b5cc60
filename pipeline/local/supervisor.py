"""What a Procfile names, kept running: all processes end together."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from honcho.environ import parse_procfile

from pipeline.local.managed_process import ManagedProcess

STOP_S = 29.0
"""How long processes may take to end: workers let what they hold finish."""


def commands_of(procfile: Path, numbers: Mapping[str, int]) -> dict[str, str]:
    """{process name: command} of a Procfile; a kind that `numbers` names runs so often: `worker.1`, `worker.2` …"""
    commands: dict[str, str] = {}
    for name, command in parse_procfile(procfile.read_text(encoding="utf-8")).processes.items():
        if name in numbers:
            commands.update({f"{name}.{number + 1}": command for number in range(numbers[name])})
        else:
            commands[name] = command
    return commands


class Supervisor:
    """Keeps processes running in `folder` with `environment`, their output in `logs`, until the block ends."""

    def __init__(self, logs: Path, environment: Mapping[str, str], folder: Path) -> None:
        self._logs = logs
        self._folder = folder
        self._environment = environment
        self._managed: list[ManagedProcess] = []

    def __enter__(self) -> Supervisor:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def start(self, name: str, command: str, *, listens: tuple[int, int] | None = None) -> None:
        """Start a process and keep it running. `command` is split as a shell would, and run without one.

        `listens` is a socket that listens already, whose number the process finds in LISTEN_FD, and the lock that
        says that it is in use.
        """
        environment = {**self._environment, "LISTEN_FD": str(listens[0])} if listens else self._environment
        output = self._logs / f"{name}.log"
        words = shlex.split(command)
        self._managed.append(
            ManagedProcess(
                name, words, output=output, environment=environment, holds=listens or (), folder=self._folder
            )
        )

    def poll(self) -> None:
        """Start again what has died. To be called every now and then."""
        for kept in self._managed:
            kept.poll()

    def stop(self) -> None:
        """Ask all to end, wait, and end by force whatever does not, with all that it started."""
        for kept in self._managed:
            kept.terminate()
        ends = time.monotonic() + STOP_S
        for kept in self._managed:
            kept.wait_or_kill(ends - time.monotonic())
        self._managed.clear()
