"""Log lines are events with fields: `run_submitted batch=… item=… attempt=… task=…`, one JSON object a line."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections import deque
from contextlib import suppress

import structlog

_STDERR = 2
_MAX_LINES = 10_000


def configure() -> None:
    """Write events to stderr: JSON, or coloured text on a terminal."""
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer()
        if sys.stderr.isatty()
        else structlog.processors.JSONRenderer(ensure_ascii=False)
    )
    lines = Lines(_STDERR)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=lambda *_: lines,
        cache_logger_on_first_use=True,
    )


class Lines:
    """Writes lines for many threads: one writes for all that come meanwhile, and they need not wait for it.

    Where what reads them is slow the oldest of more than 10,000 waiting lines are dropped.
    """

    def __init__(self, file: int) -> None:
        self._file = file
        self._waiting: deque[str] = deque(maxlen=_MAX_LINES)
        self._writing = threading.Lock()

    def msg(self, line: str) -> None:
        """Write `line`."""
        self._waiting.append(line)
        # Asked again after the lock is given back: a line that came just before was not seen by its writer.
        while self._waiting and self._writing.acquire(blocking=False):
            try:
                self._write_all()
            finally:
                self._writing.release()

    def _write_all(self) -> None:
        lines = []
        with suppress(IndexError):
            while True:
                lines.append(self._waiting.popleft() + "\n")
        data = "".join(lines).encode("utf-8", "backslashreplace")
        # Nobody reads the log: there is nowhere to say so.
        with suppress(OSError):
            while data:
                data = data[os.write(self._file, data) :]

    debug = info = warn = warning = error = err = critical = fatal = failure = exception = log = msg
