"""The result of a check."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """Severity of a finding."""

    OK = "ok"
    NOTE = "note"
    """it works, but with a weaker promise or without an optional part"""
    WRONG = "wrong"
    """it must be fixed"""


@dataclass(frozen=True)
class Finding:
    """One result: what was checked, what was found and how to fix it. It never contains a secret."""

    severity: Severity
    subject: str
    message: str
    fix: str = ""


def ok(subject: str, message: str) -> Finding:
    """Return a finding that needs no action."""
    return Finding(Severity.OK, subject, message)


def note(subject: str, message: str, fix: str = "") -> Finding:
    """Return a finding that needs no fix."""
    return Finding(Severity.NOTE, subject, message, fix)


def wrong(subject: str, message: str, fix: str = "") -> Finding:
    """Return a finding that must be fixed."""
    return Finding(Severity.WRONG, subject, message, fix)


def one_line(error: Exception) -> str:
    """Return the message of an error on one line."""
    return "; ".join(str(error).splitlines())
