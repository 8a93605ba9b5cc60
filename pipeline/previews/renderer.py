"""Runs `render` in a process of its own, which gets no secrets and cannot outlive its time limit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from pipeline.domain.preview_names import MAX_BYTES
from pipeline.errors import PreviewFailed

TIMEOUT_S = 180.0
"""The process has a stricter limit for the time that it computes: what takes so long waits for a loaded machine."""
NO_PREVIEW = 3
_ROOT = Path(__file__).parents[2]
_LIBRARIES = ("PIL", "av")
_MAX_REASON = 200


@cache
def is_available() -> bool:
    """Return whether the libraries of requirements-previews.txt are installed."""
    return all(find_spec(name) for name in _LIBRARIES)


def render_file(file: IO[bytes], media_type: str) -> bytes:
    """Return the preview of an open file as WebP. Raises PreviewFailed, retryable if the process was killed."""
    command = [sys.executable, "-m", "pipeline.previews.render", media_type]
    file.seek(0)
    # Nothing of this process's environment: it holds the keys of the service.
    environment = {"PYTHONPATH": os.pathsep.join([str(_ROOT), *filter(None, sys.path)]), "LANG": "C.UTF-8"}
    # In files, because the process has a limit for them: what it prints takes no memory here.
    with TemporaryFile() as stdout, TemporaryFile() as stderr:
        try:
            code = subprocess.run(
                command, env=environment, cwd="/", stdin=file, stdout=stdout, stderr=stderr,
                timeout=TIMEOUT_S, check=False,
            ).returncode  # fmt: skip
        except subprocess.TimeoutExpired:
            raise PreviewFailed(f"It was not decoded in {TIMEOUT_S:.0f} s.", retryable=True) from None
        except OSError as error:
            raise PreviewFailed(f"The decoder does not start: {error.strerror}.", retryable=True) from None
        if code == NO_PREVIEW:
            lines = _content(stderr).decode("utf-8", "replace").strip().splitlines()
            raise PreviewFailed(lines[-1][:_MAX_REASON] if lines else "It has no preview.", retryable=False)
        preview = _content(stdout)
    if code or not 0 < len(preview) <= MAX_BYTES:
        # Killed by itself at a limit, by the kernel at a fault, or by somebody.
        raise PreviewFailed(f"The decoder ended with code {code}.", retryable=code == -signal.SIGKILL)
    return preview


def _content(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read(MAX_BYTES + 1)
