"""Log lines are events with fields: `run_submitted batch=… item=… attempt=… task=…`, one JSON object a line.

What libraries log becomes the event `library_message`, so that the bounds of `log_fields` hold for it, too.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import threading
from collections import deque
from contextlib import suppress
from datetime import UTC, datetime

import structlog

from pipeline.observability.log_fields import bound_fields

_STDERR = 2
_LEVELS = (logging.CRITICAL, logging.ERROR, logging.WARNING, logging.INFO)
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_MAX_WAITING_LINES = 10_000
_ENCODER = json.JSONEncoder(ensure_ascii=False, default=repr)
"""One encoder for all lines: `json.dumps` with options makes a new one for each."""


def configure() -> None:
    """Write events to stderr: JSON, or coloured text on a terminal. Calls after the first do nothing.

    A logger keeps the configuration of its first event, and a process has one writer for stderr.
    """
    if structlog.is_configured():
        return
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer(_to_json)
    )
    writer = LineWriter(_STDERR)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            bound_fields,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=lambda *_: writer,
        cache_logger_on_first_use=True,
    )
    root = logging.getLogger()
    if not any(isinstance(handler, _LibraryHandler) for handler in root.handlers):
        root.addHandler(_LibraryHandler())


class _LibraryHandler(logging.Handler):
    """Writes what libraries log by the standard library as events."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = _COLOUR.sub("", record.getMessage())
        except (TypeError, ValueError):
            # A bug of the library: its arguments do not fit its message.
            message = str(record.msg)
        level = next((level for level in _LEVELS if level <= record.levelno), logging.DEBUG)
        structlog.get_logger().log(
            level, "library_message", logger=record.name, message=message, exc_info=record.exc_info
        )


def _to_json(event: object, **_: object) -> str:
    return _ENCODER.encode(event)


class LineWriter:
    """Writes lines of many threads to a file. One thread writes for all; the others do not wait.

    If more than 10,000 lines wait for a slow reader, the oldest are dropped. The next write adds their count.
    """

    def __init__(self, file: int) -> None:
        self._file = file
        self._waiting: deque[str] = deque()
        self._dropped = 0
        self._counting = threading.RLock()
        self._writing = threading.Lock()

    def msg(self, line: str) -> None:
        """Write `line`."""
        self._waiting.append(line)
        if len(self._waiting) > _MAX_WAITING_LINES:
            self._drop_oldest()
        # Checked again after the release: the writer may have missed a line that came just before it.
        while self._waiting and self._writing.acquire(blocking=False):
            try:
                self._write_all()
            finally:
                self._writing.release()

    def _drop_oldest(self) -> None:
        with self._counting, suppress(IndexError):
            self._waiting.popleft()
            self._dropped += 1

    def _write_all(self) -> None:
        lines = []
        with self._counting:
            if self._dropped:
                lines.append(_dropped_line(self._dropped))
                self._dropped = 0
        with suppress(IndexError):
            while True:
                lines.append(self._waiting.popleft() + "\n")
        data = "".join(lines).encode("utf-8", "backslashreplace")
        # The reader has closed the log: there is no other place for the error.
        with suppress(OSError):
            while data:
                data = data[os.write(self._file, data) :]

    info = warning = error = critical = msg


def _dropped_line(count: int) -> str:
    """Return the event as a line. The logger that renders events writes through this very writer."""
    timestamp = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    return json.dumps({"count": count, "event": "log_lines_dropped", "level": "warning", "timestamp": timestamp}) + "\n"
