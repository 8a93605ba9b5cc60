"""A web process for tests with slow clients."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.processes import ROOT, bare_environment

SECRET = "a-secret-of-the-tests"
THREADS = 4


@contextmanager
def web_process(redis_url: str, log: Path, **settings: str) -> Iterator[tuple[str, int]]:
    """Yield (host and port, pid) of a web process."""
    with socket.create_server(("127.0.0.1", 0)) as listener, log.open("wb") as stderr:
        environment = {
            **bare_environment(),
            "PYTHONPATH": str(ROOT),
            "REDIS_URL": redis_url,
            "PIPELINE_SECRET": SECRET,
            "PIPELINE_WEB_THREADS": str(THREADS),
            "LISTEN_FD": str(listener.fileno()),
            **settings,
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "pipeline.web"],
            cwd=ROOT,
            env=environment,
            pass_fds=[listener.fileno()],
            stderr=stderr,
        )
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}", process.pid
        finally:
            process.kill()
            process.wait()
