"""Supervised processes: restart, stop, and log rotation."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from support.waiting import WaitFor

from pipeline.local import restarting_process
from pipeline.local.restarting_process import ManagedProcess

RUNS = "import time; print('up', flush=True); time.sleep(600)"
WITH_CHILD = "import subprocess, sys; subprocess.Popen(['sleep', '600']); print('up', flush=True); sys.stdin.read(0)"
IGNORES_SIGTERM = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"


@contextmanager
def a_process(folder: Path, program: str) -> Iterator[ManagedProcess]:
    """A supervised Python `program` with its output in `out.log`."""
    command = [sys.executable, "-c", program]
    process = ManagedProcess("it", command, output=folder / "out.log", environment={**os.environ, "MARK": str(folder)})
    try:
        yield process
    finally:
        process.terminate()
        process.wait_or_kill(1)


def starts(folder: Path) -> int:
    return (folder / "out.log").read_text().count("up")


def marked_processes(folder: Path) -> list[str]:
    """Ids of the processes that have the mark of `folder`."""
    ids = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"MARK={folder}".encode() in (process / "environ").read_bytes():
                ids.append(process.name)
        except OSError:
            continue
    return ids


@pytest.fixture(autouse=True)
def short_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restarting_process, "MIN_BACKOFF_S", 0.01)


def test_an_exited_process_restarts_with_growing_backoff(tmp_path: Path, wait_for: WaitFor) -> None:
    with capture_logs() as events, a_process(tmp_path, "print('up', flush=True)") as process:

        def thrice() -> bool:
            process.poll()
            return starts(tmp_path) >= 3

        wait_for(thrice, "three starts")
    waits = [event["restart_in_s"] for event in events]
    assert waits == sorted(waits)
    assert len(set(waits)) == len(waits) >= 2


def test_children_of_an_exited_process_are_killed_before_the_restart(tmp_path: Path, wait_for: WaitFor) -> None:
    with a_process(tmp_path, WITH_CHILD) as process:
        wait_for(lambda: not process.is_running(), "the process to exit")
        assert marked_processes(tmp_path)
        process.poll()
        wait_for(lambda: not marked_processes(tmp_path), "its child to exit")


def test_a_process_that_ignores_sigterm_is_killed(tmp_path: Path, wait_for: WaitFor) -> None:
    with a_process(tmp_path, IGNORES_SIGTERM) as process:
        wait_for(lambda: starts(tmp_path), "the process to run")
        process.terminate()
        process.wait_or_kill(0.1)
        assert not process.is_running()


def test_a_large_log_is_rotated(tmp_path: Path, wait_for: WaitFor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restarting_process, "_MAX_LOG_BYTES", 2)
    with a_process(tmp_path, RUNS) as process:
        wait_for(lambda: starts(tmp_path), "the process to run")
        process.poll()
        assert (tmp_path / "out.log").stat().st_size == 0
        assert "up" in (tmp_path / "out.log.1").read_text()


def test_a_process_exits_with_its_parent(tmp_path: Path, wait_for: WaitFor) -> None:
    parent = f"""
import os, pathlib, sys
from pipeline.local.restarting_process import ManagedProcess
folder = pathlib.Path({str(tmp_path)!r})
command = [sys.executable, "-c", {RUNS!r}]
ManagedProcess("it", command, output=folder / "out.log", environment={{**os.environ, "MARK": str(folder)}})
while "up" not in (folder / "out.log").read_text(): pass
os.kill(os.getpid(), 9)
"""
    os.spawnl(os.P_WAIT, sys.executable, sys.executable, "-c", parent)
    assert starts(tmp_path) == 1
    wait_for(lambda: not marked_processes(tmp_path), "the process to exit")
