"""Failures grouped by their cause: what their errors have in common. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

NO_REASON = "no reason is known"
MAX_CAUSE_CHARS = 200
_MAX_READ_CHARS = 1000
"""The rest of a longer line is not looked at: the time would grow with its square."""
_MASKED = "…"
_VARIABLE = re.compile(
    r"[a-z][a-z0-9+.-]*://[^\s'\"<>()]*[^\s'\"<>().,;:!?]"  # addresses
    r"|'[^']*'|\"[^\"]*\"|“[^”]*”"  # quoted text
    r"|[\w./\\-]+\.(?:jpe?g|png|webp|gif|avif|heic|tiff?|bmp|mp4|webm|mov|mp3|wav|csv)\b"  # names of files
    r"|\b\d+ ?[x×] ?\d+\b"  # sizes of images
    r"|\b(?=[\w-]*\d)(?=[\w-]*[a-z])[\w-]{12,}\b"  # ids
    r"|\b\d+(?:[.,:]\d+)+\b|\b\d{4,}\b",  # measured numbers; short ones, such as a status, name a cause
    re.I,
)


@dataclass(frozen=True)
class FailureGroup:
    """Failed items of a batch with one cause. `cause` None: the items whose cause was not recorded."""

    cause: str | None
    count: int


def cause_of(error: str | None) -> str:
    """Return an error without what differs from item to item: addresses, names, ids, measured numbers."""
    first_line = next((line for line in (error or "").splitlines() if line.strip()), "")
    text = " ".join(_VARIABLE.sub(_MASKED, first_line[:_MAX_READ_CHARS]).split())
    return text[:MAX_CAUSE_CHARS].rstrip(" .") or NO_REASON


def failure_groups(causes: Mapping[str, int], failed: int) -> list[FailureGroup]:
    """Return the groups of `failed` items, the largest first. `causes` is {cause: number of items}."""
    groups = [FailureGroup(cause, count) for cause, count in causes.items() if count > 0]
    groups.sort(key=lambda group: (-group.count, group.cause))
    rest = failed - sum(group.count for group in groups)
    return [*groups, FailureGroup(None, rest)] if rest > 0 else groups
