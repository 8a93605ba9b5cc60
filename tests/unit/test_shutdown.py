"""Stop signals at any moment."""

from __future__ import annotations

import subprocess
import sys

INTERRUPTED = """
import os, signal
from pipeline.shutdown import shutdown_requested
with shutdown_requested() as requested:
    with requested._cond:  # as within `wait` or `set`
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
    assert requested.wait(20)
"""


def test_a_signal_while_the_events_lock_is_held_does_not_deadlock() -> None:
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
