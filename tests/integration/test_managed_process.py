"""Processes that are kept running."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from support.waiting import WaitFor

from pipeline.local import managed_process
from pipeline.local.managed_process import ManagedProcess

STEADY = "import time; print('up', flush=True); time.sleep(600)"
WITH_CHILD = "import subprocess, sys; subprocess.Popen(['sleep', '600']); print('up', flush=True); sys.stdin.read(0)"
DEAF = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"


@contextmanager
def a_process(folder: Path, program: str) -> Iterator[ManagedProcess]:
    """A Python `program` that is kept, its output in `out.log`."""
    command = [sys.executable, "-c", program]
    process = ManagedProcess("it", command, output=folder / "out.log", environment={**os.environ, "MARK": str(folder)})
    try:
        yield process
    finally:
        process.terminate()
        process.wait_or_kill(1)


def starts(folder: Path) -> int:
    return (folder / "out.log").read_text().count("up")


def left(folder: Path) -> list[str]:
    """Processes with the mark of `folder`."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"MARK={folder}".encode() in (process / "environ").read_bytes():
                found.append(process.name)
        except OSError:
            continue
    return found


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(managed_process, "FIRST_WAIT_S", 0.01)


def test_one_that_dies_is_started_again_and_waits_longer_each_time(tmp_path: Path, wait_for: WaitFor) -> None:
    with capture_logs() as said, a_process(tmp_path, "print('up', flush=True)") as process:

        def thrice() -> bool:
            process.poll()
            return starts(tmp_path) >= 3

        wait_for(thrice, "three starts")
    waits = [line["again_in_s"] for line in said]
    assert waits == sorted(waits)
    assert len(set(waits)) == len(waits) >= 2


def test_what_a_dead_one_started_ends_before_it_starts_again(tmp_path: Path, wait_for: WaitFor) -> None:
    with a_process(tmp_path, WITH_CHILD) as process:
        wait_for(lambda: not process.is_alive(), "it to die")
        assert left(tmp_path)
        process.poll()
        wait_for(lambda: not left(tmp_path), "its child to end")


def test_one_that_does_not_hear_is_ended_by_force(tmp_path: Path, wait_for: WaitFor) -> None:
    with a_process(tmp_path, DEAF) as process:
        wait_for(lambda: starts(tmp_path), "it to be up")
        process.terminate()
        process.wait_or_kill(0.1)
        assert not process.is_alive()


def test_a_log_begins_anew_once_it_is_large(tmp_path: Path, wait_for: WaitFor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(managed_process, "_MAX_LOG_BYTES", 2)
    with a_process(tmp_path, STEADY) as process:
        wait_for(lambda: starts(tmp_path), "it to be up")
        process.poll()
        assert (tmp_path / "out.log").stat().st_size == 0
        assert "up" in (tmp_path / "out.log.1").read_text()


def test_it_ends_with_the_process_that_keeps_it(tmp_path: Path, wait_for: WaitFor) -> None:
    keeper = f"""
import os, pathlib, sys
from pipeline.local.managed_process import ManagedProcess
folder = pathlib.Path({str(tmp_path)!r})
command = [sys.executable, "-c", {STEADY!r}]
ManagedProcess("it", command, output=folder / "out.log", environment={{**os.environ, "MARK": str(folder)}})
while "up" not in (folder / "out.log").read_text(): pass
os.kill(os.getpid(), 9)
"""
    os.spawnl(os.P_WAIT, sys.executable, sys.executable, "-c", keeper)
    assert starts(tmp_path) == 1
    wait_for(lambda: not left(tmp_path), "it to end")
