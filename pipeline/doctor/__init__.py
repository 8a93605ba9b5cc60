"""Checks of every dependency and setting, for real: what is right, what is wrong, how to mend it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from pipeline.errors import Unreachable
from pipeline.settings import Settings


class Verdict(StrEnum):
    """How a check came out."""

    OK = "ok"
    NOTE = "note"
    """it works, but less is promised, or something is left out"""
    WRONG = "wrong"


@dataclass(frozen=True)
class Finding:
    """One line of the examination. `mend`: what a person can do. Secrets are never in it."""

    verdict: Verdict
    subject: str
    message: str
    fix: str = ""


def ok(subject: str, message: str) -> Finding:
    """All is well."""
    return Finding(Verdict.OK, subject, message)


def note(subject: str, message: str, fix: str = "") -> Finding:
    """Worth knowing."""
    return Finding(Verdict.NOTE, subject, message, fix)


def wrong(subject: str, message: str, fix: str = "") -> Finding:
    """This has to be mended."""
    return Finding(Verdict.WRONG, subject, message, fix)


def examine(settings: Settings) -> Iterator[Finding]:
    """Check everything, one finding after the other. Nothing is run at the vendor, nothing is left on S3."""
    from pipeline.doctor import queue, schedules, storage, triggers, vendor, web

    for check in (
        queue.redis,
        queue.queue_monitor,
        storage.bucket,
        vendor.account,
        vendor.fetch_hosts,
        web.public_url,
        web.gate,
        schedules.schedules,
        triggers.triggers,
    ):
        try:
            yield from check(settings)
        except Unreachable:
            # Redis is away, which is a finding of its own.
            continue
