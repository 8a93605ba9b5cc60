"""The trigger rules in use: triggers.yaml is read again if it changes; an invalid edit keeps the last valid rules."""

from __future__ import annotations

import threading
from pathlib import Path

import structlog

from pipeline.errors import InvalidTriggers
from pipeline.triggers.rule import Rule
from pipeline.triggers.schema import parse_triggers

log = structlog.get_logger()


class RuleLoader:
    """Loads the rules of a file. Thread-safe. `output`: PIPELINE_OUTPUT, to log rules that it keeps from starting."""

    def __init__(self, file: Path, output: str | None = None) -> None:
        self.file = file
        self._output = output
        self._lock = threading.Lock()
        self._fingerprint: object = None
        self._rules: tuple[Rule, ...] = ()
        self._error: str | None = None

    def rules(self) -> tuple[Rule, ...]:
        """Return the rules of the file; if it is invalid or missing, those of its last valid version."""
        with self._lock:
            fingerprint = self._read_fingerprint()
            if fingerprint != self._fingerprint:
                self._fingerprint = fingerprint
                self._reload()
            return self._rules

    def error(self) -> str | None:
        """Return why the rules in force are not those of the file, with the lines of its problems; None if they are."""
        self.rules()
        return self._error

    def is_in_force(self) -> bool:
        """Return whether the file exists and its rules are those in force."""
        return self.error() is None and self.file.exists()

    def _read_fingerprint(self) -> object:
        try:
            stat = self.file.stat()
        except OSError as error:
            return type(error)
        return stat.st_mtime_ns, stat.st_size, stat.st_ino

    def _reload(self) -> None:
        try:
            rules = load(self.file)
            if self._rules and not self.file.exists():
                raise FileNotFoundError(f"{self.file} does not exist. For no triggers write `triggers: []`.")
        except Exception as error:
            # Whatever it is: the rules in force stay.
            self._error = str(error) if isinstance(error, InvalidTriggers | OSError) else repr(error)
            log.error("triggers_load_failed", file=str(self.file), in_use=len(self._rules), error=str(error))
        else:
            self._rules, self._error = rules, None
            log.info("triggers_loaded", file=str(self.file), triggers=[rule.name for rule in rules])
            for rule in rules:
                if rule.watches_output(self._output):
                    log.warning("trigger_watches_output", trigger=rule.name, watch=rule.watch)


def load(file: Path) -> tuple[Rule, ...]:
    """Return the rules of `file`; none if it does not exist. Raises InvalidTriggers, OSError."""
    try:
        text = file.read_bytes()
    except FileNotFoundError:
        return ()
    return parse_triggers(text, file=str(file))
