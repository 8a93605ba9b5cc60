"""Runs the processes of a Procfile and stops them together."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from honcho.environ import parse_procfile

from pipeline.local.restarting_process import ManagedProcess

STOP_TIMEOUT_S = 29.0
"""How many seconds processes have for their exit. Workers finish their leased items in that time."""


def commands_of(procfile: Path, counts: Mapping[str, int]) -> dict[str, str]:
    """Return {process name: command} of a Procfile. A kind in `counts` is repeated: `worker.1`, `worker.2`, …"""
    commands: dict[str, str] = {}
    for name, command in parse_procfile(procfile.read_text(encoding="utf-8")).processes.items():
        if name in counts:
            commands.update({f"{name}.{number + 1}": command for number in range(counts[name])})
        else:
            commands[name] = command
    return commands


class Supervisor:
    """Keeps processes running in `folder` with `environment` and writes their output to `logs`."""

    def __init__(self, logs: Path, environment: Mapping[str, str], folder: Path) -> None:
        self._logs = logs
        self._folder = folder
        self._environment = environment
        self._processes: list[ManagedProcess] = []

    def __enter__(self) -> Supervisor:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def start(self, name: str, command: str, *, listener: tuple[int, int] | None = None) -> None:
        """Start a process and keep it running. `command` is split like in a shell but runs without one.

        listener: the file descriptors of a listening socket, passed on as LISTEN_FD, and of the lock on its port.
        """
        environment = {**self._environment, "LISTEN_FD": str(listener[0])} if listener else self._environment
        self._processes.append(
            ManagedProcess(
                name,
                shlex.split(command),
                output=self._logs / f"{name}.log",
                environment=environment,
                inherited_fds=listener or (),
                folder=self._folder,
            )
        )

    def poll(self) -> None:
        """Restart exited processes. Call this a few times a second."""
        for process in self._processes:
            process.poll()

    def stop(self) -> None:
        """Terminate all processes, wait up to 29 s, and kill the rest with their children."""
        for process in self._processes:
            process.terminate()
        deadline = time.monotonic() + STOP_TIMEOUT_S
        for process in self._processes:
            process.wait_or_kill(deadline - time.monotonic())
        self._processes.clear()
