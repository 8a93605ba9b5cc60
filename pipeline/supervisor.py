"""Processes that are kept running: one that dies is started again, with backoff; all end together."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import structlog
from honcho.environ import parse_procfile

from pipeline.embedded import die_with_parent

log = structlog.get_logger()

STOP_S = 29.0
"""How long processes may take to end: workers let what they hold finish."""
FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 30.0
_STEADY_S = 60.0
"""A process that has run for so long is started again at once."""
_MOST_LOG_BYTES = 64 * 1024 * 1024


def commands_of(procfile: Path, numbers: Mapping[str, int]) -> dict[str, str]:
    """{process name: command} of a Procfile; a kind that `numbers` names runs so often: `worker.1`, `worker.2` …"""
    commands: dict[str, str] = {}
    for name, command in parse_procfile(procfile.read_text(encoding="utf-8")).processes.items():
        if name in numbers:
            commands.update({f"{name}.{number + 1}": command for number in range(numbers[name])})
        else:
            commands[name] = command
    return commands


@dataclass
class _Kept:
    """A process and when it is to be started again."""

    command: list[str]
    process: subprocess.Popen[bytes]
    started: float
    wait_s: float = FIRST_WAIT_S
    again_at: float | None = None


class Supervisor:
    """Keeps processes running with `environment`, their output in `logs`, until the block ends."""

    def __init__(self, logs: Path, environment: Mapping[str, str]) -> None:
        self._logs = logs
        here = Path(sys.executable).parent
        root = Path(__file__).parent.parent
        self._environment = {
            **environment,
            "PATH": f"{here}{os.pathsep}{environment.get('PATH', os.defpath)}",
            # For scripts such as `rq`, which do not look into the folder they are started from.
            "PYTHONPATH": os.pathsep.join(filter(None, [str(root), environment.get("PYTHONPATH")])),
            "PYTHONUNBUFFERED": "1",
        }
        self._kept: dict[str, _Kept] = {}

    def __enter__(self) -> Supervisor:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def start(self, name: str, command: str) -> None:
        """Start a process and keep it running. `command` is split as a shell would, and run without one."""
        words = shlex.split(command)
        self._kept[name] = _Kept(words, self._spawn(name, words), time.monotonic())

    def tend(self) -> None:
        """Start again what has died. To be called every now and then."""
        now = time.monotonic()
        for name, kept in self._kept.items():
            if kept.again_at is not None and kept.again_at <= now:
                kept.process, kept.started, kept.again_at = self._spawn(name, kept.command), now, None
            elif kept.again_at is None and kept.process.poll() is not None:
                self._bury(name, kept, now)

    def _bury(self, name: str, kept: _Kept, now: float) -> None:
        _signal_group(kept.process, signal.SIGKILL)
        kept.wait_s = FIRST_WAIT_S if now - kept.started > _STEADY_S else min(kept.wait_s * 2, LONGEST_WAIT_S)
        kept.again_at = now + kept.wait_s
        log.warning(
            "process_died", process=name, exit_code=kept.process.returncode, again_in_s=kept.wait_s,
            see=str(self._logs / f"{name}.log"),
        )  # fmt: skip

    def stop(self) -> None:
        """Ask all to end, wait, and end by force whatever does not, with all that it started."""
        for kept in self._kept.values():
            if kept.process.poll() is None:
                kept.process.terminate()
        ends = time.monotonic() + STOP_S
        for kept in self._kept.values():
            try:
                kept.process.wait(max(0.0, ends - time.monotonic()))
            except subprocess.TimeoutExpired:
                kept.process.kill()
                kept.process.wait()
            _signal_group(kept.process, signal.SIGKILL)
        self._kept.clear()

    def _spawn(self, name: str, command: list[str]) -> subprocess.Popen[bytes]:
        file = self._logs / f"{name}.log"
        if file.exists() and file.stat().st_size > _MOST_LOG_BYTES:
            file.replace(file.with_suffix(".log.1"))
        with file.open("ab") as output:
            return subprocess.Popen(
                command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Signal whatever is left of a process and its children."""
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):
        return
