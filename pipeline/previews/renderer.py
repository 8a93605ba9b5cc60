"""Runs `render` in a process of its own, which gets no secrets and cannot outlive its time limit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from pipeline.domain.preview_names import MAX_BYTES
from pipeline.errors import PreviewFailed

TIMEOUT_S = 180.0
"""The process has a stricter limit for the time that it computes: what takes so long waits for a loaded machine."""
STOP_CHECK_S = 0.2
NO_PREVIEW = 3
"""Exit code of the process if the file has no preview."""
_FAULTS = frozenset(
    (signal.SIGXCPU, signal.SIGALRM, signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE)
)
"""Signals that end a process because of the file that it decodes. Others come from outside."""
_ROOT = Path(__file__).parents[2]
_LIBRARIES = ("PIL", "av")
_MAX_REASON = 200


@cache
def is_available() -> bool:
    """Return whether the libraries of requirements-previews.txt are installed."""
    return all(find_spec(name) for name in _LIBRARIES)


def render_file(file: IO[bytes], media_type: str, stopped: Callable[[], bool] = lambda: False) -> bytes:
    """Return the preview of an open file as WebP.

    `stopped`: called every STOP_CHECK_S seconds; the process is killed if it returns True.
    Raises PreviewFailed; it is retryable unless the file is the cause.
    """
    file.seek(0)
    # In files, because the process has a limit for them: what it prints takes no memory here.
    with TemporaryFile() as stdout, TemporaryFile() as stderr:
        code = _run(media_type, file, stdout, stderr, stopped)
        if code == NO_PREVIEW:
            lines = _content(stderr).decode("utf-8", "replace").strip().splitlines()
            raise PreviewFailed(lines[-1][:_MAX_REASON] if lines else "It has no preview.", retryable=False)
        preview = _content(stdout)
    if code or not 0 < len(preview) <= MAX_BYTES:
        raise PreviewFailed(f"The decoder ended with code {code}.", retryable=-code not in _FAULTS)
    return preview


def _run(media_type: str, file: IO[bytes], stdout: IO[bytes], stderr: IO[bytes], stopped: Callable[[], bool]) -> int:
    """Run the process and return its exit code. Raises PreviewFailed."""
    command = [sys.executable, "-m", "pipeline.previews.render", media_type]
    # Nothing of this process's environment: it holds the keys of the service.
    environment = {"PYTHONPATH": os.pathsep.join([str(_ROOT), *filter(None, sys.path)]), "LANG": "C.UTF-8"}
    deadline = time.monotonic() + TIMEOUT_S
    try:
        process = subprocess.Popen(command, env=environment, cwd="/", stdin=file, stdout=stdout, stderr=stderr)
    except OSError as error:
        raise PreviewFailed(f"The decoder does not start: {error.strerror}.", retryable=True) from None
    try:
        while time.monotonic() < deadline and not stopped():
            with suppress(subprocess.TimeoutExpired):
                return process.wait(STOP_CHECK_S)
    finally:
        process.kill()
        process.wait()
    raise PreviewFailed(f"It was not decoded in {TIMEOUT_S:.0f} s, or this worker stops.", retryable=True)


def _content(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read(MAX_BYTES + 1)
