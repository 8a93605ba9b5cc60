"""Signals, at any moment."""

from __future__ import annotations

import subprocess
import sys

INTERRUPTED = """
import os, signal
from pipeline.shutdown import shutdown_requested
with shutdown_requested() as told:
    with told._cond:  # as within `wait` or `set`
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
    assert told.wait(20)
"""


def test_a_signal_that_interrupts_who_holds_the_events_lock_locks_nobody_up() -> None:
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
