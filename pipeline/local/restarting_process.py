"""A supervised child process: it restarts with backoff after an exit, and stops with all its children."""

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

MIN_BACKOFF_S = 0.5
MAX_BACKOFF_S = 30.0
_STABLE_AFTER_S = 60.0
"""After so many seconds of running, an exit resets the backoff."""
_MAX_LOG_BYTES = 64 * 1024 * 1024
_LOG_CHECK_INTERVAL_S = 10.0
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


class ManagedProcess:
    """A process in its own session, so that a Ctrl-C at the terminal does not reach it.

    output: its log file, of which two parts of at most 64 MB are kept. inherited_fds: open file descriptors that it
    receives. folder: its working directory. Only this user can read what it writes. On Linux it receives SIGTERM when
    the thread that started it exits.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        output: Path,
        environment: Mapping[str, str],
        inherited_fds: Sequence[int] = (),
        folder: Path | None = None,
    ) -> None:
        self._name = name
        self._command = command
        self._output = output
        self._environment = environment
        self._folder = folder
        self._inherited_fds = inherited_fds
        self._backoff_s = MIN_BACKOFF_S
        self._restart_at: float | None = None
        self._next_log_check = 0.0
        self._start()

    def is_running(self) -> bool:
        """Return whether the process runs now."""
        return self._process.poll() is None

    def poll(self) -> None:
        """Restart the process if it has exited and its backoff is over. Call this a few times a second."""
        now = time.monotonic()
        if self._restart_at is not None and self._restart_at <= now:
            self._start()
        elif self._restart_at is None and not self.is_running():
            self._schedule_restart(now)
        if self._next_log_check <= now:
            self._next_log_check = now + _LOG_CHECK_INTERVAL_S
            _rotate_log(self._output)

    def terminate(self) -> None:
        """Send SIGTERM."""
        if self.is_running():
            self._process.terminate()

    def wait_or_kill(self, timeout_s: float) -> None:
        """Wait for the exit. Kill the process after `timeout_s` seconds. Kill its children in any case."""
        if self._restart_at is not None:
            # The children are killed already, and another process may have the id by now.
            return
        try:
            self._process.wait(max(0.0, timeout_s))
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
                umask=0o077,
                pass_fds=self._inherited_fds,
                preexec_fn=partial(_exit_with_parent, os.getpid()),
            )
        self._started = time.monotonic()
        self._restart_at = None

    def _schedule_restart(self, now: float) -> None:
        self._kill_process_group()
        is_stable = now - self._started > _STABLE_AFTER_S
        self._backoff_s = MIN_BACKOFF_S if is_stable else min(self._backoff_s * 2, MAX_BACKOFF_S)
        self._restart_at = now + self._backoff_s
        log.warning(
            "process_exited", process=self._name, exit_code=self._process.returncode, restart_in_s=self._backoff_s,
            output=str(self._output),
        )  # fmt: skip

    def _kill_process_group(self) -> None:
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            return


def _exit_with_parent(parent: int) -> None:
    """Have the kernel send SIGTERM when the parent exits, see prctl(2). Runs in the child before exec, Linux only."""
    if _LIBC is None:
        return
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os._exit(1)


def _rotate_log(output: Path) -> None:
    """Copy and empty a large log. A rename would not do: the process keeps writing to the open file."""
    if output.stat().st_size > _MAX_LOG_BYTES:
        shutil.copyfile(output, output.with_suffix(".log.1"))
        os.truncate(output, 0)
