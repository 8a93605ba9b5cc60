"""The triggers as they are now: the file is read again when it changes, and a broken edit leaves the last good ones."""

from __future__ import annotations

import threading
from pathlib import Path

import structlog

from pipeline.errors import InvalidTriggers
from pipeline.triggers.rule import Rule
from pipeline.triggers.rules import parse

log = structlog.get_logger()


class RuleLoader:
    """The rules of a file. Thread-safe, cheap to ask."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._reading = threading.Lock()
        self._seen: object = None
        self._rules: tuple[Rule, ...] = ()

    def rules(self) -> tuple[Rule, ...]:
        """The rules of the file as it is; of a broken or missing one, as it was when it was last good."""
        with self._reading:
            seen = self._look()
            if seen != self._seen:
                self._seen = seen
                self._read()
            return self._rules

    def _look(self) -> object:
        try:
            stat = self._file.stat()
        except OSError as error:
            return type(error)
        return stat.st_mtime_ns, stat.st_size, stat.st_ino

    def _read(self) -> None:
        try:
            rules = load(self._file)
            if self._rules and not self._file.exists():
                raise FileNotFoundError("the file is gone")
        except (InvalidTriggers, OSError) as error:
            log.error("triggers_not_read", file=str(self._file), kept=len(self._rules), error=str(error))
        else:
            self._rules = rules
            log.info("triggers_read", file=str(self._file), triggers=[rule.name for rule in rules])


def load(file: Path) -> tuple[Rule, ...]:
    """The rules of `file`; none where there is no such file. Raises InvalidTriggers, OSError."""
    try:
        text = file.read_bytes()
    except FileNotFoundError:
        return ()
    return parse(text, file=str(file))
