"""A process that is kept running: one that dies is started again, with backoff; it ends with all that it started."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import structlog

log = structlog.get_logger()

FIRST_WAIT_S = 0.5
MAX_WAIT_S = 30.0
_STEADY_S = 60.0
"""A process that has run for so long is started again without a longer wait than the first."""
_MAX_LOG_BYTES = 64 * 1024 * 1024
_LOOK_AT_LOG_EVERY_S = 10.0
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


class ManagedProcess:
    """A process in a session of its own: a Ctrl-C at the terminal is not for it, it ends when it is told.

    Its output goes to `output`, of which no more than two pieces of 64 MB are kept. `holds` are file descriptors that
    it inherits, `folder` where it is started. On Linux it is told to end when the thread that started it is gone, even
    killed.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        output: Path,
        environment: Mapping[str, str],
        holds: Sequence[int] = (),
        folder: Path | None = None,
    ) -> None:
        self._name = name
        self._command = command
        self._output = output
        self._environment = environment
        self._folder = folder
        self._holds = holds
        self._wait_s = FIRST_WAIT_S
        self._again_at: float | None = None
        self._poll_run = 0.0
        self._start()

    def is_alive(self) -> bool:
        """Whether it runs now."""
        return self._process.poll() is None

    def poll(self) -> None:
        """Start it again if it has died, once its wait is over. To be called every now and then."""
        now = time.monotonic()
        if self._again_at is not None and self._again_at <= now:
            self._start()
        elif self._again_at is None and not self.is_alive():
            self._schedule_restart(now)
        if self._poll_run <= now:
            self._poll_run = now + _LOOK_AT_LOG_EVERY_S
            _truncate_log(self._output)

    def terminate(self) -> None:
        """SIGTERM."""
        if self.is_alive():
            self._process.terminate()

    def wait_or_kill(self, within_s: float) -> None:
        """Wait until it has ended; after `within_s` by force, with all that it started."""
        if self._again_at is not None:
            # It is buried already, and its number may by now be somebody else's.
            return
        try:
            self._process.wait(max(0.0, within_s))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._kill_process_group()

    def _start(self) -> None:
        with self._output.open("ab") as output:
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                pass_fds=self._holds,
                preexec_fn=partial(_exit_with_parent, os.getpid()),
            )
        self._started = time.monotonic()
        self._again_at = None

    def _schedule_restart(self, now: float) -> None:
        self._kill_process_group()
        steady = now - self._started > _STEADY_S
        self._wait_s = FIRST_WAIT_S if steady else min(self._wait_s * 2, MAX_WAIT_S)
        self._again_at = now + self._wait_s
        log.warning(
            "process_died", process=self._name, exit_code=self._process.returncode, again_in_s=self._wait_s,
            see=str(self._output),
        )  # fmt: skip

    def _kill_process_group(self) -> None:
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            return


def _exit_with_parent(parent: int) -> None:
    """Called by the child before it becomes something else."""
    if _LIBC is None:
        return
    # prctl(2): the kernel sends this when the parent is gone. Other systems than Linux do without.
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os._exit(1)


def _truncate_log(output: Path) -> None:
    """Begin a log anew once it is large. It is copied: the process goes on writing into the same file."""
    if output.stat().st_size > _MAX_LOG_BYTES:
        shutil.copyfile(output, output.with_suffix(".log.1"))
        os.truncate(output, 0)
