"""An embedded server as a process: its folder, its lock, its environment, and the wait until it is ready."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.errors import DailiesError
from pipeline.local.private_files import close_to_others
from pipeline.local.restarting_process import ManagedProcess

INHERITED = ("PATH", "HOME", "LANG", "TMPDIR")
"""The variables of this process that an embedded server gets."""
_START_TIMEOUT_S = 30.0
_STOP_TIMEOUT_S = 10.0
_POLL_INTERVAL_S = 0.05
_RESTART_CHECK_INTERVAL_S = 0.2


class DidNotStart(DailiesError):
    """An embedded server did not start."""


@contextmanager
def exclusive_lock(folder: Path) -> Iterator[int]:
    """Lock `folder`. Yield the file descriptor, which its server inherits and so holds until its own exit.

    Wait for a server whose parent was killed. Raises DidNotStart after 30 s.
    """
    deadline = time.monotonic() + _START_TIMEOUT_S
    with (folder / "lock").open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise DidNotStart(f"Another server runs on {folder}: stop it, or choose another --state.") from None
            time.sleep(_POLL_INTERVAL_S)
        yield lock.fileno()


@contextmanager
def running_server(
    name: str,
    command: Sequence[str],
    folder: Path,
    is_ready: Callable[[], bool],
    environment: Mapping[str, str],
    lock: int,
    readable_files: str = "",
) -> Iterator[None]:
    """Run a server while the block runs, which starts when `is_ready` is true. Restart the server after an exit.

    environment: its own variables. It gets no others but INHERITED: no secret of the service. readable_files: a
    pattern of files in `folder` that it makes readable for every user, whatever its umask. They are closed again.
    """
    output = folder / f"{name}.log"
    server = ManagedProcess(
        name, command, output=output, environment={**_inherited(), **environment}, inherited_fds=[lock], folder=folder
    )

    def upkeep() -> None:
        for file in folder.glob(readable_files) if readable_files else ():
            with suppress(FileNotFoundError):
                close_to_others(file)

    done = threading.Event()
    polling = threading.Thread(target=_poll_until_done, args=(server, done, upkeep), name=name, daemon=True)
    try:
        _wait_until_ready(name, server, is_ready, output)
        polling.start()
        yield
    finally:
        done.set()
        if polling.ident is not None:
            polling.join()
        server.terminate()
        server.wait_or_kill(_STOP_TIMEOUT_S)
        upkeep()


def _poll_until_done(server: ManagedProcess, done: threading.Event, upkeep: Callable[[], None]) -> None:
    while not done.wait(_RESTART_CHECK_INTERVAL_S):
        server.poll()
        upkeep()


def _wait_until_ready(name: str, server: ManagedProcess, is_ready: Callable[[], bool], output: Path) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while not is_ready():
        if not server.is_running() or time.monotonic() > deadline:
            raise DidNotStart(f"{name} did not start: read {output} for the reason.")
        time.sleep(_POLL_INTERVAL_S)


def _inherited() -> dict[str, str]:
    return {name: os.environ[name] for name in INHERITED if name in os.environ}
